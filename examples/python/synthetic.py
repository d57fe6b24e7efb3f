"""Tables that are drawn by this crate's models and by SDV's synthesizers, held against rows that none of them saw.

    cargo build --release --features cli
    python3 -m venv target/sdv && target/sdv/bin/pip install sdv scikit-learn
    target/sdv/bin/python examples/python/synthetic.py --splits 3 --sdv

Four tables: iris, wine and breast cancer (scikit-learn's copies, with their labels as text), and 2,000 people whose
columns have ends, decimals and zeros. Each is split into rows to learn from, two thirds, and the others; each model draws
as many rows as it learned from, and `quadrivium evaluate` compares them. Without --sdv, numpy and scikit-learn suffice.
"""

import argparse
import csv
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
from sklearn import datasets

MODELS = ["autoregressive", "vae", "gan", "diffusion", "flow", "flow_matching", "gaussian_mixture", "kernel_density"]
SDV = ["GaussianCopulaSynthesizer", "CTGANSynthesizer", "TVAESynthesizer"]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", pathlib.Path(__file__).resolve().parents[2] / "target"))


def labeled(load):
    """Columns and rows of a table of scikit-learn, with the label as the last column."""
    found = load()
    names = [name.replace(" (cm)", "").replace(" ", "_") for name in found.feature_names]
    label = [str(found.target_names[k]) for k in found.target]
    rows = [[repr(float(value)) for value in row] + [name] for row, name in zip(found.data, label)]
    return names + ["class"], rows, "class"


def people():
    """Incomes, days of a month, children, shares, gains and prices, all independent; most gains are zero."""
    rng = numpy.random.default_rng(0)
    n = 2_000
    columns = {
        "income": (rng.lognormal(10.3, 0.9, n), 2),
        "day": (rng.integers(1, 32, n), 0),
        "children": (rng.poisson(1.3, n), 0),
        "share": (numpy.maximum(rng.beta(0.7, 2.0, n), 1e-6), 6),
        "gain": (numpy.where(rng.random(n) < 0.8, 0.0, rng.lognormal(7.0, 1.0, n)), 2),
        "price": (rng.gamma(3.0, 9.0, n), 2),
    }
    cells = [[f"{value:.{digits}f}" for value in values] for values, digits in columns.values()]
    return list(columns), [list(row) for row in zip(*cells)], None


TABLES = {
    "iris": lambda: labeled(datasets.load_iris),
    "wine": lambda: labeled(datasets.load_wine),
    "breast cancer": lambda: labeled(datasets.load_breast_cancer),
    "people": people,
}


def write(path, names, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([names, *rows])


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return done.stdout


def ours(program, kind):
    def draw(folder, learned, n, seed):
        model = folder / "model.safetensors"
        run(program, "fit", "-m", kind, learned, "-o", model, "--units", "auto", "--seed", seed)
        return run(program, "sample", model, "-n", n, "--seed", seed)

    return draw


def theirs(name):
    import pandas
    import torch
    from sdv import single_table
    from sdv.metadata import Metadata

    def draw(folder, learned, n, seed):
        numpy.random.seed(seed)
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        rows = pandas.read_csv(learned)
        model = getattr(single_table, name)(Metadata.detect_from_dataframes({"rows": rows}))
        model.fit({"rows": rows})
        return model.sample(n)["rows"].to_csv(index=False)

    return draw


def holds(table, names, row):
    """Whether a table of this kind can have the row."""
    cell = dict(zip(names, row))
    if table != "people":
        return all(float(value) >= 0.0 for name, value in cell.items() if name != "class")
    number = {name: float(value) for name, value in cell.items()}
    return (
        number["income"] > 0.0
        and number["day"] in range(1, 32)
        and number["children"] >= 0.0
        and number["children"].is_integer()
        and 0.0 <= number["share"] <= 1.0
        and number["gain"] >= 0.0
        and number["price"] > 0.0
    )


def measure(program, draw, table, seed, folder):
    """Figures of one split."""
    names, rows, label = TABLES[table]()
    order = numpy.random.default_rng(100 + seed).permutation(len(rows))
    cut = 2 * len(rows) // 3
    learned, fresh, drawn = (folder / f"{name}.csv" for name in ["learned", "fresh", "drawn"])
    write(learned, names, [rows[k] for k in order[:cut]])
    write(fresh, names, [rows[k] for k in order[cut:]])
    start = time.monotonic()
    drawn.write_text(draw(folder, learned, cut, seed))
    seconds = time.monotonic() - start
    with open(drawn, newline="") as file:
        header, *lines = csv.reader(file)
    known = {row[-1] for row in rows} if label else None
    impossible = sum(not holds(table, header, line) or (known is not None and line[-1] not in known) for line in lines)
    more = ["--label", label] if label else []
    found = json.loads(run(program, "evaluate", learned, drawn, "--held-out", fresh, "--json", *more))
    rows_of = {figure["name"]: figure for figure in found["rows"]}
    pick = lambda start: next(figure for name, figure in rows_of.items() if name.startswith(start))
    predicted = pick("class predicted") if label else None
    return {
        "apart": statistics.mean(column["synthetic"] for column in found["columns"]),
        "floor": statistics.mean(column["real"] for column in found["columns"]),
        "told": pick("told apart")["synthetic"],
        "told_real": pick("told apart")["real"],
        "closer": pick("closer to a row")["synthetic"],
        "label": predicted and predicted["synthetic"],
        "label_real": predicted and predicted["real"],
        "impossible": impossible / len(lines),
        "seconds": seconds,
    }


def shown(values, digits=3):
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=pathlib.Path, default=TARGET / "release/quadrivium")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--sdv", action="store_true", help="measure SDV's synthesizers, too")
    args = parser.parse_args()
    if not args.program.is_file():
        sys.exit(f"{args.program}: build it with cargo build --release --features cli")
    draws = {kind: ours(args.program, kind) for kind in args.models}
    if args.sdv:
        draws |= {"SDV " + name.removesuffix("Synthesizer"): theirs(name) for name in SDV}
    for table in args.tables:
        names, rows, label = TABLES[table]()
        lines, real = [], []
        for model, draw in draws.items():
            found = []
            for seed in range(args.splits):
                with tempfile.TemporaryDirectory() as folder:
                    found.append(measure(args.program, draw, table, seed, pathlib.Path(folder)))
            print(f"{table}: {model}", file=sys.stderr)
            of = lambda key: [one[key] for one in found]
            real = found
            lines.append(
                [model, shown(of("apart")), shown(of("told")), shown(of("closer")), shown(of("label")),
                 shown([100 * share for share in of("impossible")], 1), f"{statistics.median(of('seconds')):.1f}"]
            )
        of = lambda key: [one[key] for one in real]
        lines.append(
            ["real rows", shown(of("floor")), shown(of("told_real")), "0.500", shown(of("label_real")), "0.0", ""]
        )
        print(f"{table}: {len(rows)} rows of {len(names)} columns, {args.splits} splits.\n")
        header = ["model", "columns apart", "told apart", "closer to learned", "label predicted", "impossible, %", "s"]
        widths = [max(len(line[k]) for line in [header, *lines]) for k in range(len(header))]
        for k, line in enumerate([header, *lines]):
            print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |")
            if k == 0:
                print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
        print()
    megabytes = args.program.stat().st_size / 1e6
    print(f"The program is one file of {megabytes:.1f} MB.", end="")
    if args.sdv:
        packages = pathlib.Path(sys.prefix)
        size = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file() and not path.is_symlink())
        print(f" SDV with what it needs takes {size / 1e6:.0f} MB.", end="")
    print()


if __name__ == "__main__":
    main()
