"""How much a session asks the engine for, so that its pictures stay in time: fewer of the driver's frames first, then
smaller pictures, where its bundle can make them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.errors import MarotteError
from engine.worker.interface import Worker
from streaming.ladder import PACES, Pace, Pacer
from streaming.reports import Tally

STEP_S = 1.0
"""Between two looks."""

_EARLY = 0.25  # of the time between two frames, which never come quite evenly
_log = logging.getLogger(__name__)


class Pacing:
    """Holds one session's frame ages to a target. target_s: 95th percentile of them, in seconds; 0 asks for all
    whatever it takes."""

    def __init__(self, target_s: float) -> None:
        self._pacer = Pacer(target_s) if target_s else None

    @property
    def pace(self) -> Pace:
        """What is asked for now."""
        return self._pacer.pace if self._pacer is not None else PACES[0]

    def look(self, age_s: float | None, now: float) -> bool:
        """Whether another pace is in force after one more look. age_s: of the last two seconds, None without any."""
        before = self.pace
        return self._pacer is not None and self._pacer.step(age_s, now) is not before

    def output_size(self, outputs: Sequence[int], asked: int) -> int:
        """What Controls.output_size is to be. outputs: the bundle's sides, the finest first. asked: by whoever drives,
        0 for the finest; it gets no more than that."""
        if not outputs or self.pace.side_share >= 1.0:
            return asked
        most = self.pace.side_share * outputs[0]
        largest = next((side for side in outputs if side <= most), outputs[-1])
        return min(asked or largest, largest)

    def report(self) -> dict[str, Any] | None:
        """What stands of it in the session's report; None while all is asked for."""
        if self.pace is PACES[0]:
            return None
        return {"fps": self.pace.fps, "side_share": self.pace.side_share}


class EnginePace:
    """Keeps one session's pace, from its opening to its end, on the event loop.

    target_s: as of Pacing. bundle: the name of the one that it runs now.
    """

    def __init__(
        self, target_s: float, session: str, worker: Worker, tally: Tally, bundle: Callable[[], str]
    ) -> None:
        self.thinning = Thinning()
        """Which of the driver's frames are used."""
        self._pacing = Pacing(target_s)
        self._session, self._worker, self._tally, self._bundle = session, worker, tally, bundle
        self._asked = self._in_force = 0  # Controls.output_size, by whoever drives and now
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Look from now on."""
        self._task = asyncio.get_running_loop().create_task(self._look_on())

    def changed(self, change: Mapping[str, Any]) -> None:
        """The worker has taken a change of whoever drives."""
        controls = change.get("controls", {})
        if "output_size" in controls:
            self._asked = self._in_force = round(controls["output_size"])
        self._keep()

    def report(self) -> dict[str, Any] | None:
        """As Pacing."""
        return self._pacing.report()

    async def end(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(STEP_S)
            if self._pacing.look(self._tally.age_s(), time.monotonic()):
                self._keep()

    def _keep(self) -> None:
        self.thinning.fps = self._pacing.pace.fps
        name = self._bundle()
        outputs = next((each.outputs for each in self._worker.bundles() if each.name == name), ())
        size = self._pacing.output_size(outputs, self._asked)
        if size == self._in_force:
            return
        try:
            self._worker.change(self._session, {"controls": {"output_size": size}})
            self._in_force = size
        except MarotteError as error:
            _log.warning("session %s: its pictures stay as large as they are: %s", self._session, error)


class Thinning:
    """Which of the driver's frames are used: at most `fps` a second, evenly. Times in seconds."""

    def __init__(self) -> None:
        self.fps = PACES[0].fps
        """All of them at this rate or above."""
        self._due_s = -float("inf")

    def takes(self, at_s: float) -> bool:
        """Whether the frame of this time is one of them; times rise."""
        if self.fps >= PACES[0].fps:
            return True
        if at_s < self._due_s:
            return False
        step_s = 1.0 / self.fps
        self._due_s = max(self._due_s, at_s - _EARLY * step_s) + step_s
        return True
