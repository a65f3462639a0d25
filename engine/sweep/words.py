"""Action units and expressions as they are typed: 12,25,4 and fear and 1+2=0.5+26."""

from __future__ import annotations

from collections.abc import Mapping

from engine.config import known
from engine.errors import ConfigError
from engine.expressions import EXPRESSIONS, expression
from engine.types import AU_NAMES

_NUMBERS = {name: int(name[2:]) for name in AU_NAMES}
_BY_NUMBER = {number: name for name, number in _NUMBERS.items()}


def au_names(text: str, what: str = "aus") -> tuple[str, ...]:
    """The AUs of a list such as "12,25,4" or "AU12,AU25", each once. Raises ConfigError for anything else."""
    names = [au_name(word, what) for word in text.split(",")]
    return tuple(dict.fromkeys(names))


def au_name(word: str, what: str = "aus") -> str:
    """One AU by its number or its name. Raises ConfigError."""
    digits = word.strip().upper().removeprefix("AU")
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 4 else None
    if number not in _BY_NUMBER:
        offered = ", ".join(str(one) for one in _BY_NUMBER)
        raise ConfigError(f"{what}: got {word.strip()!r}, expected action units out of {offered}")
    return _BY_NUMBER[number]


def au_set(text: str, what: str = "expression") -> Mapping[str, float]:
    """Intensities by AU name, from the name of an expression ("fear", "fear=0.5") or a sum ("1+2=0.5+26").

    A unit without a number is at 1. Raises ConfigError for an unknown name or unit, and an intensity outside 0..1.
    """
    word = text.strip()
    if word[:1].isdigit() or word.upper().startswith("AU"):
        pairs = [_valued(part, what) for part in word.split("+")]
        return {au_name(name, what): value for name, value in pairs}
    name, strength = _valued(word, what)
    return expression(known(name, EXPRESSIONS, what), strength)


def _valued(text: str, what: str) -> tuple[str, float]:
    name, sign, number = text.partition("=")
    try:
        value = float(number) if sign else 1.0
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{what}: got {text.strip()!r}, expected an intensity in 0 .. 1 after the =")
    return name.strip(), value


AU_TITLES: Mapping[str, str] = {
    "AU01": "inner brow raiser",
    "AU02": "outer brow raiser",
    "AU04": "brow lowerer",
    "AU05": "upper lid raiser",
    "AU06": "cheek raiser",
    "AU07": "lid tightener",
    "AU09": "nose wrinkler",
    "AU10": "upper lip raiser",
    "AU12": "lip corner puller",
    "AU14": "dimpler",
    "AU15": "lip corner depressor",
    "AU17": "chin raiser",
    "AU20": "lip stretcher",
    "AU23": "lip tightener",
    "AU25": "lips part",
    "AU26": "jaw drop",
    "AU45": "blink",
}
"""What FACS calls each AU."""
