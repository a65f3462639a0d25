"""Checkpoints as an exporter reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from engine.bundle import CropRule, Extractor
from engine.crop import RULES
from engine.errors import BundleError
from trainers import checkpoint
from trainers.checkpoint import AVERAGED, Checkpoint
from trainers.errors import CheckpointError

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checkpoint whose networks can be built: what trainers/checkpoint.py says of it, and weights by name."""

    checkpoint: Checkpoint

    @property
    def system(self) -> str:
        return self.checkpoint.system

    @property
    def arguments(self) -> Mapping[str, Mapping[str, Any]]:
        return self.checkpoint.arguments

    @property
    def data(self) -> Mapping[str, Any]:
        return self.checkpoint.data

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.checkpoint.facts

    @property
    def averaged(self) -> bool:
        """Whether moving averages are kept, which are then what is exported."""
        return any(name.endswith(AVERAGED) for name in self.checkpoint.networks())

    def network(self, name: str, kind: type[N], **changes: Any) -> N:
        """A network in eval mode, its moving average where one is kept.

        changes: constructor arguments in place of the stored ones. Raises CheckpointError where the arguments or the
        weights are not this network's.
        """
        where = f"checkpoint {self.checkpoint.folder}"
        if name not in self.arguments:
            known = ", ".join(self.arguments) or "none"
            raise CheckpointError(f"{where}: holds no network {name!r}; it has {known}")
        try:
            built = kind(**{**self.arguments[name], **changes})
        except (TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{where}: network {name!r} cannot be built ({error})") from error
        kept = f"{name}{AVERAGED}"
        self.checkpoint.load(kept if kept in self.checkpoint.networks() else name, built)
        return built.eval().requires_grad_(False)


def load(folder: Path | str) -> Loaded:
    """A checkpoint's folder, or a training's folder, of which it is the latest. Raises CheckpointError."""
    return Loaded(checkpoint.read(folder))


def crop_rule(loaded: Loaded, size: int | None = None) -> CropRule:
    """The rule by which the training's pictures were cut, and the side that the networks saw.

    size: where the networks themselves say it. Raises BundleError where the checkpoint does not say it.
    """
    stated = loaded.data.get("crop")
    table = stated if isinstance(stated, Mapping) else {"rule": stated}
    rule = table.get("rule")
    if rule not in RULES:
        raise BundleError(f"the checkpoint states the crop rule {rule!r}, expected one of {', '.join(RULES)}")
    side = loaded.data.get("size", table.get("size")) if size is None else size
    if isinstance(side, bool) or not isinstance(side, int) or not 16 <= side <= 4096:
        raise BundleError(
            f"the checkpoint states the size {side!r}, expected a number of pixels in 16 .. 4096"
        )
    return CropRule(str(rule), side)


def extractor(loaded: Loaded) -> Extractor | None:
    """What measured the action units of the training; None where none were."""
    stated = loaded.data.get("extractor")
    if stated is None:
        return None
    table = stated if isinstance(stated, Mapping) else {"name": stated}
    name, version = table.get("name"), table.get("version") or "not stated"
    mode = table.get("mode") or loaded.data.get("mode") or "static"
    if not isinstance(name, str) or mode not in ("static", "dynamic"):
        raise BundleError(
            f"the checkpoint states the extractor {stated!r}, expected a name, a version and a mode"
        )
    return Extractor(name, str(version), str(mode))
