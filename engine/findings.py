"""What a doctor finds, and how its checks are run: one at a time, each within its time, beside those that mostly wait.

A check runs in a thread of its own, so that one that hangs, in a driver say, is left behind and told; whatever it
raises is a finding too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

MOST_S: Final = 60.0
"""How long a check may take, unless it says otherwise: many times what an idle machine needs."""
QUIET_S: Final = 1.0
"""A check that takes longer is told to be under way."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece that was looked at. fix: what to do about it; a sound piece may name what would make it better."""

    piece: str
    ok: bool
    detail: str
    fix: str = ""

    def __str__(self) -> str:
        mark = "ok  " if self.ok else "BAD "
        return f"{mark} {self.piece}: {self.detail}" + (f" -> {self.fix}" if self.fix else "")


@dataclass(frozen=True, slots=True)
class Check:
    """One examination. most_s: after which it counts as hanging. early: it begins with the first of all checks, for
    it is at work in another process, or waits."""

    piece: str
    look: Callable[[], list[Finding]]
    most_s: float = MOST_S
    early: bool = False


Waiting = Callable[[Check], None]
"""Told of a check that takes its time."""


def examined(checks: Sequence[Check], waiting: Waiting | None = None) -> Iterator[Finding]:
    """The findings in the order of the checks, each as soon as it is there."""
    running = {check.piece: _Running(check) for check in checks if check.early}
    for check in checks:
        yield from (running.get(check.piece) or _Running(check)).findings(waiting)


class _Running:
    """A check at work."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._found: list[Finding] | None = None
        self._thread = threading.Thread(target=self._look, name=f"doctor {check.piece}", daemon=True)
        self._thread.start()

    def _look(self) -> None:
        self._found = guarded(self._check.piece, self._check.look)

    def findings(self, waiting: Waiting | None) -> list[Finding]:
        check = self._check
        self._thread.join(min(QUIET_S, check.most_s))
        if self._thread.is_alive():
            if waiting is not None:
                waiting(check)
            self._thread.join(max(0.0, check.most_s - QUIET_S))
        if self._found is not None:
            return self._found
        detail = f"no answer within {check.most_s:g} s"
        return [Finding(check.piece, False, detail, "run it again when the machine is idle, or report this")]


def guarded(piece: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """What `check` finds; that it fails is a finding about `piece`."""
    try:
        return check()
    except Exception as error:
        words = " ".join(str(error).split())
        fix = "run: python -m pip install --force-reinstall marotte; if that does not help, report this"
        return [Finding(piece, False, f"{type(error).__name__}: {words}", fix)]


def parted(words: str) -> tuple[str, str]:
    """What is wrong, and what to do about it, from a message that says both."""
    fault, _, fix = words.rpartition("; ")
    return fault or words, fix if fault else ""
