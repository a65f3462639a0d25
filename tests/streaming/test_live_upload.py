"""Every odd and broken file through the page's own upload, under a live call in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.alone, pytest.mark.usefixtures("chromium")]

# What nobody could animate; whatever stands beside these in the folder is for the engine to judge.
HOPELESS = {
    "audio_only.mp4", "empty.jpg", "empty.mp4", "huge_20000x15000.png", "icon_32px.jpg", "no_face.mp4",
    "no_face_landscape.jpg", "noise.jpg", "one_pixel_wide.png", "png_named_jpg_cat.jpg", "text_named.jpg",
    "tiny_face_24px.jpg", "truncated.jpg", "truncated_no_index.mp4",
}  # fmt: skip
# One of each kind of answer, for every run; tests/engine/test_render_hard.py holds the engine to every file.
FEW = {
    "empty.mp4",
    "no_face_landscape.jpg",
    "truncated.jpg",
    "cmyk.jpg",
    "exif_orientation_6.jpg",
    "vp8.webm",
}
SOUND = {"photo.webp", "cmyk.jpg", "exif_orientation_6.jpg", "vp8.webm", "black_then_face.mp4"}


def _offer(page: Any, path: Path) -> str:
    """Give the page a file as a visitor does; returns what it says about it, nothing when it was taken."""
    page.locator("#file").set_input_files(path)
    page.wait_for_selector("#attest[open]")
    page.locator("#attest-by").fill("A test")
    page.locator("#statement").fill("A file of the tests")
    page.locator("#attest-send").click()
    page.wait_for_function(
        "() => !document.querySelector('#attest').open"
        " || (!document.querySelector('#attest-send').disabled && !document.querySelector('#attest-error').hidden)",
        timeout=60_000,
    )
    if not page.locator("#attest").evaluate("dialog => dialog.open"):
        return ""
    said = page.locator("#attest-error").inner_text()
    page.locator("#attest-cancel").click()
    return said


def _chosen(page: Any) -> str:
    return page.locator("#gallery [aria-pressed=true]").get_attribute("title")


@pytest.mark.parametrize("chosen", ["few", pytest.param("all", marks=pytest.mark.full)])
def test_every_hard_file_is_taken_or_told_on_the_page(serving, pages, faces_root: Path, chosen: str) -> None:
    """A file is shown, or refused in words that name it; the call and the portrait that runs go on either way.

    The demo drives the call: a camera's would leave two cores little for sixty files.
    """
    files = [path for path in sorted((faces_root / "hard").iterdir()) if chosen == "all" or path.name in FEW]
    refused = set()
    refusals = [f"status of {status}" for status in (413, 422)]  # Chromium's own line for an answer like that
    with serving(worker={"spare": False, "side": 256}) as server, pages(None, allow=refusals) as opened:
        page = opened.open(server.url)
        page.locator("#demo").click()
        page.wait_for_selector("html[data-phase=live]")
        opened.wait_for_pictures(page, video="#result", count=5)
        for path in files:
            before = _chosen(page)
            said = _offer(page, path)
            if said:
                refused.add(path.name)
                assert path.name in said
                assert "Your present portrait goes on" in said
                assert _chosen(page) == before
            else:
                assert _chosen(page) == path.name
            opened.wait_for_pictures(page, video="#result", count=2)
            assert page.evaluate("() => document.documentElement.dataset.phase") == "live"
    assert refused >= HOPELESS & {path.name for path in files}
    assert SOUND.isdisjoint(refused)
