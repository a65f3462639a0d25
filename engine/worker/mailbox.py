"""A mailbox for one picture in shared memory: the newest wins, and neither side ever waits for the other.

One producer, one consumer, no locks between them. Three buffers: picture n goes into buffer n % 3, and then n is
published. The consumer copies the buffer of the newest n and looks again: where the producer has meanwhile begun
picture n + 3, the copy may be torn, and is dropped. A peer that is killed or stopped in the middle of either leaves
the last whole picture behind. What the peer writes is checked before use: nonsense is a WorkerError, never a crash.

The producer's counters and the consumer's stand in cache lines of their own, each an aligned 8-byte word with one
writer. A word and the pixels before it become visible together because whoever puts also posts a semaphore or writes
to a pipe, and whoever takes comes from waiting for it.
"""

from __future__ import annotations

import math
import os
import secrets
import sys
import threading
from collections.abc import Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engine.errors import WorkerError
from engine.types import U8
from engine.worker.interface import Stamp

MOST_BYTES = 3840 * 2160 * 3
"""Largest picture that a mailbox is made for."""

_MAGIC = 0x6D61726F747465  # "marotte"
_BUFFERS = 3
_PAGE = 4096
_MOST_SIDES = 3

# words of the head: the producer's line, then the consumer's
_HEAD_WORDS = 16
_KIND, _CAPACITY, _WRITING, _PUBLISHED = 0, 1, 2, 3
_TAKEN, _DROPPED = 8, 9

# what stands beside each picture
_WHOLE_NUMBERS = 8
_NUMBER, _PTS, _MARK, _SIDES, _SIDE0 = 0, 1, 2, 3, 4
_SECONDS = 4
_ARRIVED, _SENT = 0, 1

_attaching = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Letter:
    """A picture that was taken out. picture: the receiver's own. number: counts what was put, from 1. sent_s: when
    putting it in began."""

    picture: U8
    stamp: Stamp
    number: int
    sent_s: float


