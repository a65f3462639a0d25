"""The page with a driver that is known by numbers alone: what it offers, what it sends, and what it says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streaming.doors import COMPILING, HEADERS
from tests.streaming.test_page import INFO, browser, heard, live, served, state  # noqa: F401

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.full, pytest.mark.usefixtures("chromium")]

STUB = Path(__file__).with_name("landmarker_stub.mjs")
HERE = {"mediapipe": True, "trackers": []}
MODES = {mode: {"takes_source": mode == "puppet", "removes": False} for mode in ("puppet", "edit")}
BOTH = {
    "name": "both", "title": "Both", "system": "stit", "licence": "Apache-2.0", "aus": True, "modes": MODES,
}  # fmt: skip
QUIET = {"outcome": "held", "reason": "no frames", "fps_in": 0}


def with_landmarker(page: Any, there: bool = True) -> None:
    """Files of the operator's, and the policy of a server that has them."""

    def answer(route: Any) -> None:
        module = route.request.url.endswith(".mjs")
        if not there and not module:
            route.fulfill(status=404)
        else:
            kind = "text/javascript" if module else "application/octet-stream"
            route.fulfill(
                body=STUB.read_bytes() if module else b"model", headers=HEADERS | {"content-type": kind}
            )

    page.route("**/mediapipe/**", answer)


@pytest.fixture
def page_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The served page may compile, as streaming.doors.COMPILING says."""
    from tests.streaming import test_page

    monkeypatch.setattr(test_page, "HEADERS", HEADERS | COMPILING)


def test_a_tracker_is_offered_where_there_is_one(served) -> None:  # noqa: F811
    """Not without one, by name with one; greyed, and why, where a picture is to be edited."""
    with served() as page:
        assert page.locator("#tracker").is_hidden()
        assert page.locator("#tracker-section").is_hidden()
    with served({"trackers": ["arkit"], "mediapipe": False, "bundles": [BOTH]}) as page:
        assert page.locator("#follow option").all_inner_texts() == ["ARKit (Live Link Face)"]
        assert "no camera is used" in page.inner_text("#tracker-note")
        page.click("#modes label:has([value=edit])")
        assert page.locator("#tracker").is_disabled()
        assert "no picture of yours" in page.inner_text("#tracker-note")
        page.click("#modes label:has([value=puppet])")
        assert page.locator("#tracker").is_enabled()


@pytest.mark.full
def test_packets_of_a_tracker_elsewhere_are_counted(served) -> None:  # noqa: F811
    """No camera is asked for and no picture is sent; how many packets come is said, and when none come."""
    with served({"trackers": ["arkit"]}) as page:
        live(page, "#tracker")
        assert page.evaluate("stub.offers.at(-1).driver") == "tracker"
        assert "a=recvonly" in page.evaluate("stub.offers.at(-1).sdp")
        assert "a=sendrecv" not in page.evaluate("stub.offers.at(-1).sdp").split("m=application")[0]
        assert page.evaluate("document.querySelector('#camera').srcObject") is None
        state(page, "Live, tracker: 30 packets a second")
        page.evaluate("report => stub.tell(report)", QUIET)
        state(page, "Nothing comes from the tracker: the last picture is held")
        page.evaluate("stub.tell({ outcome: 'faded', reason: 'no face', fps_in: 60 })")
        state(page, "The tracker sees nobody (60 packets a second)")
        assert page.locator("#modes [value=edit]").is_disabled()


@pytest.mark.full
def test_a_face_is_followed_in_the_page(served, page_policy) -> None:  # noqa: F811
    """The camera stays in it: what leaves are scores by name and a matrix, at most 30 times a second, none
    while others wait to leave, and none once it is stopped."""
    with served(HERE) as page:
        with_landmarker(page)
        live(page, "#tracker")
        assert "a=recvonly" in page.evaluate("stub.offers.at(-1).sdp")
        assert page.evaluate("landmarks.files") == ["/mediapipe/wasm"]
        options = page.evaluate("landmarks.options.at(-1)")
        assert options["baseOptions"] == {
            "modelAssetPath": "/mediapipe/face_landmarker.task",
            "delegate": "CPU",
        }
        assert options["outputFaceBlendshapes"]
        assert options["outputFacialTransformationMatrixes"]
        page.wait_for_function("() => stub.of('face').length > 5")
        told = heard(page, "face")[-1]["face"]
        assert set(told["blendshapes"]) == {"jawOpen", "mouthSmileLeft", "mouthSmileRight"}
        assert told["matrix"][12:] == [0, 0, -45, 1]
        page.evaluate("landmarks.off = true")
        page.wait_for_function("() => stub.of('face').at(-1).face === null")
        before = page.evaluate("[stub.of('face').length, performance.now()]")
        page.wait_for_timeout(500)
        after = page.evaluate("[stub.of('face').length, performance.now()]")
        assert (after[0] - before[0]) / (after[1] - before[1]) * 1000 <= 36
        page.evaluate(
            "Object.defineProperty(RTCDataChannel.prototype, 'bufferedAmount', { get: () => 9999, configurable: true })"
        )
        page.wait_for_timeout(300)  # what was on its way
        held, looked = len(heard(page, "face")), page.evaluate("landmarks.frames")
        page.wait_for_function("looked => landmarks.frames > looked + 5", arg=looked)
        assert len(heard(page, "face")) == held  # none is put behind others: the next one is newer
        page.click("#stop")
        frames = page.evaluate("landmarks.frames")
        page.wait_for_timeout(200)
        assert page.evaluate("landmarks.frames") == frames


@pytest.mark.full
def test_what_cannot_follow_is_said(served, page_policy) -> None:  # noqa: F811
    """A model that is not there, and a landmarker that fails later, each with its words; the camera goes off."""
    with served(HERE, allow=(404,)) as page:
        with_landmarker(page, there=False)
        page.click("#tracker")
        page.wait_for_selector("html[data-phase=stopped]")
        page.wait_for_selector("#notices :text('cannot follow your face: no model')")
        assert page.evaluate("document.querySelector('#camera').srcObject") is None
        assert page.evaluate("stub.offers.length") == 0
