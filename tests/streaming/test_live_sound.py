"""Sound and picture through a real browser and a real server: flashes and beeps.

The server's echo is as late as an engine would be, and costs nothing: what is measured is the server's doing, and not
how many pictures this machine can draw beside a browser.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streaming.bench.clip import write_y4m

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.alone, pytest.mark.full, pytest.mark.usefixtures("chromium")]

LATE_ECHO = Path(__file__).with_name("late_echo.py")
LATE_S = 0.12
SECONDS = 15.0


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A browser's own call, and the one through a server, on this machine."""
    from streaming.bench.chromium import open_browser
    from streaming.bench.page import open_call_page
    from streaming.bench.run import wait_until_ready
    from streaming.bench.server import ServerProcess
    from streaming.bench.skew import SIZE, apart

    clip = tmp_path_factory.mktemp("sound") / "grey.y4m"
    write_y4m(clip, [np.full((SIZE[1] * 3 // 2, SIZE[0]), level, np.uint8) for level in (90, 100)])
    options = {"pass_through": True, "in_process": True, "late_s": [LATE_S]}
    with open_browser(clip) as browser, ServerProcess(options, (sys.executable, str(LATE_ECHO))) as server:
        wait_until_ready(server)
        page = open_call_page(browser, size=SIZE, sound=True)
        page.flash(True)
        found = {}
        page.call_local("browser", "h264")
        found["browser"] = apart(page, "browser", SECONDS)
        page.hang_up("browser")
        page.call_server("server", "h264", server.origin, server.token)
        found["server"] = apart(page, "server", SECONDS)
        page.hang_up("server")
        yield found
    clip.unlink()


@pytest.fixture
def server(measured: dict[str, Any]) -> Any:
    """Of a machine that has the time for it: a browser's own call is in step there, and jitter is that of a network."""
    own, part = measured["browser"], measured["server"]
    if not own["by_number"]["kept"] or max(own["sound_buffer_ms"], part["sound_buffer_ms"]) > 100:
        pytest.skip(
            f"this machine is too busy to measure it: {own['by_number']} in the browser alone, "
            f"{part['sound_buffer_ms']:.0f} ms of sound buffered"
        )
    return part


def test_sound_and_picture_are_at_most_40_ms_apart(server: Any) -> None:
    """The aim at p95: by the numbers of the pictures, and by the flash as an eye would see it."""
    for way in ("by_number", "by_flash"):
        assert server[way]["beeps"] >= 10
        assert server[way]["kept"], (way, server[way])


def test_sound_is_held_back_by_what_pictures_take(server: Any) -> None:
    """Less the lead that a browser gathers sound in, and what the picture took to come."""
    held = [window["held_back_ms"] for window in server["windows"]]
    assert 0.3 * LATE_S < min(held) / 1000 <= max(held) / 1000 < 1.2 * LATE_S
    assert max(abs(window["server_skew_ms"]) for window in server["windows"]) < 15
