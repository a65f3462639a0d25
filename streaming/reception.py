"""Who is let in as one more session: by headroom, where that is measured, and nobody while the server drains."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from typing import Any, Final

from streaming.admission import RESOURCES, Headroom, Load
from streaming.load import LoadMeter, Seen
from streaming.measured import AdmissionRecorder
from streaming.refusals import RefusedError

_log = logging.getLogger("marotte.reception")

_MEAN_PIXELS: Final = 640 * 480


class Reception:
    """Of one server, on its event loop. policy: one of streaming.admission.POLICIES. sessions: the open ones; workers:
    pids of the processes below."""

    def __init__(
        self,
        policy: str,
        recorder: AdmissionRecorder,
        sessions: Callable[[], Iterable[Seen]],
        workers: Callable[[], Collection[int]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy, self._recorder, self._clock = policy, recorder, clock
        self._headroom = Headroom()
        self._meter = LoadMeter(sessions, self.looked, workers)
        self._ends_at: float | None = None

    @property
    def draining(self) -> bool:
        return self._ends_at is not None

    @property
    def ends_in_s(self) -> float | None:
        """Until the sessions that are open are ended; None where nothing drains."""
        return None if self._ends_at is None else max(0.0, self._ends_at - self._clock())

    def drain(self, seconds: float) -> None:
        """Let nobody in any more; those who are in have so many seconds, or fewer if that was said before."""
        ends_at = self._clock() + seconds
        self._ends_at = ends_at if self._ends_at is None else min(ends_at, self._ends_at)

    def admit(self, bundle: str, pixels: int) -> None:
        """Let one more in, which counts from now on. Raises RefusedError (503) with the reason and with when to come
        again."""
        self.check_draining()
        if self._policy != "measured":
            return
        verdict = self._headroom.ask(bundle, pixels, self._clock())
        if not verdict.admitted:
            self._recorder.session_refused(verdict.short)
            raise RefusedError(
                503,
                "BusyError",
                f"{verdict.text}; try again in {verdict.wait_s} s",
                "headroom",
                verdict.wait_s,
            )

    def check_draining(self) -> None:
        """Raises RefusedError (503) where the server takes nobody any more."""
        if (left := self.ends_in_s) is not None:
            self._recorder.session_refused("draining")
            wait_s = max(1, math.ceil(left))
            raise RefusedError(
                503, "BusyError", "this server is being stopped and takes no new sessions; try again later, or another",
                "draining", wait_s,
            )  # fmt: skip

    def full(self) -> None:
        """One more was turned away by a limit."""
        self._recorder.session_refused("limit")

    def left(self, bundle: str) -> None:
        """One that was let in was not opened after all."""
        self._headroom.forget(bundle)

    def why_not(self) -> str:
        """Why one more session would be turned away now, one line; empty where it would not be."""
        if self.draining:
            return f"draining: the sessions that are open end within {math.ceil(self.ends_in_s or 0.0)} s"
        if self._policy != "measured":
            return ""
        return self._headroom.would("", _MEAN_PIXELS, self._clock()).text

    def looked(self, load: Load) -> None:
        """Take what was measured."""
        self._headroom.look(load)
        for resource, share in self._headroom.left(self._clock()).items():
            self._recorder.headroom(resource, share)

    async def measuring(self, _: Any = None) -> AsyncIterator[None]:
        """For an application's cleanup_ctx."""
        task = None
        if self._policy == "off":
            for resource in RESOURCES:
                self._recorder.headroom(resource, 1.0)
        else:
            task = asyncio.get_running_loop().create_task(self._measure())
        yield
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _measure(self) -> None:
        try:
            await self._meter.run()
        except Exception:
            _log.exception("the server's load is not measured any more: sessions are admitted by count")
            self._policy = "count"
