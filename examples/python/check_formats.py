"""Opens what the program writes with the tools that people use for it: event files in TensorBoard, Parquet in pyarrow.

    cargo build --release --features cli,arrow
    python check_formats.py target/release/quadrivium FOLDER      # needs tensorboard and pyarrow
"""

import decimal
import pathlib
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def table(rows):
    """A row for each kind of column that data frames have."""
    draw = random.Random(0)
    countries = [draw.choice(["DE", "FR", "IT", None]) for _ in range(rows)]
    weights = [draw.gauss(70, 9) if draw.random() < 0.9 else None for _ in range(rows)]
    small = [draw.randrange(4) for _ in range(rows)]
    return pa.table(
        {
            "country": pa.array(countries).dictionary_encode(),
            "weight": pa.array(weights, pa.float64()),
            "orders": pa.array([draw.randrange(20) for _ in range(rows)], pa.int16()),
            "parts": pa.array(small, pa.uint64()),
            "seen": pa.array([draw.random() < 0.3 for _ in range(rows)], pa.bool_()),
            "ratio": pa.array([draw.gauss(0, 1) for _ in range(rows)], pa.float32()),
            "price": pa.array([decimal.Decimal(draw.randrange(5000)) / 100 for _ in range(rows)], pa.decimal128(9, 2)),
            "visits": pa.array([[1, 2]] * rows),
            "day": pa.array([17000] * rows, pa.int32()).cast(pa.date32()),
        }
    )


def main(program, folder):
    folder.mkdir(parents=True, exist_ok=True)
    run = lambda *args: subprocess.run([program, *map(str, args)], check=True)
    columns = "country,weight,orders,parts,seen,ratio,price"
    for codec in ["snappy", "zstd", "none"]:
        rows = folder / f"rows-{codec}.parquet"
        pq.write_table(table(700), rows, compression=codec, row_group_size=300)
        model, drawn, events = folder / "model.st", folder / "drawn.parquet", folder / f"events-{codec}"
        fit = ["fit", rows, "--columns", columns, "--units", "auto", "-m", "vae", "--steps", 60]
        run(*fit, "--tensorboard", events, "-o", model)
        run("sample", model, "-n", 100_000, "-o", drawn)

    file = pq.ParquetFile(drawn)
    types = {field.name: str(field.type) for field in file.schema_arrow}
    print(f"Parquet: {file.metadata.num_rows:,} rows in {file.num_row_groups} groups, {types}")
    assert list(types) == columns.split(",") and file.num_row_groups == 2
    numbers = ["float", "double"]
    assert types["country"] == "string" and types["weight"] in numbers and types["price"] in numbers
    assert types["orders"] == types["parts"] == "int64"
    drawn = file.read()
    assert set(drawn["country"].unique().to_pylist()) <= {"DE", "FR", "IT", None}
    assert drawn["country"].null_count > 0 and drawn["weight"].null_count > 0 and drawn["orders"].null_count == 0

    log = EventAccumulator(str(events))
    log.Reload()
    tags = log.Tags()["scalars"]
    losses = log.Scalars("loss/training")
    print(f"TensorBoard: {len(losses)} steps of {tags}")
    assert [event.step for event in losses] == [10, 20, 30, 40, 50, 60]
    assert {"loss/validation", "part/reconstruction", "part/kl"} <= set(tags)
    assert all(event.wall_time > 1.6e9 and abs(event.value) < 1e6 for event in losses)


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
