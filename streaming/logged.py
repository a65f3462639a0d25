"""What the session log is told of a server and of its sessions (docs/session_log.md): which, by whose consent, what
makes them, and what lowers the protection. No name that somebody chose, no address, no token.

A session is not begun when its start cannot be logged; one that runs goes on, and what could not be said of it is
counted.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from engine import bundles
from engine.errors import StateError
from engine.session_log import (
    Event,
    Journal,
    Keeping,
    NoJournal,
    SessionLog,
    batched,
    noting_in,
    session_hash,
)
from engine.versions import versions
from engine.worker.interface import BundleInfo
from streaming.config import ServeConfig

OWN_BUNDLE: Final = "own"
"""In place of the name of a bundle that is not shipped: it may be a person's."""
PASS_THROUGH: Final = "pass-through"
_KNOWN: Final = frozenset({"mesh_flow", *bundles.names()})
_log = logging.getLogger("marotte.log")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
SHOWING_S: Final = 1.0
"""Least between two lines of what one session shows."""


def lowered_by(config: ServeConfig) -> tuple[str, ...]:
    """The settings of a server by which it protects less than it would without a word, as its options are called. The
    marks' stand in a line of their own."""
    worker = config.worker
    settings = {
        "pass-through": config.pass_through,
        "edit": worker.edit,
        "driver-pixels": worker.driver_pixels,
        "host": not config.loopback,
        "origin": bool(config.origins),
        "public-ice": config.public_ice,
        "remote-near": config.remote_near,
        "remote-insecure": config.remote_insecure,
    }
    return tuple(name for name, on in settings.items() if on)


@asynccontextmanager
async def logging_server(
    config: ServeConfig, counted: Callable[[int, int], None], where: str = "serve"
) -> AsyncIterator[Journal]:
    """The log of a server, from its start to its end, and what this process notes elsewhere goes there too. counted: as
    Journal has it. where: by which command. Raises StateError where it cannot be written: then there is no server."""
    journal = Journal(SessionLog(config.log_folder), days=config.log_days, counted=counted)
    starting = asyncio.ensure_future(asyncio.to_thread(journal.start))
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        await asyncio.to_thread(journal.close)
        raise
    _told_mark("begins", starting.result())
    try:
        with noting_in(journal):
            await server_started(journal, config, where)
            yield journal
    finally:
        journal.tell(Event.SERVER_STOPPED)
        _told_mark("ends", await asyncio.to_thread(journal.close))


def _told_mark(what: str, mark: tuple[int, str] | None) -> None:
    """What an operator's own log keeps, by which a log that was put back to an older state is found."""
    if mark is not None:
        _log.info("the session log %s at %d:%s", what, *mark)


async def server_started(journal: Keeping, config: ServeConfig, where: str) -> None:
    """Raises StateError where it cannot be kept."""
    running = tuple(_told_name(str(bundle)) for bundle in config.worker.bundles)
    version, most = versions().get("marotte", ""), config.worker.sessions
    await _kept(journal, Event.SERVER_STARTED, where=where, version=version, bundles=running, sessions=most)
    if lowered := lowered_by(config):
        await _kept(journal, Event.PROTECTION_LOWERED, where=where, lowered=lowered)


class SessionLines:
    """What is told of one session; one that was not begun has no end there either."""

    def __init__(self, session: str) -> None:
        self.journal: Keeping = NoJournal()
        """Where it is kept; another one before the start."""
        self._session = session_hash(session)
        self._begun = False
        self._said: dict[str, Any] = {}
        self._shown: dict[str, Any] = {}
        self._waits: asyncio.TimerHandle | None = None

    async def started(
        self,
        driver: str,
        *,
        mode: str = PASS_THROUGH,
        bundle: BundleInfo | None = None,
        sources: Collection[str] = (),
        consent: Iterable[str] = (),
    ) -> None:
        """Before anything of it leaves. sources: ids of those that it shows. consent: ids of the records by which it
        does. Raises StateError where it cannot be kept: then it is not begun."""
        made = self._said = self._shown = _made(bundle, mode, sources)
        records = list(batched(consent)) or [()]
        said = {"session": self._session, "driver": driver, **made, "consent": records[0]}
        self._begun = True  # whoever gives up waiting leaves a line behind, which wants its end
        try:
            await _kept(self.journal, Event.SESSION_STARTED, **said)
            for more in records[1:]:
                await _kept(self.journal, Event.CONSENT_USED, session=self._session, consent=more)
        except StateError:
            self._begun = False
            raise

    def shows(self, *, mode: str, bundle: BundleInfo | None, sources: Collection[str]) -> None:
        """It has turned to another bundle, mode or source; on its event loop. A line where it is another than was told,
        and at most one in SHOWING_S, however often it turns: the last one then."""
        self._shown = _made(bundle, mode, sources)
        if self._waits is None:
            self._tell_shown()

    def _tell_shown(self) -> None:
        self._waits = None
        if self._shown == self._said:
            return
        self._said = self._shown
        self.journal.tell(Event.SHOWING, session=self._session, **self._said)
        self._waits = asyncio.get_running_loop().call_later(SHOWING_S, self._tell_shown)

    def withheld(self) -> None:
        """Consent to what it shows has ended, and plain grey stands for it."""
        self.journal.tell(Event.WITHHELD, session=self._session)

    def stopped(self, reason: str, seconds: float) -> None:
        """reason: as measured.Recorder.session_closed has it. seconds: how long it was open."""
        if self._waits is not None:
            self._waits.cancel()
            self._tell_shown()  # the last one
        if self._waits is not None:
            self._waits.cancel()
        if self._begun:
            self.journal.tell(
                Event.SESSION_STOPPED, session=self._session, reason=reason, seconds=round(seconds, 1)
            )


def _made(bundle: BundleInfo | None, mode: str, sources: Collection[str]) -> dict[str, Any]:
    return {
        "bundle": None if bundle is None else _told_name(bundle.name),
        "bundle_sha256": None if bundle is None else bundle.sha256,
        "mode": mode,
        "sources": tuple(sorted(one for one in sources if _DIGEST.fullmatch(one))),
    }


def _told_name(bundle: str) -> str:
    return bundle if bundle in _KNOWN else OWN_BUNDLE


async def _kept(journal: Keeping, event: Event, **fields: Any) -> None:
    await asyncio.wrap_future(journal.keep(event, **fields))
