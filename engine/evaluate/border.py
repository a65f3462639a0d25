"""How restless the border of a pasted picture is, against the same place of the frames that it was pasted into.

    J(x) = mean over frames t and pixels of their band of |x(t + 1) - 2 x(t) + x(t - 1)|,  ratio = J(out) / J(in)

A seam is seen because it moves otherwise than what lies beside it: it jumps, or changes its colour and back. The second
difference in time is what is left of a pixel once even motion and even change of light are taken out, and it counts a
flicker to and fro four times its height. Nothing is compensated: heads move, cameras are noisy, and what that does to
the band is the same in both, so it is what the output is divided by. 1 is a border that cannot be told from the
input's; what was smoothed lies below it. The band of t is taken for all three frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.crop import factor_of
from engine.errors import InputError
from engine.types import U8, Crop

BAND: Final = 0.025
"""Share of the crop's side by which the band reaches into what is wholly the pasted picture's."""
_SOLID = 255

Band = NDArray[np.bool_]


def band_of(mask: U8 | None, crop: Crop, shape: tuple[int, ...]) -> Band:
    """Where a paste begins, bool (H, W): its soft edge, and BAND of the crop's side inside of it.

    mask: uint8 (S, S), 255 = pasted, None = all of the crop. crop: frame to crop. shape: of the frame, height first.
    """
    height, width = shape[:2]
    alpha = np.full((crop.size, crop.size), _SOLID, np.uint8) if mask is None else mask
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    there = np.asarray(cv2.warpAffine(alpha, crop.matrix, (width, height), flags=flags), np.uint8)
    reach = max(1, round(BAND * crop.size / factor_of(crop)))
    box = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    # beyond the frame there is no edge: nothing was pasted there that could be seen
    inner = cv2.erode(there, box, borderType=cv2.BORDER_CONSTANT, borderValue=_SOLID)
    return np.asarray((there > 0) & (inner < _SOLID))


@dataclass(frozen=True, slots=True)
class Jitter:
    """output, given: J of both, grey levels. ratio: None where the given frames do not change at all. frames: of how
    many the second difference was taken."""

    output: float
    given: float
    ratio: float | None
    frames: int


class BorderJitter:
    """Gathers J over a clip, frame by frame, three of which are kept."""

    def __init__(self) -> None:
        self._past: list[tuple[U8, U8, Band]] = []
        self._sums, self._count, self._frames = np.zeros(2), 0, 0

    def add(self, output: U8, given: U8, band: Band) -> None:
        """The next frame. output, given: uint8 (H, W, 3). band: of `band_of`. Raises InputError for other shapes."""
        if output.shape != given.shape or band.shape != given.shape[:2]:
            raise InputError(
                f"border: got pictures {output.shape} and {given.shape} with a band {band.shape}, expected one size"
            )
        if self._past and self._past[-1][1].shape != given.shape:
            self.skip()
        self._past = [*self._past[-2:], (output, given, band)]
        if len(self._past) < 3:
            return
        within = self._past[1][2]
        if not within.any():
            return
        rows, columns = np.flatnonzero(within.any(1)), np.flatnonzero(within.any(0))
        place = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        chosen = within[place]
        for which in (0, 1):
            before, now, after = (frame[which][place][chosen].astype(np.int32) for frame in self._past)
            self._sums[which] += np.abs(after - 2 * now + before).sum()
        self._count += 3 * int(chosen.sum())
        self._frames += 1

    def skip(self) -> None:
        """A frame in which nothing was pasted: what follows is no neighbour of what came before."""
        self._past = []

    def found(self) -> Jitter | None:
        """None before three frames in a row."""
        if not self._frames:
            return None
        output, given = (self._sums / self._count).tolist()
        return Jitter(output, given, output / given if given > 0 else None, self._frames)
