"""A bundle's own person in a real browser, moved by the whole body of whoever the camera sees.

The bundle shows the person's texture at the mesh's places, by a closed form; the driver is tinted in a hue that the
person has not, and every picture that the page presents is read back.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine.body import skeleton as s
from engine.media import read_picture, resize_within
from engine.sample import sample_portrait
from tests.engine.imitation.textured import write_textured
from tests.streaming.test_live_fail_closed import HUE, MARGIN, first_frame, violet
from tests.streaming.test_live_person import LIVE_S, Call

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.alone, pytest.mark.full, pytest.mark.usefixtures("chromium")]

PERSON = "man_red_shirt_shorts_standing.jpg"
DANCER, SIGNER = "bodies/woman_full_body_dance.mp4", "bodies/signing_man_a_again.mkv"
SIDE = 384
WIDTH = 320
"""Of the pictures that are read back."""


@pytest.fixture(scope="module")
def person(faces_root: Path) -> np.ndarray:
    """The picture that the bundle holds."""
    return resize_within(read_picture(faces_root / "bodies" / PERSON), SIDE)


@pytest.fixture(scope="module")
def allowed(person: np.ndarray) -> float:
    """As much of the hue as there is without the driver."""
    return max(violet(_narrow(one)) for one in (person, read_picture(sample_portrait()))) + MARGIN


@pytest.fixture(scope="module")
def tracker(models: None) -> Iterator[Any]:
    """Looks at the pictures that the page gets."""
    from engine.track.body import BodyTracker

    opened = BodyTracker()
    yield opened
    opened.close()


@dataclass(frozen=True)
class Limbs:
    """Of one picture, in lengths of the trunk. legs: from the hips down to the ankles. wrists: (2, 2), from the hips.
    knees: degrees of the knees as seen, 180 is straight."""

    legs: float
    wrists: np.ndarray
    knees: tuple[float, ...]


def limbs_of(rgb: np.ndarray, tracker: Any) -> Limbs | None:
    body = tracker.picture(rgb)
    if body is None:
        return None
    hips, ankles = body.points[list(s.POINT_HIPS), :2], body.points[list(s.POINT_ANKLES), :2]
    knees, wrists = body.points[list(s.POINT_KNEES), :2], body.points[list(s.POINT_WRISTS), :2]
    middle = hips.mean(0)
    trunk = float(np.linalg.norm(middle - body.points[list(s.POINT_SHOULDERS), :2].mean(0)))
    bends = tuple(float(_angle(hip - knee, ankle - knee)) for hip, knee, ankle in zip(hips, knees, ankles))
    return Limbs(float(ankles[:, 1].mean() - middle[1]) / trunk, (wrists - middle) / trunk, bends)


def _angle(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.degrees(np.arccos(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))))


@contextmanager
def calling(clip: Path, person: np.ndarray, folder: Path, *, first: str | None = None) -> Iterator[Call]:
    """A call whose camera plays the clip. first: the system that it begins with, in the body's place."""
    from streaming.bench.run import wait_until_ready
    from streaming.bench.server import ServerProcess
    from tests.streaming.browser import open_pages
    from tests.streaming.conftest import server_command

    faults = folder / "faults"
    faults.mkdir()
    body = write_textured(folder / "body", SIDE // 2, 1, [person])
    options = {
        "worker": {"bundles": [*([first] if first else []), str(body)], "body": "synthetic", "side": SIDE,
                   "spare": False, "hang_s": 20.0, "add_s": 60.0},
        "tools": "tests.streaming.faults:FaultyTools",
        "tools_with": {"folder": str(faults)},
    }  # fmt: skip
    with ServerProcess(options, server_command()) as server, open_pages(clip) as opened:
        wait_until_ready(server)
        page = opened.open(server.url)
        page.set_default_timeout(1000 * LIVE_S)
        call = Call(opened, page, server, faults, folder)
        page.click("#start")
        page.wait_for_selector("html[data-phase=live]")
        opened.collect(page, video="#result", width=WIDTH)
        yield call
        page.locator("#stop").click()


def gathered(call: Call, count: int) -> list[np.ndarray]:
    """So many pictures of one size that were generated."""
    found: list[np.ndarray] = []
    call.look()

    def enough() -> bool:
        if call.outcome() == "generated":
            found.extend(call.look())
        return len(found) >= count

    call.until(enough)
    return [one for one in found if one.shape == found[-1].shape]


def metrics(call: Call) -> str:
    """What the server counts."""
    request = urllib.request.Request(
        f"{call.server.origin}/metrics", headers={"Authorization": f"Bearer {call.server.token}"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(answer.read().decode())


def swing(found: list[Limbs]) -> tuple[float, float]:
    """How far wrists and legs go: the larger spread of a wrist, and that of the legs."""
    wrists = np.stack([one.wrists for one in found])
    return float(wrists.std(axis=0).max()), float(np.std([one.legs for one in found]))


def test_a_person_dances_is_turned_to_and_held_without_a_dancer(
    camera: Callable[..., Path], person: np.ndarray, allowed: float, tracker: Any, tmp_path: Path
) -> None:
    """Mid-call the page turns from a face's system to a body's: the bundle's person in their own shape, arms and legs
    in motion; without anybody they are held, fade to their own picture, and dance again. Never the driver."""
    clip = camera(DANCER, seconds=4.0, tint=HUE)
    assert violet(first_frame(clip)) > allowed + MARGIN
    with calling(clip, person, tmp_path, first="mesh_flow") as call:
        call.page.click("#tab-setup")
        call.take("body")
        assert call.page.locator("#gallery").evaluate("gallery => gallery.inert")
        pictures = gathered(call, 40)
        assert pictures[-1].shape == _narrow(person).shape
        found = [one for one in (limbs_of(rgb, tracker) for rgb in pictures[::3]) if one is not None]
        arms, legs = swing(found)
        print(f"wrists {arms:.2f}, legs {legs:.2f} trunks")
        assert arms > 0.1
        (call.folder / "lost").touch()
        try:
            call.until(lambda: call.outcome() == "faded")
            call.page.wait_for_timeout(2000)
            call.look()
            call.page.wait_for_timeout(1000)
            resting = call.look()[-1]
        finally:
            (call.folder / "lost").unlink()
        apart = cv2.absdiff(resting, _narrow(person)).astype(float)
        assert np.median(apart) < 6.0  # the badge and the codec aside it is the person's picture
        call.moves()
        told = metrics(call)
        assert 'marotte_bundle_sessions{bundle="body",mode="puppet"} 1.0' in told
        assert 'marotte_stage_seconds_count{stage="track"}' in told
        assert 'marotte_fallback_frames_total{reason="no body"} 0.0' not in told
        assert call.seen > 40
        assert call.worst < allowed


def test_who_is_seen_from_the_waist_up_moves_arms_and_no_legs(
    camera: Callable[..., Path], person: np.ndarray, allowed: float, tracker: Any, tmp_path: Path
) -> None:
    """The signer's knees are below the picture: what is below the person's knees stands where it stood, and does not
    squat, while the arms sign."""
    clip = camera(SIGNER, seconds=2.5, tint=HUE)
    with calling(clip, person, tmp_path) as call:
        call.until(lambda: call.outcome() == "generated")
        pictures = gathered(call, 40)
        found = [one for one in (limbs_of(rgb, tracker) for rgb in pictures[::3]) if one is not None]
        stood = limbs_of(_narrow(person), tracker)
        assert stood is not None
        arms, legs = swing(found)
        bent = min(min(one.knees) for one in found)
        print(
            f"wrists {arms:.2f}, legs {legs:.2f} trunks, {found[-1].legs:.2f} of {stood.legs:.2f}; knees {bent:.0f}"
        )
        assert arms > 0.1
        assert legs < 0.1
        assert bent > 150.0
        assert all(one.legs > 0.8 * stood.legs for one in found)
        assert call.worst < allowed


def _narrow(rgb: np.ndarray) -> np.ndarray:
    """As the page's pictures are read back."""
    size = (WIDTH, round(rgb.shape[0] * WIDTH / rgb.shape[1]))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
