"""GANimation's files: tight boxes of faces, and OpenFace's intensities of single pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.types import AU_NAMES
from export.official import OFFICIAL_SIZE, Part
from trainers.containers import read_state_dict
from trainers.ganimation import containers


def read(file: Path, size: int | None) -> Part:
    """The generator or the critic. The network takes any size."""
    cleaned = containers.clean(read_state_dict(file))
    account = cleaned.account
    return Part(account.network, cleaned.arguments, cleaned.weights, account, {})


def data(parts: Mapping[str, Part], size: int | None) -> dict[str, Any]:
    """The action units have names where there are as many as the official program has."""
    side = size or OFFICIAL_SIZE
    stated: dict[str, Any] = {
        "extractor": {"name": "openface", "version": "not stated", "mode": "static"},
        "crop": {"rule": "box", "size": side},
        "size": side,
    }
    if any(part.arguments.get("c_dim") == len(AU_NAMES) for part in parts.values()):
        stated["aus"] = list(AU_NAMES)
    return stated
