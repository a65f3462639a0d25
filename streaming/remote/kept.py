"""One push or pull, made again whenever it ends, until it is removed.

Attempts come further and further apart, by chance so that those who lost one server do not all come back at once, and
not sooner than the other server asks. What no further attempt can mend, a token that is not taken, ends them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from engine.errors import MarotteError
from streaming.measured import Recorder
from streaming.refusals import RefusedError
from streaming.remote.places import Place
from streaming.session import Session
from streaming.transport import LostError, Transport

STATES: Final = ("waiting", "connecting", "up", "stopped")
"""waiting: for a session to push, or for the next attempt. stopped: nothing is tried any more."""
FIRST_S: Final = 0.5
MOST_S: Final = 30.0
STEADY_S: Final = 10.0
"""A connection that was up for so long begins to count anew."""
CONNECT_S: Final = 40.0
"""For one attempt in all: each of its steps has a shorter time."""

_log = logging.getLogger("marotte.remote")


class Seat(Protocol):
    """Where the session of a push or a pull comes from."""

    async def there(self) -> None:
        """Wait until a connection is worth an attempt."""
        ...

    async def open(self) -> Session:
        """As streaming.transport.OpenSession."""
        ...

    def lost(self) -> None:
        """The connection has ended; another one follows."""
        ...

    async def close(self) -> None:
        """No other one follows."""
        ...


class Kept:
    """From `start` to `close`, on the event loop. kind: "push" or "pull"."""

    def __init__(
        self,
        kind: str,
        place: Place,
        make: Callable[[], Transport],
        seat: Seat,
        recorder: Recorder,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.kind, self.place = kind, place
        self.state = "waiting"
        self.why = ""
        """In one line, why it is not up; empty while it is, or was never tried."""
        self._make, self._seat, self._recorder = make, seat, recorder
        self._transport: Transport | None = None
        self._connects = 0
        self._failures = 0
        self._since_s = time.time()
        self._task: asyncio.Task[None] | None = None
        recorder.remote(kind, None, self.state)

    def start(self) -> None:
        """Begin to try."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"{self.kind} {self.id}")
        self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        """End it, and free all of it; more than once is allowed."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        await self._seat.close()
        self._recorder.remote(self.kind, self.state, None)

    def report(self) -> dict[str, Any]:
        """What the API tells of it: never its token."""
        told = {
            "id": self.id,
            "kind": self.kind,
            "url": self.place.shown,
            "stream": self.place.stream,
            "state": self.state,
            "why": self.why,
            "since": round(self._since_s, 3),
            "connects": self._connects,
            "failures": self._failures,
        }
        sent = self._transport.report() if self._transport is not None and self.state == "up" else None
        return told | {"sent": sent or None}

    async def _run(self) -> None:
        while True:
            await self._seat.there()
            lost = await self._attempt()
            self._seat.lost()
            self._recorder.remote_lost(self.kind, lost.kind)
            if not lost.again:
                self._turn("stopped", str(lost))
                _log.error("%s of %s stopped: %s", self.kind, self.place.stream, lost)
                await self._seat.close()
                return
            self._turn("waiting", str(lost))
            wait_s = max(lost.wait_s, wait_after(self._failures))
            self._failures += 1
            _log.warning("%s of %s: %s; again in %.1f s", self.kind, self.place.stream, lost, wait_s)
            await asyncio.sleep(wait_s)

    async def _attempt(self) -> LostError:
        self._turn("connecting", self.why)
        self._transport = transport = self._make()
        try:
            async with asyncio.timeout(CONNECT_S):
                await transport.connect(self._seat.open)
        except LostError as error:
            return error
        except TimeoutError:
            return LostError("unreachable", f"{self.place.shown}: no connection within {CONNECT_S:g} s")
        except RefusedError as error:
            return LostError("session", f"{self.place.stream}: {error}", wait_s=error.wait_s)
        except MarotteError as error:
            return LostError("session", f"{self.place.stream}: {error}")
        else:
            return await self._hold(transport)
        finally:
            await transport.close()
            self._transport = None

    async def _hold(self, transport: Transport) -> LostError:
        self._connects += 1
        self._turn("up", "")
        _log.info("%s of %s: connected with %s", self.kind, self.place.stream, self.place.shown)
        began = time.monotonic()
        lost = await transport.lost()
        if time.monotonic() - began >= STEADY_S:
            self._failures = 0
        return lost

    def _turn(self, state: str, why: str) -> None:
        if state != self.state:
            self._recorder.remote(self.kind, self.state, state)
            self._since_s = time.time()
        self.state, self.why = state, why

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s %s ended: %r", self.kind, self.id, error, exc_info=error)
            self._turn("stopped", "something failed here; the server's log says what")


def wait_after(failures: int) -> float:
    """Seconds until the next attempt, after so many that failed before."""
    most = min(MOST_S, FIRST_S * 2.0 ** min(failures, 16))
    return most * random.uniform(0.5, 1.0)
