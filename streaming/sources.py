"""The sources that a server may show: accepted by the worker, allowed by a record of consent, few."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any, Final

import cv2

from engine.consent import ConsentError
from engine.consent.hashes import hashes_of
from engine.consent.words import shown_name
from engine.errors import InputError, MarotteError, WorkerError
from engine.session_log import Event, Keeping, NoJournal
from engine.types import U8
from engine.worker.interface import SourceInfo, Worker
from streaming.coach import further_notes, of_source, told_remark
from streaming.consents import NEXT, Consents, Given, Says
from streaming.doors import RefusedError, busy
from streaming.measured import Recorder
from streaming.uploads import Upload

MOST_SOURCES: Final = 6
"""The worker keeps more, so that it never forgets one of these by itself."""
_SLACK_S = 2.0  # the worker has a deadline of its own, and says better what it was at
_JPEG_QUALITY = 90


class Sources:
    """For one event loop, but for `get`, which any thread may call. The bytes and the faces stay with the worker; here
    is what can be shown, and that somebody allowed it.

    journal: is told what comes and goes. in_use: the ids that sessions show now, which are not forgotten. consents:
    None is by this installation's records.
    """

    journal: Keeping = NoJournal()

    def __init__(
        self,
        worker: Worker,
        recorder: Recorder,
        *,
        within_s: float,
        most: int = MOST_SOURCES,
        in_use: Callable[[], Collection[str]] = frozenset,
        consents: Consents | None = None,
    ) -> None:
        self._worker, self._recorder = worker, recorder
        self._within_s, self._most = within_s, most
        self.in_use = in_use
        self.consents = consents or Consents()
        self.consents.denials.find = self.get
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, SourceInfo] = OrderedDict()
        self._first: SourceInfo | None = None
        self._adding = False

    @property
    def first(self) -> SourceInfo:
        """The operator's source. Raises WorkerError before there is one."""
        if self._first is None:
            raise WorkerError("there is no source yet: the server is starting")
        return self._first

    @property
    def started(self) -> bool:
        """Whether the operator's source is there."""
        return self._first is not None

    def all(self) -> list[SourceInfo]:
        """The operator's first, then the newest last."""
        first = self.first
        with self._lock:
            return [first, *(source for source in self._kept.values() if source.id != first.id)]

    def get(self, source: str) -> SourceInfo | None:
        """An accepted source, which counts as used now, or who is held by an offered bundle."""
        with self._lock:
            found = self._kept.get(source)
            if found is not None:
                self._kept.move_to_end(source)
                return found
        held = (bundle.own for bundle in self._worker.bundles() if bundle.own is not None)
        return next((own for own in held if own.id == source), None)

    def reserve(self) -> Reservation:
        """The one place for an upload, taken before its bytes are read. Raises RefusedError (429) when it is taken."""
        if self._adding:
            raise busy("another source is being added; try again in a moment")
        return Reservation(self)

    async def add(self, upload: Upload, says: Says | None = None) -> SourceInfo:
        """Have a source prepared, record who allowed it, and keep it. says: None goes by a record that is there.

        Raises ConsentError (there is none that holds), InputError (what is wrong with it, or with what was said),
        RefusedError (429, 503, 504), WorkerError or StateError; then it is not shown to anybody.
        """
        with self.reserve():
            return await self.add_reserved(upload, says)

    async def add_reserved(self, upload: Upload, says: Says | None = None) -> SourceInfo:
        """The same for who holds the reservation."""
        try:
            name = shown_name(upload.name)
            self._check_room()
            known = await asyncio.to_thread(hashes_of, upload.data, name)
            self.consents.know(known.source, known.pictures, upload.bundle)
            if says is None:  # before anybody looks at the picture
                await asyncio.to_thread(self._check, known.source, name)
            source = await self._prepared(upload.data, name)
            try:
                await asyncio.to_thread(self.consents.denials.check, source, known.pictures)
                # Fail closed: what could not be recorded is not shown.
                if says is not None:
                    says = says.accepting(upload.accepted) if isinstance(says, Given) else says
                    await asyncio.to_thread(self.consents.attest, known.source, known.pictures, says)
                self._keep(source)
            except BaseException:
                self._forget(source)
                raise
        except RefusedError as error:
            self._recorder.source_added(error.kind)
            raise
        except MarotteError as error:
            self._recorder.source_added(type(error).__name__)
            self.journal.tell(Event.SOURCE_REFUSED, why=type(error).__name__)
            raise
        self._recorder.source_added("accepted")
        record = await asyncio.to_thread(self.consents.told, source.id)
        self.journal.tell(
            Event.SOURCE_ADDED,
            source=source.id,
            pictures=max(1, len(source.pictures)),
            consent=record and record["id"],
        )
        return source

    async def still(self, source: str) -> bytes | None:
        """The source as it is shown, as JPEG; None for an unknown one. Raises ConsentError for one that may not be."""
        found = self.get(source)
        if found is None:
            return None
        await asyncio.to_thread(self.check_visible, found)
        return await asyncio.to_thread(_jpeg, found.still)

    def check_visible(self, source: SourceInfo) -> None:
        """That it may be shown at all, for whichever use. Blocks. Raises ConsentError."""
        self._check(source.id, source.name)

    def _check(self, source: str, name: str) -> None:
        if not self.consents.visible(source):
            self.consents.check(source, "live", name)
            raise ConsentError(f"{name}: it may not be shown{NEXT}")

    def attest(self, source: SourceInfo, says: Says) -> None:
        """Record who allows one that is here, and each of its photos. Blocks. Raises as Says.put does, and
        ConsentError where it is denied: no word of anybody's ends that."""
        if (why := self.consents.denials.why_not(source)) is not None:
            raise ConsentError(f"{source.name}: {why}")
        self.consents.attest(source.id, (), says)

    async def told(self, source: SourceInfo, *, whose: bool = True) -> dict[str, Any]:
        """As a page is told of it, with the consent to it. whose: the record itself, by whose word; else whether it
        holds."""
        look = self.consents.told if whose else self.consents.told_state
        return told_source(source) | {"consent": await asyncio.to_thread(look, source.id)}

    async def _prepared(self, data: bytes, name: str) -> SourceInfo:
        started_s = time.monotonic()
        future = self._worker.add_source(data, name)
        try:
            return await asyncio.wait_for(
                asyncio.shield(asyncio.wrap_future(future)), self._within_s + _SLACK_S
            )
        except TimeoutError as error:
            future.add_done_callback(self._late)
            raise _overdue(name, self._within_s) from error
        except WorkerError as error:
            if time.monotonic() - started_s >= self._within_s:
                raise _overdue(name, self._within_s) from error
            raise

    def _late(self, future: Future[SourceInfo]) -> None:
        """Nobody waits for it any more. Called in a thread of the worker's."""
        if not future.cancelled() and future.exception() is None:
            self._forget(future.result())

    def _forget(self, source: SourceInfo) -> None:
        if source.id not in self._kept:
            self._worker.drop_source(source.id)

    def _check_room(self) -> None:
        if len(self._kept) >= self._most and not self._unused():
            raise busy(f"{self._most} sources are in use, and no more are kept; end a session first")

    def _unused(self) -> list[str]:
        """Ids that could be forgotten, the one that was not used for longest first."""
        shown = {self.first.id, *self.in_use()}
        with self._lock:
            return [kept for kept in self._kept if kept not in shown]

    def _keep(self, source: SourceInfo) -> None:
        self._first = self._first or source
        if source.id not in self._kept:
            self._check_room()
        unused = self._unused()
        with self._lock:
            self._kept[source.id] = source
            self._kept.move_to_end(source.id)
            leaving = [kept for kept in unused if kept != source.id][: max(0, len(self._kept) - self._most)]
            for kept in leaving:
                del self._kept[kept]
        for kept in leaving:
            self._worker.drop_source(kept)
            self.journal.tell(Event.SOURCE_REMOVED, source=kept)


def told_source(source: SourceInfo) -> dict[str, Any]:
    """As a page is told of it."""
    told = {"id": source.id, "name": source.name, "size": list(source.size), "faces": source.faces}
    pictures = [{"name": one.name, "place": one.place, "why": one.why} for one in source.pictures]
    said = of_source(source)
    notes = {"notes": further_notes(source, said), "remarks": [told_remark(remark) for remark in said]}
    return told | notes | {"pictures": pictures}


class Reservation:
    """The place for the one upload at a time, as a context."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def __enter__(self) -> None:
        self._sources._adding = True

    def __exit__(self, *_: object) -> None:
        self._sources._adding = False


def _overdue(name: str, within_s: float) -> RefusedError:
    return RefusedError(
        504, "WorkerError", f"{name} took longer than {within_s:g} s; try a smaller picture or a shorter clip"
    )


def _jpeg(planes: U8) -> bytes:
    """Of I420 planes."""
    done, coded = cv2.imencode(
        ".jpg", cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    )
    if not done:
        raise InputError("the still picture could not be written as JPEG")
    return coded.tobytes()
