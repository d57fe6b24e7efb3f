"""The map of paradigms: what a description says of a model."""

from __future__ import annotations

import json
from typing import Any

from . import _native


def read(text: str) -> dict[str, Any]:
    """Reads a description of a model, in English: its paradigms, with evidence, as the JSON of ``quadrivium read``.

    Evidence is given by bytes: ``text.encode()[start:end]``.

    >>> from quadrivium_models import map
    >>> found = map.read("A latent diffusion model: a VAE encodes images, and a diffusion model is trained on its latents.")
    >>> [part["paradigm"] for part in found["components"]]
    ['latent-variable', 'diffusion']
    """
    told: dict[str, Any] = json.loads(_native.read(text)[0])
    return told


def card(text: str) -> str:
    """What ``read`` finds, as text that quotes the words on which each conclusion rests."""
    return _native.read(text)[1]
