"""The operator's button on the page: one click more, a word that cannot be missed, and nothing for anybody else."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streaming.test_page import browser, served  # noqa: F401  fixtures

pytestmark = pytest.mark.usefixtures("chromium")

SWITCH = """
window.killed = {killed: false};
window.asked = [];
const before = window.fetch;
window.fetch = async (path, options = {}) => {
  if (!String(path).startsWith("/api/v1/kill")) return before(path, options);
  const method = options.method ?? "GET", why = new URL(path, location.origin).searchParams.get("why");
  window.asked.push(`${method} ${why ?? ""}`.trim());
  if (method === "POST") window.killed = {killed: true, why: why ?? "no reason", since: "2026-05-04T10:00:00+00:00"};
  if (method === "DELETE") window.killed = {killed: false};
  return new Response(JSON.stringify(window.killed));
};
"""


def turned(page: Any) -> list[str]:
    return [asked for asked in page.evaluate("window.asked") if not asked.startswith("GET")]


def test_two_clicks_stop_everything_and_a_reason_releases_it(served) -> None:  # noqa: F811
    """The first click only asks, in the words of what will happen; the second is under the pointer's and the keyboard's
    hand. Then a banner says so until somebody releases it with a reason."""
    with served({"admin": True}, before=SWITCH) as page:
        page.click("#kill")
        assert "for everybody" in page.inner_text("#kill-dialog")
        assert turned(page) == []
        page.keyboard.press("Escape")
        assert turned(page) == []
        page.click("#kill")
        page.keyboard.press("Enter")  # the button that stops has the focus
        page.wait_for_selector(".kill-banner:not([hidden])")
        assert turned(page) == ["POST"]
        assert page.get_attribute(".kill-banner", "role") == "alert"
        assert not page.is_visible("#kill")
        assert page.is_disabled("#start")
        assert page.is_disabled("#demo")
        assert not page.is_visible("#still")
        page.click("#kill-release")
        page.click("#kill-dialog button.primary")
        assert turned(page) == ["POST"]  # not without a reason
        page.fill("#kill-why", "looked into")
        page.click("#kill-dialog button.primary")
        page.wait_for_selector("#kill", state="visible")
        assert turned(page) == ["POST", "DELETE looked into"]
        assert not page.is_visible(".kill-banner")
        assert page.is_enabled("#start")
        assert page.is_enabled("#demo")
        assert page.inner_text("#state-text") == "Ready"


@pytest.mark.full
def test_a_server_that_is_killed_already_says_so(served) -> None:  # noqa: F811
    """Whoever opens the page sees why nothing works."""
    with served({"admin": True}, before=SWITCH + 'window.killed = {killed: true, why: "a report"};') as page:
        page.wait_for_selector(".kill-banner:not([hidden])")
        assert "a report" in page.inner_text(".kill-banner")


@pytest.mark.full
def test_nobody_else_sees_it(served) -> None:  # noqa: F811
    """A guest's page does not even ask."""
    with served({}, before=SWITCH) as page:
        page.wait_for_timeout(200)
        assert page.locator("#kill").count() == 0
        assert page.evaluate("window.asked") == []


def test_a_call_that_was_killed_does_not_come_back_by_itself(served) -> None:  # noqa: F811
    """Nobody's camera goes live again because an operator releases: a person starts it."""
    with served({"admin": False}) as page:
        page.click("#demo")
        page.wait_for_selector("html[data-phase=live]")
        page.evaluate("stub.say({stopped: 'killed'})")
        page.wait_for_selector("html[data-phase=failed]")
        assert "operator has stopped all output" in page.inner_text("#notices")
        page.wait_for_timeout(1200)
        assert len(page.evaluate("stub.offers")) == 1
