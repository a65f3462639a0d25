"""Ten minutes of calls that come and go, with workers that are killed under them: nothing is left behind.

MAROTTE_SOAK_S makes it shorter or longer; reconnects and kills come as often. Several sessions, for hours: soak.py.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.streaming.faults import at_work, warm

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [
    pytest.mark.alone,
    pytest.mark.full,
    pytest.mark.usefixtures("chromium"),
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="what is held is read from /proc"),
]

SOAK_S = float(os.environ.get("MAROTTE_SOAK_S", "600"))
RECONNECT_S, KILL_S = 30.0, 120.0
"""A reconnect and a kill every so many seconds: 20 and 5 in ten minutes."""
FIRST_S = min(60.0, SOAK_S / 4)
"""What is opened once and kept, such as threads of a pool, is there by then."""
MOST_GROWTH_MB = 20.0
REST_S = 60.0
KEPT_ALIVE_S = 32.0
"""The browser's idle connections to the server are closed by then."""


class Soak:
    def __init__(self, opened: Any, server: Any, folder: Path, others: set[str]) -> None:
        """others: segments that were there before the server."""
        self.opened, self.server, self.folder, self.others = opened, server, folder, others
        self.page = opened.open(server.url)
        self.kills = self.reconnects = 0

    def counts(self) -> dict[str, Any]:
        return self.server.ask("counts", 30)

    def start(self) -> None:
        self.page.locator("#start").click()
        try:
            self.page.wait_for_selector("html[data-phase=live]")
        except playwright.TimeoutError as error:
            seen = self.page.evaluate(
                "() => [{...document.documentElement.dataset}, document.body.innerText]"
            )
            raise AssertionError(f"no call: {seen}; {self.opened.complaints}; {self.server.log}") from error
        self.opened.wait_for_pictures(self.page, video="#result", count=10)

    def stop(self) -> None:
        self.page.locator("#stop").click()
        self.page.wait_for_selector("html[data-phase=stopped]")

    def reconnect(self) -> None:
        """By the page's own button, by a reload in mid-call, and by a page that is closed in mid-call, in turn."""
        self.reconnects += 1
        if self.reconnects % 3 == 0:
            self.stop()
        elif self.reconnects % 3 == 1:
            self.page.reload()
        else:
            self.page.close()
            self.page = self.opened.open(self.server.url)
        self.start()

    def kill(self) -> None:
        """The worker under the call, once another is behind it; the picture goes on."""
        until = time.monotonic() + REST_S
        while (pid := at_work(self.folder)) is None:
            assert time.monotonic() < until, "no spare worker"
            self.page.wait_for_timeout(200)
        os.kill(pid, signal.SIGKILL)
        self.kills += 1
        self.page.wait_for_timeout(2000)
        self.opened.wait_for_pictures(self.page, video="#result", count=10)

    def held(self) -> dict[str, Any]:
        """What the server holds when no call is open, at rest: two workers, and no connection of a browser."""
        self.stop()
        self.page.goto("about:blank")
        self.page.wait_for_timeout(1000 * KEPT_ALIVE_S)
        until, last = time.monotonic() + REST_S, {}
        while True:
            counts = self.counts()
            found = {key: counts[key] for key in ("fds", "tasks")}
            found["threads"] = counts["threads"] - counts["pooled"]
            found["processes"] = len(counts["below"])
            found["segments"] = len(_segments(counts["shm"]) - self.others)
            if found == last and found["segments"] == 0 and len(warm(self.folder)) == 2:
                self.page.goto(self.server.url)
                return found
            assert time.monotonic() < until, f"it does not come to rest: {found}: {counts['shm']}"
            last = found
            self.page.wait_for_timeout(3000)


def _segments(names: list[str]) -> set[str]:
    return {name for name in names if name.startswith("marotte-")}


def test_nothing_is_left_behind(
    serving: Callable[..., Any],
    pages: Callable[..., Any],
    camera: Callable[..., Path],
    faces_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Threads, descriptors, segments, processes and tasks are at the end what they were; memory does not grow."""
    clip = camera("man_wide_mouth_frontal.mp4", start=2.0, seconds=5.0, back_and_forth=False)
    tools = {"tools": "tests.streaming.faults:FaultyTools", "tools_with": {"folder": str(tmp_path)}}
    allow = ("Failed to load resource", "ERR_")
    others = _segments(os.listdir("/dev/shm"))
    with serving(**tools) as server, pages(clip, allow=allow) as opened:
        soak = Soak(opened, server, tmp_path, others)
        soak.start()
        at_start = soak.held()
        soak.start()
        began = time.monotonic()
        first_mb, worst_mb = None, 0.0
        while (passed := time.monotonic() - began) < SOAK_S:
            soak.page.wait_for_timeout(1000)
            if passed > (soak.reconnects + 0.5) * RECONNECT_S:
                soak.reconnect()
            if passed > (soak.kills + 0.4) * KILL_S:
                soak.kill()
            if passed > FIRST_S:
                now_mb = soak.counts()["rss_mb"]
                first_mb = now_mb if first_mb is None else first_mb
                worst_mb = max(worst_mb, now_mb - first_mb)
        at_end = soak.held()
        with capsys.disabled():
            print(
                f"\n{soak.reconnects} reconnects, {soak.kills} kills, +{worst_mb:.1f} MB at worst, {at_end}"
            )
        if SOAK_S >= 600:
            assert soak.reconnects >= 20
            assert soak.kills >= 5
        assert at_end == at_start
        assert first_mb is not None
        assert worst_mb < MOST_GROWTH_MB
