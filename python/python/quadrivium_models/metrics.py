"""How far samples are from each other.

A distance between finite samples is never 0: compare it with that between two samples of the truth. Distances are
between rows as they are given, so columns of different units are to be standardized first.
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np

from . import _native
from ._base import seed_of
from ._tables import Floats


def _rows(x: Any) -> Floats:
    return np.asarray(x, dtype=np.float64)


def energy_distance(X: Any, Y: Any, n_jobs: int | None = None) -> float:
    """The energy distance: one number, no parameter.

    >>> from quadrivium_models import metrics
    >>> metrics.energy_distance([[0.0], [1.0]], [[0.0], [1.0]]) < metrics.energy_distance([[0.0], [1.0]], [[5.0], [6.0]])
    True
    """
    return _native.energy_distance(_rows(X), _rows(Y), n_jobs)


def frechet_distance(X: Any, Y: Any, n_jobs: int | None = None) -> float:
    """The Fréchet distance between the Gaussians with the samples' means and covariances."""
    return _native.frechet_distance(_rows(X), _rows(Y), n_jobs)


def wasserstein(X: Any, Y: Any, n_jobs: int | None = None) -> float:
    """The Wasserstein-2 distance of two samples, exactly; the time grows with up to the cube of the rows."""
    return _native.wasserstein(_rows(X), _rows(Y), n_jobs)


def sliced_wasserstein(
    X: Any, Y: Any, directions: int = 200, random_state: Any = 0, n_jobs: int | None = None
) -> float:
    """The sliced Wasserstein-2 distance, over random directions.

    >>> from quadrivium_models import metrics
    >>> abs(metrics.sliced_wasserstein([[0.0, 0.0]], [[3.0, 4.0]], directions=1000) - 5 / 2**0.5) < 0.2
    True
    """
    return _native.sliced_wasserstein(_rows(X), _rows(Y), directions, seed_of(random_state), n_jobs)


def mmd_squared(X: Any, Y: Any, bandwidths: Sequence[float] | None = None, n_jobs: int | None = None) -> float:
    """The squared maximum mean discrepancy under a Gaussian kernel, unbiased; by default as wide as the median distance.

    >>> from quadrivium_models import metrics
    >>> round(metrics.mmd_squared([[0.0], [0.0]], [[1.0], [1.0]], bandwidths=[1.0]), 4)
    0.7869
    """
    widths = None if bandwidths is None else [float(width) for width in bandwidths]
    return _native.mmd_squared(_rows(X), _rows(Y), widths, n_jobs)


def two_sample_accuracy(X: Any, Y: Any, n_jobs: int | None = None) -> float:
    """How often a row's nearest neighbor is of the same sample: 0.5 if they cannot be told apart."""
    return _native.two_sample_accuracy(_rows(X), _rows(Y), n_jobs)


def prdc(real: Any, fake: Any, k: int = 5, n_jobs: int | None = None) -> dict[str, float]:
    """Precision and density of what is drawn, recall and coverage of what is real, by balls of k nearest neighbors.

    >>> from quadrivium_models import metrics
    >>> metrics.prdc([[0.0], [1.0], [5.0]], [[0.5], [0.6], [9.5]], k=1)["recall"]
    0.6666666666666666
    """
    found = _native.prdc(_rows(real), _rows(fake), k, n_jobs)
    return dict(zip(("precision", "recall", "density", "coverage"), found))
