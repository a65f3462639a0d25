"""The page's microphone before a stubbed server: asked for when it is turned on, and off with the call."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streaming.test_page import browser, heard, live, served  # noqa: F401  fixtures

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("chromium")]

ASKED = """
window.asked = [];
window.given = [];
const devices = navigator.mediaDevices;
const real = devices?.getUserMedia.bind(devices);
if (devices) devices.getUserMedia = async (wish) => {
  window.asked.push(wish);
  if (window.forbidden && wish.audio) throw new DOMException("no", "NotAllowedError");
  const stream = await real(wish);
  window.given.push(...stream.getAudioTracks());
  return stream;
};
"""


def asked(page: Any) -> list[bool]:
    """Whether each wish was for sound."""
    return page.evaluate("() => window.asked.map(({audio}) => Boolean(audio))")


def directions(page: Any) -> list[list[str]]:
    """Kind and direction of each section of the newest offer."""
    sdp = page.evaluate("() => stub.offers.at(-1).sdp")
    return [
        [
            part.split(" ")[0],
            next(way for way in ("sendrecv", "sendonly", "recvonly", "") if f"a={way}" in part),
        ]
        for part in sdp.split("\nm=")[1:]
    ]


def test_the_microphone_is_asked_for_when_it_is_turned_on(served: Any) -> None:  # noqa: F811
    """Nobody who wants a picture alone is asked for sound; who wants it is heard without a new call."""
    with served({"sound": True}, before=ASKED) as page:
        live(page)
        assert asked(page) == [False]
        assert page.is_hidden("#mute")
        assert ["audio", "sendonly"] in directions(page)
        page.select_option("#mic", "")
        page.wait_for_selector("#mute:not([hidden])")
        assert asked(page) == [False, True]
        assert page.evaluate("() => stub.offers.length") == 1
        page.wait_for_function(
            "() => stub.peer.getReceivers().some(({track}) => track.kind === 'audio' && !track.muted)"
        )
        page.click("#mute")
        page.wait_for_function("() => stub.heard.some((message) => message.mute === true)")
        assert page.evaluate("() => window.given[0].enabled") is False
        page.click("#mute")
        page.wait_for_function("() => stub.heard.some((message) => message.mute === false)")
        assert [message["mute"] for message in heard(page, "mute")] == [True, False]
        page.click("#stop")
        assert page.evaluate("() => window.given[0].readyState") == "ended"
        assert page.is_hidden("#mute")


@pytest.mark.full
def test_a_microphone_that_is_forbidden_leaves_the_call_alone(served: Any) -> None:  # noqa: F811
    """The choice goes back to Off, and the page says why."""
    with served({"sound": True}, before=ASKED + "window.forbidden = true;") as page:
        live(page)
        page.select_option("#mic", "")
        page.wait_for_selector("#notices :text('microphone is not allowed')")
        assert page.input_value("#mic") == "off"
        assert page.get_attribute("html", "data-phase") == "live"


@pytest.mark.full
def test_own_sound_comes_back_only_where_it_is_wanted(served: Any) -> None:  # noqa: F811
    """No echo by default: nothing is played, and nothing is asked back."""
    with served({"sound": True}, before=ASKED) as page:
        live(page)
        page.select_option("#mic", "")
        page.wait_for_selector("#mute:not([hidden])")
        assert page.evaluate("() => document.querySelector('#result').muted") is True
        page.check("#hear")
        page.wait_for_function("() => stub.offers.length === 2")
        assert ["audio", "sendrecv"] in directions(page)
        assert page.evaluate("() => document.querySelector('#result').muted") is False
        page.wait_for_selector("html[data-phase=live]")
        assert asked(page) == [False, True]


@pytest.mark.full
def test_where_the_server_passes_no_sound_on_there_is_none_to_choose(served: Any) -> None:  # noqa: F811
    """The operator's word: no section, no switch."""
    with served({"sound": False}) as page:
        live(page)
        assert page.is_hidden("#sound")
        assert "audio" not in [kind for kind, _ in directions(page)]


@pytest.mark.full
def test_the_skew_stands_beside_the_latency(served: Any) -> None:  # noqa: F811
    """As the server reports it, with its sign; nothing where nothing is known."""
    with served({"sound": True}) as page:
        live(page)
        assert page.is_hidden("#readout-sound")
        told = {"delay_ms": 82.4, "skew_ms": 3.2, "by_reports": True, "muted": False, "dropped": {}}
        page.evaluate("sound => stub.tell({ sound })", told)
        page.wait_for_selector("#readout-sound:not([hidden])")
        assert page.text_content("#readout-skew").startswith("+3")
        assert "held back 82" in page.text_content("#server-figures")
