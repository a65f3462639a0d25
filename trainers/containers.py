"""Weights made elsewhere: read without running code, and an account of what became of every key.

Each system has its own `containers.py` on this, which knows the layouts of its official files.
"""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import IO, Any, Final

import torch
from torch import Tensor

from trainers.errors import CheckpointError

_LONGEST_NAME: Final = 500
"""Of a tensor; published ones have some 80 letters."""


@dataclass
class Account:
    """What became of every key of a file.

    origin: whose layout. network: which network. renamed: old name to new. dropped: name to reason. added: name to
    value, for what inference does not read. misshapen: name to what is wrong with its values.
    """

    origin: str
    network: str
    matched: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshapen: dict[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return not (self.missing or self.unexpected or self.misshapen)

    def summary(self) -> str:
        """One line."""
        counts = {
            "matched": self.matched,
            "renamed": self.renamed,
            "dropped": self.dropped,
            "added": self.added,
            "missing": self.missing,
            "unexpected": self.unexpected,
            "of another shape": self.misshapen,
        }
        told = ", ".join(f"{len(names)} {what}" for what, names in counts.items() if names)
        return f"{self.network} of the {self.origin} layout: {told}"

    def text(self) -> str:
        """The summary and one line per key that did not simply match."""
        lines = [self.summary()]
        lines += [f"  renamed     {old} -> {new}" for old, new in self.renamed.items()]
        lines += [f"  dropped     {name}: {reason}" for name, reason in self.dropped.items()]
        lines += [f"  added       {name}: {value}" for name, value in self.added.items()]
        lines += [f"  missing     {name}" for name in self.missing]
        lines += [f"  unexpected  {name}" for name in self.unexpected]
        lines += [f"  shape       {name}: {why}" for name, why in self.misshapen.items()]
        return "\n".join(lines)

    def refusal(self) -> str:
        """One line that names the first three things that do not fit."""
        reasons = [
            *(f"{name} is missing" for name in self.missing),
            *(f"{name} is unexpected" for name in self.unexpected),
            *(f"{name}: {why}" for name, why in self.misshapen.items()),
        ]
        more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        return f"{self.summary()}; {'; '.join(reasons[:3])}{more}"

    def fit(self, named: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights that fit, in order and dtypes of `wanted` (a state dict, may be on the meta device)."""
        weights: dict[str, Tensor] = {}
        for name, like in wanted.items():
            if name.endswith("num_batches_tracked") and name not in named:
                self.added[name] = "0, it is not read"
                weights[name] = torch.zeros(like.shape, dtype=like.dtype)
            elif name not in named:
                self.missing.append(name)
            elif named[name].shape != like.shape:
                self.misshapen[name] = f"{tuple(named[name].shape)}, expected {tuple(like.shape)}"
            elif like.is_floating_point() and not torch.isfinite(named[name]).all():
                self.misshapen[name] = "holds values that are not finite"
            else:
                weights[name] = named[name].to(like.dtype).contiguous()
                self.matched.append(name)
        self.unexpected += [name for name in named if name not in wanted]
        return weights


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The state dict in a file of torch.save, old or new serialisation; no code in it is run.

    Raises CheckpointError for what is no such file, holds anything but tensors, or is cut short.
    """
    stored = read_plain(path)
    if not isinstance(stored, Mapping) or not stored:
        raise CheckpointError(f"{path}: holds {type(stored).__name__}, expected a state dict of tensors")
    return state_dict(path, stored)


def read_plain(path: Path) -> Any:
    """Whatever a file of torch.save holds, if it is tensors and plain values; no code in it is run.

    Raises CheckpointError for what is no such file, holds objects of another kind, or is cut short.
    """
    check_file(path)
    try:
        _check_archive(path)
        stored = load(path)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except UnpicklingError as error:
        if (
            "global" not in str(error).lower()
        ):  # not a class by its name: an operation of a pickle, or no pickle
            raise CheckpointError(
                f"{path}: damaged, no file of torch.save, or code, which is never loaded; expected a state dict"
            ) from error
        raise CheckpointError(
            f"{path}: not plain weights: the file holds Python objects, which are never loaded; expected a "
            "state dict of tensors"
        ) from error
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # whatever torch's reader comes upon in a damaged file
        raise CheckpointError(f"{path}: damaged, cut short, or no file of torch.save") from error
    return stored


def load(source: Path | IO[bytes]) -> Any:
    """What torch's own reader makes of plain values. Of a damaged file it raises anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of a pickle's protocol before it refuses what is in it
        return torch.load(source, weights_only=True, map_location="cpu")


def check_file(path: Path) -> None:
    """Raises CheckpointError for a folder, and for a pipe or a device, which need not come to an end."""
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path}: is no file; expected one of torch.save")


def _check_archive(path: Path) -> None:
    """torch stores the parts of its archives as they are: what is packed may be larger than the memory."""
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
    packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
    if packed or sum(part.file_size for part in parts) > path.stat().st_size:
        raise CheckpointError(
            f"{path}: its parts are compressed, or larger than the file, as torch never writes them; save it anew"
        )


def state_dict(path: Path, stored: Mapping[Any, Any]) -> dict[str, Tensor]:
    """What a file holds, if it is nothing but tensors by name. Raises CheckpointError."""
    if others := [
        str(name)[:_LONGEST_NAME] for name, value in stored.items() if not isinstance(value, Tensor)
    ]:
        raise CheckpointError(
            f"{path}: expected tensors only; {others[0]!r} is none (an optimiser's state, or weights one level deeper?)"
        )
    if not all(isinstance(name, str) for name in stored):
        raise CheckpointError(f"{path}: its tensors are not named by text, expected a state dict of tensors")
    if not all(name.isprintable() and len(name) <= _LONGEST_NAME for name in stored):
        raise CheckpointError(
            f"{path}: a tensor's name is longer than {_LONGEST_NAME} letters, or has letters that cannot be shown"
        )
    if strange := [name for name, value in stored.items() if not _plain(value)]:
        raise CheckpointError(
            f"{path}: {strange[0]} declares more values than the file holds, or is sparse or quantised; expected "
            "plain tensors"
        )
    return dict(stored)


def _plain(value: Tensor) -> bool:
    """Every value is there: a small file may declare a tensor of any size, by strides of 0."""
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()
