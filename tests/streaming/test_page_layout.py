"""The page where a system draws by layouts: its fields, the brush by pointer and by keys, label pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engine.parsing.classes import CELEBAMASK, Part
from engine.parsing.runs import KEEP, decode
from tests.streaming.test_page import (
    INFO,
    OTHER,
    SAMPLE,
    browser,  # noqa: F401
    heard,
    live,
    served,  # noqa: F401
)
from tests.streaming.test_page_edit import MESH, PERSON, PUPPET, choose_edit

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.full, pytest.mark.usefixtures("chromium")]

HEEDS = [
    "absolute_eyes", "absolute_mouth", "au_offsets", "brows", "donor_layout", "donor_style", "eyes", "layout", "mouth",
    "painted", "pose", "project",
]  # fmt: skip
DRAWN = {
    "name": "drawn", "title": "Drawn", "system": "maskgan", "licence": "CC0-1.0", "aus": True, "heeds": HEEDS,
    "modes": {"puppet": PUPPET, "edit": {"takes_source": True, "removes": False}},
}  # fmt: skip
PARTS = [
    {"name": name, "colour": colour} for name, colour in zip(CELEBAMASK.names, CELEBAMASK.palette.tolist())
]
TOLD = {
    "bundles": [MESH | {"modes": {"puppet": PUPPET}}, DRAWN],
    "parts": PARTS,
    "edit": True,
    "limits": INFO["limits"] | {"donors": 2},
    "sources": [SAMPLE, OTHER],
}


def drawn(page: Any, mode: str = "puppet") -> None:
    """In a call with the system that draws by layouts, before its tab."""
    if mode == "edit":
        choose_edit(page)
    page.select_option("#bundle", "drawn")
    live(page)
    page.click("#tab-layout")


def painting(page: Any, count: int) -> np.ndarray:
    """The last of `count` paintings or more, once all that is remembered was sent, (256, 256); KEEP everywhere where it
    was taken away."""
    page.wait_for_function(
        "count => stub.paintings.length >= count"
        " && JSON.stringify(stub.paintings.at(-1)) === sessionStorage.getItem('marotte-painting')",
        arg=count,
    )
    runs = page.evaluate("stub.paintings.at(-1)")
    return decode(runs) if runs else np.full((256, 256), KEEP, np.uint8)


def freeze(page: Any) -> None:
    page.click("#freeze")
    page.wait_for_selector("#brush-hint", state="hidden")


def stroke(page: Any, *points: tuple[float, float]) -> None:
    """By the mouse, through points in shares of the picture's side."""
    page.locator("#brush").scroll_into_view_if_needed()
    box = page.locator("#brush").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def test_a_plain_edit_keeps_its_own_layout(served) -> None:  # noqa: F811
    """The tab is there for such a system alone; that no donor's layout is meant is said as soon as a call opens, or the
    system is chosen in one."""
    with served(TOLD) as page:
        assert page.locator("#tab-layout").is_hidden()
        live(page)
        assert not heard(page, "change")
        choose_edit(page)
        page.wait_for_function(
            "() => stub.of('change').some(({ change }) => change.controls?.donor_layout === false)"
        )
        assert page.locator("#tab-layout").is_visible()
        page.click("#tab-layout")
        page.click("#tab-setup")
        page.click("#tab-layout")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.id") == "tab-latency"
        page.click("#tab-layout")
        page.evaluate("document.querySelector('#modes [value=puppet]').click()")
        page.evaluate(
            "() => { const to = document.getElementById('bundle'); to.value = 'mesh_flow'; to.onchange(); }"
        )
        page.wait_for_selector("#tab-setup[aria-selected=true]")
        assert page.locator("#sheet-layout").is_hidden()


def test_regions_and_donors_are_told_and_kept_over_a_reload(served) -> None:  # noqa: F811
    """A slider per region, the model of layouts, and what is taken of which donor."""
    with served(TOLD) as page:
        drawn(page, "edit")
        assert page.locator("#layout-parts .slider").count() == 6
        page.locator("#slider-layout-hair").fill("-0.5")
        page.check("#project")
        page.click("#tab-setup")
        page.check("#donor-style")
        page.locator("#donor-gallery button").first.click()
        page.wait_for_function("() => stub.of('change').some(({ change }) => change.donors?.length === 1)")
        told = [one["change"]["controls"] for one in heard(page, "change") if "controls" in one["change"]][-1]
        assert told["layout"] == {"hair": -0.5}
        assert (told["donor_layout"], told["donor_style"], told["project"]) == (False, True, True)
        page.reload()
        page.wait_for_selector("html[data-phase=idle]")
        page.click("#tab-layout")
        assert page.input_value("#slider-layout-hair") == "-0.5"
        assert page.is_checked("#project")
        page.click("#reset-layout")
        assert page.input_value("#slider-layout-hair") == "0"


