"""The mask of what stands in front of faces, kept steady in each face's own frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from engine.occlusion import atlas
from engine.occlusion.hand_shape import draw_hand
from engine.occlusion.skin import Skin
from engine.track.hand_model import Hand
from engine.track.hands import HandTracker
from engine.track.region import Region, whole
from engine.types import F32, U8, Face, Frame

HAND_ON_S, THING_ON_S, OFF_S = 0.03, 0.06, 0.2
"""Time constants: what is drawn of a hand appears at once, what the skin shows after about two frames, and both go
slowly."""

_LOW, _HIGH = 0.35, 0.65
_VIEW = 2.4
_LOOK_AGAIN_S = 0.1
_STIRRED = 0.02
_LONGEST_GAP_S = 1.0
_NEAR = 1.2
_SURE = 0.85


class Hands(Protocol):
    """What finds hands."""

    def track(self, frame: Frame, view: Region | None = None, *, look: bool = False) -> tuple[Hand, ...]: ...

    def reset(self) -> None: ...

    def close(self) -> None: ...


class FaceOcclusion:
    """Hands by their points, and other things by what the skin of each face has looked like so far.

    A face's memory begins with its track. Nothing but hands is told in its first half second; what covers a face from
    the start is part of it until it goes, and a thing of the colour of skin is not told. Not for several threads at
    once.

    On one thread a face costs about 1 CPU ms per frame beside the hands; see HandTracker for those.
    """

    def __init__(
        self, backend: str = "auto", cache: Path | None = None, *, hands: Hands | None = None
    ) -> None:
        """backend, cache: as for HandModel. hands: in place of a HandTracker of their own."""
        self._hands: Hands = HandTracker(backend, cache, sure=_SURE) if hands is None else hands
        atlas.warm_up()
        self.reset()

    def reset(self) -> None:
        """Forget every face and hand, as for another driver."""
        self._memories: dict[int, _Memory] = {}
        self._size = (0, 0)
        self._time_s = -math.inf
        self._looked_s = -math.inf
        self._hands.reset()

    def close(self) -> None:
        """Let go of the models."""
        self._hands.close()

    def mask(self, frame: Frame, faces: Sequence[Face]) -> U8 | None:
        """uint8 (H, W), 255 = something covers a face there; None where nothing covers any of these faces."""
        gap = frame.time_s - self._time_s
        if frame.size != self._size or not 0.0 <= gap <= _LONGEST_GAP_S:
            self.reset()
        self._size, self._time_s = frame.size, frame.time_s
        if not faces:
            return None
        self._memories = {face.track_id: self._memories.get(face.track_id) or _Memory() for face in faces}
        drawn = self._drawn_hands(frame, faces)
        mask = drawn
        for face in faces:
            level = self._memories[face.track_id].level(frame, face, drawn)
            if level is not None:
                mask = np.zeros(frame.rgb.shape[:2], np.uint8) if mask is None else mask
                atlas.draw(level, face.points, mask)
        return mask

    def _drawn_hands(self, frame: Frame, faces: Sequence[Face]) -> U8 | None:
        """The hands that come near a face, None without one."""
        stirred = any(self._memories[face.track_id].stirred for face in faces)
        look = stirred and frame.time_s - self._looked_s >= _LOOK_AGAIN_S
        if look:
            self._looked_s = frame.time_s
        hands = self._hands.track(frame, _view(faces, frame.size), look=look)
        near = [hand for hand in hands if any(_meets(hand.points, face) for face in faces)]
        if not near:
            return None
        mask = np.zeros(frame.rgb.shape[:2], np.uint8)
        for hand in near:
            draw_hand(mask, hand.points)
        return mask


class _Memory:
    """What is known of one face. stirred: its skin has changed, so that a hand may have come."""

    def __init__(self) -> None:
        self._skin = Skin()
        self._hand = np.zeros(int(atlas.atlas().inside.sum()), np.float32)
        self._thing = np.zeros_like(self._hand)
        self._time_s: float | None = None
        self.stirred = False

    def level(self, frame: Frame, face: Face, drawn: U8 | None) -> F32 | None:
        """How much of the face is covered, float32 (SIZE, SIZE) of 0..1 in its own frame; None where nothing is."""
        dt = 0.0 if self._time_s is None else frame.time_s - self._time_s
        self._time_s = frame.time_s
        places = atlas.where(face.points)
        hand = np.zeros_like(self._hand)
        if drawn is not None:
            hand = np.asarray(atlas.read(drawn, places) / 255.0, np.float32)
        rgb = atlas.read(frame.rgb, places)
        thing = self._skin.covered(rgb, atlas.facing(face.points), hand > 0.0, dt)
        self.stirred = self._skin.changed > _STIRRED
        _follow(self._hand, hand, dt, HAND_ON_S)
        _follow(self._thing, thing, dt, THING_ON_S)
        both = np.maximum(self._hand, self._thing)
        if not both.max() > _LOW:
            return None
        return atlas.spread(np.clip((both - _LOW) / (_HIGH - _LOW), 0.0, 1.0))


def _follow(level: F32, target: F32, dt: float, on_s: float) -> None:
    """Move a level to its target, fast up and slowly down."""
    up, down = (1.0 - math.exp(-dt / time_s) for time_s in (on_s, OFF_S))
    level += np.where(target > level, up, down).astype(np.float32) * (target - level)


def _view(faces: Sequence[Face], size: tuple[int, int]) -> Region:
    """Where palms are looked for: the square around the first face, or the picture where there are several."""
    if len(faces) > 1:
        return whole(*size)
    x0, y0, x1, y1 = (float(value) for value in faces[0].box)
    return Region(0.5 * (x0 + x1), 0.5 * (y0 + y1), max(1.0, _VIEW * max(x1 - x0, y1 - y0)), 0.0)


def _meets(points: F32, face: Face) -> bool:
    """Whether a hand's box meets that of a face, made larger by what a crop holds around it."""
    low, high = points.min(0), points.max(0)
    middle, half = 0.5 * (face.box[:2] + face.box[2:]), 0.5 * _NEAR * (face.box[2:] - face.box[:2])
    return bool((low <= middle + half).all() and (high >= middle - half).all())
