#!/usr/bin/env bash
# Builds the wheel, installs it in an environment of its own, and runs the tests there. Says how long each step takes.
# A Rust toolchain and Python 3.10 or later with venv are needed. $1: a folder to work in; by default target/ci.
set -euo pipefail
cd "$(dirname "$0")"
work=${1:-target/ci}
mkdir -p "$work"
work=$(cd "$work" && pwd)

step() {
    local name=$1 start=$SECONDS
    shift
    "$@"
    echo "== $name: $((SECONDS - start)) s"
}
fresh() {
    rm -rf "$1"
    python3 -m venv "$1"
}

step "format" cargo fmt --check
step "environment to build in" fresh "$work/build"
step "maturin" "$work/build/bin/pip" install --quiet 'maturin>=1.7,<2'
rm -rf "$work/dist"
step "wheel" "$work/build/bin/maturin" build --release --locked --out "$work/dist"
step "lint" cargo clippy --locked --release -- -D warnings
ls -l "$work/dist"
wheel=("$work"/dist/*.whl)
test "$(stat -c %s "${wheel[0]}")" -lt 8000000

# Alone with numpy, it works.
step "environment to run in" fresh "$work/run"
step "wheel and numpy" "$work/run/bin/pip" install --quiet "${wheel[0]}"
step "first use" "$work/run/bin/python" -c \
    "import quadrivium_models as qm; qm.VAE(steps=3).fit(qm.worlds.sample('moons', 100)).sample(3)"
step "what the tests need" "$work/run/bin/pip" install --quiet pandas pytest scikit-learn mypy typing_extensions \
    'dask[dataframe]' distributed
step "types" "$work/run/bin/mypy" --strict --ignore-missing-imports --python-executable "$work/run/bin/python" \
    -p quadrivium_models
step "tests" "$work/run/bin/python" -m pytest -q tests
step "examples in the documentation" "$work/run/bin/python" -m pytest -q --doctest-modules --pyargs quadrivium_models

# The examples that need no more than the tests, and the tutorial as one page.
examples() {
    local here=$PWD
    rm -rf "$work/examples"
    mkdir "$work/examples"
    (cd "$work/examples" && "$work/run/bin/python" "$here/examples/dask_sample.py" &&
        "$work/run/bin/python" "$here/examples/sweep.py")
}
tutorial() {
    "$work/run/bin/jupytext" --quiet --to notebook --execute --output "$work/tutorial.ipynb" tutorial.py
    "$work/run/bin/jupyter-nbconvert" --to html "$work/tutorial.ipynb"
}
step "examples" examples
step "what the tutorial needs" "$work/run/bin/pip" install --quiet jupytext nbconvert ipykernel matplotlib
step "tutorial" tutorial
