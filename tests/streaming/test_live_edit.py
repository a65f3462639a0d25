"""Both bundles and both modes in a real browser: while the driver's own picture is edited no picture that is received
shows the face as the camera saw it, whatever breaks; and a puppet that takes its place shows nothing of it.

The driver's frames are tinted in a hue of their own. The bundles are closed forms that paint all of the face: in one
colour, or with the donor's. So the hue is never in the middle of the face, and in a puppet nowhere.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.bundle_files import write_ganimation, write_geogan
from tests.streaming.faults import warm
from tests.streaming.test_live_fail_closed import HUE, MARGIN, allowed, first_frame, violet

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [
    pytest.mark.alone,
    pytest.mark.usefixtures("chromium"),
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no signals to stop a process with"),
]

FACE = np.s_[95:145, 135:185]
"""Well inside the face in every frame of the clip, at 320 x 240."""
FAULT_S = 1.9
"""Past the hold and the fade."""
AGAIN_S = 8.0
START_S = 90.0


class Call:
    """The product's page in a call, watched picture by picture."""

    def __init__(self, opened: Any, server: Any, folder: Path) -> None:
        self.opened, self.server, self.folder = opened, server, folder
        self.page = opened.open(server.url)
        self.seen, self.worst = 0, -np.inf
        self.last: np.ndarray | None = None
        self.puppet = False

    def start(self) -> None:
        self.page.click("#modes label:has([value=edit])")
        self.page.click("#start")
        self.opened.collect(self.page, video="#result")
        self.until(lambda: self.outcome() == "generated", 20)

    def outcome(self) -> str:
        return str(self.page.evaluate("() => document.documentElement.dataset.outcome"))

    def watch(self) -> None:
        """Look at every picture since the last look: at its face, or in a puppet at all of it."""
        self.page.wait_for_timeout(60)
        for picture in self.opened.collected(self.page):
            self.seen += 1
            self.last = picture.rgb
            self.worst = max(self.worst, violet(picture.rgb if self.puppet else picture.rgb[FACE]))

    def until(self, condition: Callable[[], bool], within_s: float = AGAIN_S) -> None:
        until = time.monotonic() + within_s
        while not condition():
            self.watch()
            assert time.monotonic() < until, self.server.log[-1500:]

    def colour(self) -> np.ndarray:
        """Of the middle of the face in the last picture, RGB in levels."""
        assert self.last is not None
        return np.asarray(self.last[FACE].mean((0, 1)))

    @contextmanager
    def fault(self, name: str) -> Iterator[None]:
        switch = self.folder / name
        switch.touch()
        try:
            yield
        finally:
            switch.unlink()

    def check(self) -> None:
        assert self.worst < MARGIN
        assert self.page.evaluate("() => document.documentElement.dataset.phase") == "live"


@pytest.fixture(scope="module")
def clip(camera: Callable[..., Path], faces_root: Path) -> Path:
    return camera("man_wide_mouth_frontal.mp4", start=2.0, seconds=5.0, back_and_forth=False, tint=HUE)


