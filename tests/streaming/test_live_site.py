"""The example of docs/api.md, as it stands there, on another site's page in a real browser."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streaming.pages import STATIC
from tests.streaming.test_live_fail_closed import HUE, allowed, violet

pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (extra dev)")
pytestmark = [pytest.mark.alone, pytest.mark.full, pytest.mark.usefixtures("chromium")]

DOCS = Path(__file__).parents[2] / "docs" / "api.md"
MODULES = ("marotte.js", "api.js", "call.js", "link.js", "watching.js", "way.js", "whip.js")
"""Those that docs/api.md names."""
# What a site's own call has behind it: here the other end is in the same page.
OTHER_END = """
const other = new RTCPeerConnection();
window.phases = [];
face.addEventListener("phase", ({ detail }) => window.phases.push(detail.phase));
call.onicecandidate = ({ candidate }) => other.addIceCandidate(candidate);
other.onicecandidate = ({ candidate }) => call.addIceCandidate(candidate);
const heard = new MediaStream();
other.ontrack = ({ track }) => {
  heard.addTrack(track);
  document.querySelector("video").srcObject = heard;
};
call.onnegotiationneeded = async () => {
  await call.setLocalDescription();
  await other.setRemoteDescription(call.localDescription);
  await other.setLocalDescription();
  await call.setRemoteDescription(other.localDescription);
};
"""


def example() -> str:
    """The first indented block of the section about marotte.js."""
    section = DOCS.read_text(encoding="utf-8").split("## marotte.js", 1)[1]
    block = re.search(r"\n\n((?:    .*\n|\n)+)", section)
    assert block is not None
    return "\n".join(line[4:] for line in block.group(1).splitlines())


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *given: Any) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Another origin, with a copy of the modules that docs/api.md names."""
    for name in MODULES:
        shutil.copy(STATIC / name, tmp_path)
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", tmp_path
        finally:
            server.shutdown()
            serving.join()


def test_the_example_puts_an_edited_face_into_ones_own_call(
    site: tuple[str, Path],
    camera: Callable[..., Path],
    serving: Callable[..., Any],
    pages: Callable[..., Any],
) -> None:
    """A page of another site with the example's lines, a token for one stream and nothing else gets a portrait that
    moves, with sound, into its own call, and nothing of the camera's picture."""
    from streaming.tokens import Tokens, key_of, scope_of

    origin, folder = site
    clip = camera("man_wide_mouth_frontal.mp4", seconds=6, tint=HUE)
    with serving(origins=[origin], worker={"side": 384, "spare": False}) as server:
        token, _ = Tokens(key_of(server.token)).issue([scope_of("publish:guest")], 600.0)
        code = example().replace("https://face.example", server.origin)
        code = code.replace('mode: "puppet"', 'mode: "puppet",\n  stream: "guest"')
        (folder / "site.js").write_text(f"const token = {token!r};\n{code}\n{OTHER_END}", encoding="utf-8")
        (folder / "index.html").write_text(
            '<!doctype html><link rel="icon" href="data:,"><video autoplay muted></video>'
            '<script type="module" src="site.js"></script>',
            encoding="utf-8",
        )
        with pages(clip) as opened:
            page = opened.open(f"{origin}/index.html")
            page.wait_for_function("() => window.phases?.includes('live')", timeout=60_000)
            opened.wait_for_pictures(page, count=10)
            shown = [picture.rgb for picture in opened.received(page, seconds=2.0)]
            kinds = page.evaluate(
                "() => document.querySelector('video').srcObject.getTracks().map((t) => t.kind)"
            )
    assert sorted(kinds) == ["audio", "video"]
    assert len(shown) > 10
    assert all(violet(picture) < allowed() for picture in shown)
    assert any((shown[0] != later).any() for later in shown[1:])
