"""The page where there is a choice of what leaves: what it asks for, what it says, and how it is without one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streaming.test_page import (
    INFO,
    OTHER,
    SAMPLE,
    browser,  # noqa: F401
    heard,
    live,
    served,  # noqa: F401
    state,
)

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.full, pytest.mark.usefixtures("chromium")]

MESH = {
    "name": "mesh_flow",
    "title": "Mesh flow",
    "system": "mesh_flow",
    "licence": "Apache-2.0",
    "aus": True,
}
PAINT = {"name": "paint", "title": "Painted", "system": "ganimation", "licence": "CC0-1.0", "aus": True}
SWAP = {"name": "swap", "title": "Swapped", "system": "geogan", "licence": "CC0-1.0", "aus": False}
PERSON = {
    "name": "person", "title": "A person", "system": "stit", "licence": "CC0-1.0", "aus": False,
    "directions": [{"name": "warm_smile", "low": -2, "high": 4}], "outputs": [1024, 512, 256],
}  # fmt: skip
PUPPET = {"takes_source": True, "removes": False}
EXPRESSIONS = {"neutral": {}, "happiness": {"AU06": 1.0, "AU12": 1.0}, "fear": {"AU01": 1.0}}


def offering(edit: bool = True) -> dict[str, Any]:
    """What a server tells that offers three systems; edit: in both modes."""
    edits = {"edit": {"takes_source": False, "removes": False}} if edit else {}
    bundles = [MESH | {"modes": {"puppet": PUPPET}}, PAINT | {"modes": {"puppet": PUPPET} | edits}]
    if edit:
        bundles.append(SWAP | {"modes": {"edit": {"takes_source": True, "removes": True}}})
    limits = INFO["limits"] | {"donors": 2}
    return {
        "bundles": bundles,
        "expressions": EXPRESSIONS,
        "edit": edit,
        "limits": limits,
        "sources": [SAMPLE, OTHER],
    }


def choose_edit(page: Any) -> None:
    page.click("#modes label:has([value=edit])")


def asked(page: Any) -> tuple[str, str]:
    offer = page.evaluate("stub.offers.at(-1)")
    return offer["bundle"], offer["mode"]


def test_without_a_choice_there_is_none_to_see(served) -> None:  # noqa: F811
    """One system in one mode: the page is as ever, and asks for nothing in particular."""
    alone = {"bundles": [MESH | {"modes": {"puppet": PUPPET}}]}
    with served(alone) as page:
        assert page.locator("#systems").is_hidden()
        assert page.locator("#donors").is_hidden()
        live(page)
        assert asked(page) == ("mesh_flow", "puppet")


def test_an_edit_is_offered_only_where_it_is_allowed(served) -> None:  # noqa: F811
    """Systems can be chosen without it; its mode cannot."""
    with served(offering(edit=False)) as page:
        assert page.locator("#modes").is_hidden()
        assert page.locator("#bundle option").all_inner_texts() == ["Mesh flow", "Painted"]
        assert page.locator("#banner").is_hidden()
        live(page)
        page.select_option("#bundle", "paint")
        page.wait_for_function("() => stub.of('change').at(-1)?.change.bundle === 'paint'")
        assert heard(page, "change")[-1]["change"]["mode"] == "puppet"


def test_an_edit_is_chosen_and_told_before_and_in_a_call(served) -> None:  # noqa: F811
    """Whoever stands before the camera reads that the own picture leaves; nothing of a portrait is shown."""
    with served(offering()) as page:
        choose_edit(page)
        assert "Your own picture leaves" in page.inner_text("#banner")
        assert page.locator("#demo").is_disabled()
        assert page.locator("#still").is_hidden()
        assert page.locator("#gallery").is_hidden()
        assert page.locator("#bundle option").all_inner_texts() == ["Painted", "Swapped"]
        live(page)
        assert asked(page) == ("paint", "edit")
        page.evaluate(
            "report => stub.tell(report)", {"outcome": "faded", "reason": "no face", "mode": "edit"}
        )
        state(page, "Face lost: it is blurred")
        page.click("#modes label:has([value=puppet])")
        page.wait_for_function("() => stub.of('change').at(-1)?.change.mode === 'puppet'")
        assert page.locator("#banner").is_hidden()
        assert page.locator("#gallery").is_visible()
        choose_edit(page)
        page.evaluate("stub.drop()")
        page.wait_for_selector("html[data-phase=reconnecting]")
        page.wait_for_selector("html[data-phase=live] #state[data-tone=good]")
        assert asked(page) == ("paint", "edit")
        page.reload()
        page.wait_for_selector("html[data-phase=idle] #welcome:not([hidden])")
        assert "Your own picture leaves" in page.inner_text("#banner")


def test_what_the_server_does_not_take_is_not_shown_as_chosen(served) -> None:  # noqa: F811
    """The page falls back to what the server runs, with its words."""
    with served(offering()) as page:
        live(page)
        page.evaluate("stub.tell({ bundle: 'mesh_flow', mode: 'puppet' })")
        choose_edit(page)
        page.wait_for_function("() => stub.of('change').at(-1)?.change.mode === 'edit'")
        page.evaluate("stub.say({ ack: 9, error: 'mode: the operator has not allowed edits' })")
        page.wait_for_selector("html[data-mode=puppet]")
        assert page.is_checked("#modes [value=puppet]")
        assert "not allowed edits" in page.inner_text("#notices")
        assert page.locator("#banner").is_hidden()
        page.click("#stop")
        live(page, "#demo")
        assert page.locator("#modes [value=edit]").is_disabled()


def test_a_persons_edits_have_their_own_reach(served) -> None:  # noqa: F811
    """One slider per direction and a choice of sizes, of the chosen system alone; told when a call opens."""
    person = PERSON | {"modes": {"edit": {"takes_source": False, "removes": False}}}
    told = offering()
    with served(told | {"bundles": [*told["bundles"], person]}) as page:
        choose_edit(page)
        page.click("#tab-expression")
        assert page.locator("#directions-section").is_hidden()
        assert page.get_by_text("action units change nothing").is_hidden()
        page.evaluate(
            "() => { const to = document.getElementById('bundle'); to.value = 'person'; to.onchange(); }"
        )
        assert page.locator("#directions-section").is_visible()
        assert page.locator("#expression-fields:disabled").count() == 1
        assert page.get_by_text("action units change nothing").is_visible()
        assert page.locator("#directions .slider").all_inner_texts() == ["warm smile\n0"]
        reach = page.locator("#slider-direction-warm_smile")
        assert (reach.get_attribute("min"), reach.get_attribute("max")) == ("-2", "4")
        reach.fill("3.5")
        live(page)
        page.wait_for_function(
            "() => stub.of('change').some(({ change }) => change.controls?.directions.warm_smile === 3.5)"
        )
        page.select_option("#output", "512")
        page.wait_for_function("() => stub.of('change').at(-1)?.change.controls?.output_size === 512")
        page.reload()
        page.wait_for_selector("html[data-phase=idle]")
        assert page.input_value("#slider-direction-warm_smile") == "3.5"
        page.evaluate("document.getElementById('reset-directions').click()")
        assert page.input_value("#slider-direction-warm_smile") == "0"


def test_donors_are_added_taken_away_and_no_more_than_may_be(served) -> None:  # noqa: F811
    """By key as well; their order is shown, and a donor that the server lost is none any more."""
    with served(offering(), allow=(404,)) as page:
        choose_edit(page)
        assert page.locator("#donors").is_hidden()
        page.select_option("#bundle", "swap")
        assert page.locator("#donors").is_visible()
        assert SAMPLE["name"] in page.inner_text("#donors-now")
        first, second = page.locator("#donor-gallery button").all()
        second.focus()
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.dataset.id") == OTHER["id"]
        first.click()
        assert page.locator("#donor-gallery b").all_inner_texts() == ["2", "1"]
        live(page)
        assert page.evaluate("stub.offers.at(-1).donors") == [OTHER["id"], SAMPLE["id"]]
        page.get_by_label(OTHER["name"]).first.click()
        page.wait_for_function(
            "id => stub.of('change').at(-1)?.change.donors?.join() === id", arg=SAMPLE["id"]
        )
        page.check("#remove")
        page.wait_for_function("() => stub.of('change').at(-1)?.change.controls?.remove === true")
        page.click("#clear-donors")
        page.wait_for_function("() => stub.of('change').at(-1)?.change.donors?.length === 0")
        page.locator("#donor-gallery button").last.click()
        del page.kept[OTHER["id"]]
        page.evaluate(
            "stub.say({ ack: 9, error: 'donors: not all of them are there any more; send them again' })"
        )
        page.wait_for_function("() => document.querySelectorAll('#donor-gallery button').length === 1")
        page.wait_for_function("() => stub.of('change').at(-1)?.change.donors?.length === 0")


def test_a_dropped_picture_becomes_a_donor_where_donors_are_asked_for(served) -> None:  # noqa: F811
    """And not the portrait; who allows its use is asked as ever."""
    new = {
        "id": "c" * 64,
        "name": "smile.png",
        "size": [600, 800],
        "faces": 1,
        "notes": ["an eye is covered"],
    }
    with served(offering(), upload=(201, new)) as page:
        choose_edit(page)
        page.select_option("#bundle", "swap")
        live(page)
        with page.expect_file_chooser() as chooser:
            page.click("[data-choose=donor]")
        chooser.value.set_files({"name": "smile.png", "mimeType": "image/png", "buffer": b"a donor"})
        page.wait_for_selector("#attest[open]")
        assert page.inner_text("#attest-title") == "Use this donor"
        page.fill("#attest-by", "Ann")
        page.fill("#statement", "It is me")
        page.click("#attest-send")
        page.wait_for_function("id => stub.of('change').at(-1)?.change.donors?.join() === id", arg=new["id"])
        assert "an eye is covered" in page.inner_text("#notices")
        assert not any("source" in message["change"] for message in heard(page, "change"))


def test_a_whole_expression_is_chosen_by_name_and_strength(served) -> None:  # noqa: F811
    """Arrow keys walk along them; a system without action units has none to set, and says where it takes them from."""
    with served(offering()) as page:
        live(page)
        page.click("#tab-expression")
        assert page.locator("#slider-intensity").is_hidden()
        page.focus("#expressions [value=neutral]")
        page.keyboard.press("ArrowRight")
        page.locator("#slider-intensity").fill("0.5")
        page.wait_for_function(
            "() => JSON.stringify(stub.of('change').at(-1)?.change.expression)"
            """ === '{"name":"happiness","intensity":0.5}'"""
        )
        page.evaluate("stub.heard.length = 0; stub.drop()")
        page.wait_for_function(
            "() => stub.of('change').some(({ change }) => change.expression?.name === 'happiness')"
        )
        page.click("#reset-expression")
        page.wait_for_function("() => stub.of('change').at(-1)?.change.expression?.name === 'neutral'")
        assert page.locator("#offsets input").count() == 17
        assert "lip corner puller" in page.inner_text("#offsets")
        page.click("#tab-setup")
        choose_edit(page)
        page.select_option("#bundle", "swap")
        page.click("#tab-expression")
        assert page.locator("#slider-AU12").is_disabled()
        assert "choose donors" in page.inner_text("#sheet-expression")


@pytest.mark.parametrize("width", [320, 390, 1440])
def test_nothing_sticks_out(served, width: int) -> None:  # noqa: F811
    """On a phone, too, every choice lies within the page, and what is pressed is large enough for a finger."""
    with served(offering(), viewport={"width": width, "height": 800}) as page:
        choose_edit(page)
        page.select_option("#bundle", "swap")
        page.locator("#donor-gallery button").first.click()
        for tab in ("#tab-setup", "#tab-expression", "#tab-motion"):
            page.click(tab)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            sizes = page.evaluate(
                "[...document.querySelectorAll('.modes label, .chips label, .gallery button, .drop')]"
                ".filter((it) => it.offsetParent).map((it) => it.offsetHeight)"
            )
            assert min(sizes, default=99) >= 36
