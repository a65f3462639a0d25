"""MaskGAN and STIT in a real browser, in both modes, on a driver who does not move: so what changes in the picture that
comes back was asked for on the page. With closed forms, and with the shipped bundles that there are.

MaskGAN's closed form paints its layout in colours, STIT's one colour on the head: what either shows of a face is
nothing like the driver's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine import bundles
from engine.parsing.classes import CELEBAMASK, Part
from tests.engine.bundle_files import write_maskgan
from tests.engine.stit_files import write_stit
from tests.streaming.test_live_small import SEEN, changed
from tests.streaming.test_live_small import Call as Watched

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.alone, pytest.mark.full, pytest.mark.usefixtures("chromium")]

DRIVER = "portraits/real_woman_black_background_neutral.jpg"
PAINTERS = ["drawn", *(name for name in bundles.names() if name.startswith("maskgan"))]
PERSONS = ["person", *(name for name in bundles.names() if name.startswith("stit"))]
CLOSED_FORMS = ("drawn", "person")
LIVE_S = 90.0
FACE = np.s_[50:95, 135:185]
"""Eyes and mouth of the driver, at 320 x 240."""
ALIKE = 0.8
"""Correlation of grey levels there with the driver's own face, from which on it is that, faded or not."""


class Call(Watched):
    """A call whose tools fail on request."""

    def __init__(self, opened: Any, page: Any, server: Any, folder: Path, driver: np.ndarray) -> None:
        super().__init__(opened, page)
        self.server, self.folder, self.driver = server, folder, driver

    def until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + LIVE_S
        while not condition():
            self.page.wait_for_timeout(100)
            assert time.monotonic() < until, (self.outcome(), self.server.log[-1500:])

    def shows(self, what: Callable[[np.ndarray], bool], told: str) -> None:
        """Until what is shown, at rest, is so."""
        until = time.monotonic() + LIVE_S
        while not what(self.settled()):
            assert time.monotonic() < until, told

    def take(self, bundle: str, mode: str) -> None:
        super().take(bundle, mode)
        self.until(
            lambda: self.page.evaluate("() => document.documentElement.dataset.outcome") == "generated"
        )
        self.page.wait_for_timeout(1000)  # hair and style of a face that was just found settle

    def likeness(self, picture: np.ndarray) -> float:
        """Of a picture's face and the driver's own; 0 where nothing is to be seen."""
        small = cv2.resize(picture, (320, 240), interpolation=cv2.INTER_AREA)
        shown, own = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY)[FACE].ravel() for one in (small, self.driver))
        return 0.0 if shown.std() < 1 else float(np.corrcoef(shown, own)[0, 1])

    def lose_the_face(self, closed_form: bool, edit: bool) -> None:
        """Held, faded and back; and in an edit of a closed form no picture on the way is the driver's own face."""
        self.opened.collect(self.page, video="#result")
        (self.folder / "lost").touch()
        try:
            self.until(lambda: self.outcome() == "faded")
            self.page.wait_for_timeout(1200)
        finally:
            (self.folder / "lost").unlink()
        self.until(lambda: self.outcome() == "generated")
        pictures = [one.rgb for one in self.opened.stop_collecting(self.page)]
        assert len(pictures) > 5
        if closed_form and edit:
            assert max(map(self.likeness, pictures)) < ALIKE


