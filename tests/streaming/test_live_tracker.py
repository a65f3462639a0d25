"""A real browser that follows a face by itself, before a real server: numbers leave it, and the portrait moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streaming.landmarker import MODEL, NEEDED

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.full, pytest.mark.alone, pytest.mark.usefixtures("chromium")]

STUB = Path(__file__).with_name("landmarker_stub.mjs")
KEPT = """
    window.peers = [];
    const Peer = RTCPeerConnection;
    window.RTCPeerConnection = class extends Peer {
        constructor(...given) {
            super(...given);
            peers.push(this);
        }
    };
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As the operator would have it, with a stub in MediaPipe's place."""
    made = tmp_path / "tasks-vision"
    (made / "wasm").mkdir(parents=True)
    for name in NEEDED:
        (made / name).write_bytes(STUB.read_bytes() if name.endswith(".mjs") else b"stub")
    assert (made / MODEL).is_file()
    return made


def test_numbers_move_the_portrait(
    camera: Callable[..., Path], serving: Any, pages: Any, folder: Path
) -> None:
    """The page compiles WebAssembly under its own policy, sends no picture of its camera, and the portrait's mouth
    opens and closes as the numbers say; where they say nobody, the picture is held."""
    with (
        serving(mediapipe=str(folder), worker={"spare": False}) as server,
        pages(camera(None, seconds=3)) as opened,
    ):
        opened.context.add_init_script(KEPT)
        page = opened.open(server.url)
        page.click("#tracker")
        page.wait_for_selector("html[data-phase=live][data-picture=true]", timeout=60_000)
        page.wait_for_selector("#state[data-tone=good]", timeout=60_000)
        page.wait_for_function(
            "() => /^Live, tracker: \\d+ packets a second$/.test(document.querySelector('#state-text').textContent)"
        )
        pictures = [picture.rgb for picture in opened.received(page, seconds=4.0, video="#result")]
        height, width, _ = pictures[-1].shape
        whole = [rgb.astype(np.int16) for rgb in pictures if rgb.shape == pictures[-1].shape]
        middle = (slice(height // 4, 3 * height // 4), slice(width // 4, 3 * width // 4))
        moved = max(np.abs(rgb[middle] - whole[0][middle]).max() for rgb in whole)
        assert moved > 60  # lips and teeth, where the mouth was closed
        page.evaluate("landmarks.off = true")
        page.wait_for_selector("html[data-outcome=held], html[data-outcome=faded]", timeout=20_000)
        sent = page.evaluate(
            """async () => {
                const stats = [...(await peers.at(-1).getStats()).values()];
                return [peers.at(-1).getSenders().filter(({ track }) => track).length, stats.map(({ type }) => type)];
            }"""
        )
        assert sent[0] == 0
        assert "outbound-rtp" not in sent[1]
        assert "inbound-rtp" in sent[1]
        page.click("#stop")
