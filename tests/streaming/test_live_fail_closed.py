"""Whatever breaks, no picture that a real browser receives shows the driver, the call stays up, and it goes on moving.

The driver's frames are tinted in a hue that the portrait lacks, and every picture that the page presents is read back.
One server, and one call for all faults but the one that needs another clip.
"""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.media import read_picture
from engine.sample import sample_portrait
from streaming.bench.clip import tint_chroma
from tests.streaming.faults import at_work

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [
    pytest.mark.alone,
    pytest.mark.usefixtures("chromium"),
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no signals to stop a process with"),
]

HUE = 268.0
"""Violet: the sample portrait has next to nothing of it."""
REGION = 10
"""Side in pixels of a region in which the hue is looked for; a face has a hundred of them."""
MARGIN = 8.0
"""Levels of chroma above the portrait's own most violet region: a fifth of the driver mixed in is found."""
AGAIN_S = 5.0
"""From a cause's end until the picture moves."""
FAULT_S = 2.5
"""A fault that is switched on lasts so long: past the hold and the fade."""
WARM_S = 60.0
CHANGED = 1.0
"""Mean difference in levels between two pictures a tenth of a second apart: more than in one that is held or fades."""


def violet(rgb: np.ndarray) -> float:
    """How much of the hue the most violet region has, in levels of chroma."""
    ycc = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2YCrCb).astype(np.float32) - 128
    towards = tint_chroma(HUE) - 128
    towards = towards / np.linalg.norm(towards)
    along = ycc[..., 2] * towards[0] + ycc[..., 1] * towards[1]
    return float(cv2.blur(along, (REGION, REGION)).max())


