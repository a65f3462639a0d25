"""The page's questions about a portrait: who is shown, who says so, what for; asked once, and taken back."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.streaming.test_page import OTHER, SAMPLE, browser, drop_file, live, served

__all__ = ["browser", "served"]

pytestmark = pytest.mark.full

DATA = b"bytes of a portrait"
SUM = hashlib.sha256(DATA).hexdigest()
RECORD = {
    "id": "0" * 32, "state": "valid", "kind": "myself", "shown": "Ann", "attested_by": "Ann", "statement": "It is me.",
    "scope": ["live"], "expires": None, "self_check": None,
}  # fmt: skip


def report(page: Any, **changes: Any) -> None:
    """What the server tells of the call, but for these."""
    page.evaluate("changes => stub.tell(changes)", changes)


def test_what_is_asked_goes_by_the_kind(served) -> None:
    """Oneself by a name alone; a work or somebody else by theirs too, and a written consent by where it is kept."""
    with served(upload=(201, OTHER | {"id": SUM})) as page:
        live(page)
        drop_file(page, "a.png", DATA)
        assert page.locator("#attest-shown").is_hidden()
        page.fill("#attest-by", "Ann")
        page.select_option("#attest-kind", "written consent")
        page.click("#attest-send")
        assert "Who is shown?" in page.inner_text("#attest-error")
        page.fill("#attest-shown", "Bob")
        page.click("#attest-send")
        assert "where is the written consent kept?" in page.inner_text("#attest-error")
        page.fill("#statement", "In the archive")
        page.click("#attest-allows summary")
        page.uncheck("#attest-scope-train")
        page.fill("#attest-expires", "2999-12-31")
        page.click("#attest-send")
        page.wait_for_selector("#attest", state="hidden")
        (upload,) = page.uploads
        assert {name: value for name, value in upload.items() if name not in ("bytes", "name")} == {
            "kind": ["written consent"], "attested_by": ["Ann"], "shown": ["Bob"], "statement": ["In the archive"],
            "scope": ["live,call,render"], "expires": ["2999-12-31"],
        }  # fmt: skip


def test_what_is_on_record_is_taken_without_a_question(served) -> None:
    """By the hash of its bytes, though this page never saw it before."""
    with served(upload=(201, OTHER | {"id": SUM, "consent": RECORD})) as page:
        page.allowed.add(SUM)
        live(page)
        drop_file(page, "a.png", DATA)
        page.wait_for_function("id => stub.of('change').at(-1)?.change.source === id", arg=SUM)
        assert page.locator("#attest").is_hidden()
        assert page.uploads == [{"name": ["a.png"], "bytes": len(DATA)}]
        assert "by their own word, not checked" in page.inner_text(".consent-line")


def test_consent_is_withdrawn_in_two_steps(served) -> None:
    """Every record of the portrait that holds; the sample's cannot be."""
    mine = OTHER | {"id": SUM, "consent": RECORD}
    with served({"sources": [SAMPLE | {"consent": RECORD | {"kind": "sample"}}, mine]}) as page:
        page.reload()
        assert page.locator("#withdraw").is_hidden() or page.locator(".consent-line").is_hidden()
        page.locator("#gallery button").nth(1).click()
        page.click("#withdraw")
        assert not page.withdrawn
        page.click("#withdraw")
        page.wait_for_function("() => document.querySelector('#withdraw').textContent === 'Withdraw'")
        assert page.withdrawn == [f"DELETE of {SUM[:4]}"]


def test_a_withheld_picture_is_explained(served) -> None:
    """Once, in the server's words."""
    why = "the consent to it does not hold: record 12345678 was revoked; next step: choose another portrait"
    with served() as page:
        live(page)
        for _ in range(2):
            report(page, withheld=why)
        page.wait_for_selector(f".notice.bad:has-text('{why[:40]}')")
        assert page.locator(".notice.bad").count() == 1
        assert page.get_attribute("html", "data-withheld") == "true"


RUNS = {"phase": "rest", "asked": None, "done": 0, "of": 5, "passed": None, "why": ""}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, "1 of 5: Look straight"),
        ({"phase": "move", "asked": "left", "done": 1}, "2 of 5: Turn your head to your left"),
        ({"phase": "failed", "passed": False, "why": "it took too long"}, "did not pass: it took too long"),
        ({"phase": "passed", "done": 5, "passed": True, "record": "1"}, "stands in the record"),
    ],
)
def test_a_self_check_says_what_to_do(served, told: dict[str, Any], said: str) -> None:
    """And what came of it; begun by a button that is there for a portrait that was added as oneself."""
    mine = SAMPLE | {"consent": RECORD}
    with served({"source": mine, "sources": [mine]}) as page:
        live(page)
        report(page)
        page.click("#self-check")
        assert page.evaluate("() => stub.of('self_check').at(-1).self_check") is True
        report(page, self_check=RUNS | told)
        page.wait_for_function(
            "said => document.querySelector('#self-check-asks').textContent.includes(said)", arg=said
        )
        page.click(".self-check summary")
        assert "about one in twenty passes" in page.inner_text(".self-check")


ENDED = RECORD | {"state": "revoked"}
DENIED = "it is not used on this installation, by a decision of its operator; next step: ask the operator"


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("the consent to it does not hold: record 12345678 was revoked", "the consent to it was withdrawn"),
        (DENIED, "this portrait is not used on this server"),
    ],
)
def test_grey_has_words_of_its_own_and_the_record_is_read_again(served, why: str, said: str) -> None:
    """No portrait is said to be shown where plain grey is, and by whose word is told as it is now."""
    mine = OTHER | {"id": SUM, "consent": RECORD}
    with served({"source": mine, "sources": [mine, SAMPLE]}) as page:
        live(page)
        page.kept[SUM] = mine | {"consent": ENDED}
        report(page, outcome="faded", reason="withheld", withheld=why)
        page.wait_for_selector(f"#state[data-tone=bad]:has-text('Plain grey is shown: {said}')")
        page.wait_for_selector("#gallery .gone:text('Withdrawn')")


def test_who_is_shown_no_more_is_not_chosen_first(served) -> None:
    """Neither the server's own portrait nor the one of before a reload; words stand in place of the picture."""
    gone = SAMPLE | {"consent": ENDED}
    with served({"source": gone, "sources": [gone, OTHER]}) as page:
        assert page.inner_text("#gallery button:disabled") == "Withdrawn"
        assert page.get_attribute("#gallery button:nth-child(2)", "aria-pressed") == "true"
        remembered = {"source": gone}
        page.evaluate("told => sessionStorage.setItem('marotte', JSON.stringify(told))", remembered)
        page.reload()
        page.wait_for_selector(".notice.bad:has-text('choose another portrait')")
        assert page.get_attribute("#gallery button:nth-child(2)", "aria-pressed") == "true"


@pytest.mark.parametrize(
    ("on", "said"),
    [
        (["badge", "watermark"], "carries the “AI” badge and an invisible watermark"),
        (["watermark"], "carries an invisible watermark"),
    ],
)
def test_the_footer_tells_the_marks_that_are_there(served, on: list[str], said: str) -> None:
    """Nothing is claimed that the operator has taken off."""
    lowered = [name for name in ("badge", "watermark") if name not in on]
    with served({"marks": {"on": on, "lowered": lowered}}) as page:
        assert said in page.inner_text("#marks")
