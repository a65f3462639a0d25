"""The writing of the session log: what a line holds, where it goes, and what is done when it cannot."""

from __future__ import annotations

import json
import multiprocessing
import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.errors import ConfigError, StateError
from engine.session_log import Event, SessionLog, verify
from engine.session_log.events import MOST_LINE
from engine.signing import Signer, operator

SIGNER = Signer(Ed25519PrivateKey.generate())


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


def _log(folder: Path, **options) -> SessionLog:
    return SessionLog(folder, **({"signer": SIGNER} | options))


def _raw(folder: Path) -> list[bytes]:
    return [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]


def _said(folder: Path) -> list[dict]:
    return [json.loads(line) for line in _raw(folder)]


def test_a_line_says_when_what_and_after_which(tmp_path: Path) -> None:
    """One canonical JSON object a line, numbered, behind a signed beginning; nobody else may read it."""
    log = _log(tmp_path / "state" / "log", now=Clock())
    log.write(Event.SESSION_STARTED, session="ab", modes=("puppet",), warm=True, age=1.5, why=None)
    first, second = _said(log.folder)
    assert (first["event"], first["why"], first["before"]) == ("checkpoint", "begun", "0" * 64)
    assert second == {
        "n": 2, "at": "2026-11-20T12:00:00.000Z", "before": verify_hash(_raw(log.folder)[0]),
        "event": "session-started", "session": "ab", "modes": ["puppet"], "warm": True, "age": 1.5, "why": None,
    }  # fmt: skip
    if os.name == "posix":
        assert stat.S_IMODE((log.folder / "log-000001.jsonl").stat().st_mode) == 0o600
        assert stat.S_IMODE(log.folder.stat().st_mode) == 0o700


def verify_hash(line: bytes) -> str:
    import hashlib

    return hashlib.sha256(line).hexdigest()


@pytest.mark.parametrize(
    ("event", "fields", "said"),
    [
        ("session-startet", {}, "did you mean 'session-started'"),
        ("checkpoint", {}, "own event"),
        ("killed", {"ip": "10.0.0.1"}, "never kept"),
        ("killed", {"token": "x"}, "never kept"),
        ("killed", {"landmarks": "x"}, "never kept"),
        ("killed", {"before": "x"}, "own"),
        ("killed", {"Why": "x"}, "no name"),
        ("killed", {"why": b"x"}, "got a bytes"),
        ("killed", {"why": {"a": 1}}, "got a dict"),
        ("killed", {"why": [1, 2]}, "texts"),
        ("killed", {"why": "x" * 301}, "at most 300"),
        ("killed", {"why": float("nan")}, "finite"),
        ("killed", {f"f{k}": k for k in range(40)}, "at most 24"),
        ("killed", {f"f{k}": ("x" * 300,) * 32 for k in range(3)}, "bytes, expected under"),
    ],
)
def test_what_is_never_kept_is_refused(tmp_path: Path, event: str, fields: dict, said: str) -> None:
    """No unknown event, no field of the log's own, no bytes, no address, no token, no measure of a face."""
    with pytest.raises(ConfigError, match=said):
        _log(tmp_path).write(event, **fields)
    assert "killed" not in b"".join(_raw(tmp_path)).decode()


def test_what_a_terminal_would_act_on_is_written_out(tmp_path: Path) -> None:
    """A reason with control characters, or half a character, stays one line of plain text."""
    _log(tmp_path).write("killed", why="a\x1b[2J\nb", by="\ud800")
    said = _said(tmp_path)[-1]
    assert said["why"].isprintable()
    assert said["by"].isprintable()


