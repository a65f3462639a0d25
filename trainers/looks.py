"""Looking at what is being trained: sheets of samples and the figures of held-back pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainers.average import Averages
from trainers.config import Run
from trainers.devices import Devices
from trainers.order import read_batch, seed_of, spread
from trainers.plan import Planned
from trainers.system import Draw, System, Turn


class Looks:
    """The same pictures with the same random numbers each time; nothing of the training changes by it.

    turn: makes the system's turn of a stage, its random numbers seeded by what is named.
    """

    def __init__(
        self,
        system: System,
        averages: Averages,
        run: Run,
        devices: Devices,
        turn: Callable[[Planned, str], Turn],
    ) -> None:
        self._system, self._averages, self._run, self._devices = system, averages, run, devices
        self._turn = turn
        self._batch: tuple[str, dict[str, Any]] | None = None

    def samples(self, stage: Planned) -> npt.NDArray[np.uint8]:
        """What the system shows of a few pictures, uint8 (rows, columns, H, W, 3)."""
        if self._batch is None or self._batch[0] != stage.name:
            pictures = stage.validation if len(stage.validation) else stage.pictures
            indices = spread(len(pictures), self._run.sample_rows)
            draws = [Draw(index, seed_of(self._run.seed, "sample", index)) for index in indices]
            self._batch = stage.name, self._devices.move(read_batch(pictures, draws)[0])
        with self._shown() as networks:
            return self._system.sample(networks, self._batch[1], self._turn(stage, "sample"))

    def figures(self, stage: Planned) -> dict[str, float]:
        """`validation/...`: the system's figures, means over the held-back pictures. Every process does its part."""
        pictures, devices = stage.validation, self._devices
        if not len(pictures) or type(self._system).validate is System.validate:
            return {}
        indices = spread(len(pictures), self._run.validate_pictures)
        mine = indices[devices.rank :: devices.processes] if len(indices) >= devices.processes else indices
        size = max(1, stage.stage.batch // devices.processes)
        sums: dict[str, Tensor | float] = {}
        turn = self._turn(stage, "validation")
        with self._shown() as networks:
            for start in range(0, len(mine), size):
                part = mine[start : start + size]
                draws = [Draw(index, seed_of(self._run.seed, "validation", index)) for index in part]
                batch = devices.move(read_batch(pictures, draws)[0])
                for name, value in self._system.validate(networks, batch, turn).items():
                    sums[name] = sums.get(name, 0.0) + value * len(part)
        totals = devices.means({**sums, "": float(len(mine))})
        count = totals.pop("")
        return {f"validation/{name}": total / count for name, total in totals.items()}

    @contextmanager
    def _shown(self) -> Iterator[dict[str, nn.Module]]:
        """The networks as they are looked at: averaged where they are, in eval mode, without gradients."""
        networks = {**self._system.networks, **self._averages.networks}
        for network in networks.values():
            network.eval()
        try:
            with torch.no_grad():
                yield networks
        finally:
            for network in self._system.networks.values():
                network.train()
