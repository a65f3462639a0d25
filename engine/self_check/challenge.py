"""A few movements of the head, asked for in an order by chance: a still picture before the camera makes none of them.

A pure state machine: the state, what one frame shows and the time give the next state. Between two movements the head
rests, so that each is begun after it was asked for; another movement than the one asked for ends the challenge, so that
a recording of all of them passes by chance only.

                  rests for REST_S            asked movement held for HOLD_S
    REST ------------------------> MOVE ----------------------------------> REST ... after the last one: PASSED
      any state --- too late, another movement, no face, another face ---> FAILED
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from engine.self_check.signs import Signs

REST_S: Final = 0.5
"""The head rests so long before a movement is asked for."""
HOLD_S: Final = 0.2
"""A movement counts when it has lasted so long."""
WITHIN_S: Final = 8.0
"""For each rest and each movement."""
ABSENT_S: Final = 0.7
"""Without a face for longer it is another attempt."""
TURN: Final = 18.0
"""Degrees from the rest to either side."""
LIFT: Final = 12.0
"""Degrees up from the rest."""
OPEN: Final = 0.12
"""Of the distance of the eye corners, beyond the rest."""
_CALM: Final = (12.0, 14.0, 0.08)
"""Yaw and pitch in degrees, and the mouth, within which a head rests: from the front, then from its first rest."""
_BACK: Final = (9.0, 8.0, 0.07)
STEPS: Final = 5


class Movement(StrEnum):
    """left, right: the person's own."""

    LEFT = "left"
    RIGHT = "right"
    UP = "up"
    MOUTH = "mouth"


class Phase(StrEnum):
    """REST: the head is to look straight ahead. MOVE: to make the movement that is asked for."""

    REST = "rest"
    MOVE = "move"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Challenge:
    """order: what is asked for, one after the other. done: how many of them were made. began_s: when the phase began.
    held_s: since when what is asked for is seen, None: it is not. seen_s: when a face was last seen. base: yaw, pitch
    and mouth of the first rest. track: whose. why: of one that failed, in a few words."""

    order: tuple[Movement, ...]
    phase: Phase = Phase.REST
    done: int = 0
    began_s: float = 0.0
    held_s: float | None = None
    other_s: float | None = None
    seen_s: float = 0.0
    base: tuple[float, float, float] | None = None
    track: int | None = None
    why: str = ""

    @property
    def over(self) -> bool:
        return self.phase in (Phase.PASSED, Phase.FAILED)

    @property
    def asked(self) -> Movement | None:
        """The movement that is asked for now; None: to look straight ahead, or nothing."""
        return self.order[self.done] if self.phase is Phase.MOVE else None


def orders() -> int:
    """How many there are."""
    return 24 * 3


def ask(chance: random.Random, now: float) -> Challenge:
    """A new one. Each movement is in it, one of them twice, never twice in a row."""
    first = list(Movement)
    chance.shuffle(first)
    last = chance.choice([one for one in Movement if one is not first[-1]])
    return Challenge((*first, last), began_s=now, seen_s=now)


def proceed(state: Challenge, signs: Signs | None, now: float) -> Challenge:
    """The state after a frame, or after some time without one. signs: None where nobody is seen."""
    if state.over:
        return state
    if signs is None:
        if now - state.began_s > WITHIN_S:
            return _failed(state, "it took too long")
        return _failed(state, "no face was seen") if now - state.seen_s > ABSENT_S else state
    if state.track is not None and signs.track != state.track:
        return _failed(state, "the face was lost on the way")
    state = replace(state, seen_s=now, track=signs.track)
    if now - state.began_s > WITHIN_S:
        return _failed(state, "it took too long")
    return _rest(state, signs, now) if state.phase is Phase.REST else _move(state, signs, now)


def _rest(state: Challenge, signs: Signs, now: float) -> Challenge:
    if not _rests(state, signs):
        return replace(state, held_s=None)
    held_s = now if state.held_s is None else state.held_s
    if now - held_s < REST_S:
        return replace(state, held_s=held_s)
    base = state.base or (signs.yaw, signs.pitch, signs.mouth)
    if state.done == len(state.order):
        return replace(state, phase=Phase.PASSED, held_s=None)
    return replace(state, phase=Phase.MOVE, began_s=now, held_s=None, other_s=None, base=base)


def _move(state: Challenge, signs: Signs, now: float) -> Challenge:
    made = _made(state, signs)
    asked = state.order[state.done]
    if made is None:
        return replace(state, held_s=None, other_s=None)
    if made is not asked:
        other_s = now if state.other_s is None else state.other_s
        if now - other_s >= HOLD_S:
            return _failed(state, "another movement was made than the one asked for")
        return replace(state, held_s=None, other_s=other_s)
    held_s = now if state.held_s is None else state.held_s
    if now - held_s < HOLD_S:
        return replace(state, held_s=held_s, other_s=None)
    return replace(state, phase=Phase.REST, done=state.done + 1, began_s=now, held_s=None, other_s=None)


def _rests(state: Challenge, signs: Signs) -> bool:
    """From the front the first time, then about as it was."""
    around, most = ((0.0, 0.0, 0.0), _CALM) if state.base is None else (state.base, _BACK)
    found = (signs.yaw, signs.pitch, signs.mouth)
    return all(abs(one - middle) <= least for one, middle, least in zip(found, around, most))


def _made(state: Challenge, signs: Signs) -> Movement | None:
    """The movement that a frame shows most clearly; None where it shows none."""
    yaw, pitch, mouth = state.base or (0.0, 0.0, 0.0)
    amounts = {
        Movement.LEFT: (signs.yaw - yaw) / TURN,
        Movement.RIGHT: (yaw - signs.yaw) / TURN,
        Movement.UP: (signs.pitch - pitch) / LIFT,
        Movement.MOUTH: (signs.mouth - mouth) / OPEN,
    }
    clearest = max(amounts, key=lambda one: amounts[one])
    return clearest if amounts[clearest] >= 1.0 else None


def _failed(state: Challenge, why: str) -> Challenge:
    return replace(state, phase=Phase.FAILED, why=why, held_s=None)
