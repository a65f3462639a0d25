"""Each system's files of weights as its official program, and what was made of that, write them.

A module here has `read(file, size)`, which gives the `Part` that one file holds, and `data(parts, size)`, what the
official program fed its networks with, as a checkpoint's `data` says it (crop, size, extractor, aus).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from torch import Tensor

from trainers.containers import Account

OFFICIAL_SIZE: Final = 128
"""Side of the pictures, where neither the files nor the user say it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file's network under our names."""

    network: str
    arguments: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    account: Account
    facts: Mapping[str, Any]


class Importer(Protocol):
    """A module of this package. size: side of the pictures, None where the user said nothing."""

    def read(self, file: Path, size: int | None) -> Part:
        """Raises CheckpointError for what is not one of the system's networks, whole."""
        ...

    def data(self, parts: Mapping[str, Part], size: int | None) -> dict[str, Any]:
        """parts: by the name of the network."""
        ...