def portrait(width: int) -> np.ndarray:
    picture = read_picture(sample_portrait())
    return cv2.resize(
        picture, (width, width * picture.shape[0] // picture.shape[1]), interpolation=cv2.INTER_AREA
    )


def allowed() -> float:
    return violet(portrait(320)) + MARGIN


def first_frame(clip: Path) -> np.ndarray:
    """Of a fake camera's file, as RGB, 320 wide."""
    with clip.open("rb") as stream:
        stream.readline(), stream.readline()
        planes = np.frombuffer(stream.read(640 * 480 * 3 // 2), np.uint8).reshape(720, 640)
    return cv2.resize(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420), (320, 240), interpolation=cv2.INTER_AREA)


def _changed(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and float(np.mean(cv2.absdiff(one, other))) > CHANGED


class Call:
    """The product's page in a call, watched picture by picture."""

    def __init__(self, opened: Any, house: Any) -> None:
        self.opened, self.house, self.server = opened, house, house.server
        self._before = self._samples()
        self.page = opened.open(self.server.url)
        self.page.locator("#start").click()
        self.page.wait_for_selector("html[data-phase=live]")
        opened.collect(self.page, video="#result")
        self.seen = 0
        self.worst = -np.inf
        self._last: tuple[float, np.ndarray] | None = None
        self.moved_at_s = -np.inf
        """Page time of the last picture that differs from the one before it."""

    def now_s(self) -> float:
        return float(self.page.evaluate("() => performance.now()")) / 1000

    def watch(self) -> None:
        """Look at every picture since the last look."""
        self.page.wait_for_timeout(100)
        for picture in self.opened.collected(self.page):
            self.seen += 1
            self.worst = max(self.worst, violet(picture.rgb))
            if self._last is not None and picture.at_s - self._last[0] < 0.1:
                continue
            grey = cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2GRAY)
            if self._last is not None and _changed(self._last[1], grey):
                self.moved_at_s = picture.at_s
            self._last = picture.at_s, grey

    def until_it_moves(self, since_s: float, within_s: float) -> None:
        """Until the picture has moved after page time `since_s`, and the server generates again; fails after
        `within_s`."""
        before = self.generated()
        while self.moved_at_s <= since_s or self.generated() < before + 5:
            self.watch()
            assert self.now_s() - since_s < within_s, f"it does not move {within_s} s after the cause's end"

    def generated(self) -> float:
        return self.counted("marotte_frames_sent_total", outcome="generated")

    def watch_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.watch()

    def counted(self, name: str, **labels: str) -> float:
        """Since the call began."""
        return sum(
            value - self._before.get((told, of), 0.0)
            for (told, of), value in self._samples().items()
            if told == name and labels.items() <= dict(of).items()
        )

    def _samples(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        request = urllib.request.Request(
            f"{self.server.origin}/metrics", headers={"Authorization": f"Bearer {self.server.token}"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    def worker(self) -> int:
        """Pid of the process that tracks, once another one is warm behind it."""
        until = time.monotonic() + WARM_S
        while (pid := at_work(self.house.folder)) is None:
            self.watch()
            assert time.monotonic() < until, f"no spare worker after {WARM_S:g} s: {self.server.log[-2000:]}"
        return pid

    def check(self) -> None:
        """No picture showed the driver, and it is the same call."""
        assert self.worst < allowed()
        assert self.page.evaluate("() => document.documentElement.dataset.phase") == "live"
        assert self._samples()["marotte_sessions", ()] == 1
        assert self.counted("marotte_sessions_closed_total", reason="connection") == 0

    def close(self) -> None:
        if self.page.is_closed():
            return
        self.page.locator("#stop").click()
        self.page.wait_for_selector("html[data-phase=stopped]")
        self.page.close()


@pytest.fixture(scope="module")
def clip(camera: Callable[..., Path], faces_root: Path) -> Path:
    """A driver that is never still, in violet."""
    return camera("man_wide_mouth_frontal.mp4", start=2.0, seconds=5.0, back_and_forth=False, tint=HUE)


@pytest.fixture(scope="module")
def call(house: Any, clip: Path) -> Iterator[Call]:
    from tests.streaming.browser import open_pages

    with open_pages(clip) as opened:
        call = Call(opened, house)
        call.until_it_moves(call.now_s(), 20)
        yield call
        call.close()


def test_the_driver_would_be_seen(clip: Path) -> None:
    """What the tests below rest on: the portrait passes, the driver and a third of the driver mixed in do not."""
    still, driver = portrait(320), first_frame(clip)
    driver = cv2.resize(driver, still.shape[1::-1])
    assert violet(still) < allowed()
    assert violet(driver) > allowed() + 2 * MARGIN
    for share in (0.35, 0.6):
        assert violet(cv2.addWeighted(driver, share, still, 1 - share, 0)) > allowed()
    corner = still.copy()
    corner[:24, :24] = driver[108:132, 148:172]
    assert violet(corner) > allowed()


def test_a_killed_worker_is_replaced_under_the_call(call: Call) -> None:
    """SIGKILL: the spare takes over, the viewer sees the held portrait meanwhile."""
    os.kill(call.worker(), signal.SIGKILL)
    call.until_it_moves(call.now_s() + 0.5, AGAIN_S)
    call.watch_for(1)
    assert call.counted("marotte_worker_restarts_total", reason="crashed") == 1
    call.check()


@pytest.mark.parametrize("fault", ["raise", "nan"])
def test_a_stage_that_fails_shows_the_portrait(call: Call, fault: str) -> None:
    """A generator that raises, landmarks that are NaN: held, faded, and on again when it is over."""
    before = call.counted("marotte_fallback_frames_total")
    with call.house.fault(fault):
        began_s = call.now_s()
        call.watch_for(FAULT_S)
    assert call.moved_at_s < began_s + FAULT_S - 0.3, "the fault did nothing"
    assert call.counted("marotte_fallback_frames_total") > before + 10
    call.until_it_moves(call.now_s(), AGAIN_S)
    call.watch_for(1)
    call.check()


def test_a_stopped_worker_is_replaced_under_the_call(call: Call) -> None:
    """SIGSTOP: it hangs without a word, is found out, killed and replaced, within 5 s of the stop itself."""
    pid = call.worker()
    os.kill(pid, signal.SIGSTOP)
    since_s = call.now_s()
    call.until_it_moves(since_s + 1.0, AGAIN_S - 1.0)
    call.watch_for(1)
    assert call.counted("marotte_worker_restarts_total", reason="hung") == 1
    call.check()
    assert call.counted("marotte_sessions_opened_total") == 1, "one call, all the way"
    assert call.seen > 150


@pytest.fixture
def leaving(call: Call, camera: Callable[..., Path]) -> Iterator[Call]:
    """A call of its own, from a second browser, whose camera is a face for 2 s and none for 3.5 s, over and over."""
    from streaming.bench.chromium import FLAGS, camera_flags, find_chromium
    from tests.streaming.browser import Opened

    call.close()
    clip = camera("hard/face_then_none.mov", tint=HUE, back_and_forth=False)
    kind = call.opened.browser.browser_type
    executable = find_chromium() or kind.executable_path
    browser = kind.launch(executable_path=executable, args=[*FLAGS, *camera_flags(clip)])
    try:
        opened = Opened(browser, browser.new_context(), ())
        call = Call(opened, call.house)
        yield call
        call.close()
        assert not opened.complaints, opened.complaints
    finally:
        browser.close()


def test_a_face_that_leaves_shows_the_portrait(leaving: Call) -> None:
    """Frames without a face are not sent in its place; the picture moves again when the face is back."""
    call = leaving
    before = call.counted("marotte_fallback_frames_total", reason="no face")
    call.until_it_moves(call.now_s(), 20)
    until = time.monotonic() + 20
    while call.now_s() - call.moved_at_s < 1.0:
        call.watch()
        assert time.monotonic() < until, "it goes on moving without a face"
    assert call.counted("marotte_fallback_frames_total", reason="no face") > before
    call.until_it_moves(call.now_s(), 5.0 + AGAIN_S)
    call.watch_for(1)
    call.check()
