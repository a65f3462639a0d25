"""What the watermark says: 64 bits, and how they become soft values that survive losses.

64 bits and a CRC of 16 bits go through a tail-biting convolutional code of rate 1/4 and constraint length 9 (generators
463, 535, 733, 745 octal, free distance 24): 320 coded bits. Without the CRC's consent no payload is given out.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import ConfigError
from engine.types import F32, U8

ENGINE: Final = 0x4D52
"""The engine's id in every payload."""
FIRST_DAY: Final = date(2020, 1, 1)
BITS: Final = 64
CHECK_BITS: Final = 16
CODED: Final = 4 * (BITS + CHECK_BITS)

_WIDTHS: Final = (("engine", 16), ("session", 32), ("day", 16))
_GENERATORS: Final = (0o463, 0o535, 0o733, 0o745)
_STATES: Final = 256
_TURNS: Final = 3  # times around the circle: the first ones find the state that the last one begins with


@dataclass(frozen=True, slots=True)
class Payload:
    """engine: 16 bits, this program's id. session: 32 bits, the first of the session name's SHA-256. day: 16 bits, days
    since 1 January 2020. Raises ConfigError for a number that does not fit."""

    engine: int
    session: int
    day: int

    def __post_init__(self) -> None:
        for name, width in _WIDTHS:
            value = getattr(self, name)
            if not 0 <= value < 1 << width:
                raise ConfigError(f"watermark: {name} is {value}, expected 0 to {(1 << width) - 1}")

    @classmethod
    def of(cls, session: str, day: date | None = None) -> Payload:
        """Of a session's name; day: today in UTC where None is given."""
        first = hashlib.sha256(session.encode()).digest()[:4]
        days = ((day or datetime.now(UTC).date()) - FIRST_DAY).days
        return cls(ENGINE, int.from_bytes(first), days)

    @classmethod
    def read(cls, bits: U8) -> Payload:
        """The reverse of bits()."""
        values, at = [], 0
        for _, width in _WIDTHS:
            values.append(int("".join(map(str, bits[at : at + width].tolist())), 2))
            at += width
        return cls(*values)

    def bits(self) -> U8:
        """uint8 (64,) of 0 and 1: engine, session, day, each from its highest bit on."""
        text = "".join(f"{getattr(self, name):0{width}b}" for name, width in _WIDTHS)
        return np.frombuffer(text.encode(), np.uint8) - ord("0")

    @property
    def date(self) -> date:
        """The day of the calendar."""
        return FIRST_DAY + timedelta(days=self.day)


def encode(bits: U8) -> U8:
    """uint8 (320,) of 0 and 1, of 64 bits."""
    checked = np.concatenate([bits, check(bits)])
    circle = np.concatenate([checked[-8:], checked])  # tail-biting: it begins in the state in which it ends
    coded = np.zeros((len(checked), 4), np.uint8)
    for number, generator in enumerate(_GENERATORS):
        for tap in range(9):
            if generator >> tap & 1:
                coded[:, number] ^= circle[8 - tap : len(circle) - tap]
    return coded.reshape(-1)


def decode(soft: F32) -> tuple[U8 | None, float]:
    """The most likely 64 bits of float32 (320,) values, positive for a coded 1, and the share of them whose sign the
    decoded word has (0 .. 1). None in place of bits where their CRC does not fit."""
    checked = _viterbi(np.asarray(soft, np.float32).reshape(-1, 4))
    bits = checked[:BITS]
    agree = float(np.mean((soft > 0) == (encode(bits) == 1)))
    return (bits if np.array_equal(check(bits), checked[BITS:]) else None), agree


def check(bits: U8) -> U8:
    """CRC-16/CCITT-FALSE of the bits, from its highest bit on."""
    register = 0xFFFF
    for bit in bits.tolist():
        turned = (register >> 15) ^ bit
        register = (register << 1 & 0xFFFF) ^ (0x1021 if turned else 0)
    return np.array([register >> place & 1 for place in range(15, -1, -1)], np.uint8)


@lru_cache(maxsize=1)
def _trellis() -> tuple[NDArray[np.int64], F32]:
    """Of each state (the last 8 bits, newest lowest): its two predecessors (256, 2) and the signs (256, 2, 4) of the
    coded bits on the way from them."""
    state = np.arange(_STATES)
    before = np.stack([state >> 1, state >> 1 | 128], axis=1)
    register = before << 1 | (state & 1)[:, None]  # nine bits
    signs = np.empty((_STATES, 2, 4), np.float32)
    for number, generator in enumerate(_GENERATORS):
        ones = register & generator
        parity = np.zeros_like(ones)
        for place in range(9):
            parity ^= ones >> place & 1
        signs[:, :, number] = 2 * parity - 1
    return before, signs


def _viterbi(soft: F32) -> U8:
    """The bits of the best way around the circle, by going around several times."""
    before, signs = _trellis()
    gains = np.einsum("tn,spn->tsp", soft, signs)
    steps = len(soft)
    score = np.zeros(_STATES, np.float32)
    choices = np.empty((_TURNS * steps, _STATES), np.int8)
    for step in range(_TURNS * steps):
        ways = score[before] + gains[step % steps]
        choices[step] = ways[:, 1] > ways[:, 0]
        score = ways.max(axis=1)
    state = int(score.argmax())
    found = np.empty(_TURNS * steps, np.uint8)
    for step in range(_TURNS * steps - 1, -1, -1):
        found[step] = state & 1
        state = int(before[state, choices[step, state]])
    return found[steps : 2 * steps]
