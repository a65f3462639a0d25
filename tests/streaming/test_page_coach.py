"""The page shows what would look better: of the portrait before anything is live, of the camera while it is."""

from __future__ import annotations

import pytest

from tests.streaming.test_page import INFO, browser, live, served  # noqa: F401

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.full, pytest.mark.usefixtures("chromium")]

SMALL = {
    "measure": "size",
    "value": 40.0,
    "bound": 60.0,
    "unit": "px",
    "text": "the face is small; use a larger picture",
}
DARK = {
    "measure": "light",
    "value": 31.0,
    "bound": 70.0,
    "unit": "of 255",
    "text": "31 of 255; put a light before it",
}


def test_remarks_are_shown_as_long_as_they_hold(served) -> None:  # noqa: F811
    """A line each, which a value that wavers does not write anew; gone with the fault, or with the call."""
    first = INFO["source"] | {"remarks": [SMALL]}
    with served(INFO | {"source": first, "sources": [first]}) as page:
        assert page.inner_text("#coach").strip() == f"Portrait: {SMALL['text']}"
        live(page)
        page.evaluate("remark => stub.tell({ coach: [remark] })", DARK)
        page.wait_for_selector("#coach [data-measure=light]")
        assert page.locator("#coach li").count() == 2
        page.evaluate("document.querySelector('#coach [data-measure=light]').dataset.kept = '1'")
        page.evaluate("remark => stub.tell({ fps_out: 7, coach: [{...remark, text: '32 of 255'}] })", DARK)
        page.wait_for_function("() => document.querySelector('#readout-rate').textContent.startsWith('7')")
        assert page.locator("#coach [data-kept]").count() == 1
        page.evaluate("stub.tell({ coach: [] })")
        page.wait_for_function("() => document.querySelectorAll('#coach li').length === 1")
        page.evaluate("remark => stub.tell({ coach: [remark] })", DARK)
        page.wait_for_selector("#coach [data-measure=light]")
        page.click("#stop")
        page.wait_for_function("() => document.querySelectorAll('#coach li').length === 1")
