"""The shipped trained bundles in a real browser, in both modes, on a driver who does not move: so what changes in the
picture that comes back was asked for on the page.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streaming.bench.clip import RATE

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("chromium")]

ASKED_WITHIN = 3
"""Intervals of the camera's frames until a slider is seen in what leaves."""
ON_THE_WAY = 4
"""Further ones that encoder, network, jitter buffer, decoder and the reading of pictures back may take."""
SEEN = 6.0
"""Levels by which some pixels of the face then differ from those before."""
LIVE_S = 40.0


class Call:
    """A page in a call, and the pictures that it got."""

    def __init__(self, opened: Any, page: Any) -> None:
        self.opened, self.page = opened, page

    def outcome(self) -> str:
        return str(self.page.evaluate("() => document.documentElement.dataset.outcome"))

    def until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + LIVE_S
        while not condition():
            self.page.wait_for_timeout(100)
            assert time.monotonic() < until, self.outcome()

    def pictures(self, seconds: float) -> list[Any]:
        return list(self.opened.received(self.page, seconds=seconds, video="#result"))

    def settled(self) -> np.ndarray:
        """What is shown when nothing changes: the median of a second, float32 (H, W, 3). Of more on a machine so busy
        that none comes in one."""
        found = [picture.rgb for picture in self.pictures(1.0) or self.pictures(5.0)]
        return np.asarray(
            np.median([one for one in found if one.shape == found[-1].shape], axis=0), np.float32
        )

    def take(self, bundle: str, mode: str) -> None:
        self.page.click("#tab-setup")
        self.page.click(f"#modes label:has([value={mode}])")
        self.page.select_option("#bundle", bundle)
        self.page.wait_for_timeout(1500)
        self.until(lambda: self.outcome() == "generated")


@pytest.fixture(scope="module")
def call(
    models: None, camera: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Call]:
    from streaming.bench.run import wait_until_ready
    from streaming.bench.server import ServerProcess
    from tests.streaming.browser import open_pages
    from tests.streaming.conftest import server_command

    still = camera("portraits/real_woman_black_background_neutral.jpg", seconds=1.0)
    bundles = ["mesh_flow", "ganimation_small", "geogan_small"]
    worker = {"bundles": bundles, "edit": True, "side": 384, "spare": False}
    with ServerProcess({"worker": worker}, server_command()) as server, open_pages(still) as opened:
        wait_until_ready(server)
        call = Call(opened, opened.open(server.url))
        call.page.click("#start")
        call.until(lambda: call.outcome() == "generated")
        yield call
        call.page.locator("#stop").click()


def changed(now: np.ndarray, before: np.ndarray) -> float:
    """By how much the most changed hundredth of the pixels differ, in levels."""
    return float(np.percentile(np.abs(now.astype(np.float32) - before).max(axis=2), 99))


def test_a_slider_is_seen_in_the_edit_within_three_frames(call: Call) -> None:
    """GANimation on the driver's own face: the jaw drops as soon as it is asked to, and nowhere but in the face."""
    call.take("ganimation_small", "edit")
    before = call.settled()
    call.page.click("#tab-expression")
    call.opened.collect(call.page, video="#result")
    call.page.wait_for_timeout(300)
    asked_at = call.page.evaluate(
        "() => { const slider = document.querySelector('#slider-AU26'); slider.value = 1;"
        " slider.dispatchEvent(new Event('input', {bubbles: true})); return performance.now() / 1000 }"
    )
    call.page.wait_for_timeout(1200)
    found = call.opened.stop_collecting(call.page)
    noise = max(changed(one.rgb, before) for one in found if one.at_s < asked_at)
    seen = [one.at_s for one in found if one.at_s > asked_at and changed(one.rgb, before) > noise + SEEN]
    assert seen, f"nothing changed by more than {noise + SEEN:.1f} levels"
    intervals = (seen[0] - asked_at) * RATE
    print(f"{intervals:.1f} frame intervals from the slider to the page")
    assert intervals <= ASKED_WITHIN + ON_THE_WAY
    after = call.settled()
    assert changed(after[:40], before[:40]) < SEEN
    assert call.outcome() == "generated"


def test_a_portrait_is_moved_by_the_trained_network(call: Call) -> None:
    """GANimation as a puppet: sliders add to what the driver does, and the portrait is what is shown."""
    call.take("ganimation_small", "puppet")
    call.page.click("#tab-expression")
    call.page.locator("#slider-AU26").fill("0")
    call.page.wait_for_timeout(500)
    before = call.settled()
    call.page.locator("#slider-AU26").fill("1")
    call.page.wait_for_timeout(500)
    assert changed(call.settled(), before) > SEEN
    assert call.outcome() == "generated"


def test_a_donor_changes_the_mouth_and_nothing_else(call: Call) -> None:
    """GeoGAN: the picture around the mouth stays the camera's own."""
    call.take("geogan_small", "edit")
    before = call.settled()
    call.page.click("#tab-setup")
    call.page.locator("#donor-gallery button").first.click()
    call.page.wait_for_selector("#donor-gallery [aria-pressed=true]")
    call.page.wait_for_timeout(1000)
    after = call.settled()
    assert call.outcome() == "generated"
    if before.shape == after.shape:
        assert changed(after[:40], before[:40]) < SEEN
