"""The page's test of the ways to the server, before a browser whose gathering a test decides."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streaming.test_page import browser, served  # noqa: F401  fixtures

pytestmark = pytest.mark.usefixtures("chromium")

GATHERING = """
window.ended = 0;
window.RTCPeerConnection = class {
  constructor(configuration) { this.configuration = configuration; }
  createDataChannel() {}
  close() { window.ended += 1; }
  async setLocalDescription() {
    const {iceServers, iceTransportPolicy} = this.configuration;
    const give = (type, address) => this.onicecandidate({candidate: {candidate: "x", type, address}});
    if (iceTransportPolicy === "relay") {
      const [url] = iceServers[0].urls;
      if (url.includes("good")) give("relay", "192.0.2.7");
      else if (url.includes("account")) this.onicecandidateerror({errorCode: 401, errorText: "Unauthorized"});
      else this.onicecandidateerror({errorCode: 701, errorText: "timed out"});
    } else {
      give("host", "a.local");
      give("host", "2001:db8::1");
      if (iceServers.length) give("srflx", "192.0.2.1");
    }
    this.onicecandidate({candidate: null});
  }
};
"""
SERVERS = [
    {"urls": ["stun:s.example"]},
    *(
        {"urls": [f"turn:{name}.example"], "username": "a", "credential": "b"}
        for name in ("good", "account", "gone")
    ),
]


def lines(page: Any) -> list[tuple[str, str]]:
    """(tone, text) of each, once the test is over."""
    page.click("#tab-latency")
    page.click("#reach")
    page.wait_for_selector("#reach:not([disabled])")
    return [
        (each.get_attribute("data-tone"), each.inner_text()) for each in page.locator("#reach-lines li").all()
    ]


def test_each_way_is_told(served) -> None:  # noqa: F811
    """Kind by kind, and of each relay whether it answers, or what it says; every connection is closed again."""
    with served({"ice_servers": SERVERS}, before=GATHERING) as page:
        told = lines(page)
        assert [tone for tone, _ in told] == ["good", "good", "quiet", "good", "good", "bad", "bad"]
        texts = [text for _, text in told]
        assert "own: 2, the first after" in texts[0]
        assert "STUN): 1" in texts[1]
        assert texts[3] == "IPv6: yes"
        assert "turn:good.example: answers" in texts[4]
        assert "does not take the account (401)" in texts[5]
        assert "cannot be reached (701)" in texts[6]
        assert page.evaluate("window.ended") == 4
        assert page.locator("#reach-lines li").count() == 7


@pytest.mark.full
def test_a_server_without_relays_says_what_follows(served) -> None:  # noqa: F811
    """Nobody finds out only behind a firewall."""
    with served({"ice_servers": []}, before=GATHERING) as page:
        told = lines(page)
        assert told[1][0] == "quiet"
        assert "no server is named" in told[1][1]
        assert "no call will come up" in told[-1][1]
