from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiortc.mediastreams import VIDEO_TIME_BASE, MediaStreamError

from streaming.tracks import MOST_WAITING, Encoded, EncodedTrack

ONE, OTHER = "one encoder", "another"


def made(pts: int, *, key: bool = False) -> Encoded:
    return Encoded(b"k" if key else b"d", pts, key, (16, 16))


class Watched:
    """A track, and how often it asked for what."""

    def __init__(self) -> None:
        self.joined = self.asked = 0
        self.track = EncodedTrack(self._join, self._ask)
        self.track.turn(ONE)

    def _join(self) -> None:
        self.joined += 1

    def _ask(self) -> None:
        self.asked += 1

    async def taken(self, count: int) -> list[tuple[bytes, int | None]]:
        packets = [await self.track.recv() for _ in range(count)]
        assert all(packet.time_base == VIDEO_TIME_BASE for packet in packets)
        return [(bytes(packet), packet.pts) for packet in packets]


def run(test: Callable[[Watched], Coroutine[Any, Any, None]]) -> None:
    async def made_there() -> None:
        async with asyncio.timeout(20):
            await test(Watched())

    asyncio.run(made_there())


def test_a_viewer_begins_with_a_key_frame() -> None:
    """Of an encoder that runs already nothing is of use before the next one; who asks is told of once."""

    async def test(watched: Watched) -> None:
        track = watched.track
        waiting = asyncio.create_task(watched.taken(2))
        await asyncio.sleep(0)
        assert watched.joined == 1
        assert not track.give(ONE, made(1))
        assert track.size is None
        assert track.give(ONE, made(2, key=True))
        assert track.give(ONE, made(3))
        assert await waiting == [(b"k", 2), (b"d", 3)]
        assert (watched.joined, track.size) == (1, (16, 16))

    run(test)


def test_it_goes_over_to_another_encoder_at_a_key_frame() -> None:
    """Until then the former one's pictures come, and none of them after it; times rise though both have the same."""

    async def test(watched: Watched) -> None:
        track = watched.track
        track.give(ONE, made(1, key=True))
        track.turn(OTHER)
        assert not track.give(OTHER, made(2))
        assert track.give(ONE, made(2))
        assert track.give(OTHER, made(2, key=True))
        assert not track.give(ONE, made(3))
        assert track.give(OTHER, made(3))
        assert await watched.taken(4) == [(b"k", 1), (b"d", 2), (b"k", 3), (b"d", 4)]

    run(test)


def test_who_is_too_slow_goes_on_with_a_key_frame() -> None:
    """What waits is bounded; a picture that needs one that was let fall is not sent, and a key frame is asked for."""

    async def test(watched: Watched) -> None:
        track = watched.track
        track.give(ONE, made(0, key=True))
        for pts in range(1, MOST_WAITING):
            assert track.give(ONE, made(pts))
        assert not track.give(ONE, made(10))
        assert watched.asked == 1
        assert not track.give(ONE, made(11))
        assert track.give(ONE, made(12, key=True))
        assert await watched.taken(1) == [(b"k", 12)]

    run(test)


def test_nothing_leaves_after_the_end() -> None:
    """What waits is let fall, what comes is let fall, who waits is told; whichever thread says so first."""

    async def test(watched: Watched) -> None:
        watched.track.give(ONE, made(1, key=True))
        watched.track.over = True
        with pytest.raises(MediaStreamError):
            await watched.track.recv()
        assert not watched.track.give(ONE, made(2, key=True))
        other = Watched()
        waiting = asyncio.create_task(other.track.recv())
        await asyncio.sleep(0)
        other.track.end()
        with pytest.raises(MediaStreamError):
            await waiting

    run(test)


def test_what_a_viewer_gets_is_told_in_figures() -> None:
    """Pictures and kilobits a second, over two seconds."""

    async def test(watched: Watched) -> None:
        assert watched.track.rates() == (0.0, 0)
        watched.track.give(ONE, Encoded(bytes(25_000), 1, True, (16, 16)))
        watched.track.give(ONE, made(2))
        assert watched.track.rates() == (1.0, 100)

    run(test)
