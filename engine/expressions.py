"""Named expressions as sets of action units, after FACS (Ekman and Friesen 1978; the emotions as in EMFACS).

Of the units that FACS names, those outside AU_NAMES are left out: disgust's AU16, and the one-sidedness of contempt
and of a wink, for an AU here is bilateral.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from engine.config import known
from engine.types import AU_NAMES


def _set(*units: int, **weaker: float) -> Mapping[str, float]:
    """AUs at intensity 1 by number, and weaker ones by name."""
    full = {f"AU{unit:02}": 1.0 for unit in units} | weaker
    return MappingProxyType({name: full[name] for name in AU_NAMES if name in full})


EXPRESSIONS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "neutral": _set(),
        "happiness": _set(6, 12),
        "laughter": _set(6, 7, 12, 25, 26),
        "sadness": _set(1, 4, 15),
        "surprise": _set(1, 2, 5, 26, AU25=0.5),
        "fear": _set(1, 2, 4, 5, 7, 20, 26),
        "anger": _set(4, 5, 7, 23),
        "disgust": _set(9, 15, AU17=0.5),
        "contempt": _set(14, AU12=0.5),
        "pain": _set(4, 6, 7, 9, 10, AU45=0.5),
    }
)
"""Intensities 0..1 by AU name, for each name."""


def expression(name: str, strength: float = 1.0) -> Mapping[str, float]:
    """The AUs of a named expression, each times `strength` (0..1): AU names with intensities in 0..1.

    As `Controls.au_offsets` they are added to the motion. Raises ConfigError for an unknown name.
    """
    return {au: strength * value for au, value in EXPRESSIONS[known(name, EXPRESSIONS, "expression")].items()}
