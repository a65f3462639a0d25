"""The doctor of the live page: each broken piece is named, with what mends it."""

from __future__ import annotations

import builtins
import importlib.metadata
import importlib.util
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aioice.ice
import aiortc
import av
import pytest

from engine.errors import ModelError, WorkerError
from engine.findings import Finding
from engine.plug import Generator, Runner
from engine.puppet import Opening
from engine.worker import mailbox
from engine.worker.interface import WorkerConfig
from engine.worker.tools import Tools
from streaming import codecs, doctor, encoders
from streaming.bench import chromium
from tests.streaming.doorstep import open_site


def check_named(finding: Finding, detail: str, fix: str) -> None:
    """Told in one line: what is wrong, and what to do."""
    assert detail in finding.detail
    assert fix in finding.fix
    assert "\n" not in str(finding)
    assert not finding.ok


def test_a_taken_port_is_named() -> None:
    """The port stands in the line, and so does the option that chooses another one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (finding,) = doctor._port(port)
    check_named(finding, f"{port} is taken by another program", "choose another port with --port")


def test_marotte_itself_on_the_port_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs: that is well, and what to do is said."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    with open_site() as site:
        (finding,) = doctor._port(site.port)
    assert finding.ok
    assert str(finding) == (
        f"ok   port: {site.port} is in use, for Marotte is already running there -> open the address it printed, or "
        "take another port with --port"
    )


def test_another_programs_page_is_not_taken_for_marotte() -> None:
    """Also where it answers /healthz, and with ok."""

    def answer() -> None:
        client, _ = taken.accept()
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n")

    with socket.create_server(("127.0.0.1", 0)) as taken, ThreadPoolExecutor(1) as thread:
        answered = thread.submit(answer)
        (finding,) = doctor._port(taken.getsockname()[1])
        answered.result(10)
    check_named(finding, "is taken by another program", "choose another port with --port")


def test_a_free_port_is_left_free() -> None:
    """Looking does not take it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert [finding.ok for _ in range(2) for finding in doctor._port(port)] == [True, True]
    assert doctor._port(0)[0].ok


def test_a_port_that_is_none_is_named() -> None:
    """A number out of range is a finding, and no crash."""
    check_named(doctor._port(70_000)[0], "got 70000, expected 0 .. 65535", "")


def test_another_aiortc_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is reached into is known for one series of versions."""
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "2.0.1" if name == "aiortc" else version(name)
    )
    check_named(
        doctor._aiortc()[0], "got version 2.0.1, expected 1.16.", 'install --force-reinstall "aiortc==1.16.'
    )


def test_a_changed_aiortc_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one of the right version whose insides are others."""
    monkeypatch.setattr(aiortc.RTCRtpSender, "_next_encoded_frame", lambda self, codec: None)
    check_named(doctor._aiortc()[0], "RTCRtpSender._next_encoded_frame", "--force-reinstall")


@pytest.mark.parametrize("name", ["libx264", "libvpx"])
def test_a_missing_encoder_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """FFmpeg built without what a call sends."""
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {name})
    (finding,) = doctor._codecs()
    check_named(finding, f"no {name}", "pip install --force-reinstall av")


@pytest.mark.parametrize(("codec", "encoder"), [("vp8", "libvpx"), ("h264", "libx264")])
def test_an_encoder_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch, codec: str, encoder: str) -> None:
    """A listed encoder that does not take a call's settings: only that one is bad."""

    def refuse(*_: Any) -> Any:
        raise av.error.InvalidDataError(22, "Invalid argument", "avcodec_open2")

    monkeypatch.setitem(codecs.SOFTWARE, codec, replace(codecs.SOFTWARE[codec], open=refuse))
    (finding,) = doctor._codecs()
    check_named(finding, f"{encoder} does not take a call's settings", "--force-reinstall av")


def test_an_encoder_that_keeps_pictures_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first picture that does not come out at once is a delay of every one."""

    class Late:
        def encode(self, frame: av.VideoFrame, force: bool) -> tuple[list[bytes], int]:
            return [], 0

    monkeypatch.setattr(encoders, "open_encoder", lambda *_: Late())
    assert len(doctor._codecs()) == 2
    check_named(doctor._codecs()[0], "libx264 keeps its first picture back", "--force-reinstall av")


def test_two_ends_meet() -> None:
    """The addresses that were tried are named."""
    (finding,) = doctor._route()
    assert finding.ok, finding
    assert aioice.ice.get_host_addresses(True, True)[0] in finding.detail


def test_a_machine_without_an_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is not offered for a call, so that a machine that is on no network has no route."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: [])
    check_named(doctor._route()[0], "no address but loopback", "join any network")


def test_an_interface_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same as the system tells it: nothing but loopback. A call has no candidate there, which is said in full."""
    adapters = [
        SimpleNamespace(name="lo", ips=[SimpleNamespace(ip="127.0.0.1"), SimpleNamespace(ip=("::1", 0, 0))])
    ]
    monkeypatch.setattr(aioice.ice.ifaddr, "get_adapters", lambda: adapters)
    (finding,) = doctor._route()
    check_named(finding, "no address but loopback", "join any network")
    assert "a call needs one, also from its own browser" in finding.detail
    assert finding.piece == "route"


