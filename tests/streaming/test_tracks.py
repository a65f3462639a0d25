from __future__ import annotations

import asyncio
import threading

import av
import pytest
from aiortc.mediastreams import MediaStreamError

from streaming.tracks import PictureTrack


def frame(number: int = 0) -> av.VideoFrame:
    made = av.VideoFrame(16, 16, "yuv420p")
    made.pts = number
    return made


def test_the_newest_picture_wins() -> None:
    """Whoever is slow gets the last picture, never one that waits behind it; what it replaced is told."""

    async def run() -> None:
        track = PictureTrack()
        assert not track.show(frame(0))
        assert not track.show(frame(1))  # nobody takes yet: nobody was too slow
        assert (await track.recv()).pts == 1
        assert not track.show(frame(2))
        assert track.show(frame(3))
        assert (await track.recv()).pts == 3

    asyncio.run(run())


def test_a_picture_shown_in_another_thread_wakes_the_sender() -> None:
    """The sender sleeps until there is something, and is told of what it took on the loop's thread."""

    async def run() -> None:
        track = PictureTrack()
        took: list[int] = []
        waiting = asyncio.create_task(track.recv())
        await asyncio.sleep(0)
        shower = threading.Thread(
            target=track.show, args=(frame(7), lambda: took.append(threading.get_ident()))
        )
        shower.start()
        async with asyncio.timeout(10):
            assert (await waiting).pts == 7
        shower.join()
        assert took == [threading.get_ident()]

    asyncio.run(run())


def test_nothing_leaves_after_the_end() -> None:
    """What waits is let fall, what comes is let fall, who waits is told."""

    async def run() -> None:
        track = PictureTrack()
        left: list[int] = []
        track.show(frame(), lambda: left.append(1))
        track.end()
        assert not track.show(frame())
        with pytest.raises(MediaStreamError):
            await track.recv()
        assert not left
        other = PictureTrack()
        waiting = asyncio.create_task(other.recv())
        await asyncio.sleep(0)
        other.end()
        with pytest.raises(MediaStreamError):
            await waiting

    asyncio.run(run())


def test_counting_that_fails_does_not_end_the_sender(caplog: pytest.LogCaptureFixture) -> None:
    """The picture is on its way whatever goes wrong beside it; the log has it once."""

    def fails() -> None:
        raise ZeroDivisionError

    async def run() -> None:
        track = PictureTrack()
        for number in (1, 2):
            track.show(frame(number), fails)
            assert (await track.recv()).pts == number

    asyncio.run(run())
    assert len(caplog.records) == 1


def test_a_picture_that_comes_after_the_loop_is_let_fall() -> None:
    """A worker's thread that is late by a loop's lifetime does not fail."""
    kept: list[PictureTrack] = []

    async def run() -> None:
        kept.append(PictureTrack())

    asyncio.run(run())
    kept[0].show(frame())
    kept[0].end()
