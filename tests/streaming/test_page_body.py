"""A system that the whole body drives, on the page: who moves, and what there is not to set."""

from __future__ import annotations

import pytest

from tests.streaming.test_page import INFO, browser, live, served

__all__ = ["browser", "served"]

PUPPET = {"puppet": {"takes_source": True, "removes": False}}
OWN = {"id": "held by dancer", "name": "dancer", "size": [480, 640]}
BUNDLES = [
    {"name": "mesh_flow", "title": "Mesh flow", "system": "mesh_flow", "licence": "Apache-2.0", "aus": True,
     "heeds": ["au_offsets", "mouth", "pose", "absolute_mouth"], "own": None, "modes": PUPPET},
    {"name": "dancer", "title": "A dancer", "system": "liquid_warping", "licence": "CC0-1.0", "aus": False,
     "heeds": [], "own": OWN, "modes": {"puppet": {"takes_source": False, "removes": False}}},
]  # fmt: skip


@pytest.mark.full
def test_a_body_moves_who_its_system_holds_and_nothing_of_a_face_can_be_set(served) -> None:
    """The held person is what lies at rest; portraits, gains and expressions are greyed with a reason, and live again
    with a system for faces; recalibration is about where one stands."""
    with served({"bundles": BUNDLES}, allow=(404,)) as page:  # its server has no such still
        live(page)
        page.select_option("#bundle", "dancer")
        assert "/held%20by%20dancer/still.jpg" in page.locator("#still").get_attribute("src")
        for part in ("gallery", "another", "exact"):
            assert page.locator(f"#{part}").evaluate("part => part.inert"), part
        for fields in ("gains", "expression-fields"):
            assert page.locator(f"#{fields}").evaluate("fields => fields.disabled"), fields
        page.click("#tab-motion")
        told = page.locator("#sheet-motion .only-bodies").inner_text()
        assert "whole body is followed" in told
        assert page.locator("#gains .slider").first.is_visible()
        assert "where you stand" in page.locator("#recalibrate").get_attribute("title")
        page.click("#tab-setup")
        assert page.locator("#sheet-setup .only-bodies").is_visible()
        page.select_option("#bundle", "mesh_flow")
        assert INFO["source"]["id"] in page.locator("#still").get_attribute("src")  # type: ignore[index]
        assert not page.locator("#gallery").evaluate("part => part.inert")
        assert not page.locator("#sheet-setup .only-bodies").is_visible()
        assert "resting face" in page.locator("#recalibrate").get_attribute("title")