def test_a_new_file_with_each_day_and_size(tmp_path: Path) -> None:
    """The chain goes on across files, each of which ends with a signed line."""
    clock = Clock()
    log = _log(tmp_path, now=clock, most_bytes=4 * MOST_LINE)
    log.write("killed")
    clock.at += timedelta(days=1)
    log.write("killed")
    for _ in range(100):
        log.write("killed", why="x" * 300)
    files = sorted(tmp_path.glob("*.jsonl"))
    assert len(files) >= 3
    assert all(path.stat().st_size <= 4 * MOST_LINE for path in files)
    ends = [json.loads(path.read_bytes().splitlines()[-1]) for path in files[:-1]]
    assert {(end["event"], end["why"]) for end in ends} == {("checkpoint", "rotated")}
    assert verify(tmp_path).sound


def _write_some(folder: str, name: str, key: bytes) -> None:
    log = _log(Path(folder), signer=Signer(Ed25519PrivateKey.from_private_bytes(key)))
    for number in range(10):
        log.write("session-started", session=f"{name}{number}")


def test_several_processes_and_threads_write_one_chain(tmp_path: Path) -> None:
    """Whoever writes joins on the line that is last then."""
    key = bytes(range(32))
    several = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    processes = [several.Process(target=_write_some, args=(str(tmp_path), name, key)) for name in "ab"]
    log = _log(tmp_path, signer=Signer(Ed25519PrivateKey.from_private_bytes(key)))
    threads = [threading.Thread(target=lambda: [log.write("killed") for _ in range(10)]) for _ in range(2)]
    for one in [*processes, *threads]:
        one.start()
    for one in [*processes, *threads]:
        one.join()
    found = verify(tmp_path)
    assert found.sound
    assert not found.remarks
    assert found.lines == 41


def test_a_torn_line_is_repaired_by_the_next(tmp_path: Path) -> None:
    """After a crash in the midst of a write nothing that stands there is changed, and the chain goes on."""
    _log(tmp_path).write("killed")
    file = tmp_path / "log-000001.jsonl"
    torn = file.read_bytes() + b'{"at":"2026-11'
    file.write_bytes(torn)
    found = verify(tmp_path)
    assert found.sound
    assert "torn" in found.remarks[0]
    _log(tmp_path).write("released")
    assert file.read_bytes().startswith(torn + b"\n")
    assert [line["event"] for line in _said_sound(file)] == ["checkpoint", "killed", "repaired", "released"]
    found = verify(tmp_path)
    assert found.sound
    assert found.lines == 4


def _said_sound(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_bytes().splitlines() if line.endswith(b"}")]


def test_a_line_without_its_end_is_a_line(tmp_path: Path) -> None:
    """A crash between the line and its end loses nothing, and one before it was signed for is told."""
    log = _log(tmp_path)
    log.write("killed")
    signed = (tmp_path / "head.json").read_bytes()
    log.write("released")
    file = tmp_path / "log-000001.jsonl"
    file.write_bytes(file.read_bytes()[:-1])
    assert verify(tmp_path).sound
    (tmp_path / "head.json").write_bytes(signed)
    assert "not signed for" in verify(tmp_path).remarks[0]
    _log(tmp_path).write("killed")
    found = verify(tmp_path)
    assert found.sound
    assert "1 lines before it" in found.remarks[0]


def test_who_goes_on_writing_after_a_cut_says_so(tmp_path: Path) -> None:
    """A tail that was cut off under a running server is missed by its next line, also with the head put back."""
    log = _log(tmp_path)
    log.write("killed")
    head, file = (tmp_path / "head.json").read_bytes(), tmp_path / "log-000001.jsonl"
    kept = file.read_bytes()
    log.write("released")
    file.write_bytes(kept)
    (tmp_path / "head.json").write_bytes(head)
    assert verify(tmp_path).sound  # both were put back: this cannot be seen from the files alone
    log.write("killed")
    found = verify(tmp_path)
    assert found.bad is not None
    assert found.bad.n == 3
    assert _said(tmp_path)[-2]["event"] == "tail-missing"


