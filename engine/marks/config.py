"""Which marks are on, and how the badge looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from engine.config import known
from engine.errors import ConfigError
from engine.marks.wording import LANGUAGES

PLACES: Final = ("top-right", "top-left", "bottom-right", "bottom-left")
LEAST_SIZE: Final = 0.06
MOST_SIZE: Final = 0.3
_MARKS: Final = ("badge", "watermark")


@dataclass(frozen=True, slots=True)
class MarksConfig:
    """badge, watermark: whether a mark is put on; only who runs the program may take one off, never who asks it for a
    picture, and it is written down where they do. place: of PLACES. size: height of the badge as a part of the
    picture's, LEAST_SIZE .. MOST_SIZE. language: of engine.marks.wording.LANGUAGES. words: also say whether it was
    generated or modified. Raises ConfigError.
    """

    badge: bool = True
    watermark: bool = True
    place: str = "top-right"
    size: float = 0.09
    language: str = "en"
    words: bool = False

    def __post_init__(self) -> None:
        for name in ("badge", "watermark", "words"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"marks: {name}: got {getattr(self, name)!r}, expected true or false")
        known(self.place, PLACES, "marks: place")
        known(self.language, LANGUAGES, "marks: language")
        number = isinstance(self.size, (int, float)) and not isinstance(self.size, bool)
        if not (number and LEAST_SIZE <= self.size <= MOST_SIZE):
            raise ConfigError(
                f"marks: size: got {self.size!r}, expected {LEAST_SIZE:g} .. {MOST_SIZE:g} of the picture's height"
            )

    @property
    def on(self) -> tuple[str, ...]:
        """Names of the marks that are put on."""
        return tuple(name for name in _MARKS if getattr(self, name))

    @property
    def lowered(self) -> tuple[str, ...]:
        """Names of the marks that are off."""
        return tuple(name for name in _MARKS if not getattr(self, name))
