"""The marks of everything that one session shows."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from engine.marks.config import MarksConfig
from engine.marks.marks import Marks
from engine.types import Mode

_MOST_MADE: Final = 4


class SessionMarks:
    """The marks for each size and mode of a session's pictures, kept: a new watermark's pattern takes tens of
    milliseconds to draw. One thread at a time.

    session: its id, of which the watermark says the hash.
    """

    def __init__(self, session: str, config: MarksConfig) -> None:
        self._session, self._config = session, config
        self._made: OrderedDict[tuple[tuple[int, int], Mode | None], Marks] = OrderedDict()

    def of(self, size: tuple[int, int], mode: Mode) -> Marks:
        """For pictures that are no continuation of those before. size: (width, height)."""
        said = (size, mode if self._config.words else None)
        marks = self._made.pop(said, None)
        if marks is None:
            marks = Marks.of(size, self._config, self._session, mode)
            while len(self._made) >= _MOST_MADE:
                self._made.popitem(last=False)
        self._made[said] = marks
        marks.cut()
        return marks
