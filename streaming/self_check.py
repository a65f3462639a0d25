"""The live check that a driver is who the portrait shows, as a session's page asks for it: docs/self_check.md.

The movements are judged by the times at which frames arrived, so that a slow machine makes nobody fail.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from engine.errors import ConfigError, MarotteError
from engine.self_check import Challenge, Phase, Result, Signs, ask, proceed, result_of
from engine.self_check.challenge import ABSENT_S, WITHIN_S
from engine.worker.interface import Delivery
from streaming.consents import Consents

MOST_ATTEMPTS: Final = 3
PER_S: Final = 600.0
"""So often may one session try: whoever plays recorded movements is right by chance once in 72 times."""


class Checked:
    """The checks of one session, on its event loop but for `hearing`, and their place in the record of the portrait.

    consents: None, and nobody is checked. switch: has the worker read what a check needs, or not any more. mirrored: as
    of SelfCheck.
    """

    def __init__(
        self, consents: Consents | None, switch: Callable[[bool], object], mirrored: Callable[[], bool]
    ) -> None:
        self._consents, self._switch = consents, switch
        self._check = SelfCheck(self._over, mirrored)
        self.hearing, self.end, self.report = self._check.hearing, self._check.end, self._check.report
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeping: asyncio.Task[None] | None = None

    def turn(self, on: bool, source: str) -> None:
        """Begin one of the driver against this portrait, or stop it. Raises ConfigError where it is nobody's own."""
        if on:
            if self._consents is None or self._consents.own_word(source) is None:
                raise ConfigError("self check: it is of a portrait that was added as oneself")
            self._loop = asyncio.get_running_loop()
            self._check.begin(source)
        else:
            self._check.end()
        self._switch(on)

    def _over(self, result: Result, source: str) -> None:
        """In whichever thread."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and the session with it
                self._loop.call_soon_threadsafe(self._keep, result, source)

    def _keep(self, result: Result, source: str) -> None:
        with suppress(MarotteError):  # a worker that is away, or a session that has ended, reads nothing
            self._switch(False)
        if result.passed and self._loop is not None:
            self._keeping = self._loop.create_task(self._record(result, source))

    async def _record(self, result: Result, source: str) -> None:
        assert self._consents is not None
        try:
            record = await asyncio.to_thread(self._consents.checked, source, result)
            self._check.keep({"record": record.id})
        except MarotteError as error:
            self._check.keep({"error": str(error)})


class SelfCheck:
    """Of one session; for any thread. finished: called once for each attempt that came to an end, in any thread, with
    the source that it was begun for. mirrored: whether the camera's frames are turned about before they are looked
    at."""

    def __init__(
        self,
        finished: Callable[[Result, str], None],
        mirrored: Callable[[], bool] = lambda: False,
        *,
        clock: Callable[[], float] = time.perf_counter,
        chance: random.Random | None = None,
    ) -> None:
        self._finished, self._mirrored, self._clock = finished, mirrored, clock
        self._chance = chance or random.SystemRandom()
        self._lock = threading.Lock()
        self._state: Challenge | None = None
        self._signs: Signs | None = None
        self._result: Result | None = None
        self._source = ""
        self._kept: dict[str, Any] = {}
        self._begun: deque[float] = deque()

    def begin(self, source: str) -> None:
        """Another attempt, against this portrait, in place of one that runs. Raises ConfigError
        where there were too many of them."""
        now = self._clock()
        with self._lock:
            while self._begun and now - self._begun[0] > PER_S:
                self._begun.popleft()
            if len(self._begun) >= MOST_ATTEMPTS:
                minutes = (PER_S - (now - self._begun[0])) / 60
                raise ConfigError(
                    f"self check: {MOST_ATTEMPTS} attempts were made; try again in {minutes:.0f} min"
                )
            self._begun.append(now)
            self._state, self._signs, self._result, self._kept = ask(self._chance, now), None, None, {}
            self._source = source

    def end(self) -> None:
        """Stop one that runs."""
        with self._lock:
            if self._result is None:
                self._state = None

    def hearing(self, deliver: Callable[[Delivery], None]) -> Callable[[Delivery], None]:
        """The same for deliveries, what was read beside which is heard first."""

        def heard(delivery: Delivery) -> None:
            if self._state is not None:
                self._hear(delivery.signs, delivery.stamp.arrived_s)
            deliver(delivery)

        return heard

    def _hear(self, signs: Signs | None, now: float) -> None:
        with self._lock:
            if self._state is None or self._state.over or now < self._state.began_s:
                return
            if signs is not None and self._mirrored():
                signs = replace(signs, yaw=-signs.yaw)
            self._signs = signs or self._signs
            result, source = self._after(proceed(self._state, signs, now)), self._source
        if result is not None:
            self._finished(result, source)

    def _after(self, state: Challenge) -> Result | None:
        self._state = state
        self._result = result_of(state, self._signs)
        return self._result

    def keep(self, told: dict[str, Any]) -> None:
        """What became of the result, for the report: `record`, or `error`."""
        with self._lock:
            self._kept = told

    def report(self) -> dict[str, Any] | None:
        """How it stands, as docs/live.md has it; None where there is none. Frames that do not come end it too."""
        now, result = self._clock(), None
        with self._lock:
            state = self._state
            if state is None:
                return None
            if not state.over and now - state.seen_s > ABSENT_S + WITHIN_S:
                state = proceed(state, None, now)
                result = self._after(state)
            told, source = self._told(state), self._source
        if result is not None:
            self._finished(result, source)
        return told

    def _told(self, state: Challenge) -> dict[str, Any]:
        found = self._result
        return {
            "phase": state.phase.value,
            "asked": None if state.asked is None else state.asked.value,
            "done": state.done,
            "of": len(state.order),
            "resting": state.phase is Phase.REST,
            "passed": None if found is None else found.passed,
            "moved": None if found is None else found.moved,
            "like": None if found is None else found.like,
            "likeness": None if found is None else round(found.score, 2),
            "why": "" if found is None else found.why,
        } | self._kept
