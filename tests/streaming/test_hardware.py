"""Hardware encoders are tried where they can do no harm, and named with the reason where they are not used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from engine.errors import ConfigError
from streaming import hardware
from streaming.config import ServeConfig
from streaming.hardware import ENCODERS, NAMES, PROBE_S, Probe, chosen, probe, tried


@pytest.fixture
def present(monkeypatch):
    """As if there were something to try for each of them."""
    monkeypatch.setattr(hardware, "_absent", lambda name: "")


def answering(code: int, out: str = "", err: str = ""):
    return lambda command, timeout_s: (code, out, err)


def working(*names: str):
    def run(command: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        name = command[-1]
        return 0, json.dumps({"works": name in names, "detail": f"{name} says so"}), ""

    return run


def test_what_cannot_be_there_is_not_tried(monkeypatch):
    """No process is started for a device, or an encoder, that this machine has not; the reason names it."""
    monkeypatch.setattr(hardware.glob, "glob", lambda pattern: [])
    for name in NAMES:
        found = probe(name, lambda command, timeout_s: pytest.fail("started"))
        assert not found.works
        assert "no " in found.detail


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (answering(-11), "crashed (signal 11)"),
        (answering(1, "", "Traceback\nOSError: no driver"), "ended with 1 (Traceback OSError: no driver)"),
        (answering(0, ""), "says nothing"),
        (answering(0, "[]"), "ended with 0"),
        (answering(0, '{"works": false, "detail": "no capable device"}'), "no capable device"),
    ],
)
def test_a_driver_that_fails_is_a_reason_and_no_crash(present, run, words):
    """Whatever becomes of the process that tried it, the server goes on."""
    found = probe("nvenc", run)
    assert not found.works
    assert words in found.detail


def test_a_driver_that_hangs_is_not_waited_for_without_end(present):
    """It gets its time, and no more."""

    def hang(command: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        assert timeout_s == PROBE_S
        raise subprocess.TimeoutExpired(command, timeout_s)

    assert probe("vaapi", hang) == Probe("vaapi", False, "its driver has not answered within 20 s")


def test_a_process_that_cannot_be_started_is_a_reason(present):
    """No memory for a trial is no reason to serve nobody."""

    def fail(command: Sequence[str], timeout_s: float) -> tuple[int, str, str]:
        raise OSError(12, "Cannot allocate memory")

    assert "Cannot allocate memory" in probe("nvenc", fail).detail


def test_the_first_that_works_is_used_and_told(present, caplog):
    """By itself the server takes what works, and its log says what it passed over and why."""
    with caplog.at_level("INFO"):
        assert chosen("auto", working("vaapi", "videotoolbox")) == "vaapi"
    assert "encoder nvenc is not used: nvenc says so" in caplog.text
    assert "encoded by vaapi" in caplog.text
    assert chosen("auto", working()) == "software"


def test_software_tries_nothing(present):
    """Who asks for software has a reason."""
    assert chosen("software", lambda command, timeout_s: pytest.fail("started")) == "software"


def test_one_that_is_asked_for_and_does_not_work_is_refused(present):
    """An operator who names it wants to know; silence would cost a processor."""
    assert chosen("nvenc", working("nvenc")) == "nvenc"
    with pytest.raises(ConfigError, match="nvenc does not work here: nvenc says so; use auto"):
        chosen("nvenc", working())


def test_an_unknown_one_is_refused_with_those_there_are():
    """In the configuration, before anything starts."""
    with pytest.raises(ConfigError, match="'quicksync', expected one of auto, software, nvenc"):
        ServeConfig(encoder="quicksync")
    assert [ServeConfig(encoder=name).encoder for name in ENCODERS] == list(ENCODERS)


def test_the_process_that_tries_says_what_came_of_it():
    """Really started: without the hardware it says why, with it what it took; it always ends well."""
    done = subprocess.run(
        [sys.executable, "-m", "streaming.hardware", "nvenc"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(told["works"], bool)
    assert told["detail"]


def test_an_encoder_of_software_passes_the_same_trial(monkeypatch):
    """The trial itself is no reason to fail: an encoder that works is found to work."""
    from streaming.codecs import HARDWARE, X264, Kind

    monkeypatch.setattr(hardware.logging, "disable", lambda level: None)
    monkeypatch.setitem(HARDWARE, "nvenc", Kind("h264", "h264_tried", X264.change, X264.open))
    found = tried("nvenc")
    assert found.works
    assert "h264_tried" in found.detail
