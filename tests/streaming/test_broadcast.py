from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from engine.media.planes import i420_of
from engine.types import U8
from engine.worker.interface import TIME_BASE
from streaming import encoders
from streaming.broadcast import Broadcast, Watch
from streaming.ladder import rungs
from streaming.measured import NoRecorder
from streaming.reports import Tally
from tests.streaming.figures_viewers import measure

PATIENCE_S = 20.0
STEP = 3000
"""A thirtieth of a second."""


class Told(NoRecorder):
    def __init__(self) -> None:
        self.encoded_on: Counter[tuple[str, int]] = Counter()
        self.given = self.running = self.keys = 0
        self.bits: dict[str, int] = {}

    def picture_encoded(self, codec: str, rung: int) -> None:
        self.encoded_on[codec, rung] += 1

    def pictures_given(self, codec: str, viewers: int) -> None:
        self.given += viewers

    def encoder_running(self, codec: str, on: bool) -> None:
        self.running += 1 if on else -1

    def encoded(self, codec: str, seconds: float, size_bytes: int, keyframe: bool) -> None:
        self.keys += keyframe

    def bitrate(self, session: str, codec: str, bits_per_s: int) -> None:
        self.bits[session] = bits_per_s


class Stage:
    """A broadcast, its pictures, and those who watch it."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.told = Told()
        self.broadcast = Broadcast("s", Tally(self.told))
        self.size = size
        self.number = 0
        self.left: list[int] = []

    def picture(self, level: int) -> U8:
        made = np.full((self.size[1], self.size[0], 3), level, np.uint8)
        made[: self.size[1] // 2, : self.size[0] // 2] = 255 - level
        return i420_of(made)

    def show(self, level: int = 90) -> bool:
        frame = av.VideoFrame.from_ndarray(self.picture(level), format="yuv420p")
        self.number += 1
        number = self.number
        frame.pts, frame.time_base = number * STEP, TIME_BASE
        return self.broadcast.show(frame, lambda: self.left.append(number))

    async def end(self) -> None:
        self.broadcast.end()
        await asyncio.to_thread(self.broadcast.join)


class Seen:
    """One viewer: every picture decoded, as it came."""

    def __init__(self, stage: Stage, codec: str = "h264") -> None:
        self.watch: Watch = stage.broadcast.watch(codec)
        self.data: list[bytes] = []
        self.times: list[int] = []
        self.pictures: list[U8] = []
        self.ended = False
        self._decoder: Any = av.CodecContext.create({"vp8": "libvpx", "h264": "h264"}[codec], "r")
        self._task = asyncio.create_task(self._see())

    async def _see(self) -> None:
        try:
            while True:
                packet = await self.watch.track.recv()
                self.times.append(packet.pts or 0)
                self.data.append(bytes(packet))
                self.pictures += [
                    f.to_ndarray(format="yuv420p") for f in self._decoder.decode(av.Packet(bytes(packet)))
                ]
        except MediaStreamError:
            self.ended = True

    def estimate(self, bits: int) -> None:
        """Tell that the way carries so much, as when it is filled."""
        self.watch.track.rates = lambda: (30.0, 2000)  # type: ignore[method-assign]
        self.watch.estimated(bits)

    @property
    def size(self) -> tuple[int, int] | None:
        return self.watch.track.size


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.002)


def run(test: Callable[[Stage], Coroutine[Any, Any, None]], size: tuple[int, int] = (160, 128)) -> Told:
    before = threading.active_count()

    async def staged() -> Told:
        stage = Stage(size)
        try:
            await test(stage)
        finally:
            await stage.end()
        return stage.told

    told = asyncio.run(staged())
    assert told.running == 0
    assert not any(told.bits.values())
    assert threading.active_count() <= before
    return told


def test_nothing_is_encoded_for_nobody() -> None:
    """Not before the first viewer's sender asks, nor after the last one has left; then no encoder's thread runs."""

    async def test(stage: Stage) -> None:
        assert not stage.show()
        stage.broadcast.watch("vp8")  # whose connection never came to be
        assert not stage.show()
        seen = Seen(stage)
        await until(lambda: seen.data)
        assert stage.told.running == 1
        seen.watch.end()
        await until(lambda: seen.ended)
        encoded = stage.told.encoded_on.total()
        assert not stage.show()
        await asyncio.sleep(0.05)
        assert (stage.told.encoded_on.total(), stage.told.running) == (encoded, 0)
        assert not stage.left

    run(test)


def test_a_picture_is_encoded_once_for_all() -> None:
    """Five viewers get the same bytes of one encoder; each picture has left once."""

    async def test(stage: Stage) -> None:
        seen = [Seen(stage) for _ in range(5)]
        stage.show()
        for number in range(1, 5):
            await until(lambda: all(len(each.data) == number for each in seen))  # noqa: B023
            stage.show(60 + 10 * number)
        await until(lambda: all(len(each.data) == 5 for each in seen))
        assert all(each.data == seen[0].data for each in seen)
        assert stage.told.encoded_on == {("h264", 0): 5}
        assert stage.told.given == 25
        assert stage.left == [2, 3, 4, 5]

    run(test)


def test_who_comes_later_sees_the_last_picture_soon() -> None:
    """The first viewer is shown what was shown to nobody, which does not count as having left; a later one begins with
    a key frame, whatever the others get."""

    async def test(stage: Stage) -> None:
        stage.show(70)
        first = Seen(stage)
        await until(lambda: first.pictures)
        assert not stage.left
        stage.show(75)
        await until(lambda: len(first.data) == 2)
        second = Seen(stage)
        await asyncio.sleep(0.4)  # the first key frame's successor has to wait
        stage.show(80)
        await until(lambda: second.pictures)
        assert stage.told.keys == 2
        assert second.data[0] == first.data[2]

    run(test)


def test_both_codecs_may_be_watched_at_once() -> None:
    """Each has a frame of its own, into which its codec writes: both show every picture as it was given."""

    async def test(stage: Stage) -> None:
        seen = [Seen(stage, "vp8"), Seen(stage, "h264")]
        stage.show(60)
        for number in range(1, 9):
            await until(lambda: all(len(each.pictures) == number for each in seen))  # noqa: B023
            if number == 4:
                seen[0].watch.ask_key()
            stage.show(60 + 15 * number)
        await until(lambda: all(len(each.pictures) == 9 for each in seen))
        for number in range(9):
            given = stage.picture(60 + 15 * number).astype(int)
            assert all(np.abs(each.pictures[number] - given).mean() < 3 for each in seen)
        assert stage.told.encoded_on == {("vp8", 0): 9, ("h264", 0): 9}
        assert stage.left == list(range(2, 10))

    run(test)


def test_a_narrow_way_gets_smaller_pictures_and_the_others_theirs() -> None:
    """Without a gap and with rising times: until the smaller rung's key frame the larger one's pictures come. Back up,
    the smaller rung's encoder ends."""

    async def test(stage: Stage) -> None:
        wide, narrow = Seen(stage), Seen(stage)
        stage.show()
        await until(lambda: wide.pictures and narrow.pictures)
        narrow.estimate(300_000)
        assert narrow.watch.choice.rung > 0
        while narrow.size == (640, 480):
            before = len(narrow.data)
            stage.show()
            await until(lambda: len(narrow.data) > before)  # noqa: B023
        assert narrow.size == (320, 240)
        assert stage.told.running == 2
        assert wide.size == (640, 480)
        stage.show(120)
        await until(lambda: narrow.pictures[-1].shape == (360, 320))
        assert narrow.times == sorted(set(narrow.times))
        narrow.watch.end()
        await until(lambda: stage.told.running == 1)
        before = len(wide.data)
        stage.show()
        await until(lambda: len(wide.data) > before)

    run(test, (640, 480))


