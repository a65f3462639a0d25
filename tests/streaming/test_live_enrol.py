"""A person is enrolled in a real browser: recorded by the page, followed, and turned to in mid-call.

The enrolment is a fake that gives a bundle of closed forms; one test goes the whole way with a real small checkpoint.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.stit_files import write_stit
from tests.export import conftest as exporting
from tests.streaming.enrolling import FAKE, write_weights

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.alone, pytest.mark.full, pytest.mark.usefixtures("chromium")]

stit = exporting.stit  # the fixture

LIVE_S = 60.0
CAMERA = {"seconds": 4.0, "back_and_forth": True}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Of the fake: its bundle paints a face in the mean colour of the camera's."""
    folder = write_weights(tmp_path / "weights")
    shutil.rmtree(folder / "bundle")
    write_stit(folder / "bundle")
    (folder / "steps").write_text("20")
    (folder / "wait").write_text("0.1")
    return folder


def until(page: Any, condition: Callable[[], bool], seconds: float = LIVE_S) -> None:
    end_s = time.monotonic() + seconds
    while not condition():
        page.wait_for_timeout(100)
        assert time.monotonic() < end_s, page.locator("#enrol").inner_text()


def outcome(page: Any) -> str:
    return str(page.evaluate("() => document.documentElement.dataset.outcome"))


def fill(page: Any, name: str) -> None:
    """Who it is, who allows it, and that they agree."""
    page.click("#enrol-open")
    assert page.locator("#enrol-record").is_disabled()
    page.fill("#enrol-name", name)
    page.fill("#enrol-by", "A test")
    page.fill("#enrol-statement", "A clip of the tests")
    assert page.locator("#enrol-record").is_disabled(), "a recording began without consent"
    page.check("#enrol-consent")


def recorded(page: Any) -> None:
    """Some seconds, then Begin."""
    page.click("#enrol-record")
    page.wait_for_timeout(3500)
    page.click("#enrol-record")
    page.wait_for_selector("#enrol-send:not([disabled])")
    page.click("#enrol-send")
    page.wait_for_selector("#enrol-dialog:not([open])", state="attached")


@pytest.fixture
def site(models: None, weights: Path, tmp_path: Path, serving: Callable[..., Any]) -> Iterator[Any]:
    from streaming.bench.run import wait_until_ready

    options = {
        "enrol": {"stit": str(weights)},
        "enrolments": str(tmp_path / "enrolments"),
        "enrol_command": list(FAKE),
        "worker": {"edit": True, "side": 384, "spare": False},
    }
    with serving(**options) as server:
        wait_until_ready(server)
        yield server


def test_a_recording_of_the_page_becomes_what_leaves(
    site: Any, weights: Path, tmp_path: Path, pages: Callable[..., Any], camera: Callable[..., Path]
) -> None:
    """Consent, a recording of the call's own camera, progress, cancel, going on, and the swap without a new call; then
    it is given up again, and nothing of it is left."""
    with pages(camera("man_wide_mouth_frontal.mp4", **CAMERA)) as opened:
        page = opened.open(site.url)
        page.click("#start")
        until(page, lambda: outcome(page) == "generated")
        (weights / "wait").write_text("1")
        fill(page, "Ann")
        recorded(page)
        page.wait_for_selector("#enrolments progress[value]")
        assert "Tuning to it" in page.locator("#enrolments .note").inner_text()
        page.get_by_role("button", name="Cancel").first.click()
        page.wait_for_selector("#enrolments .note:has-text('it was cancelled')")
        (weights / "wait").write_text("0.1")
        page.get_by_role("button", name="Go on").click()
        until(page, lambda: page.locator("#bundle").input_value().startswith("enrolled-"))
        assert page.locator("#bundle option:checked").inner_text() == "Ann (STIT)"
        page.wait_for_timeout(1500)  # what was generated until now was of the bundle before
        until(page, lambda: outcome(page) == "generated")
        (started, again) = [json.loads(line) for line in (weights / "started").read_text().splitlines()]
        assert started["words"] == again["words"]
        place = next((tmp_path / "enrolments").glob("*/job.json")).parent
        assert {path.name for path in place.iterdir()} == {"job.json", f"enrolled-{place.name}"}
        with opened.allowing("status of 409"):
            page.get_by_role("button", name="Remove").click()
            page.wait_for_selector("#notices :text('a session runs it')")
        page.select_option("#bundle", "mesh_flow")
        page.wait_for_timeout(1500)
        page.get_by_role("button", name="Remove").click()
        until(page, lambda: page.locator("#enrolments li").count() == 0)
        assert page.locator("#bundle option").count() == 1
        assert not place.exists()
        until(page, lambda: outcome(page) == "generated")


def test_a_chosen_clip_is_enrolled_without_a_call(
    site: Any, weights: Path, pages: Callable[..., Any], faces_root: Path
) -> None:
    """No camera is asked for; what cannot be used is told on the card; a reload finds what is there."""
    with pages(None, allow=["status of 422"]) as opened:
        page = opened.open(site.url)
        fill(page, "Bob")
        page.set_input_files("#enrol-file", faces_root / "hard" / "truncated.jpg")
        page.click("#enrol-send")
        page.wait_for_selector("#enrol-error:not([hidden])")
        page.set_input_files("#enrol-file", faces_root / "drivers" / "man_wide_mouth_frontal.mp4")
        page.uncheck("#enrol-turn")
        page.click("#enrol-send")
        page.wait_for_selector("#enrolments .note:has-text('Enrolled')", timeout=60_000)
        assert page.locator("#bundle").input_value() == "mesh_flow"
        page.reload()
        page.wait_for_selector("#enrolments .note:has-text('Enrolled')")
        assert page.locator("#bundle option").count() == 2


def test_a_real_small_checkpoint_is_enrolled_from_the_page(
    models: None,
    stit: Callable[..., Path],
    tmp_path: Path,
    serving: Callable[..., Any],
    pages: Callable[..., Any],
    camera: Callable[..., Path],
) -> None:
    """`marotte enrol` itself, from a recording to a bundle that is turned to in mid-call."""
    from streaming.bench.run import wait_until_ready

    weights = stit(widths=[8, 8, 8, 8])
    words = [
        *("--frames", "6", "--device", "cpu", "--set", "pivotal.passes=1"),
        *("--set", "pivotal.perceptual=gradient", "--set", "stitching.passes=1"),
    ]
    options = {
        "enrol": {"stit": str(weights)},
        "enrol_options": {"stit": words},
        "enrolments": str(tmp_path / "enrolments"),
        "worker": {"edit": True, "side": 384, "spare": False},
    }
    with serving(**options) as server, pages(camera("man_wide_mouth_frontal.mp4", **CAMERA)) as opened:
        wait_until_ready(server)
        page = opened.open(server.url)
        page.click("#start")
        until(page, lambda: outcome(page) == "generated")
        fill(page, "Ann")
        recorded(page)
        until(page, lambda: page.locator("#bundle").input_value().startswith("enrolled-"), 500)
        until(page, lambda: outcome(page) == "generated")
        found = opened.received(page, seconds=1.0, video="#result")
        assert np.ptp(found[-1].rgb) > 20