def _size(capacity: int) -> tuple[int, int]:
    """Bytes before the first picture, and from one picture to the next."""
    before = 8 * (_HEAD_WORDS + _BUFFERS * (_WHOLE_NUMBERS + _SECONDS))
    return -(-before // _PAGE) * _PAGE, -(-capacity // _PAGE) * _PAGE


class Mailbox:
    """Either end of one mailbox. Each end may be used from several threads, which take turns; the ends never do.

    name: by which the other process attaches. capacity: bytes of the largest picture.
    """

    def __init__(self, segment: SharedMemory, capacity: int, *, owned: bool) -> None:
        self.name, self.capacity = segment.name, capacity
        self._segment: SharedMemory | None = segment
        self._owned = owned
        self._lock = threading.Lock()
        start, step = _size(capacity)
        self._head: NDArray[np.uint64] = np.ndarray(_HEAD_WORDS, np.uint64, segment.buf)
        numbers = 8 * _HEAD_WORDS
        self._numbers: NDArray[np.int64] = np.ndarray(
            (_BUFFERS, _WHOLE_NUMBERS), np.int64, segment.buf, offset=numbers
        )
        seconds = numbers + 8 * _BUFFERS * _WHOLE_NUMBERS
        self._seconds: NDArray[np.float64] = np.ndarray(
            (_BUFFERS, _SECONDS), np.float64, segment.buf, offset=seconds
        )
        self._pixels: list[U8] = [
            np.ndarray(capacity, np.uint8, segment.buf, offset=start + step * place)
            for place in range(_BUFFERS)
        ]
        self._put = 0
        self._taken = 0
        self._dropped = 0
        self._told = 0

    @classmethod
    def create(cls, capacity: int) -> Self:
        """A new one, of a random name, that this process owns. Raises WorkerError where there is no memory for it."""
        if not 0 < capacity <= MOST_BYTES:
            raise WorkerError(f"mailbox: got a picture of {capacity} bytes, expected 1 .. {MOST_BYTES}")
        start, step = _size(capacity)
        segment = create_segment(start + _BUFFERS * step)
        mailbox = cls(segment, capacity, owned=True)
        mailbox._head[_CAPACITY] = capacity
        mailbox._head[_KIND] = _MAGIC
        return mailbox

    @classmethod
    def attach(cls, name: str, capacity: int) -> Self:
        """The other end of one that another process owns. Raises WorkerError when it is not there, or not as told."""
        segment = attach_segment(name)
        start, step = _size(capacity) if 0 < capacity <= MOST_BYTES else (_PAGE, MOST_BYTES)
        head = bytes(memory(segment)[:16])
        if (
            segment.size < start + _BUFFERS * step
            or int.from_bytes(head[:8], sys.byteorder) != _MAGIC
            or int.from_bytes(head[8:], sys.byteorder) != capacity
        ):
            segment.close()
            raise WorkerError(f"mailbox {name}: expected one for {capacity} bytes, got something else")
        return cls(segment, capacity, owned=False)

    def put(self, picture: U8, stamp: Stamp, sent_s: float = 0.0) -> bool:
        """Put a picture in, in place of one that waits: whether it did, or whether the consumer has told of another
        that it dropped. A closed mailbox drops it (True). Raises WorkerError when it is larger than the capacity."""
        with self._lock:
            if self._segment is None:
                return True
            if picture.nbytes > self.capacity or not 0 < picture.ndim <= _MOST_SIDES:
                raise WorkerError(
                    f"mailbox: got a picture of {picture.shape}, expected at most {self.capacity} bytes"
                )
            number = self._put + 1
            place = number % _BUFFERS
            self._head[_WRITING] = number
            shape = (*picture.shape, 1, 1)[:_MOST_SIDES]
            self._numbers[place] = (number, stamp.pts, stamp.mark, picture.ndim, *shape, 0)
            self._seconds[place, : _SENT + 1] = stamp.arrived_s, sent_s
            np.copyto(self._pixels[place][: picture.nbytes].reshape(picture.shape), picture)
            waited = number > 1 and int(self._head[_TAKEN]) < self._put
            self._head[_PUBLISHED] = number
            self._put = number
            return self._lost(waited)

    def _lost(self, waited: bool) -> bool:
        """One picture put is told at most one lost; a second one is told with the next."""
        self._dropped += waited
        if self._dropped + int(self._head[_DROPPED]) > self._told:
            self._told += 1
            return True
        return False

    def drop(self) -> None:
        """The consumer tells the producer that a picture it took was replaced before it was used."""
        with self._lock:
            if self._segment is not None:
                self._dropped += 1
                self._head[_DROPPED] = self._dropped

    def newest(self) -> int:
        """Number of the last picture put in; 0 before the first."""
        with self._lock:
            return int(self._head[_PUBLISHED]) if self._segment is not None else 0

    def take(self) -> Letter | None:
        """The newest picture, once; None where there is no new one, or where it was overwritten meanwhile.

        Raises WorkerError when what the producer wrote makes no sense.
        """
        with self._lock:
            if self._segment is None:
                return None
            number = int(self._head[_PUBLISHED])
            if number == self._taken:
                return None
            letter = self._read(number)
            if int(self._head[_WRITING]) >= number + _BUFFERS:
                return None
            if letter is None:
                raise WorkerError(f"mailbox {self.name}: the other side wrote nonsense")
            self._taken = number
            self._head[_TAKEN] = number
            return letter

    def _read(self, number: int) -> Letter | None:
        """A copy of picture `number`; None where what stands beside it is nonsense."""
        place = number % _BUFFERS
        told, pts, mark, count, *sides = self._numbers[place].tolist()[: _SIDE0 + _MOST_SIDES]
        if told != number or not 0 < count <= _MOST_SIDES:
            return None
        shape = tuple(sides[:count])
        if min(shape) < 1 or math.prod(shape) > self.capacity:
            return None
        arrived_s, sent_s = self._seconds[place].tolist()[: _SENT + 1]
        if not (math.isfinite(arrived_s) and math.isfinite(sent_s)):
            return None
        return Letter(self._copy(place, shape), Stamp(pts, arrived_s, mark), number, sent_s)

    def _copy(self, place: int, shape: tuple[int, ...]) -> U8:
        picture = np.empty(shape, np.uint8)
        np.copyto(picture, self._pixels[place][: picture.size].reshape(shape))
        return picture

    def close(self) -> None:
        """Let go of it; the owner's closing also removes its name. More than once is allowed."""
        with self._lock:
            segment, self._segment = self._segment, None
            if segment is None:
                return
            del self._head, self._numbers, self._seconds, self._pixels
            close_segment(segment, owned=self._owned)


def create_segment(size: int) -> SharedMemory:
    """Shared memory of a random name, all of it really there. Raises WorkerError."""
    try:
        segment = SharedMemory(f"marotte-{secrets.token_hex(8)}", create=True, size=size)
    except OSError as error:
        raise _no_memory(size) from error
    if sys.platform == "linux":
        # Without this a full /dev/shm (64 MB in many containers) ends the process at the first write beyond it.
        try:
            fd = os.open(f"/dev/shm/{segment.name}", os.O_RDWR)
            try:
                os.posix_fallocate(fd, 0, size)
            finally:
                os.close(fd)
        except OSError as error:
            close_segment(segment, owned=True)
            raise _no_memory(size) from error
    return segment


def _no_memory(size: int) -> WorkerError:
    return WorkerError(
        f"shared memory: {size >> 10} kB are not to be had; free some, or give the container more"
    )


def attach_segment(name: str) -> SharedMemory:
    """Shared memory that another process owns and will remove. Raises WorkerError."""
    try:
        if sys.version_info >= (3, 13):
            return SharedMemory(name, track=False)
        with _attaching, _untracked():
            return SharedMemory(name)
    except (OSError, ValueError) as error:
        raise WorkerError(f"shared memory {name}: it is not there") from error


@contextmanager
def _untracked() -> Iterator[None]:
    """Before Python 3.13 attaching registers like creating does, and the tracker, which both processes share, would
    complain of a segment whose owner has removed it already."""
    register = resource_tracker.register

    def others(name: Sized, rtype: str) -> None:
        if rtype != "shared_memory":
            register(name, rtype)

    resource_tracker.register = others
    try:
        yield
    finally:
        resource_tracker.register = register


def memory(segment: SharedMemory) -> memoryview:
    """The bytes of a segment that is open."""
    if segment.buf is None:
        raise WorkerError(f"shared memory {segment.name}: it was closed")
    return segment.buf


def close_segment(segment: SharedMemory, *, owned: bool) -> None:
    """Let go of a segment; its owner also removes its name."""
    segment.close()
    if owned:
        try:
            segment.unlink()
        except FileNotFoundError:  # somebody cleaned up by hand
            resource_tracker.unregister(f"/{segment.name}", "shared_memory")
