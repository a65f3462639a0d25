"""A real Chromium in front of a real server: what the browser tests share.

    def test_something(camera, serving, pages):
        clip = camera("man_wide_mouth_frontal.mp4", seconds=6)      # a fake camera's file, cached for the run
        with serving(worker={"spare": False}) as server, pages(clip) as opened:
            page = opened.open(server.url)                          # a Playwright page (sync)
            page.get_by_role("button", name="Start").click()
            pictures = opened.received(page, seconds=3)             # list of Picture, from the page's <video>
        # leaving `pages` fails the test when a console error or a violation of the CSP was seen

- `camera(name, **options)`: name is a clip of ../shared/faces/drivers, a path below ../shared/faces with a slash in it
  ("hard/face_then_none.mov"), a Path, or None for the rendered sample portrait (which needs the models and no
  ../shared). options: those of streaming.bench.clip.camera_clip: seconds, tint (hue in degrees: 120 and 240 are far
  from anything in the sample portrait), back_and_forth, start.
- `serving(**options)`: options of tests/streaming/live_server.py; `tools="tests.streaming.faults:SlowTracker"`,
  `tools_with={...}` put faults in. Gives a streaming.bench.server.ServerProcess: url, origin, token, pid, log,
  ask("counts").
- `pages(clip, **options)`: a Chromium with that camera; clip None: no camera. options: allow (texts that an expected
  console message contains), flags (further ones of Chromium), and those of Playwright's new_context (viewport ...).

While `pages` is open no other test code in the same thread may use asyncio.run (Playwright's own loop runs there).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from engine.types import F64, U8, Face, Frame
from streaming import strip
from streaming.bench.chromium import open_browser
from streaming.bench.clip import tint_chroma

COLLECTOR = Path(__file__).with_name("collector.js").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A received picture. rgb: uint8 (H, W, 3). mark: number on its strip, -1 without one. at_s: page time in
    seconds (performance.now) at which it was presented. size: (width, height) as it was received."""

    rgb: U8
    mark: int
    at_s: float
    size: tuple[int, int]


class Opened:
    """The browser of one test."""

    def __init__(self, browser: Browser, context: BrowserContext, allow: Sequence[str]) -> None:
        self.browser, self.context = browser, context
        self._allow = tuple(allow)
        self.complaints: list[str] = []
        """Errors of pages and violations of their policy, those allowed left out."""
        context.add_init_script(COLLECTOR)
        context.on("console", self._heard)
        context.on("weberror", lambda error: self._complain(f"uncaught: {error.error}"))

    def open(self, url: str) -> Page:
        """A new page at `url`. Its timeout for everything is 20 s."""
        page = self.context.new_page()
        page.set_default_timeout(20_000)
        page.goto(url)
        return page

    def collect(self, page: Page, *, video: str = "video", width: int = 320) -> None:
        """Begin to keep every picture that the first playing element of CSS selector `video` presents, `width` wide."""
        page.evaluate("([video, width]) => marotteCollector.start(video, width)", [video, width])

    def collected(self, page: Page) -> list[Picture]:
        """The pictures since `collect` or since the last call; goes on collecting."""
        found = page.evaluate("() => marotteCollector.take()")
        return [_picture(*one) for one in found]

    def stop_collecting(self, page: Page) -> list[Picture]:
        """The last pictures; no more are kept."""
        page.evaluate("() => marotteCollector.stop()")
        return self.collected(page)

    def received(
        self, page: Page, *, seconds: float, video: str = "video", width: int = 320
    ) -> list[Picture]:
        """Every picture presented in the next `seconds`."""
        self.collect(page, video=video, width=width)
        page.wait_for_timeout(1000 * seconds)
        return self.stop_collecting(page)

    def wait_for_pictures(self, page: Page, *, video: str = "video", count: int = 1) -> None:
        """Until an element has presented `count` further pictures; Playwright's TimeoutError after 20 s."""
        page.evaluate(
            "([video, count]) => Promise.race([marotteCollector.presented(video, count),"
            " new Promise((_, no) => setTimeout(() => no(new Error('no picture came in 20 s')), 20000))])",
            [video, count],
        )

    @contextmanager
    def allowing(self, *texts: str) -> Iterator[None]:
        """Errors with one of these texts are expected inside."""
        before, self._allow = self._allow, (*self._allow, *texts)
        try:
            yield
        finally:
            self._allow = before

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._complain(message.text)

    def _complain(self, text: str) -> None:
        if not any(allowed in text for allowed in self._allow):
            self.complaints.append(text)


@contextmanager
def open_pages(
    clip: Path | None, *, allow: Sequence[str] = (), flags: Sequence[str] = (), **context: Any
) -> Iterator[Opened]:
    """As the fixture `pages`; AssertionError at the end when the pages complained."""
    with open_browser(clip, flags) as browser:
        opened = Opened(browser, browser.new_context(**context), allow)
        yield opened
        assert not opened.complaints, opened.complaints


def _picture(at_ms: float, width: int, height: int, jpeg: str, row: str) -> Picture:
    return Picture(
        decoded(base64.b64decode(jpeg)),
        strip.read(np.frombuffer(base64.b64decode(row), np.uint8).reshape(-1, width)) if row else -1,
        at_ms / 1000,
        (width, height),
    )


def decoded(jpeg: bytes) -> U8:
    """uint8 (H, W, 3), RGB."""
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return np.ascontiguousarray(bgr[..., ::-1])


def hue_share(rgb: U8, hue: float) -> float:
    """Share of a picture's pixels, 0..1, whose chroma clearly points to a hue (degrees): how much there is of a driver
    that was tinted with it (camera(..., tint=hue)). The strip's rows and grey pixels count as none."""
    ycc = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2YCrCb).astype(np.float64)
    chroma = np.stack([ycc[..., 2], ycc[..., 1]], -1) - 128
    towards = tint_chroma(hue) - 128
    length = np.linalg.norm(towards)
    along = chroma @ (towards / length)
    across = np.abs(chroma @ (np.array([-towards[1], towards[0]]) / length))
    return float(np.mean((along > 0.2 * length) & (across < 0.4 * along)))


def course(pictures: Sequence[U8], tracker: Any, times_s: Sequence[float]) -> F64:
    """Mouth opening and yaw in degrees of each picture, (T, 2), as video; NaN where there is no face."""
    from streaming.bench.motion import signals

    return signals(pictures, tracker, times_s)


__all__ = ["Face", "Frame", "Opened", "Picture", "course", "decoded", "hue_share", "open_pages"]
