"""A puppet of two photos in a real browser: it moves, it is held and fades without its driver, and two people are taken
for one only by name.

The driver is tinted in a hue that no photo has, and every picture that the page presents is read back. The bundle is a
closed form that shows the second photo through its flow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine.media import read_picture
from tests.engine.warp_files import write_warp
from tests.streaming.test_live_fail_closed import CHANGED, HUE, MARGIN, first_frame, violet
from tests.streaming.test_live_small import Call as Watched

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.alone, pytest.mark.full, pytest.mark.usefixtures("chromium")]

DRIVER = "man_wide_mouth_frontal.mp4"
PERSON = ("real_woman_black_background_neutral.jpg", "real_woman_black_background_anger.jpg")
STRANGER = "man_wide_smile_stubble.jpg"
LIVE_S = 120.0
SIDE = 384


class Call(Watched):
    """Watched picture by picture: the worst violet of any that was presented is kept."""

    def __init__(self, opened: Any, page: Any, server: Any, folder: Path, portraits: Path) -> None:
        super().__init__(opened, page)
        self.server, self.folder, self.portraits = server, folder, portraits
        self.worst, self.seen = -np.inf, 0

    def until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + LIVE_S
        while not condition():
            self.page.wait_for_timeout(100)
            self.look()
            assert time.monotonic() < until, (self.outcome(), self.server.log[-1500:])

    def look(self) -> list[np.ndarray]:
        """The pictures since the last look."""
        found = [one.rgb for one in self.opened.collected(self.page)]
        self.seen += len(found)
        self.worst = max([self.worst, *map(violet, found)])
        return found

    def moves(self) -> None:
        """Until two pictures of a generated portrait differ by more than noise."""
        before: list[np.ndarray] = []

        def moved() -> bool:
            before.extend(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) for rgb in self.look())
            same = [one for one in before if one.shape == before[-1].shape]
            return self.outcome() == "generated" and any(
                float(np.mean(cv2.absdiff(one, same[-1]))) > CHANGED for one in same
            )

        self.until(moved)

    def take(self, bundle: str, mode: str = "puppet") -> None:
        """Turn to another system; with one mode there is none to choose."""
        self.page.select_option("#bundle", bundle)
        self.page.wait_for_timeout(1500)
        self.until(lambda: self.outcome() == "generated")

    def give(self, *names: str) -> None:
        """Files on the page, and the line about them."""
        self.page.locator("#file").set_input_files([self.portraits / name for name in names])
        self.page.wait_for_selector("#attest[open]")
        self.page.fill("#attest-by", "A test")
        self.page.fill("#statement", "Photos of the tests")
        self.page.click("#attest-send")

    def accepted(self) -> None:
        self.until(lambda: self.page.locator("#attest").is_hidden())

    def used(self) -> list[str]:
        return list(self.page.locator("#person-photos b").all_inner_texts())


@pytest.fixture(scope="module")
def call(
    models: None, camera: Callable[..., Path], faces_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Call]:
    from streaming.bench.run import wait_until_ready
    from streaming.bench.server import ServerProcess
    from tests.streaming.browser import open_pages
    from tests.streaming.conftest import server_command

    clip = camera(DRIVER, seconds=4.0, tint=HUE)
    assert violet(first_frame(clip)) > allowed(faces_root / "portraits") + MARGIN
    folder, made = tmp_path_factory.mktemp("faults"), tmp_path_factory.mktemp("bundles")
    bundle = write_warp(made / "warp", title="Closed form")
    options = {
        "worker": {"bundles": [str(bundle), "mesh_flow"], "side": SIDE, "spare": False, "hang_s": 20.0, "add_s": 60.0},
        "tools": "tests.streaming.faults:FaultyTools",
        "tools_with": {"folder": str(folder)},
    }  # fmt: skip
    with (
        ServerProcess(options, server_command()) as server,
        open_pages(clip, allow=["status of 422"]) as opened,
    ):
        wait_until_ready(server)
        page = opened.open(server.url)
        page.set_default_timeout(1000 * LIVE_S)
        call = Call(opened, page, server, folder, faces_root / "portraits")
        call.give(*PERSON)
        call.accepted()
        page.click("#start")
        page.wait_for_selector("html[data-phase=live]")
        opened.collect(page, video="#result")
        call.until(lambda: call.outcome() == "generated")
        yield call
        page.locator("#stop").click()


def allowed(portraits: Path) -> float:
    """As much of the hue as the photos have themselves."""
    photos = [read_picture(portraits / name) for name in (*PERSON, STRANGER)]
    small = [
        cv2.resize(one, (320, 320 * one.shape[0] // one.shape[1]), interpolation=cv2.INTER_AREA)
        for one in photos
    ]
    return max(map(violet, small)) + MARGIN


def test_two_photos_are_moved_as_one_person(call: Call, faces_root: Path) -> None:
    """Both are used, the picture moves with the driver, by either system, and nothing of the driver is in it."""
    assert sorted(call.used()) == ["1", "2"]
    call.moves()
    call.take("mesh_flow")
    assert call.used() == ["1"]
    call.moves()
    call.take("warp")
    call.moves()
    assert call.seen > 5
    assert call.worst < allowed(faces_root / "portraits")


def test_without_its_driver_it_is_held_and_fades(call: Call, faces_root: Path) -> None:
    """A lost face leaves the portrait as it was, then as it lies there; at no time the driver."""
    before = call.seen
    (call.folder / "lost").touch()
    try:
        call.until(lambda: call.outcome() == "faded")
        for _ in range(12):
            call.page.wait_for_timeout(100)
            call.look()
    finally:
        (call.folder / "lost").unlink()
    call.moves()
    assert call.seen > before
    assert call.worst < allowed(faces_root / "portraits")


def test_two_people_are_refused_with_their_measure_and_taken_by_name(call: Call, faces_root: Path) -> None:
    """The call goes on with the person that it had; with the tick both are moved as one, and that is said."""
    shown = call.page.locator("#gallery [aria-pressed=true]").get_attribute("title")
    call.give(STRANGER, PERSON[0])
    call.page.wait_for_selector("#attest-error:not([hidden])")
    told = call.page.inner_text("#attest-error")
    assert told.startswith(PERSON[0])
    assert "mm of shape" in told
    assert call.page.locator("#gallery [aria-pressed=true]").get_attribute("title") == shown
    call.moves()
    call.page.check("#attest-accept")
    call.page.click("#attest-send")
    call.accepted()
    assert call.page.locator("#gallery [aria-pressed=true]").get_attribute("title") != shown
    call.until(lambda: "different-people" in call.page.inner_text("#notices"))
    call.page.wait_for_timeout(1500)
    call.moves()
    assert call.worst < allowed(faces_root / "portraits")
