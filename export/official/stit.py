"""STIT's files: FFHQ's aligned squares of 1024 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.official import Part
from trainers.errors import CheckpointError
from trainers.stit import containers

CROP = "celeba-hq"
"""The same square as FFHQ's."""


def read(file: Path, size: int | None) -> Part:
    """ffhq.pkl (its G_ema), a tuned model, e4e_ffhq_encode.pt or 79999_iter.pth, told apart by what is in them.

    size: only checked, where it is given, against the side that the generator's shapes give.
    """
    cleaned = containers.read(file)
    network = cleaned.account.network
    if network == "generator" and size is not None:
        side = 4 * 2 ** (len(cleaned.arguments["widths"]) - 1)
        if size != side:
            raise CheckpointError(f"size: got {size}, but the generator makes pictures of {side} pixels")
    return Part(network, cleaned.arguments, cleaned.weights, cleaned.account, cleaned.facts)


def data(parts: Mapping[str, Part], size: int | None) -> dict[str, Any]:
    """No action units: an edit is a direction."""
    if "generator" not in parts:
        raise CheckpointError(f"got {', '.join(parts)}, expected a generator's file, too (ffhq.pkl)")
    side = 4 * 2 ** (len(parts["generator"].arguments["widths"]) - 1)
    return {"extractor": None, "crop": {"rule": CROP, "size": side}, "size": side}