@pytest.fixture(scope="module")
def call(
    models: None, camera: Callable[..., Path], faces_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Call]:
    from streaming.bench.run import wait_until_ready
    from streaming.bench.server import ServerProcess
    from tests.streaming.browser import open_pages
    from tests.streaming.conftest import server_command
    from tests.streaming.test_live_fail_closed import first_frame

    still = camera(DRIVER, seconds=1.0)
    folder, made = tmp_path_factory.mktemp("faults"), tmp_path_factory.mktemp("bundles")
    drawn = write_maskgan(made / "drawn", 128, mask_vae=64, title="Drawn")
    person = write_stit(made / "person", title="A person")
    shipped = [name for name in (*PAINTERS, *PERSONS) if name not in CLOSED_FORMS]
    worker = {
        "bundles": ["mesh_flow", str(drawn), str(person), *shipped],
        "edit": True,
        "side": 384,
        "spare": False,
    }
    options = {
        "worker": worker | {"hang_s": 20.0},
        "tools": "tests.streaming.faults:FaultyTools",
        "tools_with": {"folder": str(folder)},
    }
    with ServerProcess(options, server_command()) as server, open_pages(still) as opened:
        wait_until_ready(server)
        call = Call(opened, opened.open(server.url), server, folder, first_frame(still))
        call.page.click("#start")
        call.until(lambda: call.outcome() == "generated")
        yield call
        call.page.locator("#stop").click()


def stroke(page: Any, part: Part, *points: tuple[float, float]) -> None:
    """By the mouse on what was frozen, through points in shares of its side."""
    page.click(f"#palette label:has([value='{int(part)}'])")
    page.locator("#brush").scroll_into_view_if_needed()
    box = page.locator("#brush").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


@pytest.mark.parametrize("mode", ["edit", "puppet"])
@pytest.mark.parametrize("bundle", PAINTERS)
def test_a_stroke_is_seen_in_what_leaves_until_it_is_undone(call: Call, bundle: str, mode: str) -> None:
    """Frozen, painted, seen; undone, gone; done again, seen again after the face was lost and came back; cleared."""
    call.take(bundle, mode)
    page = call.page
    page.click("#tab-layout")
    page.click("#freeze")
    page.wait_for_selector("#brush-hint", state="hidden")
    before = call.settled()
    page.locator("#brush-size").fill("60")
    stroke(page, Part.HAIR, (0.35, 0.62), (0.65, 0.62))
    call.shows(lambda now: changed(now, before) > 3 * SEEN, "the stroke is not seen")
    if bundle in CLOSED_FORMS:
        there = np.argsort(np.abs(call.settled() - before).max(2).ravel())[-200:]
        moved = (call.settled() - before).reshape(-1, 3)[there].mean(0)
        red, _, blue = moved  # skin is red, hair blue; lips, which the stroke may touch, have green as well
        assert red < -60, "skin becomes hair"
        assert blue > 60, "skin becomes hair"
    page.click("#undo")
    call.shows(lambda now: changed(now, before) < SEEN, "the stroke is still there")
    page.click("#redo")
    call.shows(lambda now: changed(now, before) > 3 * SEEN, "the stroke is not there again")
    call.lose_the_face(bundle in CLOSED_FORMS, mode == "edit")
    call.shows(lambda now: changed(now, before) > 3 * SEEN, "the stroke did not outlive a lost face")
    page.click("#clear-painting")
    call.shows(lambda now: changed(now, before) < 2 * SEEN, "the painting was cleared and is still there")


@pytest.mark.parametrize("bundle", PAINTERS)
def test_regions_of_the_drivers_own_layout_are_edited(call: Call, bundle: str) -> None:
    """Glasses by a slider; the drawing is the driver's own layout, though a source is at hand; MaskVAE where there is
    one."""
    call.take(bundle, "edit")
    page = call.page
    page.click("#tab-layout")
    before = call.settled()
    page.locator("#slider-layout-glasses").fill("1")
    call.shows(lambda now: changed(now, before) > SEEN, "the glasses are not seen")
    page.click("#reset-layout")
    call.shows(lambda now: changed(now, before) < SEEN, "the glasses stay")
    if page.locator("#project-field").is_visible():
        page.check("#project")
        call.shows(
            lambda now: changed(now, before) > SEEN or bundle not in CLOSED_FORMS, "nothing is cleaned up"
        )
        call.until(lambda: call.outcome() == "generated")
        page.uncheck("#project")
    call.shows(lambda now: changed(now, before) < 2 * SEEN, "the layout is still cleaned up")
    page.click("#tab-setup")
    page.check("#donor-layout")
    call.shows(lambda now: changed(now, before) > SEEN, "the portrait's layout is not drawn")
    page.uncheck("#donor-layout")
    call.shows(lambda now: changed(now, before) < 2 * SEEN, "the portrait's layout is still drawn")


