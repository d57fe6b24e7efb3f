#!/usr/bin/env bash
# Trains one model with 1, 2, 3 and 4 processes under MPI, and compares the files; then once more with a process that dies.
# MPI with mpirun and its compiler wrappers, and libclang are needed. $1: a folder to work in; by default target/ci.
set -euo pipefail
cd "$(dirname "$0")"
work=${1:-target/ci}
rm -rf "$work"
mkdir -p "$work"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}
# The processes of a test share two cores.
export RAYON_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

cargo fmt --check
cargo clippy --locked --release --all-targets -- -D warnings
cargo build --locked --release --example fit
run() {
    local ranks=$1
    shift
    mpirun --oversubscribe --mca btl_vader_single_copy_mechanism none -np "$ranks" "$CARGO_TARGET_DIR/release/examples/fit" "$@"
}
same() {
    for file in "$1"/*.safetensors; do cmp "$work/0-of-1.safetensors" "$file"; done
}
for ranks in 1 2 3 4; do run "$ranks" "$work"; done
test "$(ls "$work"/*.safetensors | wc -l)" -eq 10
same "$work"
mkdir "$work/again"
if run 4 "$work/again" "$work/checkpoint" 110 2> "$work/died.txt"; then
    echo "no process died" >&2
    exit 1
fi
test ! -e "$work/again/0-of-4.safetensors"
run 2 "$work/again" "$work/checkpoint"
test "$(ls "$work/again"/*.safetensors | wc -l)" -eq 2
same "$work/again"
