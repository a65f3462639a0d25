"""What carries a session's pictures and sound to another server, or a driver's from there, whatever library it is made
of.

streaming/remote/ has those of WHIP and WHEP; streaming/remote/kept.py makes one after the other, and knows nothing else
of them than what stands here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from engine.errors import MarotteError

if TYPE_CHECKING:
    from streaming.session import Session

OpenSession = Callable[[], Awaitable["Session"]]
"""Gives the session that a connection is for, opening it where there is none yet; raises LostError where it cannot."""

LOST: Final = (
    "token", "missing", "taken", "busy", "refused", "server", "unreachable", "answer", "media", "lost", "session",
)  # fmt: skip
"""Why a connection is none, or none any more: the other server does not take our token; has nothing there; has it given
to somebody else; is full; does not take what is asked; fails; does not answer; answers what cannot be read; no media
flows; it flowed and does not any more; our own session is not there or has ended."""


class LostError(MarotteError):
    """A connection could not be made, or has ended.

    kind: of LOST. again: whether another attempt may help. wait_s: the other server asks to be left alone for so long.
    """

    def __init__(self, kind: str, told: str, *, again: bool = True, wait_s: float = 0.0) -> None:
        super().__init__(told)
        self.kind, self.again, self.wait_s = kind, again, wait_s


class Transport(Protocol):
    """One connection to another server, in one direction; another attempt is another one. On the event loop.

    One that sends takes the session's pictures from `Session.broadcast`, where they are encoded once for all, and its
    sound from `Session.sound`; one that receives gives decoded frames to `Session.arrived` and Opus packets to
    `Session.sound`. It is a link of the session as long as it is up, and ends with it.
    """

    async def connect(self, session: OpenSession) -> None:
        """Returns when media flow. session: is asked for once the other server has agreed. Raises LostError; whatever
        happens, `close` is to be called then."""
        ...

    async def lost(self) -> LostError:
        """Wait until it has ended by itself, or with its session, and tell why."""
        ...

    async def close(self) -> None:
        """End it and free all of it, in bounded time; the other server is told where it can be. Never raises; more
        than once is allowed."""
        ...

    def report(self) -> dict[str, Any]:
        """How it goes, for the operator: nothing secret, nothing of another session."""
        ...
