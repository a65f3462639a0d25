"""What a server tells the session log, and that no session begins unsaid."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import StateError
from engine.session_log import Event, Journal, NoJournal, SessionLog, session_hash, verify
from engine.worker.interface import SessionSpec, SourceInfo, WorkerConfig
from streaming.calls import Calls
from streaming.config import ServeConfig
from streaming.consents import Stated
from streaming.logged import SessionLines, logging_server, lowered_by
from streaming.measured import NoRecorder
from streaming.peer import Peer
from streaming.sources import Sources
from streaming.uploads import Upload
from tests.streaming.calls import FakeWorker


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    from engine.signing import operator

    operator.cache_clear()
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    return tmp_path / "session_log"


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()
    ]


class Behind(FakeWorker):
    """Accepts every picture."""

    def add_source(self, data: bytes, name: str) -> Future[SourceInfo]:
        future: Future[SourceInfo] = Future()
        info = SourceInfo(
            hashlib.sha256(data).hexdigest(), name, (32, 32), 1, np.full((48, 32), 128, np.uint8)
        )
        self.sources[info.id] = info
        future.set_result(info)
        return future

    def drop_source(self, source: str) -> None:
        self.sources.pop(source, None)


async def _calls(journal: Any, config: ServeConfig) -> tuple[Calls, Sources]:
    worker = Behind()
    sources = Sources(worker, NoRecorder(), within_s=5.0)
    calls = Calls(config, worker, NoRecorder(), sources, Peer.open)
    calls.journal = sources.journal = journal
    await sources.add(Upload(b"a picture", "anna.png"), Stated("generated", "the test allows it"))
    return calls, sources


def test_a_session_from_its_start_to_its_end(folder: Path) -> None:
    """Who is shown, by whose consent, made by what, in which order; the log is in order, and names nobody."""

    async def run() -> str:
        config = ServeConfig(admission="count")
        async with logging_server(config, lambda written, failed: None) as journal:
            calls, sources = await _calls(journal, config)
            session = await calls.start(SessionSpec(sources.first.id), sources.first, "annas-stream")
            session.change({"mode": "puppet"})  # as it is
            second = await sources.add(
                Upload(b"another", "ben.png"), Stated("generated", "the test allows it")
            )
            session.change({"source": second.id})
            session.withhold([second.id], {second.id: "revoked"})
            await calls.close(session.id, "page")
            return session.id

    session = asyncio.run(run())
    lines = _lines(folder)
    events = [line["event"] for line in lines]
    assert events == [
        "checkpoint", "checkpoint", "server-started", "consent-added", "source-added", "session-started",
        "consent-added", "source-added", "showing", "withheld", "session-stopped", "server-stopped", "checkpoint",
    ]  # fmt: skip
    started, stopped = lines[5], lines[10]
    assert lines[8]["sources"] == [lines[7]["source"]] != started["sources"]
    assert started["session"] == stopped["session"] == session_hash(session)
    assert started["sources"] == [lines[4]["source"]]
    assert started["consent"] == [lines[3]["consent"]] == [lines[4]["consent"]]
    assert (started["driver"], started["mode"], stopped["reason"]) == ("camera", "puppet", "page")
    assert verify(folder).sound
    text = b"".join(path.read_bytes() for path in folder.glob("*.jsonl")).decode()
    assert session not in text
    assert "anna" not in text


class _Told(NoJournal):
    """What it was told of sessions."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, Any]] = []

    def tell(self, event: Event | str, **fields: Any) -> None:
        self.lines.append((str(event), fields.get("mode")))


def test_a_session_that_turns_often_floods_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """What changes nothing has no line; of many changes in a moment the first one has, and the last one after it, also
    where the session ends before."""
    monkeypatch.setattr("streaming.logged.SHOWING_S", 0.02)

    async def run() -> None:
        told = _Told()
        lines = SessionLines("session")
        lines.journal = told
        await lines.started("page", mode="puppet")
        for _ in range(50):
            lines.shows(mode="puppet", bundle=None, sources=())
        assert told.lines == []
        for number in range(50):
            lines.shows(mode=f"{number}", bundle=None, sources=())
        assert told.lines == [("showing", "0")]
        async with asyncio.timeout(10):
            while len(told.lines) < 2:
                await asyncio.sleep(0.005)
        lines.shows(mode="last", bundle=None, sources=())
        lines.stopped("page", 1.0)
        await asyncio.sleep(0.05)
        assert told.lines[1:] == [("showing", "49"), ("showing", "last"), ("session-stopped", None)]

    asyncio.run(run())


