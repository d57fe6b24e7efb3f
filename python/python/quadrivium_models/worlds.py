"""Toy distributions in the plane whose density is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _native
from ._base import seed_of
from ._tables import Floats

#: The names of the toys.
NAMES: tuple[str, ...] = tuple(_native.TOYS)


def sample(name: str, n_samples: int, random_state: Any = None) -> Floats:
    """Draws rows of a toy, shape (n_samples, 2).

    >>> from quadrivium_models import worlds
    >>> worlds.sample("pinwheel", 5, random_state=0).shape
    (5, 2)
    """
    return _native.toy_sample(name, n_samples, seed_of(random_state))


def log_density(name: str, X: Any) -> Floats:
    """ln p(x) of each row, in nats; -inf where the toy has no rows.

    >>> from quadrivium_models import worlds
    >>> worlds.log_density("checkerboard", [[1.0, 1.0], [9.0, 9.0]]).round(3).tolist()
    [-3.466, -inf]
    """
    return _native.toy_log_density(name, np.asarray(X, dtype=np.float64))


def entropy(name: str) -> float | None:
    """The entropy -E ln p(x), in nats: no model's mean log-likelihood can be more than its negative, but by chance.

    >>> from quadrivium_models import worlds
    >>> round(worlds.entropy("checkerboard"), 3)
    3.466
    """
    return _native.toy_entropy(name)
