"""An enrolment that another program started: its progress as that program reads it, and its end with that program.

On standard output a line of JSON each, `Stream.OBJECTS` by name; what else is written there is no JSON object. Standard
input carries nothing: when it ends, the enrolment is interrupted, as by SIGTERM, and can be gone on with.
"""

from __future__ import annotations

import _thread
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO, Any

STAGES = ("track", "align", "invert", "tune", "pack")
"""In their order; a rendering that was asked for comes last."""
Tell = Callable[[str, int, int | None], None]
"""Told of each step of a stage: which stage, how many are done, of how many (None where it is not known)."""
END_S = 30.0
"""From the end of standard input, after which an enrolment that does not heed it ends at once."""
_EVERY_S = 0.25


class Stream:
    """progress: stage, its number of so many stages, steps done of total (null where it is not known), left_s: seconds
    until the end of the stage, or null. failed: kind and message. finished: lines for people."""

    OBJECTS = ("progress", "failed", "finished")

    def __init__(
        self,
        stages: Sequence[str] = STAGES,
        out: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stages, self._out, self._clock = tuple(stages), out, clock
        self._began: dict[str, tuple[float, int]] = {}
        self._told_s = -_EVERY_S

    def tell(self, stage: str, done: int, total: int | None) -> None:
        """See Tell; most steps pass without a line."""
        now, new = self._clock(), stage not in self._began
        start, first = self._began.setdefault(stage, (now, done))
        if not new and done != total and now - self._told_s < _EVERY_S:
            return
        self._told_s = now
        left = None
        if total is not None and done > first:
            left = round((now - start) / (done - first) * (total - done), 1)
        number = self._stages.index(stage) + 1 if stage in self._stages else len(self._stages)
        place = {"stage": stage, "number": number, "stages": len(self._stages)}
        self._say("progress", place | {"done": done, "total": total, "left_s": left})

    def failed(self, error: BaseException) -> None:
        self._say("failed", {"kind": type(error).__name__, "message": str(error)})

    def finished(self, lines: Sequence[str]) -> None:
        self._say("finished", {"lines": list(lines)})

    def _say(self, name: str, content: dict[str, Any]) -> None:
        print(json.dumps({name: content}), file=self._out or sys.stdout, flush=True)


def end_with_input(file: IO[str] | None = None, within_s: float = END_S) -> None:
    """From now on this process is interrupted when standard input ends: whoever started it is gone, or wants that."""
    read = file or sys.stdin
    if read is not None:
        threading.Thread(target=_follow, args=(read, within_s), name="leash", daemon=True).start()


def _follow(read: IO[str], within_s: float) -> None:
    while read.readline():
        pass
    _thread.interrupt_main(signal.SIGTERM)
    time.sleep(within_s)
    os._exit(130)
