"""What a training writes beside its checkpoints; a full disk costs the record, never the training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainers.curves import curves
from trainers.errors import StorageError
from trainers.grids import write_grid, write_png
from trainers.scalars import Board, Table


class Records:
    """`scalars.csv`, `curves.png`, `tensorboard/`, `samples/` and `notes.txt` of one training's folder.

    A file that cannot be written is told once, through `tell`, and tried again the next time.
    """

    def __init__(self, out: Path, step: int, *, tensorboard: bool, tell: Callable[[str], None]) -> None:
        self._out, self._tell = out, tell
        self._told: set[str] = set()
        self._table = Table(out / "scalars.csv", step)
        self._board = Board(out / "tensorboard", step) if tensorboard else None

    def row(self, step: int, stage: str, seconds: float, scalars: Mapping[str, float]) -> None:
        """One row of means."""
        start = {"step": step, "stage": stage, "seconds": round(seconds, 1)}
        self._survive("scalars.csv", lambda: self._table.add({**start, **scalars}))
        if self._board is not None:
            board = self._board
            if not self._survive("tensorboard", lambda: board.add(scalars, step)):
                self._board = None  # its thread is gone

    def samples(self, step: int, pictures: npt.NDArray[np.uint8]) -> None:
        """A sheet of samples, uint8 (rows, columns, H, W, 3), and the curves up to there."""
        path = self._out / "samples" / f"step_{step:08d}.png"
        self._survive("samples", lambda: write_grid(path, pictures))
        self._survive(
            "curves.png", lambda: write_png(self._out / "curves.png", curves(*self._table.contents()))
        )

    def note(self, text: str) -> None:
        """A line to be found again."""

        def append() -> None:
            with (self._out / "notes.txt").open("a", encoding="utf-8") as file:
                file.write(text + "\n")

        self._survive("notes.txt", append)

    def close(self) -> None:
        if self._board is not None:
            self._survive("tensorboard", self._board.close)

    def _survive(self, what: str, write: Callable[[], Any]) -> bool:
        try:
            write()
        except (OSError, StorageError) as error:
            if what not in self._told:
                self._told.add(what)
                self._tell(f"{self._out / what} cannot be written ({error}); the training goes on")
            return False
        self._told.discard(what)
        return True