def test_lines_that_another_hand_added_at_the_end_are_not_signed_for(tmp_path: Path) -> None:
    """Forged lines in place of those that were cut off do not become the log's by the next genuine one."""
    log = _log(tmp_path)
    for _ in range(3):
        log.write("killed")
    file = tmp_path / "log-000001.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    before = lines[-2].rstrip(b"\n")
    from engine.signing import canonical

    forged = []
    for number in (4, 5):
        line = {
            "n": number,
            "at": "2026-11-20T00:00:00.000Z",
            "event": "released",
            "before": verify_hash(before),
        }
        before = canonical(line)
        forged.append(before + b"\n")
    file.write_bytes(b"".join(lines[:-1] + forged))
    assert not verify(tmp_path).sound
    _log(tmp_path).write("killed")
    found = verify(tmp_path)
    assert found.bad is not None
    assert found.bad.line == 4


def test_old_files_are_removed_with_a_signed_note(tmp_path: Path) -> None:
    """The chain is followed from the first line that is left; removing more than the note says is found."""
    clock = Clock()
    log = _log(tmp_path, now=clock)
    for _ in range(5):
        log.write("killed")
        clock.at += timedelta(days=1)
    pruned = log.prune(3)
    assert pruned.files == 2
    assert not (tmp_path / "log-000002.jsonl").exists()
    found = verify(tmp_path, key=SIGNER.public)
    assert found.sound
    assert f"up to number {pruned.to_n}" in found.remarks[0]
    assert log.prune(3).files == 0
    clock.at += timedelta(days=30)
    assert log.prune(3).files == 4  # also the newest, where all of it is old
    assert [line["event"] for line in _said(tmp_path)] == ["pruned"]
    assert verify(tmp_path, key=SIGNER.public).sound
    clock.at += timedelta(days=1)
    log.write("killed")
    next(iter(sorted(tmp_path.glob("*.jsonl")))).unlink()
    bad = verify(tmp_path, key=SIGNER.public).bad
    assert bad is not None
    assert bad.line == 1


def test_a_removal_that_was_cut_short_is_no_fault(tmp_path: Path) -> None:
    """The note comes first: whichever of the files is left then, the chain is followed."""
    clock = Clock()
    log = _log(tmp_path, now=clock)
    for _ in range(4):
        log.write("killed")
        clock.at += timedelta(days=1)
    third = (tmp_path / "log-000003.jsonl").read_bytes()
    assert log.prune(1).files == 3
    (tmp_path / "log-000003.jsonl").write_bytes(third)  # the oldest goes first
    assert verify(tmp_path).sound


@pytest.mark.parametrize("days", [0, -1, 4000])
def test_a_retention_is_days(tmp_path: Path, days: int) -> None:
    """Nothing is removed by mistake."""
    with pytest.raises(ConfigError, match="days: got"):
        _log(tmp_path).prune(days)


def test_a_full_disk_is_an_error_and_a_torn_line_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was not kept does not count as kept, and what the disk took of it is repaired later."""
    log = _log(tmp_path)
    log.write("killed")
    whole = os.write

    def full(file: int, data: bytes) -> int:
        return whole(file, data[:20])

    with monkeypatch.context() as patch:
        patch.setattr("engine.session_log.files.os.write", full)
        with pytest.raises(StateError, match="free some space") as raised:
            log.write("released")
    assert "\n" not in str(raised.value)
    log.write("released")
    found = verify(tmp_path)
    assert found.sound
    assert found.lines == 4


@pytest.mark.skipif(os.name != "posix", reason="links are POSIX's here")
def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    """Nobody has a line led elsewhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "log-000001.jsonl").symlink_to(elsewhere)
    with pytest.raises(StateError):
        _log(tmp_path / "log").write("killed")
    assert elsewhere.read_bytes() == b""


def test_the_folder_and_the_key_are_the_installations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word it is written below the state's folder and signed by its key."""
    operator.cache_clear()
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    log = SessionLog()
    log.checkpoint("asked")
    assert log.folder == tmp_path / "session_log"
    assert verify(log.folder).key == operator(tmp_path).public
