"""What the server says over a connection's data channel, by itself: its session's statement, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiortc import RTCDataChannel

from engine.errors import StateError
from streaming.session import Session

LABEL: Final = "marotte"
LOOK_S: Final = 0.25
"""How soon a viewer knows that something has changed."""

_FAREWELL_S = 0.25
_MOST_BUFFERED = 1 << 16
_log = logging.getLogger(__name__)


class Telling:
    """One at a time of the channels that the other side opens. On the event loop.

    heard: gets what comes in; None: nothing that comes is looked at. opened: called when there is one to tell by, the
    first time and again.
    """

    def __init__(
        self,
        session: Session,
        heard: Callable[[str | bytes], None] | None = None,
        opened: Callable[[], None] = lambda: None,
    ) -> None:
        self._session, self._heard, self._opened = session, heard, opened
        self._channel: RTCDataChannel | None = None
        self._stated: str | None = None
        self._warned = False

    @property
    def open(self) -> bool:
        return self._channel is not None and self._channel.readyState == "open"

    def take(self, channel: RTCDataChannel) -> None:
        """The page may open its channel anew when it has lost it; what was stated is said again by that."""
        if channel.label != LABEL or self.open:
            channel.close()
            return
        self._channel, self._stated = channel, None
        if self._heard is not None:
            channel.on("message", self._heard)
        self._opened()

    def say(self, message: Mapping[str, Any]) -> bool:
        """Whether it went out; to who does not read nothing more is said."""
        return self.send(json.dumps(message, allow_nan=False, separators=(",", ":")))

    def send(self, text: str) -> bool:
        """The same of what is JSON already."""
        channel = self._channel
        if channel is None or channel.readyState != "open" or channel.bufferedAmount >= _MOST_BUFFERED:
            return False
        channel.send(text)
        return True

    async def state(self) -> None:
        """Say what is stated of the session, where that is another than was said last."""
        if not self.open:
            return
        try:
            statement = await self._session.state()
        except StateError as error:
            if not self._warned:
                self._warned = True
                _log.error("session %s: nothing is stated of it: %s", self._session.id, error)
            return
        if statement is None or statement["signature"] == self._stated:
            return
        if self.say({"statement": statement}):
            self._stated = statement["signature"]

    async def state_on(self) -> None:
        """The same as long as the session is open."""
        while not self._session.over:
            await self.state()
            await asyncio.sleep(LOOK_S)

    async def say_farewell(self, reason: str) -> None:
        """Say why it ends, and wait a moment until that is out."""
        channel = self._channel
        if channel is None or not self.say({"stopped": reason}):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_S):
                while channel.bufferedAmount:
                    await asyncio.sleep(0.005)
