"""The kinds of models."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from . import _native
from ._base import Estimator
from ._tables import Label, Schema


class Autoregressive(Estimator):
    """The chain rule with one masked network: exact likelihood."""

    _kind = "autoregressive"


class Diffusion(Estimator):
    """Denoising diffusion: likelihood by the probability-flow ODE."""

    _kind = "diffusion"


class EnergyModel(Estimator):
    """An energy by persistent chains: normalized up to two columns.

    Beyond, its likelihood has an unknown constant: there is no ``score``, and with classes, each of which has a constant of
    its own, no ``score_samples``.
    """

    _kind = "energy"


class Flow(Estimator):
    """A normalizing flow of splines: exact likelihood."""

    _kind = "flow"


class FlowMap(Estimator):
    """Jumps along a continuous flow, in few steps: likelihood by its ODE."""

    _kind = "flow_map"


class FlowMatching(Estimator):
    """A continuous flow: likelihood by its ODE."""

    _kind = "flow_matching"


class GAN(Estimator):
    """A Wasserstein GAN with gradient penalty: no likelihood, so neither ``score_samples`` nor ``score``."""

    _kind = "gan"


class GaussianMixture(Estimator):
    """Gaussians by EM, as many as cross-validation chooses: exact likelihood, no network."""

    _kind = "gaussian_mixture"


class KernelDensity(Estimator):
    """A kernel on each row, as wide as cross-validation chooses: exact likelihood, no network."""

    _kind = "kernel_density"


class LatentDiffusion(Estimator):
    """A diffusion of a VAE's latents: a lower bound on the likelihood."""

    _kind = "latent_diffusion"


class ScoreModel(Estimator):
    """A score network on a ladder of noise: no likelihood, so neither ``score_samples`` nor ``score``."""

    _kind = "score"


class VAE(Estimator):
    """A variational autoencoder: a lower bound on the likelihood."""

    _kind = "vae"


class Composition(Estimator):
    """A model of a kind that cannot be fitted here, read from a file."""


#: The estimators by the name of their kind in files and in the program ``quadrivium``.
KINDS: dict[str, type[Estimator]] = {
    estimator._kind: estimator
    for estimator in (
        Autoregressive,
        Diffusion,
        EnergyModel,
        Flow,
        FlowMap,
        FlowMatching,
        GAN,
        GaussianMixture,
        KernelDensity,
        LatentDiffusion,
        ScoreModel,
        VAE,
    )
}

# The parameters and attributes are the same for all.
_COMMON = (Estimator.__doc__ or "").split("\n", 1)[1]
for _estimator in KINDS.values():
    _estimator.__doc__ = f"{_estimator.__doc__}\n{_COMMON}"


def load(path: str | os.PathLike[str]) -> Estimator:
    """Reads a model of any kind that ``save`` or the program ``quadrivium`` wrote.

    Rows that it draws are a DataFrame if the file names its columns.

    >>> import os, tempfile
    >>> import quadrivium_models as qm
    >>> X = qm.worlds.sample("ring8", 200, random_state=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "ring.safetensors")
    >>> qm.KernelDensity(random_state=0).fit(X).save(path)
    >>> qm.load(path)
    KernelDensity()
    """
    model = _native.Model.load(os.fspath(path))
    kind, in_units = model.kind()
    estimator = KINDS.get(kind, Composition)()
    if in_units:
        estimator.units = "auto"
    text, named = model.columns()
    columns = json.loads(text)
    modeled = [column for column in columns if column.get("role", "modeled") == "modeled"]
    condition = [column for column in columns if column.get("role", "modeled") != "modeled"]
    names = [column["name"] for column in modeled]
    # Names that nobody has given.
    unnamed = not named or names == [f"x{place + 1}" for place in range(len(names))]
    labels = [_label(column) for column in modeled]
    dtypes = [np.dtype(float if label is None else object) for label in labels]
    schema = Schema(None if unnamed else names, dtypes, labels, True)
    estimator._keep(model, schema, _label(condition[0]) if condition else None)
    return estimator


def _label(column: dict[str, Any]) -> Label | None:
    cells = column.get("cells")
    if not isinstance(cells, dict):
        return None
    texts = list(cells["labels"])
    return Label(texts, [text or None for text in texts])


def recipe(kind: str, rows: int, columns: int) -> dict[str, Any]:
    """The config and the training options that a kind of model gets for a table of so many rows and columns.

    >>> import quadrivium_models as qm
    >>> qm.recipe("vae", 1000, 10)["options"]["batch"]
    128
    """
    told: dict[str, Any] = json.loads(_native.recipe(kind, rows, columns))
    return told
