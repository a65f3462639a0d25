"""The whole way: a real browser, a real server, a real worker process, a real clip as camera.

One server and one browser serve all tests, for each costs seconds. No test holds a machine to a speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine.media import decode_picture, read_picture
from engine.sample import sample_portrait
from engine.track.face import FaceTracker
from streaming.bench.run import motion_lag

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("chromium")]

TALKER = {"start": 1.0, "seconds": 5.0, "back_and_forth": False}
"""Of man_wide_mouth_frontal.mp4: a second at rest, then a mouth that opens wide three times."""


@pytest.fixture
def server(house: Any) -> Any:
    return house.server


@pytest.fixture(scope="module")
def tracker(models: None) -> Iterator[FaceTracker]:
    tracker = FaceTracker()
    yield tracker
    tracker.close()


@pytest.fixture(scope="module")
def talker(camera, faces_root: Path) -> Path:
    return camera("man_wide_mouth_frontal.mp4", **TALKER)


@pytest.fixture(scope="module")
def browser(chromium: None, talker: Path) -> Iterator[Any]:
    """A browser with the talker as its camera, open for all tests of this file."""
    from tests.streaming.browser import open_pages

    with open_pages(talker) as opened:
        yield opened


def _portrait(size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(read_picture(sample_portrait()), size, interpolation=cv2.INTER_AREA)


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two pictures' colours, -1 .. 1."""
    return float(np.corrcoef(one.ravel().astype(float), other.ravel().astype(float))[0, 1])


@pytest.mark.parametrize("codec", ["vp8", pytest.param("h264", marks=pytest.mark.full)])
def test_the_returned_video_is_the_portrait_moved_as_the_driver_moves(
    server, browser, tracker: FaceTracker, codec: str
) -> None:
    """What comes back is the portrait and not the driver, and its mouth follows the driver's, frame by frame matched
    by the number that was drawn into what was sent."""
    from streaming.bench.page import open_call_page

    with closing(open_call_page(browser.browser)) as page:
        page.call_server("call", codec, server.origin, server.token)
        page.wait(1.5)
        sent, received = page.record("call", 4)
        mime = page.measure("call", 0.1)["codec"]
        page.hang_up("call")
    assert mime.lower().endswith(codec)
    picture = decode_picture(received[-1][2], "received")
    small = picture[40:]  # below the strip
    whole = _portrait(picture.shape[1::-1])[40:]
    driver = cv2.resize(decode_picture(sent[-1][2], "sent"), picture.shape[1::-1])[40:]
    assert _alike(small, whole) > 0.85
    assert _alike(small, driver) < 0.6
    found = motion_lag(sent, received, tracker)
    assert found["received"] > 30
    assert found["lags"]["mouth"]["together"] >= 0.85


def _number(page: Any, selector: str) -> float:
    """The first number of an element's text; NaN where there is none."""
    text = page.locator(selector).inner_text()
    digits = "".join(one if one.isdigit() or one == "." else " " for one in text).split()
    return float(digits[0]) if digits else float("nan")


@contextmanager
def _live(browser: Any, server: Any, codec: str = "auto") -> Iterator[Any]:
    """The product's page in a call that was started by its own button."""
    page = browser.open(server.url)
    try:
        page.locator("#codec").select_option(codec)
        page.locator("#start").click()
        page.wait_for_selector("html[data-phase=live]")
        browser.wait_for_pictures(page, video="#result", count=15)
        yield page
        page.locator("#stop").click()
        page.wait_for_selector("html[data-phase=stopped]")
    finally:
        page.close()


@pytest.mark.parametrize("codec", [pytest.param("vp8", marks=pytest.mark.full), "h264"])
def test_the_page_starts_measures_and_stops(server, browser, codec: str) -> None:
    """A visitor's way by the page's own buttons: the chosen codec, a moving portrait, figures of every stage, and a
    glass-to-glass time that is longer than the server's age and shorter than a second."""
    with _live(browser, server, codec) as page:
        page.locator("#tab-latency").click()
        page.wait_for_function("() => document.querySelectorAll('#legend li').length >= 4")
        named = {"vp8": "VP8", "h264": "H.264"}[codec]
        page.wait_for_function(
            "(named) => document.querySelector('#server-figures').innerText.includes(named)", arg=named
        )
        page.locator("#measure").click()
        page.wait_for_function("() => parseInt(document.querySelector('#measure-count').innerText) >= 30")
        page.locator("#measure").click()
        age, delay = _number(page, "#age"), _number(page, "#measure-p50")
        assert 0 < age < delay < 1000
        shown = browser.received(page, seconds=0.5, video="#result")[-1].rgb
        assert _alike(shown, _portrait(shown.shape[1::-1])) > 0.85


def test_a_control_of_the_page_changes_the_picture(server, browser, tracker: FaceTracker) -> None:
    """A slider pulled on the page stills the portrait's mouth, and lets it move again."""
    from tests.streaming.browser import course

    with _live(browser, server) as page:
        page.locator("#tab-motion").click()
        gain = page.locator("#gains input[type=range]").nth(1)
        spread = {}
        for value in ("0", "1"):
            gain.fill(value)
            page.wait_for_timeout(500)
            pictures = browser.received(page, seconds=3, video="#result")[::3]  # enough of them to tell
            rgbs, times_s = [one.rgb for one in pictures], [one.at_s for one in pictures]
            spread[value] = float(np.nanstd(course(rgbs, tracker, times_s)[:, 0]))
        assert spread["0"] < 0.25 * spread["1"]


def test_a_slow_stage_makes_no_queue(house, browser) -> None:
    """With a tracker that takes 200 ms more, a picture is never older than two such stages: what would have waited
    was dropped, and is counted."""
    from streaming.bench.page import open_call_page
    from tests.streaming.faults import SLOW_S

    with house.fault("slow"), closing(open_call_page(browser.browser)) as page:
        page.call_server("call", "vp8", house.server.origin, house.server.token)
        page.wait(2)
        reports = page.measure("call", 3)["reports"]
        page.hang_up("call")
    moving = [report for report in reports if report["age_ms"] and report["stages"].get("track")]
    assert len(moving) > 5
    stage = np.median([report["stages"]["track"] for report in moving])
    ages = np.median([[report["age_ms"]["p50"], report["age_ms"]["p95"]] for report in moving], axis=0)
    assert stage >= 1000 * SLOW_S
    assert ages.max() <= 2 * stage
    assert moving[-1]["dropped"]["replaced"] > 20


@pytest.mark.full
def test_a_server_that_went_away_is_found_again(house, browser) -> None:
    """The server ends under the page and another one takes its place; the page calls anew without a click."""
    with browser.allowing("ERR_CONNECTION_REFUSED", "status of 503"), _live(browser, house.server) as page:
        house.end()
        try:
            page.wait_for_selector("html[data-phase=reconnecting]")
        finally:
            house.start_again()
        page.wait_for_selector("html[data-phase=live]")
        browser.wait_for_pictures(page, video="#result", count=15)