def test_a_change_of_rung_leaves_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the smaller rung has no key frame, the larger one's pictures come, though nobody else watches it; then
    its encoder ends."""
    go = threading.Event()
    encode = encoders.Coder.encode

    def late(coder: encoders.Coder, frame: av.VideoFrame, key: bool) -> bytes:
        assert frame.width == 640 or go.wait(PATIENCE_S)
        return encode(coder, frame, key)

    monkeypatch.setattr(encoders.Coder, "encode", late)

    async def test(stage: Stage) -> None:
        seen = Seen(stage)
        stage.show()
        await until(lambda: seen.data)
        seen.estimate(300_000)
        for number in range(2, 6):
            stage.show()
            await until(lambda: len(seen.data) == number)  # noqa: B023
        assert (seen.size, stage.told.running) == ((640, 480), 2)
        go.set()
        await until(lambda: stage.show() or seen.size == (320, 240))
        await until(lambda: stage.told.running == 1)
        assert seen.watch.leaving is None

    run(test, (640, 480))


def test_a_loop_that_is_late_gets_the_newest_picture() -> None:
    """What it has no time to send is not encoded: one picture is on its way, and the newest follows it."""

    async def test(stage: Stage) -> None:
        seen = Seen(stage)
        stage.show()
        await until(lambda: seen.data)
        before = stage.told.encoded_on.total()
        replaced = 0
        for _ in range(8):
            replaced += stage.show()
            time.sleep(0.03)
        assert stage.told.encoded_on.total() <= before + 1
        assert replaced >= 6
        await until(lambda: seen.times[-1] == 9 * STEP)
        assert stage.told.encoded_on.total() <= before + 2

    run(test)


def test_a_rung_sends_what_its_slowest_viewer_takes() -> None:
    """And more again when that one has left."""

    async def test(stage: Stage) -> None:
        wide, narrow = Seen(stage), Seen(stage)
        stage.show()
        await until(lambda: wide.data and narrow.data)
        wide.estimate(1_600_000)
        narrow.estimate(1_000_000)
        assert narrow.watch.choice.rung == 0
        slow, fast = narrow.watch.choice.bits, wide.watch.choice.bits
        assert slow < 1_000_000 < fast
        stage.show()
        await until(lambda: stage.told.bits == {"s h264 0": slow})
        narrow.watch.end()
        stage.show()
        await until(lambda: stage.told.bits == {"s h264 0": fast})

    run(test, (640, 480))


def test_a_picture_at_rest_narrows_no_way() -> None:
    """A receiver says no more than it has seen: what is above what is sent says nothing, what is below it counts."""

    async def test(stage: Stage) -> None:
        seen = Seen(stage)
        stage.show()
        await until(lambda: seen.data)
        before = seen.watch.choice
        assert 0 < seen.watch.track.rates()[1] < 300
        seen.watch.estimated(300_000)
        assert seen.watch.choice == before
        seen.estimate(300_000)
        assert seen.watch.choice.rung > 0

    run(test, (640, 480))


def test_a_slow_rung_takes_every_second_picture() -> None:
    """The ladder's rungs of 15 a second, of pictures that come at 30."""

    async def test(stage: Stage) -> None:
        fast, slow = Seen(stage), Seen(stage)
        stage.show()
        await until(lambda: fast.data and slow.data)
        slow.estimate(60_000)
        stage.show()
        await until(lambda: len(fast.data) == 2)
        for number in range(3, 33):
            stage.show()
            await until(lambda: len(fast.data) == number)  # noqa: B023
        rung = slow.watch.choice.rung
        assert stage.told.encoded_on["h264", 0] == 32
        assert stage.told.encoded_on["h264", rung] in (15, 16, 17)
        fast.watch.end()
        await until(lambda: stage.told.running == 1)
        taken = len(slow.data)
        while len(slow.data) < taken + 3:
            assert not stage.show()  # what it does not want it was not too slow for
            await asyncio.sleep(0.02)

    run(test, (640, 480))


