"""A call with the real worker behind it: the tracker, the generator and the sample portrait."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from engine.types import U8
from engine.worker.interface import Delivery, SessionSpec, SourceInfo, Stamp, State, WorkerConfig
from engine.worker.local import LocalWorker
from streaming.config import ServeConfig
from tests.engine.bundle_files import write_ganimation
from tests.streaming.calls import MAGENTA, Call, Camera, call, has_hue, plain

CLIP = "drivers/woman_strong_expressions.mp4"


class Watched(LocalWorker):
    """Notes how many frames were posted when a change was made, and when its first picture came."""

    posts = 0
    made_at: int | None = None
    came_at: int | None = None

    def open(self, session: str, spec: SessionSpec, deliver: Callable[[Delivery], None]) -> None:
        def watched(delivery: Delivery) -> None:
            if delivery.changes and self.came_at is None:
                self.came_at = self.posts
            deliver(delivery)

        super().open(session, spec, watched)

    def post(self, session: str, rgb: U8, stamp: Stamp) -> bool:
        self.posts += 1
        return super().post(session, rgb, stamp)

    def change(self, session: str, change: Mapping[str, Any]) -> int:
        number = super().change(session, change)
        self.made_at = self.posts
        return number


@dataclass(slots=True)
class Stage:
    worker: Watched
    still: SourceInfo
    frames: list[U8] = field(default_factory=list)

    def acting(self, number: int) -> U8:
        """The clip, to and fro, in the hue."""
        way = 2 * (len(self.frames) - 1)
        at = number % way
        return self.frames[min(at, way - at)]


@pytest.fixture(scope="module")
def stage(models: None, faces_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    painted = write_ganimation(tmp_path_factory.mktemp("bundles") / "painted", attention=0.0)
    worker = Watched(WorkerConfig(bundles=("mesh_flow", str(painted)), edit=True, side=384))
    worker.start()
    try:
        data = resources.files("engine").joinpath("data/sample_portrait.webp").read_bytes()
        still = worker.add_source(data, "sample").result(60)
        yield Stage(worker, still, _tinted(faces_root / CLIP))
    finally:
        worker.close()
        assert worker.status().state is State.CLOSED


def _tinted(clip: Path) -> list[U8]:
    """Half a second of it, with a face that a tracker finds and a hue that no portrait has."""
    with av.open(str(clip)) as container:
        frames = [
            frame.to_ndarray(format="rgb24") for frame in itertools.islice(container.decode(video=0), 16)
        ]
    hue = np.array(MAGENTA, np.float32)
    made = []
    for frame in frames:
        height, width = frame.shape[:2]
        small = cv2.resize(frame, (480, round(480 * height / width / 2) * 2), interpolation=cv2.INTER_AREA)
        grey = small.mean(axis=2, keepdims=True) / 255
        made.append(np.clip(grey * hue * 1.3, 0, 255).astype(np.uint8))
    return made


def moved(picture: U8, still: U8) -> float:
    """Levels by which a picture differs from another, where it moved most; badge and strip aside."""
    height, width = still.shape[0] * 2 // 3, still.shape[1]
    difference = cv2.absdiff(picture[height // 5 : height], still[height // 5 : height])
    return float(cv2.resize(difference, (width // 16, height // 20), interpolation=cv2.INTER_AREA).max())


def run(
    stage: Stage, test: Callable[[Call], Any], rgb_of: Callable[[int], U8] | None = None, **others: Any
) -> None:
    async def calling() -> None:
        camera = Camera(rgb_of or stage.acting, rate=others.pop("rate", 30.0))
        async with call(stage.worker, stage.still, camera, **others) as made:
            await test(made)
            assert made.ended == []
            assert not any(has_hue(picture) for picture in made.browser.pictures)

    asyncio.run(calling())


@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_the_portrait_moves_with_the_driver_and_never_has_his_hue(stage: Stage, codec: str) -> None:
    """Pictures come back that are not the still, in the portrait's colours, with every stage in the report."""
    assert has_hue(_planes(stage.acting(0)))
    assert not has_hue(stage.still.still)

    async def test(made: Call) -> None:
        browser = made.browser
        await browser.until(lambda: browser.report("outcome") == "generated")
        await browser.until(lambda: len(browser.pictures) >= 32)
        assert max(moved(picture, browser.pictures[-1]) for picture in browser.pictures[8:]) > 20
        # a second in which no frame left, on a busy machine, has no stages
        await browser.until(lambda: browser.report("stages"))
        report = browser.heard("report")[-1]["report"]
        assert {"decode", "convert", "post", "track", "render", "deliver"} <= report["stages"].keys()
        assert report["age_ms"]["p50"] > 0
        assert report["faces"] == 1

    run(stage, test, codec=codec)


