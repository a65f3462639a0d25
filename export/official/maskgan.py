"""MaskGAN's files: CelebA-HQ's aligned pictures of 512 pixels, and label maps of CelebAMask-HQ's classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from export.official import Part
from trainers.errors import CheckpointError
from trainers.maskgan import containers
from trainers.maskgan.recipe import MULTIPLE, SMALLEST

SIZE: Final = 512
"""Side of the official pictures. The generator and the parser take others, MaskVAE does not."""


def read(file: Path, size: int | None) -> Part:
    """The generator, the parser, and under their official names blender, critic and MaskVAE."""
    if size is not None and (size % MULTIPLE or size < SMALLEST):
        raise CheckpointError(f"size: got {size}, expected a multiple of {MULTIPLE}, {SMALLEST} or more")
    cleaned = containers.read(file)
    account = cleaned.account
    return Part(account.network, cleaned.arguments, cleaned.weights, account, {})


def data(parts: Mapping[str, Part], size: int | None) -> dict[str, Any]:
    """No action units: what is wanted is said by a layout."""
    side = size or SIZE
    return {
        "extractor": None,
        "crop": {"rule": "celeba-hq", "size": side},
        "size": side,
        "classes": "celebamask",
    }
