"""Which sample comes when: an order that is a function of the seed and the place in the training, and of nothing else.

So there is no sampler state to lose. Any number of worker processes, and any number of GPUs, sees the same samples with
the same random numbers in the same step.
"""

from __future__ import annotations

import hashlib
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from trainers.errors import DataError, PictureError
from trainers.system import Draw, Pictures

TRIES = 16
"""So many unreadable pictures in a row are a fault of the folder, not of a picture."""


def seed_of(*parts: int | str) -> int:
    """A seed of 63 bits from names and numbers; other parts, other random numbers."""
    text = "\0".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class Order:
    """Every epoch a new permutation; batches run on over its end, so that each step has a whole batch."""

    def __init__(self, length: int, seed: int, stage: str) -> None:
        self._length, self._seed, self._stage = length, seed, stage
        self._epoch = -1
        self._permutation: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def draw(self, position: int) -> Draw:
        """The sample at a position of the stage, 0-based."""
        epoch, place = divmod(position, self._length)
        if epoch != self._epoch:
            numbers = np.random.default_rng(seed_of(self._seed, self._stage, "order", epoch))
            self._permutation, self._epoch = numbers.permutation(self._length), epoch
        return Draw(int(self._permutation[place]), seed_of(self._seed, self._stage, "sample", position))


@dataclass(frozen=True)
class Batches:
    """The draws of a process's part of every batch, from a position of the stage on, for so many steps."""

    order: Order
    position: int
    batch: int
    steps: int
    rank: int = 0
    processes: int = 1

    def __iter__(self) -> Iterator[list[Draw]]:
        position = self.position
        for _ in range(self.steps):
            yield [self.order.draw(position + i) for i in range(self.rank, self.batch, self.processes)]
            position += self.batch


@dataclass(frozen=True)
class Read:
    """A sample, what had to be passed over before it, or why there is none."""

    sample: Mapping[str, Any]
    passed: tuple[str, ...] = ()
    failure: str = ""


class Reader(Dataset[Read]):
    """A dataset that survives pictures that cannot be read: the next one is taken, and its reason told."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def __getitem__(self, draw: Draw) -> Read:
        passed: list[str] = []
        length = len(self._pictures)
        try:
            for further in range(min(TRIES, length)):
                try:
                    sample = self._pictures[Draw((draw.index + further) % length, draw.seed)]
                    return Read(sample, tuple(passed))
                except PictureError as error:
                    passed.append(str(error))
        except DataError as error:  # as a value, because torch wraps a worker's error into many lines
            return Read({}, failure=str(error))
        return Read({}, failure=f"{len(passed)} pictures in a row cannot be read, the last one: {passed[-1]}")


def collate(reads: Sequence[Read]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A batch of tensors, first axis the sample, and what was passed over. Raises nothing: see `checked`."""
    failures = [read.failure for read in reads if read.failure]
    if failures:
        return {}, tuple(failures)
    batch = default_collate([dict(read.sample) for read in reads])
    for name, value in batch.items():
        if isinstance(value, torch.Tensor) and value.dtype == torch.float64:  # Python's own floats
            batch[name] = value.float()
    return batch, tuple(text for read in reads for text in read.passed)


def checked(batch: dict[str, Any], texts: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What `collate` gave, or DataError where it gave no batch."""
    if not batch:
        raise DataError(texts[0] if texts else "a dataset gave samples without content")
    return batch, texts


def read_batch(pictures: Pictures, draws: Sequence[Draw]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A batch read here and now. Raises DataError."""
    reader = Reader(pictures)
    return checked(*collate([reader[draw] for draw in draws]))


def loader(pictures: Pictures, batches: Batches, *, workers: int, pin: bool) -> DataLoader[Any]:
    """What reads the batches, in this process or in several. Each item goes through `checked`."""
    return DataLoader(
        Reader(pictures),
        batch_sampler=batches,
        num_workers=workers,
        # A fork of a process in which torch or OpenCV has threads may find their locks taken for ever.
        multiprocessing_context="spawn" if workers else None,
        collate_fn=collate,
        pin_memory=pin,
        worker_init_fn=_begin_worker,
        generator=torch.Generator(),  # else it takes numbers from the global one
    )


def spread(length: int, most: int) -> list[int]:
    """At most `most` indices, evenly over the dataset."""
    count = min(length, most)
    return [i * length // count for i in range(count)]


def _begin_worker(worker: int) -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # sent to the whole group: the training process decides
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
