"""All recordings of one server: begun and ended on request, made whole behind everything else, listed, removed."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from engine.errors import ConsentError, StateError
from engine.session_log import Event, Keeping, NoJournal, session_hash
from streaming.consent_watch import PERIOD_S
from streaming.enrolment_child import without_secrets
from streaming.measured import RecordingRecorder
from streaming.recording.finish import TAGS
from streaming.recording.kept import FINISHING, READY, RECORDING, Folder, Kept, now
from streaming.recording.taker import Limits, Taker, Why
from streaming.refusals import RefusedError
from streaming.session import Session
from streaming.statement import PASS_THROUGH

MOST_STATEMENTS: Final = 32
"""That are kept with one recording; of a session that changes oftener those beyond that say something new, as far as
four times as many."""
USE: Final = "render"
"""What whoever is recorded has consented to, as for any file."""
_LOOK_S: Final = 1.0
_CLOSE_S: Final = 5.0
_FINISH_S: Final = 1800.0
_log = logging.getLogger("marotte.recordings")


Faults = Callable[[Sequence[tuple[Collection[str], str]]], list[dict[str, str]]]
"""Who may not be shown for which use, as streaming.consents.Consents.all_faults says it; blocks."""
State = Callable[[Session], Awaitable[Mapping[str, Any] | None]]
"""The session's statement, signed (streaming.statement); None where none can be made."""


