"""Who is who over time: stable ids, and who the main face is. It knows regions and times, and no pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.track.region import Region, cover, overlap

HOLD_S = 0.5
"""A face that comes back to its place within this time keeps its id, and the main face keeps its seat."""

_SAME_FACE = 0.5
_PART_OF_FACE = 0.7
_SAME_PLACE = 0.1


@dataclass(slots=True)
class Track:
    """One followed face. seen_s: media time of its last frame. lost: it was not in the last frame."""

    track_id: int
    region: Region
    seen_s: float
    lost: bool = False


def prominence(region: Region, width: int, height: int) -> float:
    """How much a face looks like the one meant: side times centredness (1 in the middle, 0 in a corner)."""
    off = math.hypot(2 * region.x / width - 1, 2 * region.y / height - 1)
    return region.side * (1 - min(1.0, off / math.sqrt(2)))


def distinct(regions: Sequence[Region], taken: Sequence[Region]) -> list[int]:
    """Indices of the regions that show neither a face already taken nor one earlier in the list."""
    kept: list[int] = []
    for index, region in enumerate(regions):
        rivals = [*taken, *(regions[i] for i in kept)]
        if not any(_same_face(region, rival) for rival in rivals):
            kept.append(index)
    return kept


def _same_face(a: Region, b: Region) -> bool:
    """Side by side, heads share up to a third of their regions; a mouth taken for a face lies inside of one."""
    return overlap(a, b) > _SAME_FACE or cover(a, b) > _PART_OF_FACE


class Roster:
    """The faces that are followed, the one followed longest first: that is the main face.

    Faces that appear in the same frame are ordered as they are given. A lost face keeps its entry for HOLD_S;
    until then a face that appears elsewhere cannot take its seat as the main face.
    """

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._next_id = 0

    @property
    def present(self) -> list[Track]:
        """Those in the last frame, main face first when it is there."""
        return [track for track in self._tracks if not track.lost]

    @property
    def main_id(self) -> int | None:
        """The main face's id, also while it is lost and its seat is held. None when nobody has the seat."""
        return self._tracks[0].track_id if self._tracks else None

    def seat(self) -> Region | None:
        """Where the main face was lost, while its seat is held."""
        return self._tracks[0].region if self._tracks and self._tracks[0].lost else None

    def at_seat(self, region: Region) -> bool:
        """Whether a face found there may be the main one: nobody's seat is held, or it is held there."""
        seat = self.seat()
        return seat is None or overlap(seat, region) > _SAME_PLACE

    def follow(self, track: Track, region: Region, now_s: float) -> None:
        """The face was seen again."""
        track.region, track.seen_s, track.lost = region, now_s, False

    def lose(self, track: Track) -> None:
        """The face was not seen."""
        track.lost = True

    def drop(self, track: Track) -> None:
        """The face turned out to be one that is followed already."""
        self._tracks.remove(track)

    @property
    def missing(self) -> bool:
        """Whether somebody was lost and may come back."""
        return any(track.lost for track in self._tracks)

    def admit(self, region: Region, now_s: float) -> Track:
        """A face was found: the one lost at that place, or else a new one with an id never given before."""
        lost = [track for track in self._tracks if track.lost and overlap(track.region, region) > _SAME_PLACE]
        if lost:
            back = max(lost, key=lambda track: overlap(track.region, region))
            self.follow(back, region, now_s)
            return back
        self._tracks.append(Track(self._next_id, region, now_s))
        self._next_id += 1
        return self._tracks[-1]

    def forget(self, now_s: float) -> None:
        """Drops those lost for longer than HOLD_S; time that runs backwards drops them too."""
        self._tracks = [t for t in self._tracks if not t.lost or 0 <= now_s - t.seen_s <= HOLD_S]

    def clear(self) -> None:
        """Drops everybody. Ids go on counting."""
        self._tracks.clear()

    def move(self, change: Callable[[Region], Region]) -> None:
        """Carries every region to another picture size."""
        for track in self._tracks:
            track.region = change(track.region)
