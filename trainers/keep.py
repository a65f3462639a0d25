"""Which checkpoints of a training stay, and what is left of a save that was cut off."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from trainers import checkpoint
from trainers.checkpoint import Checkpoint, Training, step_name


class Keeper:
    """The checkpoints of one training's folder: the newest few stay, and the milestones for good.

    last: the newest one that is whole.
    """

    def __init__(self, out: Path, keep: int, milestone: Callable[[int], bool]) -> None:
        self._out, self._folder, self._keep, self._milestone = out, out / "checkpoints", keep, milestone
        self.last: Path | None = None
        _mend(self._folder)

    def save(
        self, about: Checkpoint, weights: Mapping[str, Mapping[str, Tensor]], training: Training
    ) -> Path:
        """Write one, point to it, and let go of those that need not stay. Raises StorageError; the others stay then."""
        folder = self._folder / step_name(about.step)
        checkpoint.write(folder, about, weights, training)
        checkpoint.point(self._out, folder)
        self.last = folder
        self._prune(about.step)
        return folder

    def _prune(self, step: int) -> None:
        steps = sorted(int(path.name[5:]) for path in self._folder.glob("step_*") if path.name[5:].isdigit())
        passing = [older for older in steps if older <= step and not self._milestone(older)]
        for older in passing[: -self._keep]:
            shutil.rmtree(self._folder / step_name(older), ignore_errors=True)


def _mend(folder: Path) -> None:
    """After a crash: nothing half-written stays, and what was moved aside for a new one comes back without it."""
    for older in folder.glob(".step_*.older"):
        whole = folder / older.name[1 : -len(".older")]
        if whole.exists():
            shutil.rmtree(older, ignore_errors=True)
        else:
            older.rename(whole)
    for partial in folder.glob(".step_*.partial"):
        shutil.rmtree(partial, ignore_errors=True)
