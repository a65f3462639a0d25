"""What the per-frame graph answers, put over the background and into the picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numba import types

from engine.compiled import compiled_for
from engine.errors import PortError
from engine.generators.feather import feather
from engine.plug import Ports
from engine.types import F32, U8, Crop, Patch

LEAST_SHOWN = 0.25
"""Share of what is drawn that has to be person for a frame to be shown: a mask that is background there has failed."""

_SOFT = 2  # pixels by which what is pasted reaches beyond the person
_BOX = np.ones((2 * _SOFT + 1, 2 * _SOFT + 1), np.uint8)


@dataclass(slots=True, eq=False)
class Pasting:
    """A square of a picture that is generated anew every frame, and the memory that it is made in: what `patch` returns
    lives there until the next frame.

    background: float32 (S, S, 3), 0..255. hidden: float32 (S, S), 1 where the picture shows the person and not what is
    behind them. what: what has to be seen of the person, in words, for messages.
    """

    name: str
    what: str
    crop: Crop
    canvas: U8
    background: F32
    hidden: F32
    _rim: F32 = field(init=False)
    _rgb: U8 = field(init=False)
    _mask: U8 = field(init=False)
    _behind: F32 = field(init=False)
    _person: F32 = field(init=False)
    _wide: F32 = field(init=False)

    def __post_init__(self) -> None:
        size = self.crop.size
        height, width = self.canvas.shape[:2]
        self.background = np.ascontiguousarray(self.background, np.float32)
        self._rim = (np.float32(255.0) * rim_of(self.crop, (width, height))).astype(np.float32)
        self._behind, self._person, self._wide = (np.empty((size, size), np.float32) for _ in range(3))
        self._rgb, self._mask = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)

    def patch(self, outputs: Ports, drawn: U8) -> Patch:
        """outputs: colour and mask, 1 = background. drawn: uint8 (S, S), 1 where the mesh has what must be seen.

        Raises PortError where an answer does not fit, nothing is drawn, or too little of it is shown.
        """
        size = self.crop.size
        colour = port(outputs, "colour", (1, 3, size, size))[0]
        behind, person, wide = self._behind, self._person, self._wide
        np.clip(port(outputs, "mask", (1, 1, size, size))[0, 0], 0.0, 1.0, out=behind)
        np.subtract(1.0, behind, out=person)
        self._check_shown(person, drawn)
        _compose(np.ascontiguousarray(colour), behind, person, self.background, self._rgb)
        cv2.dilate(np.maximum(person, self.hidden, out=wide), _BOX, dst=behind)
        cv2.blur(behind, (2 * _SOFT + 1, 2 * _SOFT + 1), dst=wide)
        np.rint(np.multiply(wide, self._rim, out=wide), out=wide)
        np.copyto(self._mask, wide, casting="unsafe")
        return Patch(self._rgb, self._mask, self.crop, self.canvas)

    def _check_shown(self, person: F32, drawn: U8) -> None:
        pixels = int(drawn.sum())
        if pixels == 0:
            raise PortError(f"{self.name}: the {self.what} is turned or moved out of its picture")
        share = float(np.multiply(person, drawn, out=self._wide).sum()) / pixels
        if not share >= LEAST_SHOWN:
            raise PortError(
                f"{self.name}: the mask shows {share:.0%} of the {self.what}, expected {LEAST_SHOWN:.0%} or more; "
                "train longer"
            )


_CUBE = types.Array(types.float32, 3, "C", readonly=True)
_PLANE = types.float32[:, ::1]
_HALF, _WHITE, _NONE = np.float32(127.5), np.float32(255.0), np.float32(0.0)


@compiled_for(types.void(_CUBE, _PLANE, _PLANE, _CUBE, types.uint8[:, :, ::1]))
def _compose(colour: F32, behind: F32, person: F32, background: F32, rgb: U8) -> None:
    """The paper's picture: mask * background + (1 - mask) * colour. colour: (3, S, S), -1..1. rgb: written."""
    one = np.float32(1.0)
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            for c in range(3):
                shown = _HALF * (colour[c, y, x] + one) * person[y, x] + background[y, x, c] * behind[y, x]
                rgb[y, x, c] = np.uint8(np.rint(min(max(shown, _NONE), _WHITE)))


def rim_of(crop: Crop, picture: tuple[int, int]) -> F32:
    """Weights (S, S) of the pasted square: it fades out at its edges, but not where the picture ends there too."""
    size = crop.size
    fading, factor = feather(size), float(crop.matrix[0, 0])
    along = np.array([fading[size // 2], fading[:, size // 2]])  # across x, across y
    half = size // 2
    for axis, length in enumerate(picture):
        start, end = crop.matrix[axis, 2] - 0.5 * factor, crop.matrix[axis, 2] + factor * (length - 0.5)
        if start >= -1.0:
            along[axis, :half] = 1.0
        if end <= size:
            along[axis, half:] = 1.0
    return np.asarray(np.minimum(along[1][:, None], along[0][None, :]), np.float32)


def port(outputs: Ports, name: str, shape: tuple[int, ...]) -> F32:
    """An answer by its name, looked at. Raises PortError."""
    array = outputs.get(name)
    if array is None or array.shape != shape or array.dtype != np.float32:
        got = "none" if array is None else f"{array.shape} {array.dtype}"
        raise PortError(f"port {name!r}: expected {shape} float32, got {got}")
    return array
