"""The page /verify shows a file's verdict in words, and a refusal as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.provenance import Manifest, Part
from engine.verify import Status, Verdict
from engine.verify.verdict import BadgeSeen, ConsentSeen, WatermarkSeen
from streaming import verify_doors
from streaming.config import ServeConfig
from streaming.refusals import RefusedError
from tests.streaming.doorstep import Site, open_site
from tests.streaming.test_page import browser  # noqa: F401

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = pytest.mark.usefixtures("chromium")

MANIFEST = Manifest(
    "valid",
    (),
    "clip.mp4",
    "Marotte 0.1.0",
    "A studio",
    None,
    "compositeSynthetic",
    ("c2pa.created",),
    (Part("driver", "inputTo", "valid", (Part("source", "componentOf", None),)),),
    {"bundle": {"title": "<b>mesh</b>", "licence": "Apache-2.0"}},
)
MARKED = Verdict(
    "clip.mp4",
    Status.MARKED,
    kind="video",
    size=(640, 480),
    frames=30,
    seconds=1.2,
    badge=BadgeSeen(True, 0.96, "AI", (0.8, 0.1, 0.9, 0.2), "top-right"),
    watermark=WatermarkSeen(True, 1e-30, 1, 1, 0x4D52, True, "0123abcd", "2026-11-22"),
    c2pa="valid",
    manifest=MANIFEST,
    consent=(ConsentSeen("0f" * 16, "its record lies here and holds"),),
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    with open_site(ServeConfig(open_verify=True)) as opened:
        yield opened


def test_a_verdict_is_shown_in_words(site: Site, browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """Every finding, what a file says of itself as text alone, and after it what a server refuses."""
    answers: list[Verdict | None] = [MARKED, Verdict("b.mp4", Status.UNREADABLE, why="it is cut"), None]

    async def looked_at(path: Path, name: str) -> dict[str, Any]:
        assert path.read_bytes() == b"a file"
        found = answers.pop(0)
        if found is None:
            raise RefusedError(422, "InputError", "verify: reading the file failed")
        return found.as_dict()

    monkeypatch.setattr(verify_doors, "_looked_at", looked_at)
    page = browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"http://127.0.0.1:{site.port}/verify")

    def send() -> None:
        page.set_input_files("#file", {"name": "clip.mp4", "mimeType": "video/mp4", "buffer": b"a file"})

    send()
    page.locator("#summary", has_text="marked as generated").wait_for()
    told = page.inner_text("#marks")
    for words in (
        "AI, top-right",
        "Present in 1 of 1 stretch",
        "session 0123abcd, 2026-11-22",
        "its signer is on no trust list",
        "signed by A studio",
        "bundle <b>mesh</b>",
        "driver (manifest valid of source (without a manifest))",
        "its record lies here and holds",
    ):
        assert words in told, words
    send()
    page.locator("#summary", has_text="could not be read").wait_for()
    assert "it is cut" in page.inner_text("#about")
    send()
    page.locator("#error", has_text="reading the file failed").wait_for()
    assert page.locator("#result").is_hidden()
    assert not faults
    page.close()
