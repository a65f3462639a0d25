"""What a self check came to, as it stands in a record of consent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from engine.self_check.challenge import Challenge, Phase
from engine.self_check.likeness import ENOUGH, LEAST
from engine.self_check.signs import Signs

FALSE_ACCEPT: Final = 0.05
FALSE_REJECT: Final = 0.1
"""Measured at LEAST: docs/self_check.md."""
METHOD: Final = "face shape and movements, 1"


@dataclass(frozen=True, slots=True)
class Result:
    """passed: both. moved: whether the movements were made as they were asked for. score: natural logarithm of how many
    times likelier one person is than two; like: whether it is enough. why: where it failed, in a few words."""

    passed: bool
    moved: bool
    like: bool
    score: float
    looks: int
    why: str = ""

    def told(self, when: datetime) -> dict[str, Any]:
        """As engine.consent.Record.self_check holds it: no shape, no picture, nothing that tells a face."""
        return {
            "method": METHOD,
            "passed": self.passed,
            "movements": self.moved,
            "likeness": round(self.score, 2),
            "likeness_limit": LEAST,
            "frames": self.looks,
            "false_accept": FALSE_ACCEPT,
            "false_reject": FALSE_REJECT,
            "time": when.isoformat(timespec="seconds"),
        }


def result_of(challenge: Challenge, signs: Signs | None) -> Result | None:
    """None while it runs. signs: the newest."""
    if not challenge.over:
        return None
    score, looks = (0.0, 0) if signs is None else (signs.score, signs.looks)
    moved = challenge.phase is Phase.PASSED
    like = looks >= ENOUGH and score >= LEAST
    why = challenge.why
    if moved and not like:
        why = (
            "too little was seen of the face from the front"
            if looks < ENOUGH
            else ("the shape of the face differs from the portrait's")
        )
    return Result(moved and like, moved, like, score, looks, why)
