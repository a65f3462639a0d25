"""Other programs at the endpoints of WHIP and WHEP: Chromium, GStreamer's webrtcbin, FFmpeg's muxer.

aiortc itself is the client of tests/streaming/whip/test_connections.py.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from streaming.config import ServeConfig
from tests.streaming.doorstep import TOKEN, Site
from tests.streaming.whip.house import PATIENCE_S, open_house

pytestmark = pytest.mark.full

HERE = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"
_NEEDED = """
import gi
for name in ("Gst", "GstWebRTC", "GstSdp"):
    gi.require_version(name, "1.0")
from gi.repository import Gst
Gst.init(None)
for name in ("webrtcbin", "vp8enc", "x264enc", "opusenc", "nicesrc", "rtph264pay", "avdec_h264"):
    if Gst.ElementFactory.find(name) is None:
        raise SystemExit(name)
"""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        script = (HERE / "chromium_peer.js").read_text(encoding="utf-8")
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(
            f"<!doctype html><link rel=icon href=data:,><body><script>{script}</script>".encode()
        )

    def log_message(self, *said: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """The origin of another site, which has one page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, elsewhere: str) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MAROTTE_STATE", str(tmp_path_factory.mktemp("state")))
        with open_house(ServeConfig(origins=(elsewhere,))) as opened:
            yield opened


@pytest.fixture(scope="module")
def gstreamer() -> None:
    """The system's GStreamer; skips, with the reason, where it or a part of it is absent."""
    if shutil.which(SYSTEM_PYTHON) is None:
        pytest.skip(f"there is no {SYSTEM_PYTHON} to drive GStreamer with")
    found = subprocess.run([SYSTEM_PYTHON, "-c", _NEEDED], capture_output=True, text=True, timeout=60)
    if found.returncode:
        missing = (found.stderr.strip().splitlines() or ["?"])[-1]
        pytest.skip(
            f"GStreamer is not whole here ({missing}); docs/whip.md says which packages of Debian's it takes"
        )


class Program:
    """A process that tells what happens to it, a JSON object in a line."""

    def __init__(self, *command: str) -> None:
        self.told: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.told.append(json.loads(line))

    def until(self, **expected: Any) -> dict[str, Any]:
        """Wait for a line that says this."""

        def found() -> dict[str, Any] | None:
            return next((line for line in self.told if expected.items() <= line.items()), None)

        said: dict[str, Any] = wait(found, lambda: self.told)
        return said

    def end(self) -> None:
        if self.process.stdin is not None and self.process.poll() is None:
            with suppress(BrokenPipeError):  # it ends by itself just now
                self.process.stdin.write("end\n")
                self.process.stdin.flush()
            self.process.stdin.close()
        self.process.wait(PATIENCE_S)
        self._reading.join(PATIENCE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()


def wait(found: Callable[[], Any], told: Callable[[], Any] = lambda: "") -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < end, told()
        time.sleep(0.05)
    return value


@contextmanager
def gst(house: Site, role: str, path: str, codec: str, *more: str) -> Iterator[Program]:
    address = f"http://127.0.0.1:{house.port}{path}"
    lasts = str(4 * PATIENCE_S)  # unless it is ended
    program = Program(SYSTEM_PYTHON, str(HERE / "gst_peer.py"), role, address, TOKEN, codec, lasts, *more)
    try:
        yield program
    finally:
        program.end()


@pytest.mark.parametrize("more", [(), ("trickle",)])
@pytest.mark.parametrize("codec", ["vp8", "h264"])
def test_gstreamer_publishes_and_plays(
    gstreamer: None, house: Site, codec: str, more: tuple[str, ...]
) -> None:
    """webrtcbin, with an RSA certificate and H.264 of the High profile, drives a session; another one plays what
    leaves, pictures and sound; both are ended by a DELETE."""
    posted, stream = len(house.worker.posted), f"gst-{codec}{len(more)}"
    with gst(house, "publish", f"/whip/{stream}", codec, *more) as publisher:
        publisher.until(method="POST", status=201)
        publisher.until(state="connected")
        wait(lambda: len(house.worker.posted) > posted + 10)
        assert house.worker.posted[-1][0] == (240, 320, 3)
        with gst(house, "play", f"/whep/{stream}", codec, *more) as player:
            player.until(method="POST", status=201)
            player.until(plays="video", codec=codec.upper())
            player.until(plays="audio", codec="OPUS")
            assert player.until(frames=10)["size"] == [320, 240]
        player.until(method="DELETE", status=200)
        if more:
            publisher.until(method="PATCH", status=204)
    publisher.until(method="DELETE", status=200)


def test_gstreamer_is_told_why_it_may_not(gstreamer: None, house: Site) -> None:
    """What is played has to be published."""
    with gst(house, "play", "/whep/nobody", "vp8") as player:
        assert "published" in player.until(method="POST", status=404)["said"]


def _ffmpeg(house: Site, stream: str, *own: str) -> str:
    address = f"http://127.0.0.1:{house.port}/whip/{stream}"
    command = [sys.executable, str(HERE / "ffmpeg_publish.py"), address, TOKEN, "45", *own]
    return subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE_S).stdout


