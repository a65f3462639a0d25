"""What leaves while a driver's camera is off: nothing of it, and no face that froze."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from engine.acting import PACKED_BYTES
from engine.errors import ConfigError
from streaming.config import ServeConfig
from tests.streaming.calls import Camera, call, has_hue
from tests.streaming.test_peer_edit import EDITS, STILL, EditWorker, driver

FACE = {"blendshapes": {"jawOpen": 1.0}}


class OffWorker(EditWorker):
    """As the real one, an edit has no use for a tracker."""

    editing = False

    def change(self, session: str, change: Mapping[str, Any]) -> int:
        if self.editing and change.get("driver") == "tracker":
            raise ConfigError("driver: an edit needs a camera")
        return super().change(session, change)


@pytest.fixture
def worker() -> Iterator[OffWorker]:
    worker = OffWorker(STILL)
    worker.making = lambda session, rgb, stamp: (
        worker.picture(session) if rgb.ndim == 1 else worker.picture_of(session, rgb, stamp)
    )
    worker.start()
    yield worker
    worker.close()


def _shapes(worker: OffWorker, since: int) -> set[tuple[int, ...]]:
    return {shape for shape, _ in worker.posted[since:]}


def test_a_portrait_idles_and_nobody_else_moves_it(worker: OffWorker) -> None:
    """A face at rest is told of in place of the camera's frames, and of what a tracker says; then the camera again."""

    async def test() -> None:
        async with call(worker, STILL, Camera(driver)) as made:
            browser, session = made.browser, made.peer.session
            await browser.say(camera=False)
            await browser.until(lambda: browser.report("camera") is False)
            assert worker.changes[-1] == {"driver": "tracker"}
            await browser.say(face=FACE)
            since = len(worker.posted)
            await browser.until(lambda: len(worker.posted) > since + 5)
            assert _shapes(worker, since) == {(PACKED_BYTES,)}
            await browser.say(seq=1, change={"driver": "camera"})
            await browser.until(lambda: any("error" in one for one in browser.heard("ack")))
            assert "the camera is off" in browser.heard("ack")[-1]["error"]
            assert not session.shows_camera
            await browser.say(camera=True)
            await browser.until(lambda: browser.report("camera") is True)
            assert worker.changes[-1] == {"driver": "camera"}
            since = len(worker.posted)
            await browser.until(lambda: len(worker.posted) > since + 3)
            assert (PACKED_BYTES,) not in _shapes(worker, since)

    asyncio.run(test())


def test_an_edited_picture_gives_way_to_grey(worker: OffWorker) -> None:
    """At once: nothing of the driver's own picture is held, faded or blurred."""

    async def test() -> None:
        async with call(
            worker, STILL, Camera(driver), config=EDITS, bundle="swap", mode="edit", donors=("still",)
        ) as made:
            browser = made.browser
            worker.editing = True
            await browser.until(lambda: any(has_hue(picture) for picture in browser.pictures[-3:]))
            await browser.say(camera=False)
            await browser.until(lambda: browser.report("camera") is False)
            seen = len(browser.pictures)
            await browser.until(lambda: len(browser.pictures) > seen + 2)
            assert not any(has_hue(picture) for picture in browser.pictures[-2:])
            luma = browser.pictures[-1][: browser.pictures[-1].shape[0] * 2 // 3]
            assert np.percentile(luma, 75) - np.percentile(luma, 25) < 4
            posted = len(worker.posted)
            await asyncio.sleep(0.2)
            assert len(worker.posted) == posted
            await browser.say(camera=True)
            await browser.until(lambda: has_hue(browser.pictures[-1]))

    asyncio.run(test())


def test_an_echo_gives_way_to_grey(worker: OffWorker) -> None:
    """In pass-through too, and the camera's own picture comes back with the camera."""

    async def test() -> None:
        async with call(worker, STILL, Camera(driver), config=ServeConfig(pass_through=True)) as made:
            browser = made.browser
            await browser.until(lambda: has_hue(browser.pictures[-1]))
            await browser.say(camera=False)
            await browser.until(lambda: not has_hue(browser.pictures[-1]))
            seen = len(browser.pictures)
            await asyncio.sleep(0.2)
            assert not any(has_hue(picture) for picture in browser.pictures[seen:])
            await browser.say(camera=True)
            await browser.until(lambda: has_hue(browser.pictures[-1]))

    asyncio.run(test())
