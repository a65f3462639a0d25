"""A headless Chromium whose camera is a file, driven by Playwright (extra dev)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ConfigError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)


def find_chromium() -> str | None:
    """A Chromium or Chrome that is installed on this machine, or None."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def camera_flags(clip: Path | None) -> tuple[str, ...]:
    """Flags for a camera that plays a file, without asking for leave; with None there is no camera at all."""
    if clip is None:
        return ()
    return (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={clip}",
    )


@contextmanager
def open_browser(clip: Path | None, flags: Sequence[str] = ()) -> Iterator[Browser]:
    """A browser with `clip` (YUV4MPEG2, see streaming.bench.clip) as its camera, closed at the end.

    Raises ConfigError when Playwright or a Chromium is missing. While it is open, asyncio.run cannot be used in the
    same thread: Playwright's synchronous door holds a loop there.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise ConfigError(
            'Playwright, which drives the browser, is not installed; run: pip install "marotte[dev]"'
        ) from None
    with sync_playwright() as playwright:
        executable = find_chromium() or _bundled(playwright)
        browser = playwright.chromium.launch(
            executable_path=executable,
            args=[*FLAGS, *camera_flags(clip), *flags],
            handle_sigint=False,
            handle_sigterm=False,
            handle_sighup=False,
        )
        try:
            yield browser
        finally:
            browser.close()


def _bundled(playwright: Playwright) -> str:
    """Playwright's own download, where somebody has fetched it."""
    path = playwright.chromium.executable_path
    if not Path(path).is_file():
        raise ConfigError(
            "no Chromium or Chrome was found; install one (apt install chromium), "
            "or run: python -m playwright install chromium"
        )
    return path