class _Full(NoJournal):
    """Of a disk that is full: what must be kept is refused, what is told is lost."""

    def keep(self, event: Event | str, **fields: Any) -> Any:
        done = super().keep(event)
        done = type(done)()
        done.set_exception(StateError("the session log could not be written (No space left on device)"))
        return done


def test_no_session_begins_that_cannot_be_logged(folder: Path) -> None:
    """The server refuses it, nothing of it is left, and its place is free again."""

    async def run() -> None:
        config = ServeConfig(admission="count", worker=WorkerConfig(sessions=1))
        calls, sources = await _calls(_Full(), config)
        for _ in range(2):
            with pytest.raises(StateError, match="No space"):
                await calls.start(SessionSpec(sources.first.id), sources.first)
        assert calls.count == 0
        calls.journal = NoJournal()
        session = await calls.start(SessionSpec(sources.first.id), sources.first)
        await calls.close(session.id, "page")

    asyncio.run(run())


def test_a_server_whose_log_cannot_be_written_does_not_start(folder: Path) -> None:
    """One line says which folder, and how to name another."""
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("")

    async def run() -> None:
        async with logging_server(ServeConfig(), lambda written, failed: None):
            pass

    with pytest.raises(StateError, match="log-folder"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("options", "lowered"),
    [
        ({}, ()),
        ({"pass_through": True}, ("pass-through",)),
        ({"worker": WorkerConfig(edit=True, driver_pixels=True)}, ("edit", "driver-pixels")),
        ({"host": "0.0.0.0", "public_ice": True}, ("host", "public-ice")),
        ({"origins": ("https://app.example",), "remote_near": True, "remote_insecure": True},
         ("origin", "remote-near", "remote-insecure")),
    ],
)  # fmt: skip
def test_settings_that_lower_the_protection_are_named(
    options: dict[str, Any], lowered: tuple[str, ...]
) -> None:
    """As the options are called; a server without them has no such line."""
    assert lowered_by(ServeConfig(**options)) == lowered


def test_they_stand_in_the_log_before_anything_leaves(folder: Path) -> None:
    """One line behind that of the server's start."""

    async def run() -> None:
        async with logging_server(ServeConfig(pass_through=True), lambda written, failed: None):
            pass

    asyncio.run(run())
    line = _lines(folder)[3]
    assert (line["event"], line["where"], line["lowered"]) == (
        "protection-lowered",
        "serve",
        ["pass-through"],
    )


def test_a_server_with_a_folder_of_its_own_logs_there(folder: Path, tmp_path: Path) -> None:
    """And whatever is noted in its process meanwhile."""
    from engine.session_log import note

    async def run() -> None:
        async with logging_server(ServeConfig(log_folder=tmp_path / "mine"), lambda written, failed: None):
            note(Event.CONSENT_REVOKED, consent="ab")

    asyncio.run(run())
    assert "consent-revoked" in [line["event"] for line in _lines(tmp_path / "mine")]
    assert not folder.exists()


def test_the_journal_removes_what_is_older_than_the_operator_keeps(folder: Path) -> None:
    """At the start of a server, by --log-days."""
    from datetime import UTC, datetime, timedelta

    past = datetime.now(UTC) - timedelta(days=10)
    SessionLog(folder, now=lambda: past).write(Event.KILLED)
    journal = Journal(SessionLog(folder), days=5)
    journal.start()
    journal.close()
    assert [line["event"] for line in _lines(folder)] == ["checkpoint", "pruned", "checkpoint"]
    assert verify(folder).sound


def test_a_session_by_many_records_begins(folder: Path) -> None:
    """A line takes 32 of them: the others stand in lines of their own, of the same session."""
    records = [f"{number:032x}" for number in range(70)]

    async def begun() -> None:
        journal = Journal(SessionLog(), days=30)
        await asyncio.to_thread(journal.start)
        lines = SessionLines("session")
        lines.journal = journal
        await lines.started("camera", consent=records)
        await asyncio.to_thread(journal.close)

    asyncio.run(begun())
    said = [line for line in _lines(folder) if line.get("session") == session_hash("session")]
    assert [line["event"] for line in said] == ["session-started", "consent-used", "consent-used"]
    assert [one for line in said for one in line["consent"]] == records
