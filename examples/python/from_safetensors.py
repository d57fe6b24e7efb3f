"""Runs the networks of saved models in plain numpy and compares them with the library's outputs.

    cargo run --release --features safetensors --example to_python -- FOLDER
    python from_safetensors.py FOLDER      # needs numpy and safetensors
"""

import json
import pathlib
import sys

import numpy as np
from safetensors import safe_open

ACTIVATIONS = {
    "Tanh": np.tanh,
    "Silu": lambda x: x / (1 + np.exp(-x)),
    "Relu": lambda x: np.maximum(x, 0),
    "Softplus": lambda x: np.logaddexp(x, 0),
}


def load(path):
    """The config, what training has fixed, and the averaged weights, with which models sample."""
    with safe_open(path, framework="numpy") as file:
        entry = json.loads(file.metadata()["quadrivium"])
        assert entry["format"] == 3, f"format {entry['format']}"
        names = [name for name in file.keys() if not name.startswith("training.")]
        weights = {name: file.get_tensor(name).astype(np.float64) for name in names}
    return entry["model"]["config"], entry["model"]["fitted"], weights


def mlp(h, weights, prefix, activation, first_is_active=False):
    """Linear layers in order, with the activation between them."""
    numbers = sorted(
        int(name[len(prefix) :].split(".")[0])
        for name in weights
        if name.startswith(prefix) and name.endswith(".weight")
    )
    for i, number in enumerate(numbers):
        if i > 0 or first_is_active:
            h = activation(h)
        h = h @ weights[f"{prefix}{number}.weight"] + weights[f"{prefix}{number}.bias"]
    return h


def decode(z, config, fitted, weights):
    """m(z), the mean of p(x|z), in the units of the data."""
    decoder = config["decoder"]
    omega = 2.0 ** np.arange(decoder["octaves"])
    near = np.clip(z, -10, 10)
    waves = [wave(w * near) for wave in (np.sin, np.cos) for w in omega]
    y = mlp(np.hstack([z, *waves]), weights, "decoder.", ACTIVATIONS[decoder["activation"]])
    units = fitted["standardizer"]
    assert "tails" not in units, "columns with heavy tails take a map of their own"
    mean = y[:, : config["dim"]]
    if "whitening" in units:
        # The lines of L, each up to its diagonal: standard units are L times whitened ones.
        lower = np.zeros((config["dim"], config["dim"]))
        for i, line in enumerate(units["whitening"]):
            lower[i, : i + 1] = line
        mean = mean @ lower.T
    return mean * units["scale"] + units["shift"]


def noise(z, alpha, sigma, log_snr, config, weights):
    """The noise in rows z at one level, both in standard units."""
    network = config["network"]
    activation = ACTIVATIONS[network["activation"]]
    near = np.clip(z, -20, 20)
    features = [near]
    for omega in 2.0 ** np.arange(network["octaves"]):
        fade = np.exp(-((omega * sigma) ** 2) / 4)
        features += [fade * np.sin(omega * near), fade * np.cos(omega * near)]
    half = config["time_features"] // 2
    angles = log_snr * 1e4 ** -(np.arange(half) / half)
    time = np.hstack([np.sin(angles), np.cos(angles)])
    h = time @ weights["time.weight"] + weights["time.bias"] + np.hstack(features) @ weights["features.weight"]
    v = mlp(h, weights, "rest.", activation, first_is_active=True)
    return sigma * near + alpha * v + (z - near) / sigma


def compare(what, got, want):
    error = np.abs(got - np.array(want)).max()
    print(f"{what}: within {error:.1e} of the library")
    assert error < 1e-5, what


def main(folder):
    reference = json.loads((folder / "reference.json").read_text())
    z = np.array(reference["z"])
    compare("the decoder", decode(z, *load(folder / "vae.safetensors")), reference["decoded"])
    config, _, weights = load(folder / "diffusion.safetensors")
    for level in reference["noise"]:
        eps_hat = level.pop("eps_hat")
        name = f"the noise predictor at sigma = {level['sigma']:.3f}"
        compare(name, noise(z, **level, config=config, weights=weights), eps_hat)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