@pytest.mark.parametrize("bundle", PAINTERS)
def test_a_label_picture_is_drawn_in_anothers_look(call: Call, bundle: str, tmp_path: Path) -> None:
    """Three pictures: the camera's, a donor's look, and an edited mask from a file in the colours of CelebAMask-HQ.

    The driver's own hair is found a little differently each time, so the last is compared by how much was drawn."""
    call.take(bundle, "edit")
    page = call.page
    before = call.settled()
    labels = np.zeros((128, 128), np.uint8)
    cv2.ellipse(labels, ((64, 70), (70, 90), 0), int(Part.SKIN), -1)
    cv2.rectangle(labels, (44, 80), (84, 92), int(Part.L_LIP), -1)
    path = tmp_path / "edited.png"
    cv2.imwrite(str(path), CELEBAMASK.palette[labels][..., ::-1])
    page.click("#tab-layout")
    page.set_input_files("#labels-file", path)
    call.shows(lambda now: changed(now, before) > 3 * SEEN, "the label picture is not drawn")
    drawn = call.settled()
    page.click("#tab-setup")
    page.locator("#donor-gallery button").first.click()
    page.check("#donor-style")
    call.shows(lambda now: changed(now, drawn) > SEEN, "the donor's look is not taken")
    page.uncheck("#donor-style")
    page.click("#clear-donors")
    page.click("#tab-layout")
    path.write_bytes(cv2.imencode(".png", labels * 9)[1].tobytes())
    with call.opened.allowing("status of 422"):
        page.set_input_files("#labels-file", path)
        page.wait_for_selector(".notice.bad:has-text('expected class numbers 0 .. 18')")
    page.click("#clear-painting")
    drawn_by = changed(drawn, before)
    call.shows(lambda now: changed(now, before) < drawn_by / 2, "the label picture is still drawn")


@pytest.mark.parametrize("mode", ["edit", "puppet"])
@pytest.mark.parametrize("bundle", PERSONS)
def test_a_persons_directions_and_sizes_are_seen(call: Call, bundle: str, mode: str) -> None:
    """The first direction at its end; a coarser picture; a puppet's gain of motion; and nothing of the driver when the
    face is lost."""
    call.take(bundle, mode)
    page = call.page
    page.click("#tab-expression")
    before = call.settled()
    first = page.locator("#directions input").first
    most = first.get_attribute("max")
    first.fill(str(min(float(most), 2.0)) if bundle in CLOSED_FORMS else most)
    call.shows(lambda now: changed(now, before) > SEEN, "the direction is not seen")
    call.lose_the_face(bundle in CLOSED_FORMS, mode == "edit")
    page.click("#reset-directions")
    call.shows(lambda now: changed(now, before) < 2 * SEEN, "the direction stays")
    if page.locator("#output option").count() > 1:
        page.locator("#output").select_option(index=1)
        page.wait_for_timeout(500)
        call.until(lambda: call.outcome() == "generated")
        page.locator("#output").select_option(index=0)
    page.click("#tab-motion")
    assert page.locator("#slider-motion").is_visible() == (mode == "puppet")
    if mode == "puppet":
        page.locator("#slider-motion").fill("0")
        page.wait_for_timeout(500)
        call.until(lambda: call.outcome() == "generated")
        page.click("#reset-motion")


def test_the_closed_forms_are_unlike_the_driver(call: Call) -> None:
    """What the tests above rest on: the driver's own face would be found."""
    for bundle in CLOSED_FORMS:
        call.take(bundle, "edit")
        assert call.likeness(call.settled().astype(np.uint8)) < ALIKE - 0.1
    assert call.likeness(cv2.resize(call.driver // 2, (384, 288))) > 0.95
