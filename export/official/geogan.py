"""GeoGAN's files: the centre of CelebA's aligned pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.official import OFFICIAL_SIZE, Part
from trainers.geogan import containers


def read(file: Path, size: int | None) -> Part:
    """The generator, whose size lies in its own arguments, or the critic. An opt.txt beside it is read, too."""
    cleaned = containers.read(file, size=size)
    account = cleaned.account
    name = "critic" if account.network == "discriminator" else account.network
    return Part(name, cleaned.arguments, cleaned.weights, account, cleaned.facts)


def data(parts: Mapping[str, Part], size: int | None) -> dict[str, Any]:
    """No action units: an attribute comes from a donor."""
    stated = [part.arguments["size"] for part in parts.values() if "size" in part.arguments]
    side = stated[0] if stated else (size or OFFICIAL_SIZE)
    return {"extractor": None, "crop": {"rule": "celeba", "size": side}, "size": side}
