"""What a program that trains a diffusion model and draws from it costs to build: here, in candle, in burn.

    python3 benches/cost/measure.py            # the table, as Markdown
    python3 benches/cost/measure.py --only quadrivium

Each program is a package of its own in this folder and is built from nothing (`cargo build --release`, sources
already fetched). CPU seconds are user and system time of the whole build. Both they and the seconds beside them
grow when the machine has other work.
"""

import argparse
import os
import pathlib
import resource
import shutil
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = [
    ("quadrivium", []),
    ("quadrivium", ["safetensors"]),
    ("quadrivium", ["cli"]),
    ("quadrivium", ["plot"]),
    ("candle", []),
    ("burn", []),
]


def cargo(package, features, *arguments, **options):
    command = ["cargo", *arguments, "--manifest-path", str(HERE / package / "Cargo.toml")]
    if features:
        command += ["--features", ",".join(f"quadrivium/{feature}" for feature in features)]
    return subprocess.run(command, check=True, text=True, **options)


def crates(package, features):
    """How many crates are linked or run at build time for this target, without the program itself."""
    tree = cargo(package, features, "tree", "--edges", "normal,build", "--prefix", "none", stdout=subprocess.PIPE)
    return len({line.removesuffix(" (*)") for line in tree.stdout.splitlines() if line}) - 1


def build(package, features):
    """Seconds, CPU seconds and the size of the stripped program in MB."""
    cargo(package, features, "fetch" if not features else "tree", stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as target:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        environment = {**os.environ, "CARGO_TARGET_DIR": target}
        cargo(package, features, "build", "--release", "--quiet", env=environment)
        seconds, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        program = pathlib.Path(target) / "release" / f"cost-{package}"
        subprocess.run([program], check=True, stdout=subprocess.DEVNULL)
        return seconds, cpu, program.stat().st_size / 1e6


def lines(package):
    source = (HERE / package / "src" / "main.rs").read_text().splitlines()
    return sum(1 for line in source if line.strip() and not line.strip().startswith("//"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="one of the packages")
    only = parser.parse_args().only
    if not shutil.which("cargo"):
        parser.error("cargo is not here")
    print("| | crates | clean build, CPU s | on this machine, s | stripped program, MB | lines of the program |")
    print("| --- | --- | --- | --- | --- | --- |")
    for package, features in PROGRAMS:
        if only and package != only:
            continue
        name = " + ".join([package, *(f"`{feature}`" for feature in features)])
        number = crates(package, features)
        seconds, cpu, size = build(package, features)
        print(f"| {name} | {number} | {cpu:.0f} | {seconds:.0f} | {size:.1f} | {lines(package)} |", flush=True)


if __name__ == "__main__":
    main()
