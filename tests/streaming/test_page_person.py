"""Several photos of one person on the page: chosen, sent, refused, taken by name, and told which of them are used."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streaming.test_page import INFO, OTHER, SAMPLE, browser, live, served

__all__ = ["browser", "served"]

PERSON = OTHER | {
    "name": "left.png and 2 more",
    "pictures": [
        {"name": "left.png", "place": 1, "why": ""},
        {"name": "front.png", "place": 0, "why": ""},
        {"name": "wall.png", "place": None, "why": "no face was found in it"},
    ],
}
BUNDLES = [
    {"name": name, "title": name, "system": system, "licence": "CC0-1.0", "aus": True, "pictures": pictures,
     "modes": {"puppet": {"takes_source": True, "removes": False}}}
    for name, system, pictures in (("warp", "liquid_warping", 2), ("mesh_flow", "mesh_flow", 1))
]  # fmt: skip
LIMITS = {"limits": INFO["limits"] | {"pictures": 3, "pictures_bytes": 3 << 20}}  # type: ignore[operator]
DIFFERENT = {
    "kind": "DifferentPeopleError",
    "message": "wall.png: its face differs from that of left.png by 1.77 mm of shape",
}


def give(page: Any, *names: str, size: int = 10) -> None:
    """Choose files as a visitor does; the bytes of each are its own."""
    files = [
        {"name": name, "mimeType": "image/png", "buffer": name.encode().ljust(size, b" ")} for name in names
    ]
    page.locator("#file").set_input_files(files)


def drop(page: Any, *names: str) -> None:
    """The same files, dropped."""
    page.evaluate(
        "names => { const data = new DataTransfer();"
        " for (const name of names) data.items.add(new File([name.padEnd(10)], name, { type: 'image/png' }));"
        " window.dispatchEvent(new DragEvent('drop', { dataTransfer: data, cancelable: true })); }",
        names,
    )


def chosen(page: Any) -> list[str]:
    page.wait_for_selector("#attest-photos:not([hidden])")
    return page.locator("#attest-photos small").all_inner_texts()


def test_several_photos_are_sent_as_one_person(served) -> None:
    """In one form with one statement; then they are the portrait, and the same files again ask nothing."""
    with served(LIMITS | {"bundles": BUNDLES}, upload=(201, PERSON)) as page:
        live(page)
        drop(page, "left.png", "front.png", "wall.png")
        assert chosen(page) == ["left.png", "front.png", "wall.png"]
        page.fill("#attest-by", "Ann")
        page.fill("#statement", "It is me")
        page.click("#attest-send")
        page.wait_for_function("id => stub.of('change').at(-1)?.change.source === id", arg=PERSON["id"])
        (upload,) = page.uploads
        assert upload == {"kind": ["myself"], "attested_by": ["Ann"], "statement": ["It is me"]} | {
            "bytes": upload["bytes"]
        }
        page.locator("#gallery button").first.click()
        page.wait_for_function("id => stub.of('change').at(-1).change.source === id", arg=SAMPLE["id"])
        assert page.locator("#person").is_hidden()
        give(page, "wall.png", "left.png", "front.png")
        page.wait_for_function("id => stub.of('change').at(-1).change.source === id", arg=PERSON["id"])
        assert len(page.uploads) == 1


def test_the_strip_says_which_are_used_and_why_others_are_not(served) -> None:
    """By the system that is chosen: as many as it takes, in their order; one with none has no strip."""
    with served({"source": PERSON, "sources": [PERSON, SAMPLE], "bundles": BUNDLES}) as page:
        assert page.locator("#person-photos img").count() == 3
        assert page.locator("#person-photos b").all_inner_texts() == ["2", "1"]
        assert "uses 2" in page.inner_text("#person-note")
        assert page.inner_text("#person-left") == "wall.png: no face was found in it"
        page.select_option("#bundle", "mesh_flow")
        assert page.locator("#person-photos b").all_inner_texts() == ["1"]
        assert "uses one" in page.inner_text("#person-note")
        assert "another one waits" in page.inner_text("#person-note")
        assert page.locator("#gallery b").all_inner_texts() == ["2"]
        page.locator("#gallery button").nth(1).click()
        assert page.locator("#person").is_hidden()


def test_different_people_are_refused_with_the_measure_and_taken_by_name(served) -> None:
    """The photo is pointed at, and nothing but a tick, which is asked for each time anew, sends the name."""
    with served(LIMITS, upload=(422, {"error": DIFFERENT})) as page:
        give(page, "left.png", "front.png", "wall.png")
        assert page.locator("#attest-accept-field").is_hidden()
        page.fill("#attest-by", "Ann")
        page.fill("#statement", "It is me")
        page.click("#attest-send")
        page.wait_for_selector("#attest-accept-field:not([hidden])")
        assert "1.77 mm" in page.inner_text("#attest-error")
        marked = page.locator("#attest-photos li").evaluate_all(
            "tiles => tiles.map((one) => one.dataset.bad)"
        )
        assert marked == ["false", "false", "true"]
        page.check("#attest-accept")
        page.click("#attest-send")
        page.wait_for_function("() => !document.querySelector('#attest-send').disabled")
        assert [upload.get("accept") for upload in page.uploads] == [None, ["different-people"]]
        page.get_by_label("Leave out wall.png").click()
        assert page.locator("#attest-accept-field").is_hidden()
        assert page.locator("#attest-error").is_hidden()
        page.click("#attest-send")
        page.wait_for_selector("#attest-accept-field:not([hidden])")
        assert "accept" not in page.uploads[-1]
        assert not page.is_checked("#attest-accept")


@pytest.mark.full
def test_photos_can_be_left_out_until_one_is_a_portrait(served) -> None:
    """Which then goes as one does that was chosen alone."""
    with served(LIMITS, upload=(201, OTHER)) as page:
        give(page, "left.png", "front.png")
        page.get_by_label("Leave out left.png").click()
        assert page.inner_text("#attest-name") == "front.png"
        assert page.locator("#attest-photos").is_hidden()
        page.fill("#attest-by", "Ann")
        page.fill("#statement", "It is me")
        page.click("#attest-send")
        page.wait_for_selector("#attest", state="hidden")
        assert page.uploads == [
            {
                "name": ["front.png"],
                "kind": ["myself"],
                "attested_by": ["Ann"],
                "statement": ["It is me"],
                "bytes": 10,
            }
        ]


@pytest.mark.full
def test_too_many_and_too_large_photos_are_told_before_they_are_sent(served) -> None:
    """No more than the server takes, each and together, by its own limits."""
    with served(LIMITS) as page:
        give(page, "a.png", "b.png", "c.png", "d.png")
        assert chosen(page) == ["a.png", "b.png", "c.png"]
        assert "The first 3 photos" in page.inner_text("#notices")
        page.click("#attest-cancel")
        give(page, "a.png", "b.png", size=2 << 20)
        page.wait_for_function("() => document.querySelector('#attest-error').textContent.includes('a.png')")
        page.click("#attest-cancel")
    with served({"limits": INFO["limits"] | {"pictures_bytes": 1000}}) as page:  # type: ignore[operator]
        give(page, "a.png", "b.png", size=600)
        page.wait_for_function(
            "() => document.querySelector('#attest-error').textContent.includes('Together')"
        )