def test_another_size_is_another_ladder() -> None:
    """A viewer stands on it at once, with what the new size is worth, and the encoder is opened anew."""

    async def test(stage: Stage) -> None:
        seen = Seen(stage)
        stage.show()
        await until(lambda: seen.size == (160, 128))
        bits = seen.watch.choice.bits
        stage.size = (320, 256)
        stage.show()
        await until(lambda: seen.size == (320, 256))
        assert seen.watch.choice.bits > bits
        assert seen.watch.choice.rung == 0

    run(test)


def test_who_comes_before_the_first_picture_stands_on_its_ladder() -> None:
    """A small picture has fewer rungs than there would have been: the last of them is the lowest."""

    async def test(stage: Stage) -> None:
        watch = stage.broadcast.watch("h264")
        stage.show()
        await asyncio.sleep(0.01)
        taken = asyncio.create_task(watch.track.recv())
        await until(taken.done)
        watch.track.rates = lambda: (30.0, 2000)  # type: ignore[method-assign]
        watch.estimated(10_000)
        assert watch.choice.rung == len(rungs(*stage.size)) - 1 < len(rungs(640, 480)) - 1
        stage.show()
        await until(lambda: stage.told.running == 2)
        watch.end()

    run(test)


def test_key_frames_that_are_asked_for_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many viewers ask, however often: one of them, and the next one not before its time."""
    monkeypatch.setattr(encoders, "KEY_AGAIN_S", 1000.0)

    async def test(stage: Stage) -> None:
        seen = [Seen(stage) for _ in range(3)]
        stage.show()
        await until(lambda: all(each.data for each in seen))
        for number in range(2, 8):
            for each in seen:
                each.watch.ask_key()
            stage.show(60 + 10 * number)
            await until(lambda: all(len(each.data) == number for each in seen))  # noqa: B023

    assert run(test).keys == 1


def test_the_newest_picture_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an encoder was too slow for is let fall, and told; none waits behind another."""
    go = threading.Semaphore(0)
    encode = encoders.Coder.encode

    def slow(coder: encoders.Coder, frame: av.VideoFrame, key: bool) -> bytes:
        assert go.acquire(timeout=PATIENCE_S)
        return encode(coder, frame, key)

    monkeypatch.setattr(encoders.Coder, "encode", slow)

    async def test(stage: Stage) -> None:
        seen = Seen(stage)
        await until(lambda: stage.told.running)
        assert not stage.show()
        await until(lambda: stage.left == [1])
        assert not stage.show()
        assert stage.show()
        assert stage.show()
        go.release(2)
        await until(lambda: len(seen.data) == 2)
        assert stage.left == [1, 4]
        assert seen.times == [STEP, 4 * STEP]

    run(test)