def test_a_face_that_leaves_is_held_and_fades_to_the_still(stage: Stage) -> None:
    """The driver walks out of the frame: hold, fade, still, each in the portrait's colours; then it moves again."""
    there = [True]

    def leaving(number: int) -> U8:
        return stage.acting(number) if there[0] else plain(MAGENTA, (480, 360))

    async def test(made: Call) -> None:
        browser = made.browser
        await browser.until(lambda: moved(browser.pictures[-1], stage.still.still) > 12)
        there[0] = False
        await browser.until(
            lambda: browser.report("outcome") == "faded" and browser.report("reason") == "no face"
        )
        await browser.until(lambda: moved(browser.pictures[-1], stage.still.still) < 8)
        there[0] = True
        await browser.until(lambda: moved(browser.pictures[-1], stage.still.still) > 12)

    run(stage, test, leaving)


def test_a_control_is_in_force_within_three_frames_of_its_message(stage: Stage) -> None:
    """Counted in frames that the driver sent: from the change's arrival to the first picture made with it."""
    stage.worker.came_at = None

    async def test(made: Call) -> None:
        browser = made.browser
        await browser.until(lambda: browser.report("outcome") == "generated")
        await browser.say(seq=1, change={"controls": {"mouth": 3.0, "au_offsets": {"AU12": 0.8}}})
        await browser.until(lambda: browser.heard("ack"))
        assert browser.heard("ack") == [{"ack": 1, "changes": 1}]
        await browser.until(lambda: browser.report("changes") == 1)
        assert stage.worker.made_at is not None
        assert stage.worker.came_at is not None
        assert stage.worker.came_at - stage.worker.made_at <= 3
        await browser.say(seq=2, change={"controls": {"mouth": 9.0}})
        await browser.say(seq=3, change={"controls": {"muoth": 1.0}})
        await browser.until(lambda: len(browser.heard("ack")) == 3)
        assert [("error" in answer, answer["ack"]) for answer in browser.heard("ack")[1:]] == [
            (True, 2),
            (True, 3),
        ]

    run(stage, test, rate=10.0)


def test_a_slider_changes_the_edit_that_leaves_within_three_frames(stage: Stage) -> None:
    """Counted likewise; and the face that leaves has the colour that the slider asks for, where the driver's was."""
    stage.worker.came_at = None

    async def calling() -> None:
        camera, config = Camera(stage.acting, rate=10.0), ServeConfig(worker=WorkerConfig(edit=True))
        asked = {"bundle": "painted", "mode": "edit"}
        async with call(stage.worker, stage.still, camera, config=config, **asked) as made:
            browser = made.browser
            await browser.until(lambda: browser.report("outcome") == "generated")
            await browser.say(seq=1, change={"controls": {"au_offsets": {"AU26": 1.0}}})
            await browser.until(lambda: browser.report("changes") == 1)
            assert stage.worker.made_at is not None
            assert stage.worker.came_at is not None
            assert stage.worker.came_at - stage.worker.made_at <= 3
            await browser.until(lambda: _greenest(browser.pictures[-1]) > 80)
            assert has_hue(browser.pictures[-1]), "around the face it is the driver's own picture"

    asyncio.run(calling())


def _greenest(planes: U8) -> float:
    """How far the greenest region is from grey, in levels of chroma."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    chroma = planes[height:].reshape(2, height // 2, width // 2).astype(np.float32)
    return float(-cv2.blur(chroma.sum(0) - 256, (8, 8)).min())


def test_the_scripted_driver_moves_the_portrait_without_a_camera(stage: Stage) -> None:
    """Nobody is at the camera, and the picture moves."""

    async def calling() -> None:
        async with call(stage.worker, stage.still, None, driver="demo") as made:
            browser = made.browser
            await browser.until(lambda: browser.report("outcome") == "generated")
            first = browser.pictures[-1]
            await browser.until(lambda: moved(browser.pictures[-1], first) > 20)
            assert browser.report("fps_in") in (None, 0.0)

    asyncio.run(calling())


def _planes(rgb: U8) -> U8:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)
