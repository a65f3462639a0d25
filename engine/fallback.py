"""What a viewer sees when nothing could be generated: never the unedited driver.

A puppet is held, then fades to its still portrait. An edited picture is held, then fades to a blurred card of
itself; where nothing was edited yet, the card is plain grey.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from engine.types import U8, Outcome

_CARD_PIXELS = 12  # a face blurred down to this many pixels across the picture is nobody's
_GREY = 96


@dataclass(frozen=True, slots=True)
class FallbackConfig:
    """Seconds, both >= 0."""

    hold_s: float = 0.5
    """The last generated picture stays this long after the face is lost."""
    fade_s: float = 1.0
    """Then it fades this long, to the still portrait or to the card."""

    def __post_init__(self) -> None:
        if self.hold_s < 0 or self.fade_s < 0:
            raise ValueError(f"hold_s and fade_s: expected seconds >= 0, got {self.hold_s} and {self.fade_s}")


class Fallback:
    """The last safe picture of one session. `still` is the portrait of a puppet, None when the driver is edited."""

    def __init__(self, config: FallbackConfig, still: U8 | None) -> None:
        self._config = config
        self._still = still
        self._last: U8 | None = None
        self._last_s = 0.0
        self._card: U8 | None = None

    def generated(self, picture: U8, time_s: float) -> None:
        """Remember a picture that left."""
        self._last, self._last_s, self._card = picture, time_s, None

    @property
    def last(self) -> U8 | None:
        """The last generated picture: what is held."""
        return self._last

    def picture(self, time_s: float, size: tuple[int, int]) -> tuple[U8, Outcome]:
        """What leaves at `time_s` in place of a generated picture. size: (width, height) where nothing is known."""
        if self._last is None:
            return self._resting(size), Outcome.WAITING
        since = time_s - self._last_s - self._config.hold_s
        if time_s - self._last_s >= 0 and since < 0:
            return self._last, Outcome.HELD
        share = min(1.0, since / self._config.fade_s) if self._config.fade_s > 0 and since >= 0 else 1.0
        resting = self._resting(size)
        if share >= 1.0:
            return resting, Outcome.FADED
        faded = cv2.addWeighted(self._last, 1.0 - share, resting, share, 0.0)
        return np.asarray(faded, np.uint8), Outcome.FADED

    def _resting(self, size: tuple[int, int]) -> U8:
        if self._still is not None:
            return self._still
        if self._last is None:
            return grey(size)
        if self._card is None:
            self._card = card(self._last)
        return self._card


def grey(size: tuple[int, int]) -> U8:
    """What is shown where nothing was edited yet, uint8 (H, W, 3). size: (width, height)."""
    return np.full((size[1], size[0], 3), _GREY, np.uint8)


def card(picture: U8) -> U8:
    """An edited picture, uint8 (H, W, 3), blurred until nobody can be recognised."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (_CARD_PIXELS, _CARD_PIXELS), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