@pytest.fixture(scope="module")
def call(models: None, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    from streaming.bench.run import wait_until_ready
    from streaming.bench.server import ServerProcess
    from tests.streaming.browser import open_pages
    from tests.streaming.conftest import server_command

    folder = tmp_path_factory.mktemp("faults")
    bundles = tmp_path_factory.mktemp("bundles")
    painted = write_ganimation(bundles / "painted", attention=0.0, title="Painted")
    given = write_geogan(bundles / "given", mask=1.0, title="Given")
    worker = {"bundles": ["mesh_flow", str(painted), str(given)], "edit": True, "side": 384, "spare": False}
    options = {
        "worker": worker,
        "tools": "tests.streaming.faults:FaultyTools",
        "tools_with": {"folder": str(folder)},
    }
    with ServerProcess(options, server_command()) as server, open_pages(clip) as opened:
        wait_until_ready(server)
        call = Call(opened, server, folder)
        call.start()
        yield call
        call.page.locator("#stop").click()


def test_the_drivers_face_would_be_seen(clip: Path) -> None:
    """What the tests below rest on: the hue is in the middle of the driver's face, and a third of it would be found."""
    driver = first_frame(clip)
    assert violet(driver[FACE]) > 3 * MARGIN
    assert violet((driver[FACE] * 0.35).astype(np.uint8)) > MARGIN


def test_an_edit_follows_the_pages_sliders(call: Call) -> None:
    """The face is painted as the action units say, the rest is the camera's own, and the page says so."""
    page = call.page
    assert "Your own picture leaves" in page.inner_text("#banner")
    call.until(lambda: call.colour().max() < 60)
    page.click("#tab-expression")
    page.locator("#slider-AU26").fill("1")
    call.until(lambda: call.colour()[1] > 150)
    page.locator("#slider-AU26").fill("0")
    page.click("#expressions label:has([value=happiness])")
    page.locator("#slider-intensity").fill("1")
    call.until(lambda: call.colour()[0] > 150 > call.colour()[1])
    assert call.last is not None
    assert violet(call.last[:80]) > MARGIN, "around the face it is the camera's picture"
    assert page.evaluate("document.querySelector('#result').videoWidth") == 384
    call.check()


@pytest.mark.parametrize("fault", ["lost", "nan", "raise", "late"])
def test_a_fault_shows_no_face_as_it_is(call: Call, fault: str) -> None:
    """Nobody found, landmarks that are NaN, a generator that raises, frames that take longer than a second: the last
    edited picture, a card of it, and on again when it is over."""
    seen = call.seen
    with call.fault(fault):
        until = time.monotonic() + FAULT_S
        while time.monotonic() < until:
            call.watch()
        call.until(lambda: call.outcome() == "faded")
    call.until(lambda: call.outcome() == "generated")
    assert call.seen > seen + 5
    call.check()


def test_a_stalled_worker_is_replaced_and_the_edit_goes_on(call: Call) -> None:
    """SIGSTOP: another one takes over, with the bundle, the mode and the expression that were set."""
    (pid,) = warm(call.folder)
    os.kill(pid, signal.SIGSTOP)
    call.until(lambda: call.outcome() == "faded")
    call.until(lambda: call.outcome() == "generated", START_S)
    call.until(lambda: call.colour()[0] > 150)
    assert pid not in warm(call.folder)
    call.check()


def test_a_donor_is_taken_from(call: Call) -> None:
    """The other bundle: the face is the donor's, here the portrait's own; held and carded as well."""
    page = call.page
    page.click("#tab-setup")
    page.select_option("#bundle", "given")
    call.until(lambda: call.outcome() == "generated" and call.colour().min() > 60)
    page.locator("#donor-gallery button").first.click()
    page.wait_for_selector("#donor-gallery [aria-pressed=true]")
    with call.fault("lost"):
        call.until(lambda: call.outcome() == "faded")
    call.until(lambda: call.outcome() == "generated")
    call.check()


def test_a_puppet_takes_its_place_and_nothing_of_the_driver_is_left(call: Call) -> None:
    """And the way back begins in grey."""
    page = call.page
    assert call.last is not None
    page.click("#modes label:has([value=puppet])")
    call.until(
        lambda: (
            page.evaluate("() => document.querySelector('#result').videoWidth") != 384
            or call.last.shape[0] != 240
        )
    )
    page.wait_for_timeout(300)
    call.watch()
    call.check()
    call.puppet, call.worst = True, -np.inf
    call.until(lambda: call.outcome() == "generated")
    assert "leaves" not in page.inner_text("#banner")
    assert call.worst < allowed()
    call.puppet, call.worst = False, -np.inf
    page.click("#modes label:has([value=edit])")
    call.until(lambda: call.outcome() == "generated" and call.last is not None and call.last.shape[0] == 240)
    call.check()
    assert call.seen > 200
