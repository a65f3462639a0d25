"""What a session is driven and seen by, and what ends with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

_MOST_TOLD = 8
_log = logging.getLogger(__name__)


class Link(Protocol):
    """A connection, or a socket."""

    async def hang_up(self, reason: str) -> None:
        """Free all of it, in bounded time. More than once is allowed."""
        ...


class Links:
    """Those of one session, on its event loop."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._links: dict[Link, Callable[[], dict[str, Any]] | None] = {}

    def add(self, link: Link, report: Callable[[], dict[str, Any]] | None) -> None:
        """report: of a viewer, what stands of it in the session's."""
        self._links[link] = report

    def remove(self, link: Link) -> None:
        """It has ended by itself."""
        self._links.pop(link, None)

    @property
    def viewers(self) -> int:
        """How many watch."""
        return sum(report is not None for report in self._links.values())

    def reports(self) -> list[dict[str, Any]]:
        """Of the first few viewers: they are told often."""
        reports = [report for report in self._links.values() if report is not None]
        return [report() for report in reports[:_MOST_TOLD]]

    async def hang_up(self, reason: str) -> None:
        """End all of them; returns when each has ended, or failed to."""
        ends = await asyncio.gather(
            *(link.hang_up(reason) for link in list(self._links)), return_exceptions=True
        )
        for error in ends:
            if isinstance(error, BaseException):
                _log.error("session %s: one of its links did not end: %r", self._session, error)
