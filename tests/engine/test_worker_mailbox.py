"""The shared-memory mailbox: newest wins, nobody waits, nonsense is an error."""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import WorkerError
from engine.worker import mailbox as module
from engine.worker.interface import NO_MARK, Stamp
from engine.worker.mailbox import MOST_BYTES, Mailbox
from tests.engine.worker_fakes import put_for_ever

PROJECT = Path(__file__).resolve().parents[2]
CAPACITY = 6 * 4 * 3
STAMP = Stamp(90_000, 12.5, 77)


def _grey(level: int, shape: tuple[int, ...] = (4, 6, 3)) -> Any:
    return np.full(shape, level, np.uint8)


@pytest.fixture
def ends() -> Iterator[tuple[Mailbox, Mailbox]]:
    """A producer that owns the mailbox, and its consumer."""
    owner = Mailbox.create(CAPACITY)
    other = Mailbox.attach(owner.name, CAPACITY)
    yield owner, other
    other.close()
    owner.close()


def _there(name: str) -> bool:
    try:
        module.attach_segment(name).close()
    except WorkerError:
        return False
    return True


@pytest.mark.parametrize("shape", [(4, 6, 3), (9, 6), (5,), (1, 1, 1)])
def test_a_picture_comes_out_with_its_shape_and_its_stamp(
    ends: tuple[Mailbox, Mailbox], shape: tuple[int, ...]
) -> None:
    """What is taken out is what was put in, and nobody else's array."""
    producer, consumer = ends
    picture = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    assert producer.put(picture, STAMP, 3.25) is False
    letter = consumer.take()
    assert letter is not None
    assert (letter.stamp, letter.number, letter.sent_s) == (STAMP, 1, 3.25)
    np.testing.assert_array_equal(letter.picture, picture)
    assert letter.picture.flags.owndata
    assert consumer.take() is None


def test_a_picture_of_strided_memory_is_put_in_whole(ends: tuple[Mailbox, Mailbox]) -> None:
    """A cut of a larger frame needs no copy first."""
    producer, consumer = ends
    wide = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
    producer.put(wide[::2, ::2], STAMP)
    letter = consumer.take()
    assert letter is not None
    np.testing.assert_array_equal(letter.picture, wide[::2, ::2])


def test_the_newest_wins_and_what_it_replaced_is_told(ends: tuple[Mailbox, Mailbox]) -> None:
    """A picture that nobody took is replaced, and `put` says so; one that was taken is not."""
    producer, consumer = ends
    assert [producer.put(_grey(level), STAMP) for level in range(5)] == [False, True, True, True, True]
    letter = consumer.take()
    assert letter is not None
    assert (letter.number, int(letter.picture[0, 0, 0])) == (5, 4)
    assert producer.put(_grey(9), STAMP) is False


def test_what_the_consumer_drops_is_told_by_a_later_put(ends: tuple[Mailbox, Mailbox]) -> None:
    """Every lost picture is counted once, wherever it was lost."""
    producer, consumer = ends
    producer.put(_grey(1), STAMP)
    consumer.take()
    consumer.drop()
    assert producer.put(_grey(2), STAMP) is True
    consumer.take()
    assert producer.put(_grey(3), STAMP) is False


