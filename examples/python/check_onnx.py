"""Runs exported models in onnxruntime and compares their rows with the library's.

    cargo run --release --features onnx --example to_onnx -- FOLDER
    python check_onnx.py FOLDER      # needs numpy, onnx and onnxruntime
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime

# Relative to the distance from the median, or to the spread of a column where that is more. Rounding differs, and steep
# networks and many steps magnify it, most of all in the last rows, whose noise is nine times as large.
TOLERANCE = {"rows": 2e-5, "hot rows": 1e-4}
HOT_ROWS = 16


def run(path):
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    array = lambda name: np.load(path.with_suffix(f".{name}.npy"))
    inputs = {}
    for known in session.get_inputs():
        numbers = array(known.name)
        numbers = numbers.reshape(len(numbers), *known.shape[1:])
        inputs[known.name] = numbers.astype(np.int64) if known.type == "tensor(int64)" else numbers
    (rows,) = session.run(None, inputs)
    # The number of rows is free.
    (few,) = session.run(None, {name: numbers[:3] for name, numbers in inputs.items()})
    expected = array("expected")
    assert few.shape == (3, expected.shape[1])
    return rows, expected


def main(folder):
    paths = sorted(folder.glob("*.onnx"))
    assert len(paths) > 15, paths
    for path in paths:
        rows, expected = run(path)
        assert rows.shape == expected.shape and rows.dtype == np.float32
        spread = expected - np.median(expected, axis=0)
        scale = np.quantile(np.abs(spread), 0.75, axis=0)
        errors = (np.abs(rows - expected) / np.maximum(scale, np.abs(spread))).max(axis=1)
        parts = {"rows": errors[:-HOT_ROWS].max(), "hot rows": errors[-HOT_ROWS:].max()}
        told = ", ".join(f"{part} within {error:.1e}" for part, error in parts.items())
        print(f"{path.stem:<24} {path.stat().st_size:>9,} bytes, {told} of the library")
        assert all(error < TOLERANCE[part] for part, error in parts.items()), path.stem


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