@pytest.fixture(scope="module")
def whip_muxer() -> None:
    import av

    if "whip" not in av.format.formats_available:
        pytest.skip("this PyAV's FFmpeg has no WHIP muxer")


def test_ffmpeg_publishes_with_a_certificate_of_its_own(
    whip_muxer: None, house: Site, tmp_path: Path
) -> None:
    """H.264 of the Main profile and Opus, from a muxer that is DTLS's server: every frame arrives."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    curve = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=whip",
    ]
    command = ["openssl", "req", "-x509", *curve, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    posted = len(house.worker.posted)
    assert "published" in _ffmpeg(house, "ffmpeg", str(certificate), str(key))
    wait(lambda: len(house.worker.posted) >= posted + 40)


def test_ffmpegs_requests_are_answered_whatever_its_certificate(whip_muxer: None, house: Site) -> None:
    """The one that its GnuTLS makes is of a curve that OpenSSL has for TLS no more (secp224r1): DTLS fails, or not, but
    the POST was answered and the session is gone afterwards."""
    closed = len(house.worker.closed)
    _ffmpeg(house, "ffmpeg-own")
    wait(lambda: len(house.worker.closed) > closed)
    assert len(house.worker.specs) == len(house.worker.closed)


def test_chromium_publishes_and_plays(chromium: None, house: Site, elsewhere: str) -> None:
    """A page of another site, through fetch alone: it sends picture and sound, plays them as another, its candidates
    come after the offer, and ICE begins anew below both."""
    from streaming.bench.chromium import open_browser

    address = f"http://127.0.0.1:{house.port}"
    posted = len(house.worker.posted)
    with open_browser(None) as browser:
        page = browser.new_page()
        page.set_default_timeout(1000 * PATIENCE_S)
        page.goto(elsewhere)

        def ask(call: str, *given: str) -> Any:
            return page.evaluate(f"given => {call}(...given)", list(given))

        def figures(name: str) -> Any:
            page.wait_for_timeout(50)
            return ask("figures", name)

        made = ask("publish", "driver", f"{address}/whip/chromium", TOKEN)
        assert (made["status"], made["trickled"]) == (201, 204), made
        wait(lambda: figures("driver")["state"] == "connected" and len(house.worker.posted) > posted + 10)
        made = ask("play", "viewer", f"{address}/whep/chromium", TOKEN)
        assert (made["status"], made["trickled"]) == (201, 204), made
        wait(lambda: figures("viewer").get("video", 0) > 10)
        wait(lambda: figures("viewer").get("audio", 0) > 0)
        for name in ("driver", "viewer"):
            before = figures(name)
            assert ask("restart", name) == {"status": 200, "stale": 412}
            wait(lambda: figures(name)["pair"] != before["pair"])  # noqa: B023
            assert figures(name)["state"] == "connected"
        posted, shown = len(house.worker.posted), figures("viewer")["video"]
        wait(lambda: figures("viewer")["video"] > shown + 10 and len(house.worker.posted) > posted + 10)
        assert [ask("end", name) for name in ("viewer", "driver")] == [200, 200]
        refused = ask("play", "late", f"{address}/whep/chromium", TOKEN)
        assert refused["status"] == 404


def test_the_pages_own_module_begins_ice_anew(chromium: None, house: Site) -> None:
    """streaming/static/whip.js in the page itself: its candidates follow the offer, a restart leads to another way with
    the same DTLS, one right after it is refused and harms nothing, and an end is an end."""
    from streaming.bench.chromium import open_browser

    posted = len(house.worker.posted)
    with open_browser(None) as browser:
        page = browser.new_page()
        page.set_default_timeout(1000 * PATIENCE_S)
        page.goto(f"http://127.0.0.1:{house.port}/?token={TOKEN}")
        page.evaluate(
            """async () => {
              const { Resource } = await import("/static/whip.js");
              const canvas = document.body.appendChild(document.createElement("canvas"));
              const context = canvas.getContext("2d");
              setInterval(() => context.fillRect(0, 0, Math.random() * 300, 150), 50);
              const peer = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
              peer.addTransceiver(canvas.captureStream(20).getVideoTracks()[0], { direction: "sendonly" });
              window.made = new Resource(peer);
              await made.open("/whip/module", new AbortController().signal);
            }"""
        )

        def pair() -> Any:
            page.wait_for_timeout(50)
            return page.evaluate(
                """async () => [...(await made.peer.getStats()).values()]
                  .find(({ type }) => type === "transport")?.selectedCandidatePairId"""
            )

        wait(lambda: len(house.worker.posted) > posted + 10 and pair())
        before = pair()
        page.evaluate("made.restart()")
        wait(lambda: pair() != before)
        refused = page.evaluate("made.restart().then(() => 0, ({ status }) => status)")
        assert refused in (0, 429)
        assert page.evaluate("made.peer.signalingState") == "stable"
        posted = len(house.worker.posted)
        wait(lambda: page.wait_for_timeout(50) or len(house.worker.posted) > posted + 10)
        assert page.evaluate("made.peer.connectionState") == "connected"
        page.evaluate("made.end()")
        wait(lambda: len(house.worker.specs) == len(house.worker.closed))
