"""The log of a process that cannot wait, and what is noted from anywhere."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.errors import ConfigError, StateError
from engine.session_log import (
    Event,
    Journal,
    SessionLog,
    log_folder,
    note,
    note_first,
    noting_in,
    session_hash,
    verify,
)
from engine.signing import Signer, operator

SIGNER = Signer(Ed25519PrivateKey.generate())


class Failing(SessionLog):
    """A log whose disk can be full."""

    full = False

    def write(self, event, **fields) -> None:
        if self.full:
            raise StateError("the session log could not be written (No space left on device)")
        super().write(event, **fields)


class Counts:
    def __init__(self) -> None:
        self.written = self.failed = 0

    def __call__(self, written: int, failed: int) -> None:
        self.written += written
        self.failed += failed


def _events(folder: Path) -> list[str]:
    lines = (line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines())
    return [json.loads(line)["event"] for line in lines]


def _journal(folder: Path, counts: Counts | None = None, **options) -> tuple[Journal, Failing]:
    log = Failing(folder, signer=SIGNER)
    return Journal(log, days=30, counted=counts or Counts(), **options), log


def test_what_is_told_is_kept_in_order_between_two_signed_lines(tmp_path: Path) -> None:
    """The start and the end are signed for; all that was told before the end is there."""
    counts = Counts()
    journal, _ = _journal(tmp_path, counts)
    first = journal.start()
    for number in range(20):
        journal.tell(Event.SHOWING, session=f"{number}")
    journal.keep(Event.SESSION_STARTED, session="a").result(10)
    assert "session-started" in _events(tmp_path)
    last = journal.close()
    assert _events(tmp_path)[2:] == ["showing"] * 20 + ["session-started", "checkpoint"]
    found = verify(tmp_path, key=SIGNER.public)
    assert last == found.last == (24, found.last[1])
    assert first[0] == 2
    assert (counts.written, counts.failed) == (23, 0)


def test_what_cannot_be_logged_is_not_begun_and_what_runs_goes_on(tmp_path: Path) -> None:
    """On a full disk who asks is refused and who only tells is counted; later the log says how many are missing."""
    counts = Counts()
    journal, log = _journal(tmp_path, counts)
    journal.start()
    log.full = True
    with pytest.raises(StateError, match="No space"):
        journal.keep(Event.SESSION_STARTED, session="a").result(10)
    for _ in range(3):
        journal.tell(Event.SESSION_STOPPED, session="b")
    with pytest.raises(StateError):
        journal.keep(Event.SESSION_STARTED, session="c").result(10)
    log.full = False
    journal.keep(Event.SESSION_STARTED, session="d").result(10)
    journal.close()
    assert _events(tmp_path)[2:-1] == ["lines-lost", "session-started"]
    lost = json.loads((tmp_path / "log-000001.jsonl").read_bytes().splitlines()[2])
    assert lost["lines"] == 3
    assert counts.failed == 5
    assert verify(tmp_path).sound


def test_a_disk_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    """Telling never waits: what is too much is counted. Who asks has room of their own, and is refused at once where
    that is full too."""
    counts = Counts()
    journal, log = _journal(tmp_path, counts, most=4, room=1)
    journal.start()
    held, began = threading.Event(), threading.Event()
    write = log.write

    def slow(event, **fields) -> None:
        began.set()
        held.wait(20)
        write(event, **fields)

    log.write = slow  # type: ignore[method-assign]
    journal.tell(Event.SHOWING)
    assert began.wait(10)
    for _ in range(6):
        journal.tell(Event.SHOWING)
    asked = journal.keep(Event.SESSION_STARTED)
    with pytest.raises(StateError, match="too slow"):
        journal.keep(Event.SESSION_STARTED).result(10)
    assert counts.failed == 3
    held.set()
    asked.result(10)
    journal.close()
    assert _events(tmp_path).count("showing") == 5
    assert _events(tmp_path).count("session-started") == 1
    assert "lines-lost" in _events(tmp_path)


@pytest.mark.parametrize("bad", [b'{"n":1e999,"hash":"a","key":"b","signature":"c"}', b"[" * 1023])
def test_a_damaged_head_stops_no_log(tmp_path: Path, bad: bytes) -> None:
    """What is put there by another hand is no head; the next line is written all the same, and who checks is told."""
    journal, _ = _journal(tmp_path)
    journal.start()
    journal.keep(Event.SESSION_STARTED, session="a").result(10)
    (tmp_path / "head.json").write_bytes(bad)
    assert "head.json is missing or wrong" in str(verify(tmp_path, key=SIGNER.public).why)
    journal.keep(Event.SESSION_STOPPED, session="a").result(10)
    journal.close()
    assert verify(tmp_path, key=SIGNER.public).sound


def test_whatever_fails_does_not_end_the_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody thought of is logged and counted, and who waits is answered."""
    counts = Counts()
    journal, log = _journal(tmp_path, counts)
    journal.start()
    with monkeypatch.context() as broken:
        broken.setattr(log, "write", lambda event, **fields: {}[event])
        with pytest.raises(StateError, match="KeyError"):
            journal.keep(Event.SESSION_STARTED, session="a").result(10)
        journal.tell(Event.SHOWING, session="a")
        with pytest.raises(StateError):
            journal.keep(Event.SESSION_STARTED, session="b").result(10)
    assert counts.failed == 3
    assert "could not be written" in caplog.text
    journal.keep(Event.SESSION_STARTED, session="c").result(10)
    journal.close()
    assert "lines-lost" in _events(tmp_path)


def test_a_folder_that_cannot_be_written_starts_no_journal(tmp_path: Path) -> None:
    """The one who starts a server is told at once."""
    (tmp_path / "log").write_text("")
    journal, _ = _journal(tmp_path / "log")
    with pytest.raises(StateError, match="log-folder"):
        journal.start()
    assert journal.close() is None
    with pytest.raises(StateError, match="closed"):
        journal.keep(Event.SESSION_STARTED).result(10)


def test_a_wrong_event_is_told_to_who_says_it(tmp_path: Path) -> None:
    """A mistake of the program does not wait in a queue."""
    journal, _ = _journal(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'killed'"):
        journal.tell("kiled")
    with pytest.raises(ConfigError, match="never kept"):
        journal.keep("killed", token="x")


def test_what_is_noted_goes_to_the_servers_journal_or_to_the_installations_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call from wherever something happens."""
    operator.cache_clear()
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    journal, _ = _journal(tmp_path / "served")
    journal.start()
    with noting_in(journal):
        note("consent-revoked", consent="ab")
        note_first("protection-lowered", lowered=("badge",))
    journal.close()
    assert _events(tmp_path / "served")[2:-1] == ["consent-revoked", "protection-lowered"]
    note("consent-revoked", consent="ab")
    note_first("protection-lowered", lowered=("badge",))
    assert _events(log_folder())[1:] == ["consent-revoked", "protection-lowered"]


def test_a_note_that_cannot_be_kept_stops_only_what_must_be_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A revocation goes on without its line; a mark is not taken off without one."""
    operator.cache_clear()
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    log_folder().write_text("")
    note("consent-revoked", consent="ab")
    assert "could not be written" in caplog.text
    with pytest.raises(StateError):
        note_first("protection-lowered", lowered=("badge",))


def test_a_session_is_called_by_a_hash_that_its_watermark_begins_with() -> None:
    """A mark that is found in a file leads to the lines of its session; the session's own id stands nowhere."""
    from engine.watermark import Payload

    called = session_hash("0123456789abcdef01234567")
    assert len(called) == 16
    assert int(called[:8], 16) == Payload.of("0123456789abcdef01234567", None).session