def test_an_encoder_that_fails_harms_nobody_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its viewer sees nothing new, which the log says once, and gets a key frame when it works again."""
    encode, broken = encoders.Coder.encode, True

    def failing(coder: encoders.Coder, frame: av.VideoFrame, key: bool) -> bytes:
        if broken and coder.name == "libvpx":
            raise ValueError("no")
        return encode(coder, frame, key)

    monkeypatch.setattr(encoders.Coder, "encode", failing)

    async def test(stage: Stage) -> None:
        nonlocal broken
        bad, good = Seen(stage, "vp8"), Seen(stage)
        for number in range(1, 4):
            stage.show()
            await until(lambda: len(good.data) == number)  # noqa: B023
        assert not bad.data
        broken = False
        await until(lambda: stage.show() or bad.pictures)

    run(test)
    assert caplog.text.count("a picture was not encoded") == 1


def test_counting_that_fails_does_not_end_an_encoder(caplog: pytest.LogCaptureFixture) -> None:
    """The picture is on its way whatever goes wrong beside it."""

    async def test(stage: Stage) -> None:
        seen = Seen(stage)
        await until(lambda: stage.told.running)
        frame = av.VideoFrame.from_ndarray(stage.picture(9), format="yuv420p")
        frame.pts, frame.time_base = 7, TIME_BASE
        stage.broadcast.show(frame, lambda: 1 / 0)  # type: ignore[arg-type]
        await until(lambda: seen.pictures)

    run(test)
    assert "was not counted" in caplog.text


def test_nothing_leaves_after_the_end() -> None:
    """Whoever watches is told, whoever comes then is told, what comes then is let fall; also after the loop."""
    kept: list[Stage] = []

    async def test(stage: Stage) -> None:
        seen = Seen(stage)
        stage.show()
        await until(lambda: seen.data)
        stage.broadcast.end()
        got = len(seen.data)
        assert not stage.show()
        await until(lambda: seen.ended)
        late = Seen(stage)
        await until(lambda: late.ended)
        assert (len(seen.data), len(late.data)) == (got, 0)
        kept.append(stage)

    run(test)
    kept[0].size = (32, 32)
    kept[0].show()
    kept[0].broadcast.end()


def test_what_viewers_cost_can_be_measured() -> None:
    """The bench sends every picture to each viewer, and times it from its showing."""
    measured = asyncio.run(measure("h264", 2, 0.3))
    assert 0 < measured.encoded_count <= len(measured.shown_s)
    assert len(measured.sent_s) <= 2 * measured.encoded_count
    assert len(measured.sent_s) > measured.encoded_count
    assert measured.cpu_s > 0
