"""Golden values of tests/golden_baseline.rs by scikit-learn and scipy, in f64. Needs numpy, scipy, scikit-learn; prints
JSON:

    python tests/golden/baseline.py > tests/golden/baseline.json

Rows are sines of their index, rounded to f32; they are printed with as many digits as f32 needs.
"""
import json
import warnings

import numpy as np
from scipy.stats import gaussian_kde
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity


def wave(n, phase):
    return np.sin(1.7 * np.arange(1, n + 1) + phase)


def rows(n, dim, phase):
    """Three lumps of unlike width and slant, shape (n, dim), as f32."""
    z = np.stack([wave(n, phase + 0.9 * c) ** 3 + 0.3 * wave(n, 5 * phase - 1.3 * c) for c in range(dim)], axis=1)
    lump = np.arange(n) % 3
    for c in range(1, dim):
        z[:, c] += 0.5 * (lump - 1) * z[:, 0]
    center = np.stack([3.0 * lump * np.cos(c + lump) for c in range(dim)], axis=1)
    return (center + z * (0.3 + 0.2 * lump)[:, None]).astype(np.float32).astype(np.float64)


def flat(a):
    return [float(v) for v in np.ravel(a)]


def short(x):
    return [float(str(np.float32(v))) for v in np.ravel(x)]


def full(family, covariances, k, dim):
    """The covariances as (k, dim, dim)."""
    if family == "full":
        return covariances
    if family == "tied":
        return np.array([covariances] * k)
    return np.array([np.eye(dim) * c for c in covariances])


def mixture(family, dim, k, iterations):
    """A start, the log-likelihood under it, and where EM gets from it.

    Spherical ones are fitted to standardized columns, and taken back to the data's units.
    """
    train, test = rows(200, dim, 0.4), rows(50, dim, 2.2)
    unit = train.std(axis=0) if family == "spherical" else np.ones(dim)
    weights = 1.0 + 0.5 * wave(k, 0.2)
    weights /= weights.sum()
    means = train[:: len(train) // k][:k] + 0.1
    covariances = []
    for i in range(k):
        l = np.tril(0.3 * wave(dim * dim, i).reshape(dim, dim))
        np.fill_diagonal(l, 1.0 + 0.1 * i)
        covariances.append(l @ l.T)
    covariances = np.array(covariances)
    covariances = {
        "full": covariances,
        "tied": covariances[0],
        "diag": np.array([np.diag(c) for c in covariances]),
        "spherical": np.array([c[0, 0] for c in covariances]),
    }[family]
    precisions = np.linalg.inv(covariances) if family in ("full", "tied") else 1 / covariances
    model = GaussianMixture(
        k, covariance_type=family, tol=0.0, reg_covar=0.0, max_iter=iterations, weights_init=weights,
        means_init=means / unit, precisions_init=precisions, random_state=0,
    )
    # The start itself: scikit-learn scores what it holds.
    start = GaussianMixture(k, covariance_type="full")
    start.weights_, start.means_, start.covariances_ = weights, means / unit, full(family, covariances, k, dim)
    start.precisions_cholesky_ = np.array([np.linalg.cholesky(np.linalg.inv(c)) for c in start.covariances_])
    units = np.multiply.outer(unit, unit)
    out = dict(
        family=family, dim=dim, components=k, iterations=iterations, train=short(train), test=short(test),
        weights=flat(weights), means=flat(means), covariances=flat(start.covariances_ * units),
        start_nats=flat(start.score_samples(test / unit) - np.log(unit).sum()),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It stops at max_iter, on purpose.
        model.fit(train / unit)
    assert model.n_iter_ == iterations
    return out | dict(
        fit_weights=flat(model.weights_), fit_means=flat(model.means_ * unit),
        fit_covariances=flat(full(family, model.covariances_, k, dim) * units),
        fit_nats=flat(model.score_samples(test / unit) - np.log(unit).sum()),
        responsibilities=flat(model.predict_proba(test / unit)),
        bic=model.bic(train / unit) + 2 * len(train) * np.log(unit).sum(),
    )


def kernels(dim):
    train, test = rows(150, dim, 0.4), rows(40, dim, 2.2)
    # Beside the rows, points in the tails.
    test[:5] = (10.0 * test[:5]).astype(np.float32)
    out = dict(dim=dim, train=short(train), test=short(test), isotropic={})
    for h in (0.05, 0.4):
        # One leaf, so that every pair is summed: in the far tails the tree's bounds end the search too early.
        kde = KernelDensity(bandwidth=h, leaf_size=len(train))
        out["isotropic"][h] = flat(kde.fit(train).score_samples(test))
    for rule in ("scott", "silverman"):
        kde = gaussian_kde(train.T, bw_method=rule)
        out[rule] = dict(factor=float(kde.factor), covariance=flat(kde.covariance), nats=flat(kde.logpdf(test.T)))
    return out


print(json.dumps(dict(
    mixtures=[mixture("full", 1, 3, 8), mixture("full", 2, 4, 12), mixture("full", 3, 3, 5)]
    + [mixture(family, 3, 4, 6) for family in ("tied", "diag", "spherical")],
    kernels=[kernels(1), kernels(2), kernels(3)],
)))