class Recordings:
    """On one event loop. folder: None where this server keeps none. state: what is said of a session. faults: whose
    consent to it holds. `journal` is told when one begins, ends or is removed."""

    journal: Keeping = NoJournal()

    def __init__(
        self,
        folder: Path | None,
        limits: Limits,
        recorder: RecordingRecorder,
        state: State,
        faults: Faults,
    ) -> None:
        self._folder = None if folder is None else Folder(folder)
        self._limits, self._recorder, self._state, self._faults = limits, recorder, state, faults
        self._kept: dict[str, Kept] = {}
        self._running: dict[str, _Running] = {}
        self._due: asyncio.Queue[str] = asyncio.Queue()
        self._closing = False

    @property
    def on(self) -> bool:
        """Whether sessions can be recorded here."""
        return self._folder is not None

    async def start(self, session: Session) -> dict[str, Any]:
        """Record a session from now on. Raises RefusedError (404 this server keeps none, 409 it is recorded already,
        503 the disk is full), ConsentError where somebody who is shown has not consented to files, or StateError, also
        where the session log cannot say that it begins."""
        folder = self._needed()
        if session.id in self._running:
            raise RefusedError(409, "RequestError", "that session is being recorded already; stop it first")
        if session.shown.mode is None:
            raise RefusedError(
                409, "RequestError", "pass-through sends the driver's own picture back, which is not recorded"
            )
        if session.over or self._closing:
            raise RefusedError(404, "RequestError", "that session is not open any more")
        await self._check_consent(session)
        free = await asyncio.to_thread(folder.free_bytes)
        if free < self._limits.floor:
            raise RefusedError(
                503,
                "BusyError",
                f"the disk of the recordings has {free >> 20} MiB left of the {self._limits.floor >> 20} MiB that are "
                "kept free; remove some",
                "busy",
                wait_s=60,
            )
        kept = folder.new(session.id, session.stream)
        running = self._running[session.id] = _Running(self, session, kept)
        try:
            kept = await asyncio.to_thread(folder.write, kept)
            said = {"session": session_hash(session.id), "recording": kept.id}
            await asyncio.wrap_future(self.journal.keep(Event.RECORDING_STARTED, **said))
            session.link(running)
            running.begin(folder, self._limits)
        except BaseException:
            self._running.pop(session.id, None)
            session.unlink(running)
            folder.remove(kept.id)
            raise
        self._kept[kept.id] = kept
        self._recorder.recording(True)
        await self._keep_statement(running)
        return self.told(kept.id)

    async def _check_consent(self, session: Session) -> None:
        (faults,) = await asyncio.to_thread(self._faults, [(session.in_use, USE)])
        if faults:
            raise ConsentError(
                f"recording: {next(iter(faults.values()))}; a recording needs the scope {USE}, as every file does: add "
                "who is shown again with it, or show another portrait"
            )

    async def stop(self, session: str) -> dict[str, Any]:
        """End a session's recording; returns when its file is closed. Raises RefusedError (404)."""
        running = self._running.get(session)
        if running is None or not running.begun:
            self._needed()
            raise RefusedError(404, "RequestError", "that session is not being recorded")
        await running.end(Why.ASKED)
        return self.told(running.kept.id)

    async def stop_all(self, why: Why = Why.ASKED) -> None:
        """End every recording that runs."""
        await asyncio.gather(*(running.end(why) for running in list(self._running.values())))

    def of(self, session: Session) -> dict[str, Any] | None:
        """What a session's report says of its recording."""
        running = self._running.get(session.id)
        if running is None or not running.begun:
            return None
        return {
            "id": running.kept.id,
            "seconds": round(running.taker.seconds, 1),
            "bytes": running.taker.written,
        }

    def all(self) -> list[dict[str, Any]]:
        """The oldest first. Raises RefusedError (404)."""
        self._needed()
        return [self.told(id) for id in self._kept]

    def told(self, id: str) -> dict[str, Any]:
        """One of them, as it stands. Raises RefusedError (404)."""
        kept = self._found(id)
        running = self._running.get(kept.session)
        if running is not None and running.begun and running.kept.id == id:
            kept = dataclasses.replace(kept, **running.seen())
        told = dataclasses.asdict(kept)
        return told | {"size": None if kept.size is None else list(kept.size)}

    def file(self, id: str) -> Path:
        """What can be downloaded. Raises RefusedError (404 there is none, 409 it is not whole yet)."""
        kept = self._found(id)
        if kept.state != READY:
            what = (
                "is being recorded; stop it first" if kept.state == RECORDING else "is being made whole; wait"
            )
            raise RefusedError(409, "RequestError", f"it {what}")
        return self._needed().whole(id)

    async def remove(self, id: str) -> None:
        """For good. Raises RefusedError as `file` does, or StateError."""
        self.file(id)
        await asyncio.to_thread(self._needed().remove, id)
        kept = self._kept.pop(id, None)
        if kept is not None:
            self._note(Event.RECORDING_DELETED, kept)

    async def keep(self, app: web.Application) -> AsyncIterator[None]:
        """For an application's cleanup_ctx: what an earlier run left is made whole; at the end, within bounded time,
        what runs. What is not whole by then is when a server has this folder next."""
        if self._folder is None:
            yield
            return
        for kept in await asyncio.to_thread(self._folder.read):
            self._kept[kept.id] = kept
            if kept.state == FINISHING:
                self._due.put_nowait(kept.id)
        loop = asyncio.get_running_loop()
        works = (self._finish_on, self._look_on, self._watch_on)
        tasks = [loop.create_task(work(), name="recordings") for work in works]
        yield
        self._closing = True
        await self.stop_all(Why.SESSION)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._due.join()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(self._folder.close)

    async def _look_on(self) -> None:
        """What is stated of a session that is recorded may be another by now."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for running in [one for one in self._running.values() if one.begun]:
                try:
                    await self._keep_statement(running)
                except StateError as error:
                    _log.error("recording %s: nothing is stated of it: %s", running.kept.id, error)

    async def _watch_on(self) -> None:
        """A recording ends with the consent to it, and where its session turns to who has not given any."""
        while True:
            try:
                await self._watch()
            except Exception:  # in doubt nobody is recorded
                _log.exception("who may be recorded could not be looked at")
                await self.stop_all(Why.CONSENT)
            await asyncio.sleep(PERIOD_S)

    async def _watch(self) -> None:
        """Once, at all that run."""
        running = [one for one in self._running.values() if one.begun]
        asked = [(one.session.in_use, USE) for one in running]
        if not asked:
            return
        found = await asyncio.to_thread(self._faults, asked)
        await asyncio.gather(*(one.end(Why.CONSENT) for one, faults in zip(running, found) if faults))

    async def _keep_statement(self, running: _Running) -> None:
        """Keep what is said of the session beside what is seen of it."""
        said = await self._state(running.session)
        kept = self._kept.get(running.kept.id)
        if said is None or kept is None or len(kept.statements) >= 4 * MOST_STATEMENTS:
            return
        if not kept.statements or kept.statements[-1].get("signature") != said.get("signature"):
            more = dataclasses.replace(kept, statements=(*kept.statements, dict(said)))
            if len(kept.statements) >= MOST_STATEMENTS and made_of(more) == made_of(kept):
                return
            kept = more
            running.kept = self._kept[kept.id] = kept
            with suppress(StateError):
                await asyncio.to_thread(self._needed().write, kept)

    def _note(self, event: Event, kept: Kept, **fields: Any) -> None:
        self.journal.tell(event, session=session_hash(kept.session), recording=kept.id, **fields)

    def over(self, running: _Running, why: Why, told: str) -> None:
        """For one of them, on the loop: its file is closed."""
        folder = self._needed()
        self._running.pop(running.session.id, None)
        running.session.unlink(running)
        kept = dataclasses.replace(self._kept.get(running.kept.id, running.kept), **running.seen())
        kept = dataclasses.replace(kept, state=FINISHING, why=why.value, told=told, ended=now())
        self._kept[kept.id] = kept
        self._recorder.recording(False)
        self._recorder.recorded(why.value, kept.seconds, kept.bytes)
        self._note(Event.RECORDING_ENDED, kept, reason=why.value, seconds=kept.seconds)
        if why not in (Why.ASKED, Why.SESSION):
            _log.warning("recording %s has ended: %s%s", kept.id, why.value, f" ({told})" if told else "")
        if not folder.part(kept.id).is_file():  # no picture ever came
            del self._kept[kept.id]
            with suppress(StateError):
                folder.remove(kept.id)
            return
        self._due.put_nowait(kept.id)

    async def _finish_on(self) -> None:
        while True:
            id = await self._due.get()
            try:
                await self._finish(id)
            except Exception as error:
                _log.error("recording %s could not be made whole: %r", id, error)
            finally:
                self._due.task_done()

    async def _finish(self, id: str) -> None:
        folder = self._needed()
        kept = await asyncio.to_thread(folder.turned, self._kept[id], state=FINISHING)
        told = await _in_child(folder.part(id), folder.whole(id), made_of(kept))
        if "failed" in told:
            _log.error("recording %s: %s", id, told["failed"])
            if not folder.part(id).is_file() or "no picture" in told["failed"]:
                self._kept.pop(id, None)
                await asyncio.to_thread(folder.remove, id)
            return
        self._kept[id] = await asyncio.to_thread(folder.turned, kept, state=READY, **told)
        self._recorder.recording_finished(told["signed"])
        if told["unsigned"]:
            _log.warning("recording %s is not signed: %s", id, told["unsigned"])

    def _needed(self) -> Folder:
        if self._folder is None:
            raise RefusedError(
                404, "RequestError", "this server keeps no recordings; --recordings DIR has it keep them"
            )
        return self._folder

    def _found(self, id: str) -> Kept:
        self._needed()
        kept = self._kept.get(id)
        if kept is None:
            raise RefusedError(404, "RequestError", "there is no such recording, or not any more")
        return kept


class _Running:
    """One that is being made; a link of its session, which ends with it."""

    taker: Taker

    def __init__(self, of: Recordings, session: Session, kept: Kept) -> None:
        self.session, self.kept = session, kept
        self._of = of
        self._loop = asyncio.get_running_loop()
        self.begun = False
        self._over = asyncio.Event()

    def begin(self, folder: Folder, limits: Limits) -> None:
        """Take pictures from now on."""
        newest, sound = self.session.broadcast.newest, self.session.sound
        tags = TAGS
        path = folder.part(self.kept.id)
        self.taker = Taker(
            self.kept.id, newest, sound, path, limits, tags, self._ended, silent=self.session.silent
        )
        self.begun = True

    async def end(self, why: Why) -> None:
        """Returns when the file is closed."""
        if self.begun:
            self.taker.end(why)
            await self._over.wait()

    async def hang_up(self, reason: str) -> None:
        """By its session."""
        await self.end(Why.SESSION)

    def seen(self) -> dict[str, Any]:
        """What is known of the file now."""
        taker = self.taker
        sound = self.session.sound is not None
        return {
            "seconds": round(taker.seconds, 2),
            "bytes": taker.written,
            "size": taker.size,
            "sound": sound,
        }

    def _ended(self, why: Why, told: str) -> None:
        with suppress(RuntimeError):  # the loop is closed: the next server finds it
            self._loop.call_soon_threadsafe(self._told, why, told)

    def _told(self, why: Why, told: str) -> None:
        if why is Why.SESSION and self.session.killed:
            why = Why.KILLED
        self.taker.end(why)
        self._of.over(self, why, told)
        self._over.set()


def made_of(kept: Kept) -> dict[str, Any]:
    """What its manifest is to say, by all of its statements, as the fields of engine.provenance.Made: the worst that
    any of them says is what the file is."""
    said = [dict(one) for one in kept.statements]
    bundles = [
        {"title": _called(one), "licence": one.get("licence", ""), "sha256": one.get("sha256")}
        for one in (each.get("bundle") for each in said)
        if one
    ]
    bundles = [one for place, one in enumerate(bundles) if one not in bundles[:place]]
    first: dict[str, Any] = bundles[0] if bundles else {}
    shown = [each for each in said if each.get("mode") != PASS_THROUGH] or said
    marks = shown[0].get("marks", []) if shown else []
    return {
        "bundle": first.get("title", ""),
        "licence": first.get("licence", ""),
        "bundle_sha256": first.get("sha256"),
        "others": bundles[1:],
        "trained": any(one["sha256"] is not None for one in bundles),
        "edits": any(each.get("mode") == "edit" for each in said),
        "consent": list(dict.fromkeys(one["id"] for each in said for one in each.get("consent", ()))),
        "session": kept.session,
        "marks": [one for one in marks if all(one in each.get("marks", ()) for each in shown)],
        "lowered": list(dict.fromkeys(one for each in said for one in each.get("lowered", ()))),
        "when": kept.begun,
        "software": said[0].get("software", "").removeprefix("Marotte ") if said else "",
    }


def _called(bundle: Mapping[str, Any]) -> str:
    """As a render's manifest has it: what was trained by its title, the engine's own by the name of its kind."""
    title: str = bundle.get("title", "")
    return bundle.get("name", title) if bundle.get("sha256") is None else title


async def _in_child(part: Path, whole: Path, made: Mapping[str, Any]) -> dict[str, Any]:
    command = (sys.executable, "-m", "streaming.recording.finish", str(part), str(whole))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=without_secrets() | {"PYTHONUTF8": "1"},
    )
    try:
        async with asyncio.timeout(_FINISH_S):
            said, errors = await process.communicate(json.dumps(made).encode())
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    for line in reversed(said.decode(errors="replace").splitlines()):
        with suppress(ValueError):
            found: Any = json.loads(line)
            if isinstance(found, dict) and ("failed" in found or "signed" in found):
                return found
    last = errors.decode(errors="replace").strip().splitlines()[-1:] or [f"status {process.returncode}"]
    return {"failed": last[0][:300]}