def test_a_firewall_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends that cannot reach each other are given up soon, with the addresses that were tried."""
    monkeypatch.setattr(aioice.ice.StunProtocol, "send_stun", lambda *_: None)  # nothing passes
    monkeypatch.setattr(doctor, "ROUTE_S", 0.5)
    (finding,) = doctor._route()
    check_named(finding, aioice.ice.get_host_addresses(True, True)[0], "let UDP pass")
    assert "did not meet within 0.5 s" in finding.detail


@pytest.mark.skipif(doctor.sys.platform == "win32", reason="uvloop is not for this system")
def test_without_uvloop_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """asyncio's own loop does: it is ok, and says what is better."""
    assert "uvloop" in doctor._event_loop()[0].detail

    def broken(name: str) -> Any:
        raise ImportError("no such file: libuv")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    (finding,) = doctor._event_loop()
    assert finding.ok
    assert "no such file: libuv" in finding.detail
    assert "uvloop" in finding.fix


def test_too_little_shared_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's 64 MB are found before a call fails for want of them."""
    asked: list[int] = []

    def refuse(size: int) -> Any:
        asked.append(size)
        raise WorkerError(f"shared memory: {size >> 10} kB are not to be had; free some")

    monkeypatch.setattr(mailbox, "create_segment", refuse)
    (finding,) = doctor._shared_memory(WorkerConfig())
    check_named(finding, "kB are not to be had", "--shm-size")
    assert asked[0] > 64 << 20


def test_shared_memory_is_given_back() -> None:
    """What is taken to look is freed."""
    before = set(Path("/dev/shm").glob("marotte-*")) if Path("/dev/shm").is_dir() else set()
    assert doctor._shared_memory(WorkerConfig(sessions=1))[0].ok
    if Path("/dev/shm").is_dir():
        assert (
            not {path for path in Path("/dev/shm").glob("marotte-*") if path.stat().st_size > 32 << 20}
            - before
        )


class BrokenTools(Tools):
    """Crosses into the worker, and cannot open there."""

    def open_generator(
        self, bundle: str, opening: Opening, accept: frozenset[str]
    ) -> tuple[Generator, Runner]:
        raise ModelError("graph warp: it is damaged")


def test_a_worker_that_does_not_start_is_named(models: None) -> None:
    """With the words that it ended with, in one line."""
    (finding,) = doctor._worker(WorkerConfig(spare=False), BrokenTools())
    check_named(finding, "it is damaged", "--in-process")


def test_a_worker_without_models_is_not_tried(tmp_path: Path) -> None:
    """The models' own findings tell what is missing; it is not waited for."""
    (finding,) = doctor._worker(WorkerConfig(cache=tmp_path), None)
    check_named(finding, "was not tried", "run: marotte models pull")


def test_a_worker_that_never_says_anything_is_given_up(models: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait has an end."""
    monkeypatch.setattr(doctor, "WORKER_S", 0.0)
    (finding,) = doctor._worker(WorkerConfig(spare=False), None)
    check_named(finding, "not ready after 0 s", "--in-process")


@pytest.fixture
def no_chromium(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the system's nor Playwright's own."""
    monkeypatch.setattr(chromium, "find_chromium", lambda: None)
    monkeypatch.setattr(doctor, "_fetched_chromium", lambda: None)


def test_no_chromium_is_named(no_chromium: None) -> None:
    """Who has the tests' packages wants to run them."""
    pytest.importorskip("playwright")
    (finding,) = doctor._browser_tests()
    check_named(finding, "no Chromium or Chrome is installed", "apt install chromium")


def test_playwrights_own_chromium_will_do(
    monkeypatch: pytest.MonkeyPatch, no_chromium: None, tmp_path: Path
) -> None:
    """One that was fetched by Playwright is found too."""
    pytest.importorskip("playwright")
    monkeypatch.setattr(doctor, "_fetched_chromium", lambda: "/fetched/chrome")
    assert doctor._browser_tests() == [Finding("browser tests", True, "/fetched/chrome")]


def test_a_server_needs_no_browser(monkeypatch: pytest.MonkeyPatch, no_chromium: None) -> None:
    """Without the tests' packages nothing is broken, and it says what they would be."""
    found(monkeypatch, lambda name: name != "playwright")
    (finding,) = doctor._browser_tests()
    assert finding.ok
    assert "marotte[dev]" in finding.fix


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest cannot be looked at then, and it does not crash."""
    found(monkeypatch, lambda name: name != "aiortc")
    (finding,) = doctor.examine()
    check_named(finding, "missing aiortc", "pip install marotte")


def test_a_package_that_cannot_be_imported_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each piece stands for itself: the others are looked at all the same."""
    real = builtins.__import__

    def broken(name: str, *rest: Any) -> Any:
        if name in ("aioice.ice", "streaming.rtc"):
            raise ImportError("libssl.so.3 is missing")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", broken)
    findings = {finding.piece: finding for finding in doctor.examine(port=0, cache=tmp_path)}
    monkeypatch.undo()
    for piece in ("aiortc", "route"):
        check_named(findings[piece], "libssl.so.3 is missing", "--force-reinstall")
    assert findings["port"].ok
    assert findings["live codecs"].ok


def found(monkeypatch: pytest.MonkeyPatch, there: Callable[[str], bool]) -> None:
    """Hide packages."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util,
        "find_spec",
        lambda name, *rest: find_spec(name, *rest) if there(name) else None,
    )
