"""What the per-frame graph answers, put over the background and into the picture."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

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

    def __post_init__(self) -> None:
        size = self.crop.size
        height, width = self.canvas.shape[:2]
        self._rim = rim_of(self.crop, (width, height))
        self._rgb, self._mask = np.empty((size, size, 3), np.uint8), np.empty((size, size), np.uint8)

    def patch(self, outputs: Ports, drawn: U8) -> Patch:
        """outputs: colour and mask, 1 = background. drawn: uint8 (S, S), 1 where the mesh has what must be seen.

        Raises PortError where an answer does not fit, nothing is drawn, or too little of it is shown.
        """
        size = self.crop.size
        colour = port(outputs, "colour", (1, 3, size, size))[0]
        behind = np.clip(port(outputs, "mask", (1, 1, size, size))[0, 0], 0.0, 1.0)
        person = 1.0 - behind
        self._check_shown(person, drawn)
        shown = 127.5 * (colour.transpose(1, 2, 0) + 1.0) * person[..., None]
        shown += self.background * behind[..., None]
        np.copyto(self._rgb, np.rint(np.clip(shown, 0.0, 255.0)), casting="unsafe")
        wide = cv2.blur(cv2.dilate(np.maximum(person, self.hidden), _BOX), (2 * _SOFT + 1, 2 * _SOFT + 1))
        np.copyto(self._mask, np.rint(255.0 * wide * self._rim), casting="unsafe")
        return Patch(self._rgb, self._mask, self.crop, self.canvas)

    def _check_shown(self, person: F32, drawn: U8) -> None:
        pixels = int(drawn.sum())
        if pixels == 0:
            raise PortError(f"{self.name}: the {self.what} is turned or moved out of its picture")
        share = float((person * drawn).sum()) / pixels
        if not share >= LEAST_SHOWN:
            raise PortError(
                f"{self.name}: the mask shows {share:.0%} of the {self.what}, expected {LEAST_SHOWN:.0%} or more; "
                "train longer"
            )


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