def test_a_stroke_is_sent_taken_back_and_done_again(served) -> None:  # noqa: F811
    """By the pointer: the class that is chosen, as wide as asked, where the pointer went; Clear leaves nothing."""
    with served(TOLD) as page:
        drawn(page)
        assert page.locator("#undo").is_disabled()
        stroke(page, (0.2, 0.2), (0.6, 0.2))
        assert not page.evaluate("stub.paintings.length"), "there is no picture to paint on"
        freeze(page)
        page.click("#palette label:has([value='10'])")
        page.locator("#brush-size").fill("20")
        stroke(page, (0.25, 0.5), (0.75, 0.5))
        mouth = painting(page, 1)
        rows, columns = np.nonzero(mouth == Part.MOUTH)
        assert set(np.unique(mouth)) == {Part.MOUTH, KEEP}
        assert np.ptp(rows) == pytest.approx(20, abs=2)
        assert rows.mean() == pytest.approx(127.5, abs=2)
        assert (columns.min(), columns.max()) == (pytest.approx(54, abs=3), pytest.approx(201, abs=3))
        sent = page.evaluate("stub.paintings.length")
        page.click("#undo")
        assert (painting(page, sent + 1) == KEEP).all()
        assert page.locator("#undo").is_disabled()
        sent = page.evaluate("stub.paintings.length")
        page.click("#redo")
        assert (painting(page, sent + 1) == mouth).all()
        sent = page.evaluate("stub.paintings.length")
        page.click("#palette label:has([value='255'])")
        stroke(page, (0.25, 0.5), (0.3, 0.5))
        erased = painting(page, sent + 1)
        assert 0 < np.count_nonzero(erased == Part.MOUTH) < len(rows)
        sent = page.evaluate("stub.paintings.length")
        page.click("#clear-painting")
        assert (painting(page, sent + 1) == KEEP).all()
        page.keyboard.press("Control+z")
        assert (painting(page, sent + 2) == erased).all()
        page.keyboard.press("Control+Shift+Z")
        assert (painting(page, sent + 3) == KEEP).all()


def test_the_brush_is_led_by_keys(served) -> None:  # noqa: F811
    """Arrows move it, the space bar paints while it is held, brackets change its size; arrows choose the class."""
    with served(TOLD) as page:
        drawn(page)
        freeze(page)
        page.focus("#palette [value='13']")
        page.keyboard.press("ArrowRight")
        assert page.is_checked("#palette [value='14']")
        page.focus("#brush")
        page.keyboard.press("]")
        assert page.input_value("#brush-size") == "20"
        for _ in range(3):
            page.keyboard.press("ArrowUp")
        page.keyboard.press("Shift+ArrowUp")
        page.keyboard.down("Space")
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        page.keyboard.up("Space")
        page.keyboard.press("ArrowRight")
        rows, columns = np.nonzero(painting(page, 1) == Part.HAT)
        assert rows.mean() == pytest.approx(128 - 13, abs=1)
        assert np.ptp(columns) == pytest.approx(20 + 20, abs=2)
        page.keyboard.press("Control+z")
        assert (painting(page, page.evaluate("stub.paintings.length")) == KEEP).all()


def test_a_painting_outlives_a_lost_call_and_a_reload(served) -> None:  # noqa: F811
    """It is told again to the session that takes the place."""
    with served(TOLD) as page:
        drawn(page)
        freeze(page)
        stroke(page, (0.5, 0.5), (0.6, 0.6))
        before = painting(page, 1)
        page.evaluate("stub.paintings.length = 0; stub.drop()")
        page.wait_for_selector("html[data-phase=reconnecting]")
        assert (painting(page, 1) == before).all()
        page.reload()
        page.wait_for_selector("html[data-phase=idle]")
        live(page)
        assert (painting(page, 1) == before).all()


