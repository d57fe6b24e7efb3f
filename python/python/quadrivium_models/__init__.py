"""Twelve generative models that train, sample and score on a CPU, behind scikit-learn's conventions.

Every model learns rows of numbers, draws new ones and, where it has a likelihood, scores rows that it has not seen:

>>> import quadrivium_models as qm
>>> X = qm.worlds.sample("moons", 1000, random_state=0)
>>> model = qm.GaussianMixture(random_state=0).fit(X)
>>> model.sample(3, random_state=1).shape
(3, 2)
>>> model.score_samples(X).shape, model.likelihood_kind_
((1000,), 'exact')

``help(qm.VAE)`` says what the parameters are; they are the same for all. ``load`` reads a model of any kind.
"""

from . import engines, map, metrics, worlds
from ._base import Estimator, NotFittedError
from ._models import (
    GAN,
    KINDS,
    VAE,
    Autoregressive,
    Composition,
    Diffusion,
    EnergyModel,
    Flow,
    FlowMap,
    FlowMatching,
    GaussianMixture,
    KernelDensity,
    LatentDiffusion,
    ScoreModel,
    load,
    recipe,
)
from ._native import __version__

__all__ = [
    "GAN",
    "KINDS",
    "VAE",
    "Autoregressive",
    "Composition",
    "Diffusion",
    "EnergyModel",
    "Estimator",
    "Flow",
    "FlowMap",
    "FlowMatching",
    "GaussianMixture",
    "KernelDensity",
    "LatentDiffusion",
    "NotFittedError",
    "ScoreModel",
    "__version__",
    "engines",
    "load",
    "map",
    "metrics",
    "recipe",
    "worlds",
]
