"""Consent as long as somebody is shown: asked again several times a second, so that its end ends the picture.

A record may be revoked from anywhere: the API, the page, the command line in another process. What all of them leave is
a line in a file, which is looked at here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Final

from aiohttp import web

from streaming.consents import Consents, use_of
from streaming.session import Session

PERIOD_S: Final = 0.25
"""Between two looks. With the fade of streaming.outlet.WITHHELD_FADE_S a face is gone in well under two seconds."""
_log = logging.getLogger("marotte.consent")


class ConsentWatch:
    """Over the sessions of one server, on its event loop."""

    def __init__(self, sessions: Callable[[], Iterable[Session]], consents: Consents) -> None:
        self._sessions, self._consents = sessions, consents

    async def keep(self, app: web.Application) -> AsyncIterator[None]:
        """For an application's cleanup_ctx."""
        watching = asyncio.get_running_loop().create_task(self.watch(), name="consent")
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    async def watch(self) -> None:
        """Look on and on; cancelled at its end."""
        while True:
            try:
                await self.look()
            except Exception:  # in doubt nothing may be shown
                _log.exception("who may be shown could not be looked at")
                for session in self._sessions():
                    shown = session.in_use
                    session.withhold(shown, dict.fromkeys(shown, "its consent could not be looked at"))
            await asyncio.sleep(PERIOD_S)

    async def look(self) -> None:
        """Once, at all sessions."""
        sessions = [session for session in self._sessions() if not session.over]
        asked = [(session.in_use, use_of(session.stream)) for session in sessions]
        if not any(shown for shown, _ in asked):
            return
        found = await asyncio.to_thread(self._consents.all_faults, asked)
        for session, (shown, _), faults in zip(sessions, asked, found):
            session.withhold(shown, faults)
