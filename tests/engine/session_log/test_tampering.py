"""A changed, removed, inserted or moved line is found where it is."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.session_log import SessionLog, verify
from engine.session_log.events import MOST_LINE
from engine.session_log.lines import hash_of
from engine.signing import Signer, canonical

LINES = 12
SIGNER = Signer(Ed25519PrivateKey.generate())
SOME = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
places = st.integers(0, LINES - 1)


class Days:
    """A clock whose day is set."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 20, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.at += timedelta(milliseconds=7)
        return self.at


@pytest.fixture(scope="module")
def whole() -> Iterator[Path]:
    """A log of LINES lines in two files."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Days()
        log = SessionLog(Path(folder) / "log", signer=SIGNER, now=clock)
        log.checkpoint("started")  # numbers 1 and 2
        for number in range(4):
            log.write("session-started", session=f"{number:016x}", bundle="mesh_flow")
        clock.at += timedelta(days=1)
        for number in range(4):  # the day's end is number 7
            log.write("session-stopped", session=f"{number:016x}", reason="page")
        log.checkpoint("stopped")
        assert len(_lines(log.folder)) == LINES
        assert [path.name for path in sorted(log.folder.glob("*.jsonl"))] == [
            "log-000001.jsonl",
            "log-000002.jsonl",
        ]
        assert verify(log.folder).sound
        yield log.folder


def _lines(folder: Path) -> list[tuple[str, bytes]]:
    return [
        (path.name, line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_bytes().splitlines(keepends=True)
    ]


@contextmanager
def _with(whole: Path, lines: list[tuple[str, bytes]]) -> Iterator[Path]:
    """A copy of the log that holds these lines."""
    with tempfile.TemporaryDirectory() as other:
        folder = Path(other) / "log"
        shutil.copytree(whole, folder)
        for path in folder.glob("*.jsonl"):
            path.write_bytes(b"".join(line for name, line in lines if name == path.name))
        yield folder


def _place(lines: list[tuple[str, bytes]], at: int) -> tuple[str, int]:
    """File and number of a line."""
    name = lines[at][0]
    return name, 1 + at - next(k for k, (other, _) in enumerate(lines) if other == name)


def _found(folder: Path) -> tuple[str, int]:
    result = verify(folder, key=SIGNER.public)
    assert not result.sound
    assert result.bad is not None
    assert result.why
    return result.bad.file, result.bad.line


@SOME
@given(at=places, data=st.data())
def test_a_changed_line_is_found_at_its_place(whole: Path, at: int, data: st.DataObject) -> None:
    """Any one byte of any line, changed to any other, is found in the line where it is."""
    lines = _lines(whole)
    name, line = lines[at]
    place = data.draw(st.integers(0, len(line) - 2))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value not in (line[place], 10)))
    lines[at] = (name, line[:place] + bytes([byte]) + line[place + 1 :])
    with _with(whole, lines) as folder:
        assert _found(folder) == _place(lines, at)


@SOME
@given(at=places, field=st.sampled_from(["n", "at", "before", "event", "new"]), number=st.integers(1, 20))
def test_a_line_changed_to_another_good_one_is_found_at_its_place(
    whole: Path, at: int, field: str, number: int
) -> None:
    """Also where what is put there is spelt as the log spells its lines."""
    lines = _lines(whole)
    name, line = lines[at]
    said = json.loads(line)
    other = {"n": number, "at": f"2026-11-{number:02}T00:00:00.000Z", "before": hash_of(b"%d" % number)}
    said[field] = other.get(field, "killed")
    changed = canonical(said) + b"\n"
    if changed == line:
        return
    lines[at] = (name, changed)
    with _with(whole, lines) as folder:
        assert _found(folder) == _place(lines, at)
        assert verify(folder, key=SIGNER.public).lines == at


@SOME
@given(first=places, count=st.integers(1, LINES))
def test_removed_lines_are_found_where_they_stood(whole: Path, first: int, count: int) -> None:
    """One or several, at the start, in the midst and at the end, over the border of files."""
    lines = _lines(whole)
    left = lines[:first] + lines[first + count :]
    with _with(whole, left) as folder:
        result = verify(folder, key=SIGNER.public)
        assert result.bad is not None
        assert result.bad.n == (first + 1 if first else min(count, LINES)) or not left
        if first < len(left):
            assert (result.bad.file, result.bad.line) == _place(left, first)
        elif left:
            name, line = _place(left, len(left) - 1)
            assert (result.bad.file, result.bad.line) == (name, line + 1)


@SOME
@given(at=st.integers(0, LINES), data=st.data())
def test_an_inserted_line_is_found_at_its_place(whole: Path, at: int, data: st.DataObject) -> None:
    """A copy of another, something foreign, or a line that rightly follows the one before it."""
    lines = _lines(whole)
    kind = data.draw(st.sampled_from(["copy", "foreign", "joined"]))
    before = lines[at - 1][1].rstrip(b"\n") if at else b""
    joined = {
        "n": at + 1, "at": "2026-11-20T12:00:00.000Z", "event": "killed",
        "before": hash_of(before) if at else "0" * 64,
    }  # fmt: skip
    new = {
        "copy": lines[data.draw(places)][1],
        "foreign": data.draw(st.binary(max_size=40)).replace(b"\n", b" ") + b"\n",
        "joined": canonical(joined) + b"\n",
    }[kind]
    lines.insert(at, (lines[min(at, LINES - 1)][0], new))
    with _with(whole, lines) as folder:
        if kind == "copy" and at and new == lines[at - 1][1]:
            assert _found(folder) == _place(lines, at)  # twins: the second is the one that does not follow
        elif at == LINES and kind != "copy":
            result = verify(folder, key=SIGNER.public)  # behind what is signed: told, and not vouched for
            assert result.remarks
            assert result.vouched == LINES
        elif at < LINES and new == lines[at + 1][1]:
            assert _found(folder) == _place(lines, at + 1)
        else:
            assert _found(folder) == _place(lines, at)


@SOME
@given(at=st.integers(0, LINES - 2))
def test_two_lines_that_changed_places_are_found(whole: Path, at: int) -> None:
    """The first of the two is named."""
    lines = _lines(whole)
    (name, one), (other, two) = lines[at], lines[at + 1]
    lines[at], lines[at + 1] = (name, two), (other, one)
    with _with(whole, lines) as folder:
        assert _found(folder) == _place(lines, at)


@SOME
@given(at=places)
def test_who_rewrites_all_that_follows_breaks_the_next_signature(whole: Path, at: int) -> None:
    """Without the key a change cannot be covered up: the next signed line, or the signed head, does not fit."""
    lines = _lines(whole)
    before = hash_of(lines[at - 1][1].rstrip(b"\n")) if at else "0" * 64
    signed = next(k for k in range(at, LINES) if b'"event":"checkpoint"' in lines[k][1])
    for k in range(at, LINES):
        said = json.loads(lines[k][1]) | {"before": before} | ({"why": "x"} if k == at else {})
        line = canonical(said)
        before = hash_of(line)
        lines[k] = (lines[k][0], line + b"\n")
    with _with(whole, lines) as folder:
        assert _found(folder) == _place(lines, signed)


def test_another_key_proves_nothing(whole: Path) -> None:
    """Who makes a log and signs it with a key of his own is found by who knows the right one."""
    mine = Signer(Ed25519PrivateKey.generate())
    assert verify(whole).sound
    assert not verify(whole, key=mine.public).sound


def test_a_file_that_is_gone_is_missed(whole: Path) -> None:
    """The first, the last, and the signed head."""
    for name, n in (("log-000001.jsonl", 7), ("log-000002.jsonl", 8), ("head.json", None)):
        with _with(whole, _lines(whole)) as folder:
            (folder / name).unlink()
            bad = verify(folder, key=SIGNER.public).bad
            assert bad is not None
            assert bad.n == n


def test_a_copy_of_an_older_state_is_found_by_a_line_kept_elsewhere(whole: Path) -> None:
    """Head and lines put back together prove themselves; a number and a hash that somebody kept tell otherwise."""
    last = verify(whole).last
    assert verify(whole, known=last).sound
    assert not verify(whole, known=(last[0] + 1, last[1])).sound
    assert not verify(whole, known=(last[0], "0" * 64)).sound


def test_an_endless_line_is_not_read_into_memory(whole: Path) -> None:
    """What is longer than any line of this log is named as what it is."""
    lines = _lines(whole)
    lines[3] = (lines[3][0], b"x" * (3 * MOST_LINE) + b"\n")
    with _with(whole, lines) as folder:
        assert _found(folder) == _place(lines, 3)
