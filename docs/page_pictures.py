"""Makes the pictures of the page: python docs/page_pictures.py [names]

A real server, a real browser. Before its camera stands the sample portrait in grey: nobody's face is shown.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Page

from engine import bundles
from engine.media import open_media
from engine.media.planes import i420_of
from engine.sample.play import play_sample
from engine.types import U8
from streaming.bench.chromium import open_browser
from streaming.bench.clip import RATE, SIZE, write_y4m
from streaming.bench.server import ServerProcess

OUT = Path(__file__).parent / "pictures"
DESKTOP = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"}
LIGHT = {**DESKTOP, "color_scheme": "light"}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
CLIP_S, AWAY_S = 8.0, 6.0


def _first(page: Page) -> None:
    page.wait_for_timeout(600)


def _live(page: Page) -> None:
    page.click("#start")
    page.wait_for_selector("html[data-outcome=generated]")
    page.wait_for_timeout(3500)


def _motion(page: Page) -> None:
    _live(page)
    page.click("#tab-motion")
    page.wait_for_timeout(1100)


def _side(page: Page) -> None:
    _live(page)
    page.click("label:has([value=side])")
    page.click("#tab-expression")
    for name, value in (("AU12", 0.6), ("AU02", 0.4)):
        page.locator(f"#slider-{name}").fill(str(value))
    page.wait_for_timeout(1600)


def _measuring(page: Page) -> None:
    _live(page)
    page.click("#tab-latency")
    page.wait_for_timeout(6000)
    page.click("#measure")
    page.wait_for_timeout(7000)
    page.locator(".measure").scroll_into_view_if_needed()


def _expression(page: Page) -> None:
    _live(page)
    page.click("#tab-expression")
    for name, value in (("AU12", 0.6), ("AU02", 0.4)):
        page.locator(f"#slider-{name}").fill(str(value))
    page.wait_for_timeout(700)


def _lost(page: Page) -> None:
    page.click("#start")
    page.wait_for_selector("html[data-outcome=generated]")
    page.wait_for_selector("html[data-outcome=held], html[data-outcome=faded]", timeout=30_000)
    page.wait_for_timeout(200)


def _refused(page: Page) -> None:
    page.click("#start")
    page.wait_for_selector("#trouble:not([hidden])")


def _edit(page: Page) -> None:
    page.click("#modes label:has([value=edit])")
    page.select_option("#bundle", PAINTS)
    _live(page)
    page.click("label:has([value=side])")
    page.click("#tab-expression")
    page.click("#expressions label:has([value=happiness])")
    page.wait_for_timeout(1600)


def _donors(page: Page) -> None:
    page.click("#modes label:has([value=edit])")
    page.select_option("#bundle", SWAPS)
    page.locator("#donor-gallery button").first.click()
    _live(page)
    page.wait_for_timeout(1600)


Shot = tuple[dict[str, Any], str, Callable[[Page], None]]
SHOTS: dict[str, Shot] = {
    "first": (DESKTOP, "there", _first),
    "first-phone": (PHONE, "there", _first),
    "desktop": (DESKTOP, "there", _motion),
    "light": (LIGHT, "there", _side),
    "phone": ({**PHONE, "color_scheme": "light"}, "there", _live),
    "phone-expression": ({**PHONE, "color_scheme": "dark"}, "there", _expression),
    "measuring": (DESKTOP, "there", _measuring),
    "face-lost": (DESKTOP, "away", _lost),
    "refused": (LIGHT, "refused", _refused),
    "refused-phone": ({**PHONE, "color_scheme": "dark"}, "refused", _refused),
}
PAINTS, SWAPS = "ganimation_small", "geogan_small"
if {PAINTS, SWAPS} <= set(bundles.names()):
    SHOTS |= {
        "edit": (DESKTOP, "there", _edit),
        "phone-donors": ({**PHONE, "color_scheme": "light"}, "there", _donors),
    }


def camera_clips(folder: Path) -> dict[str, Path]:
    """Fake cameras: "there", and "away", whose driver leaves after two seconds."""
    sample = folder / "sample.mp4"
    play_sample(sample)
    width, height = SIZE
    away_from, light = np.mgrid[0:height, 0:width].astype(np.float32), np.float32(150)
    room = light - 70 * np.hypot((away_from[1] - 220) / width, (away_from[0] - 150) / height)
    room[int(0.78 * height) :] -= 34  # a table's edge, and a frame on the wall
    room[90:230, 430:540] -= 28
    room[102:218, 442:528] += 40
    backdrop = cv2.GaussianBlur(room, (0, 0), 2.2).astype(np.uint8)[..., None].repeat(3, 2)
    pictures: list[U8] = []
    with open_media(sample) as media:
        for frame in media:
            side = min(frame.rgb.shape[:2])
            cut = frame.rgb[:side, :side][int(0.05 * side) : int(0.8 * side)]
            grey = cv2.resize(
                cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY), (width, height), interpolation=cv2.INTER_AREA
            )
            pictures.append(i420_of(np.ascontiguousarray(grey[..., None].repeat(3, 2))))
    pictures = pictures[: int(CLIP_S * RATE)]
    empty = i420_of(np.ascontiguousarray(backdrop))
    there, away = folder / "there.y4m", folder / "away.y4m"
    write_y4m(there, pictures + pictures[-2:0:-1])
    write_y4m(away, pictures[: 2 * RATE] + [empty] * int(AWAY_S * RATE))
    return {"there": there, "away": away}


def take(url: str, clip: Path | None, shot: Shot, path: Path) -> None:
    """One picture, in a browser of its own."""
    context, _, act = shot
    # without a clip there is a camera, and nobody who allows it
    flags = () if clip else ("--use-fake-device-for-media-stream",)
    with open_browser(clip, flags) as browser:
        page = browser.new_context(**context).new_page()
        page.goto(url)
        page.wait_for_selector("html[data-phase=idle] #still:not([hidden])")
        act(page)
        png = np.frombuffer(page.screenshot(), np.uint8)
        cv2.imwrite(str(path), cv2.imdecode(png, cv2.IMREAD_COLOR), [cv2.IMWRITE_WEBP_QUALITY, 88])


def main(names: list[str]) -> None:
    """The pictures of these names, or all."""
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MAROTTE_STATE"] = folder
        clips = camera_clips(Path(folder))
        worker = {"bundles": ["mesh_flow", *bundles.names()], "edit": bool(bundles.names())}
        with ServerProcess({"worker": worker}) as server:
            for name in names or SHOTS:
                shot = SHOTS[name]
                take(server.url, clips.get(shot[1]), shot, OUT / f"page-{name}.webp")


if __name__ == "__main__":
    main(sys.argv[1:])