def test_a_label_picture_is_painted_whole_or_refused_with_a_word(served) -> None:  # noqa: F811
    """In place of what was painted, as one step; what the server says of a wrong one is shown."""
    with served(TOLD, allow=(422, 409, 429)) as page:
        drawn(page)
        file = {"name": "edited.png", "mimeType": "image/png", "buffer": b"labels"}
        page.set_input_files("#labels-file", file)
        assert (painting(page, 1) == Part.NECK).all()
        page.click("#undo")
        assert (painting(page, 2) == KEEP).all()
        page.evaluate(
            "stub.doors.labels = () => ({ status: 422, error: { kind: 'InputError', message: 'edited.png: got 26' } })"
        )
        page.set_input_files("#labels-file", file)
        page.wait_for_selector(".notice.bad:has-text('got 26')")
        assert page.evaluate("stub.paintings.length") == 2
        page.evaluate(
            "stub.doors.layout = () => ({ status: 409, error: { kind: 'InputError', message: 'nothing was drawn' } })"
        )
        page.click("#freeze")
        page.wait_for_selector(".notice.bad:has-text('nothing was drawn')")
        page.evaluate(
            "const take = stub.doors.painting; let no = 2; stub.doors.painting = (...all) =>"
            " (no-- > 0 ? { status: 429, error: { kind: 'BusyError', message: 'busy' } } : take(...all)); undefined"
        )
        page.click("#redo")
        assert (painting(page, 3) == Part.NECK).all(), "a server that was busy is asked again"


def test_a_picture_may_come_with_its_layout(served) -> None:  # noqa: F811
    """A donor's label picture goes with it, and how large it is stands in the address."""
    new = {"id": "c" * 64, "name": "donor.png", "size": [600, 800], "faces": 1}
    with served(TOLD, upload=(201, new)) as page:
        drawn(page, "edit")
        page.click("#tab-setup")
        with page.expect_file_chooser() as chooser:
            page.click("[data-choose=donor]")
        chooser.value.set_files({"name": "donor.png", "mimeType": "image/png", "buffer": b"a donor"})
        page.fill("#attest-by", "Ann")
        page.fill("#statement", "It is me")
        page.set_input_files(
            "#attest-labels", {"name": "l.png", "mimeType": "image/png", "buffer": b"its labels"}
        )
        page.click("#attest-send")
        page.wait_for_function(
            "id => stub.of('change').some(({ change }) => change.donors?.join() === id)", arg=new["id"]
        )
        (upload,) = page.uploads
        assert upload["labels"] == ["10"]
        assert upload["bytes"] in (0, 17)  # a body of parts is not always told to who listens


def test_a_person_without_regions_has_one_gain(served) -> None:  # noqa: F811
    """Of a puppet alone; nothing else of motion is offered."""
    person = PERSON | {"heeds": ["directions", "motion", "output_size"]}
    person |= {"modes": {"puppet": PUPPET, "edit": {"takes_source": False, "removes": False}}}
    with served({"bundles": [person], "edit": True}) as page:
        live(page)
        page.click("#tab-motion")
        rows = [row for row in page.locator("#gains .slider").all() if row.is_visible()]
        assert [row.locator("label").inner_text() for row in rows] == ["All motion"]
        page.locator("#slider-motion").fill("1.5")
        page.wait_for_function("() => stub.of('change').at(-1)?.change.controls?.motion === 1.5")
        assert page.locator(".no-gains").is_hidden()
        page.click("#tab-setup")
        choose_edit(page)
        page.click("#tab-motion")
        assert page.locator("#slider-motion").is_hidden()
        assert page.locator(".no-gains").is_visible()


@pytest.mark.parametrize("width", [320, 1280])
def test_the_brush_fits_a_phone(served, width: int) -> None:  # noqa: F811
    """Nothing sticks out, and every class can be pressed by a finger."""
    with served(TOLD, viewport={"width": width, "height": 800}) as page:
        choose_edit(page)
        page.select_option("#bundle", "drawn")
        page.click("#tab-layout")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        beyond = "(() => { const list = document.getElementById('tabs').getBoundingClientRect().right;"
        beyond += " return document.getElementById('tab-latency').getBoundingClientRect().right - list })()"
        assert page.evaluate(beyond) <= 0
        sizes = page.evaluate(
            "[...document.querySelectorAll('.palette label, .tools button')].filter((it) => it.offsetParent)"
            ".map((it) => it.offsetHeight)"
        )
        assert len(sizes) == 20 + 4
        assert min(sizes) >= 32
