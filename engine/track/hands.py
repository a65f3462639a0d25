"""Follows hands through a stream: palms are looked for at a low rate, the hands found are followed in every frame."""

from __future__ import annotations

from pathlib import Path

from engine.errors import ConfigError
from engine.track.hand_model import Hand, HandModel, Looker
from engine.track.hand_region import from_points
from engine.track.region import Region, cover, overlap, whole
from engine.types import Frame

_LONGEST_GAP_S = 1.0
_CLOCK_SLACK_S = 1e-4
_SAME_HAND = 0.5


class HandTracker:
    """Up to most_hands hands, each followed by the region of its own last points.

    Palms are looked for at most rate_hz times in a second of media time (every_frame: on each frame), and not while
    all the hands there may be are followed; a hand that was lost is looked for in the next frame. The track begins
    anew when the picture's size changes, when time runs backwards, and after a gap of more than a second. Not for
    several threads at once.

    On one thread looking costs about 8 CPU ms (in a stream of 30 frames a second 1.6 ms per frame), and each
    followed hand 4.5 CPU ms per frame.
    """

    def __init__(
        self,
        backend: str = "auto",
        cache: Path | None = None,
        rate_hz: float = 6.0,
        *,
        most_hands: int = 2,
        sure: float = 0.5,
        every_frame: bool = False,
        model: Looker | None = None,
    ) -> None:
        """backend, cache: as for HandModel. sure: presence below which a hand that was just found is none; one that is
        followed stays down to one half. model: in place of MediaPipe's.

        Raises ConfigError when the rate is not above 0 or there is room for no hand.
        """
        if not rate_hz > 0:
            raise ConfigError(f"hand rate: got {rate_hz} Hz, expected more than 0; leave it out for 6 Hz")
        if most_hands < 1:
            raise ConfigError(f"hands: got {most_hands}, expected 1 or more")
        self._model: Looker = HandModel(backend, cache) if model is None else model
        self._interval_s = 0.0 if every_frame else 1.0 / rate_hz
        self._most, self._sure = most_hands, sure
        self.reset()

    def reset(self) -> None:
        """Forget the hands: the next frame looks for them anew."""
        self._regions: list[Region] = []
        self._size = (0, 0)
        self._seen_s: float | None = None
        self._looked_s: float | None = None

    def track(self, frame: Frame, view: Region | None = None, *, look: bool = False) -> tuple[Hand, ...]:
        """The hands in this frame, those followed longest first.

        view: the upright square in which palms are looked for, the whole picture when None; a hand that leaves it is
        let go. look: look for palms now, whatever the rate says.
        """
        if self._broken(frame):
            self.reset()
        view = view or whole(*frame.size)
        followed = [region for region in self._regions if cover(region, view) > 0.0]
        wanted = list(followed)
        if len(wanted) < self._most and (look or self._due(frame.time_s)):
            self._looked_s = frame.time_s
            wanted += [one for one in self._model.find(frame.rgb, view) if _new(one, followed)]
        hands, regions = self._read(frame, wanted, len(followed))
        if len(regions) < len(followed):
            self._looked_s = None
        self._regions, self._size, self._seen_s = regions, frame.size, frame.time_s
        return hands

    def close(self) -> None:
        """Let go of the models."""
        self._model.close()

    def _broken(self, frame: Frame) -> bool:
        """Whether this frame cannot continue the track."""
        if self._seen_s is None:
            return False
        gap = frame.time_s - self._seen_s
        return frame.size != self._size or gap < 0 or gap > _LONGEST_GAP_S

    def _due(self, time_s: float) -> bool:
        return self._looked_s is None or time_s - self._looked_s >= self._interval_s - _CLOCK_SLACK_S

    def _read(
        self, frame: Frame, wanted: list[Region], followed: int
    ) -> tuple[tuple[Hand, ...], list[Region]]:
        """The hands in these regions, each once, and where to look for them next. followed: how many of the first
        regions had a hand in the last frame."""
        hands: list[Hand] = []
        regions: list[Region] = []
        for number, region in enumerate(wanted):
            if len(hands) == self._most:
                break
            hand = self._model.read(frame.rgb, region)
            if number >= followed and hand is not None and hand.presence < self._sure:
                continue
            following = None if hand is None else from_points(hand.points)
            if hand is not None and following is not None and following.valid() and _new(following, regions):
                hands.append(hand)
                regions.append(following)
        return tuple(hands), regions


def _new(region: Region, others: list[Region]) -> bool:
    return all(overlap(region, other) <= _SAME_HAND for other in others)