def test_a_copy_that_was_overtaken_is_dropped(
    ends: tuple[Mailbox, Mailbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the producer comes round to the buffer that is being copied, the torn copy is not used."""
    producer, consumer = ends
    producer.put(_grey(1), STAMP)
    copy = Mailbox._copy

    def overtaken(self: Mailbox, place: int, shape: tuple[int, ...]) -> Any:
        for level in (2, 3, 4):
            producer.put(_grey(level), STAMP)
        return copy(self, place, shape)

    with monkeypatch.context() as patch:
        patch.setattr(Mailbox, "_copy", overtaken)
        assert consumer.take() is None
    letter = consumer.take()
    assert letter is not None
    assert int(letter.picture.min()) == int(letter.picture.max()) == 4


def test_a_producer_that_dies_in_the_middle_leaves_the_picture_before(ends: tuple[Mailbox, Mailbox]) -> None:
    """Killed between the first byte and the last, it has published nothing."""
    producer, consumer = ends
    producer.put(_grey(1), STAMP)
    producer._head[module._WRITING] = 2
    producer._pixels[2][:20] = 99
    letter = consumer.take()
    assert letter is not None
    assert int(letter.picture.max()) == 1


def test_no_torn_picture_passes_from_a_process_that_is_killed() -> None:
    """Across processes, at full speed, until the producer is killed: each picture taken is of one colour."""
    size = (240, 320, 3)
    mailbox = Mailbox.create(int(np.prod(size)))
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=put_for_ever, args=(mailbox.name, mailbox.capacity, size), daemon=True)
    process.start()
    try:
        numbers: list[int] = []
        while len(numbers) < 300:
            assert process.is_alive()
            letter = mailbox.take()
            if letter is not None:
                assert np.all(letter.picture == letter.number % 251)
                assert letter.stamp.pts == letter.number
                numbers.append(letter.number)
        process.kill()
        process.join()
        last = mailbox.take()
        assert last is None or np.all(last.picture == last.number % 251)
        assert numbers == sorted(set(numbers))
    finally:
        process.kill()
        process.join()
        process.close()
        mailbox.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (module._NUMBER, 7),
        (module._SIDES, 0),
        (module._SIDES, 4),
        (module._SIDES, -1),
        (module._SIDE0, 0),
        (module._SIDE0, -4),
        (module._SIDE0, 5),
        (module._SIDE0, 2**62),
    ],
)
def test_nonsense_beside_a_picture_is_an_error(
    ends: tuple[Mailbox, Mailbox], column: int, value: int
) -> None:
    """A broken or hostile producer cannot make the consumer read past a buffer or take gigabytes."""
    producer, consumer = ends
    producer.put(_grey(1), STAMP)
    producer._numbers[1, column] = value
    with pytest.raises(WorkerError, match="nonsense"):
        consumer.take()


@pytest.mark.parametrize("seconds", [np.nan, np.inf])
def test_a_time_that_is_none_is_an_error(ends: tuple[Mailbox, Mailbox], seconds: float) -> None:
    """Ages are computed from it."""
    producer, consumer = ends
    producer.put(_grey(1), STAMP)
    producer._seconds[1, module._ARRIVED] = seconds
    with pytest.raises(WorkerError, match="nonsense"):
        consumer.take()


@pytest.mark.parametrize("published", [2, 5, 2**64 - 1])
def test_a_counter_that_is_nonsense_is_an_error(ends: tuple[Mailbox, Mailbox], published: int) -> None:
    """A picture that was never put in is not read."""
    producer, consumer = ends
    producer.put(_grey(1), STAMP)
    producer._head[module._PUBLISHED] = published
    with pytest.raises(WorkerError, match="nonsense"):
        consumer.take()


@pytest.mark.parametrize("capacity", [0, -1, CAPACITY + 1, MOST_BYTES, MOST_BYTES + 1])
def test_attaching_with_another_capacity_is_refused(ends: tuple[Mailbox, Mailbox], capacity: int) -> None:
    """Both ends must mean the same layout."""
    with pytest.raises(WorkerError, match="mailbox"):
        Mailbox.attach(ends[0].name, capacity)


def test_attaching_to_what_is_no_mailbox_is_refused() -> None:
    """A segment of another kind, or none at all, is an error."""
    segment = SharedMemory(create=True, size=1 << 16)
    try:
        with pytest.raises(WorkerError, match="got something else"):
            Mailbox.attach(segment.name, CAPACITY)
    finally:
        segment.close()
        segment.unlink()
    with pytest.raises(WorkerError, match="not there"):
        Mailbox.attach(segment.name, CAPACITY)


@pytest.mark.parametrize("capacity", [0, -5, MOST_BYTES + 1])
def test_a_mailbox_of_no_sensible_size_is_refused(capacity: int) -> None:
    """Neither empty nor larger than any picture."""
    with pytest.raises(WorkerError, match=r"expected 1 \.\. "):
        Mailbox.create(capacity)


def test_a_picture_that_is_too_large_is_refused_and_the_last_one_stays(ends: tuple[Mailbox, Mailbox]) -> None:
    """The caller takes a larger mailbox; this one stays whole."""
    producer, consumer = ends
    producer.put(_grey(3), STAMP)
    with pytest.raises(WorkerError, match="at most 72 bytes"):
        producer.put(_grey(1, (5, 6, 3)), STAMP)
    letter = consumer.take()
    assert letter is not None
    assert int(letter.picture.max()) == 3


def test_a_closed_mailbox_drops_and_gives_nothing(ends: tuple[Mailbox, Mailbox]) -> None:
    """Whoever still holds an end after the other thread closed it does no harm, and closing twice is allowed."""
    producer, consumer = ends
    producer.put(_grey(1), STAMP)
    for end in ends:
        end.close()
        end.close()
    assert producer.put(_grey(2), Stamp(0, 0.0, NO_MARK)) is True
    assert consumer.take() is None
    assert producer.newest() == 0
    consumer.drop()
    assert not _there(producer.name)


def test_only_the_owner_removes_it(ends: tuple[Mailbox, Mailbox]) -> None:
    """The other end may come and go."""
    producer, consumer = ends
    consumer.close()
    assert _there(producer.name)
    producer.close()
    assert not _there(producer.name)


@pytest.mark.skipif(sys.platform != "linux", reason="the reservation is Linux's")
def test_memory_that_is_not_there_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full /dev/shm is told when the mailbox is made, and does not end the process at a later write."""
    before = set(os.listdir("/dev/shm"))

    def full(fd: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(WorkerError, match="are not to be had"):
        Mailbox.create(CAPACITY)
    assert {name for name in os.listdir("/dev/shm") if name.startswith("marotte")} <= before


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is tracked there")
def test_attaching_registers_nothing(ends: tuple[Mailbox, Mailbox], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that attaches just while the owner lets go would otherwise be complained of at the end, and be removed
    again."""
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(resource_tracker, "register", lambda name, kind: told.append((name, kind)))
    register = resource_tracker.register
    Mailbox.attach(ends[0].name, CAPACITY).close()
    assert told == []
    assert resource_tracker.register is register


def test_the_resource_tracker_neither_warns_nor_removes_early() -> None:
    """A process that attached and ended leaves the segment to its owner, and nothing is said at the end."""
    code = (
        "import multiprocessing, sys\n"
        "from engine.worker.mailbox import Mailbox\n"
        "from tests.engine.worker_fakes import take_one\n"
        "import numpy as np\n"
        "from engine.worker.interface import Stamp\n"
        "if __name__ == '__main__':\n"
        "    box = Mailbox.create(64)\n"
        "    box.put(np.ones((8, 8), np.uint8), Stamp(0, 0.0))\n"
        "    for _ in range(2):\n"
        "        p = multiprocessing.get_context('spawn').Process(target=take_one, args=(box.name, 64))\n"
        "        p.start(); p.join(); assert p.exitcode == 0\n"
        "    again = Mailbox.attach(box.name, 64)\n"
        "    again.close(); box.close()\n"
        "    print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, timeout=120
    )
    assert (done.stdout.strip(), done.stderr) == ("done", "")
