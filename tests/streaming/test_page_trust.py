"""What the page shows of a session's statement and of its recording, before a stubbed server."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.streaming.test_page import browser, live, served  # noqa: F401  fixtures
from tests.streaming.test_statement import FakeSession, signer, statements

pytestmark = [pytest.mark.full, pytest.mark.usefixtures("chromium")]

KEPT = """
window.kept = [];
window.pressed = [];
const before = window.fetch.bind(window);
window.fetch = async (path, options = {}) => {
  const { method = "GET" } = options;
  if (!/\\/api\\/v1\\/(recordings|sessions\\/[^/]+\\/recording)/.test(String(path))) return before(path, options);
  if (method !== "GET") window.pressed.push([method, String(path)]);
  if (method === "DELETE" && String(path).startsWith("/api/v1/recordings/")) window.kept = [];
  return new Response(method === "DELETE" ? "{}" : JSON.stringify({ recordings: window.kept }));
};
"""
RECORDING = {
    "id": "20261122-100000-0badbeef", "begun": "2026-11-22T10:00:00+00:00", "state": "ready", "seconds": 83.4,
    "bytes": 5_400_000, "why": "minutes", "signed": True, "unsigned": "",
}  # fmt: skip


def _said() -> dict[str, Any]:
    of = statements(signer(), software="Marotte").of
    with ThreadPoolExecutor(1) as thread:  # Playwright's own loop runs in this one
        return thread.submit(lambda: asyncio.run(of(FakeSession()))).result()  # type: ignore[arg-type]


def test_what_is_seen_is_told_and_checked(served: Any) -> None:  # noqa: F811
    """By whose leave, what makes it and which marks are on; a statement that was changed is called so."""
    said = [_said(), _said()]
    said[1]["consent"] = []
    with served() as page:
        live(page)
        assert page.is_hidden(".stated")
        page.evaluate("(statement) => stub.say({ statement })", said[0])
        page.wait_for_selector(".stated[data-sound=true]")
        page.click(".stated summary")
        text = page.inner_text(".stated")
        for words in (
            "Signature checked",
            "written consent is held",
            "STIT",
            "CC0-1.0",
            "AI badge",
            "Not by the server",
        ):
            assert words in text
        page.evaluate("(statement) => stub.say({ statement })", said[1])
        page.wait_for_selector(".stated[data-sound=false]")
        assert "Do not believe it" in page.inner_text(".stated summary")
        page.click("#stop")
        assert page.is_hidden(".stated")


def test_recording_is_begun_seen_and_had(served: Any) -> None:  # noqa: F811
    """The button asks the server; who drives sees the sign while it is recorded, and the file afterwards. Without a
    folder on the server there is none of it."""
    with served({"recordings": True}, before=KEPT) as page:
        live(page)
        assert page.is_hidden(".recorded")
        page.click(".recordings > button")
        page.wait_for_function("() => window.pressed.length === 1")
        running = {"id": RECORDING["id"], "seconds": 62.5, "bytes": 1_000_000}
        page.evaluate("(recording) => stub.tell({ recording })", running)
        page.wait_for_selector(".recorded:not([hidden])")
        page.wait_for_selector(".recordings :text('1:02, 1.0 MB')")
        page.wait_for_selector(".recordings > button:text('Stop recording')")
        page.click(".recordings > button")
        page.wait_for_function("() => window.pressed.length === 2")
        page.evaluate(f"() => void (window.kept = [{json.dumps(RECORDING)}])")
        page.evaluate("() => stub.tell({ recording: null })")
        page.wait_for_selector(".recorded", state="hidden")
        page.wait_for_selector(".recordings a[download]")
        assert (
            page.get_attribute(".recordings a", "href") == f"/api/v1/recordings/{RECORDING['id']}/video.mp4"
        )
        assert "signed (C2PA)" in page.inner_text(".recordings li")
        page.wait_for_selector(".recordings :text('as long as it may be')")
        page.click(".recordings li button")
        page.wait_for_selector(".recordings a", state="detached")
        methods = [method for method, _ in page.evaluate("() => window.pressed")]
        assert methods == ["POST", "DELETE", "DELETE"]
    with served() as page:
        live(page)
        assert page.query_selector(".recordings") is None
