#!/usr/bin/env python3
"""Real and made tables for `cargo run --release --example defaults`: tables.py FOLDER (needs scikit-learn).

Writes NAME-SPLIT-train.csv and NAME-SPLIT-test.csv: a fifth of the rows held out, three times. Rounded columns are
spread by their step, so that every column has a density; constant columns are dropped. NAME-reference.csv gets the
negative log-likelihood of the held-out rows, in nats a row and split by split, of one Gaussian with a full covariance
and of scikit-learn's best: a mixture by BIC over all types of covariance, and kernels by cross-validation.
"""
import os
import sys

import numpy as np
from sklearn import datasets
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity

SPLITS = 3


def step(column):
    """The power of ten to which all numbers of a column are rounded; 0 for more than four decimals."""
    for decimals in range(5):
        if np.allclose(column, np.round(column, decimals), rtol=0, atol=1e-9):
            return 10.0**-decimals
    return 0.0


def spread(x, rng):
    return x + (rng.random(x.shape) - 0.5) * [step(column) for column in x.T]


def cigars(rng, n):
    z = np.c_[rng.normal(0, 12, n), rng.choice([-3, -1, 1, 3], n) + rng.normal(0, 0.12, n)]
    return z @ (np.array([[1, -1], [1, 1]]) / 2**0.5).T


def tables(rng):
    yield "iris", datasets.load_iris().data
    yield "wine", datasets.load_wine().data
    yield "cancer", datasets.load_breast_cancer().data
    yield "diabetes", datasets.load_diabetes(scaled=False).data
    yield "digits", datasets.load_digits().data
    yield "cigars", cigars(rng, 1500)
    yield "incomes", np.round(np.exp(rng.normal([10.3, 3.0], [0.9, 0.7], (2000, 2))), 2)
    yield "counts", np.c_[rng.poisson(1.3, 2000), rng.poisson(20, 2000), rng.negative_binomial(2, 0.1, 2000)]


def reference(train, test):
    """NLL of one Gaussian, of the mixture with the least BIC, of kernels: columns in standard units for the fit."""
    shift, scale = train.mean(0), train.std(0)
    units = np.log(scale).sum()
    train, test = (train - shift) / scale, (test - shift) / scale
    nll = lambda model: units - model.score_samples(test).mean()
    gaussian = GaussianMixture(1, reg_covar=1e-6).fit(train)
    best = min(
        (GaussianMixture(k, covariance_type=kind, random_state=0).fit(train)
         for kind in ("full", "tied", "diag", "spherical") for k in range(1, 11)),
        key=lambda model: model.bic(train))
    kernels = GridSearchCV(KernelDensity(), {"bandwidth": np.geomspace(0.02, 2, 25)}, cv=5).fit(train).best_estimator_
    return nll(gaussian), nll(best), nll(kernels)


def main(folder):
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, x in tables(rng):
        x = spread(x[:, x.std(0) > 0].astype(float), rng)
        lines = ["gaussian,mixture,kernels"]
        for split in range(SPLITS):
            order = rng.permutation(len(x))
            test, train = x[order[: len(x) // 5]], x[order[len(x) // 5 :]]
            for part, rows in (("train", train), ("test", test)):
                np.savetxt(os.path.join(folder, f"{name}-{split}-{part}.csv"), rows, "%.9g", ",")
            lines.append(",".join(f"{figure:.6f}" for figure in reference(train, test)))
            print(name, lines[-1], flush=True)
        with open(os.path.join(folder, f"{name}-reference.csv"), "w") as file:
            file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
