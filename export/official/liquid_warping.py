"""Liquid Warping GAN's files: whole bodies in pictures of 512 pixels, seen through SMPL's mesh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from export.official import Part
from trainers.errors import CheckpointError
from trainers.liquid_warping import containers

SIZE: Final = 512
SOURCES: Final = 2
"""Of a bundle, where nothing else is said; the official program takes from one up to eight."""
EROSION: Final = 11
"""Pixels of the box by which the known background is made smaller, at SIZE."""


def read(file: Path, size: int | None) -> Part:
    """A generator (the shared one or a person's), a critic, or SPIN, told apart by what is in them."""
    cleaned = containers.read(file)
    network = cleaned.account.network
    if network == "generator" and size is not None:
        widths, behind = cleaned.arguments["widths"], cleaned.arguments.get("background_widths", ())
        multiple = 2 ** max(len(widths), len(behind) - 1)
        if size % multiple:
            raise CheckpointError(f"size: got {size}, expected a multiple of {multiple}")
    return Part(network, cleaned.arguments, cleaned.weights, cleaned.account, {})


def data(parts: Mapping[str, Part], size: int | None) -> dict[str, Any]:
    """No action units: a person moves as a mesh does."""
    side = size or SIZE
    return {
        "extractor": None,
        "crop": {"rule": "box", "size": side},
        "size": side,
        "mesh": "smpl",
        "sources": SOURCES,
        "background_erosion": max(1, round(EROSION * side / SIZE / 2) * 2 - 1),
    }
