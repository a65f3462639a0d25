"""Both marks on one picture after the other."""

from __future__ import annotations

from typing import Final, Self

import cv2
import numpy as np

from engine.marks.badge import Badge
from engine.marks.config import MarksConfig
from engine.types import U8, Mode
from engine.watermark import Embedder, Payload, open_embedder

_FULL_RANGE: Final = 255.0 / 219.0


class Marks:
    """The badge, then the watermark, of pictures of one size; those that `config` has on. One thread at a time.

    size: (width, height). payload: of the watermark. mode: what the badge says of them where it says more than AI.
    """

    def __init__(
        self,
        size: tuple[int, int],
        config: MarksConfig,
        payload: Payload,
        mode: Mode | None = None,
    ) -> None:
        self.size, self.config = size, config
        self._badge = Badge(size, config, mode) if config.badge else None
        self._embedder: Embedder | None = None
        if config.watermark:
            self._embedder = open_embedder((size[0] + size[0] % 2, size[1] + size[1] % 2), payload)

    @classmethod
    def of(cls, size: tuple[int, int], config: MarksConfig, session: str, mode: Mode | None = None) -> Self:
        """Of what was made today in a session of this id."""
        return cls(size, config, Payload.of(session), mode)

    def cut(self) -> None:
        """What comes next is no continuation: the badge takes to its ground at once."""
        if self._badge is not None:
            self._badge.cut()

    def compose(self, planes: U8) -> None:
        """Put them on I420 planes in place, uint8 (H * 3 / 2, W), C-contiguous, of even sides. Raises ValueError for
        another size."""
        width, height = self.size
        if planes.shape != (height * 3 // 2, width) or height % 2 or width % 2:
            raise ValueError(
                f"marks: got planes of shape {planes.shape}, expected {(height * 3 // 2, width)}"
            )
        if self._badge is not None:
            self._badge.compose(planes)
        if self._embedder is not None:
            self._embedder.embed(planes)

    def compose_rgb(self, rgb: U8) -> U8:
        """A copy of a picture, uint8 (H, W, 3) RGB of any sides, with them on. The watermark changes its three colours
        alike."""
        if rgb.shape != (self.size[1], self.size[0], 3):
            raise ValueError(f"marks: got a picture of shape {rgb.shape}, expected {(*self.size[::-1], 3)}")
        marked = np.array(rgb, np.uint8, order="C")
        if self._badge is not None:
            self._badge.compose_rgb(marked)
        return marked if self._embedder is None else _watermarked(marked, self._embedder)


def _watermarked(rgb: U8, embedder: Embedder) -> U8:
    height, width = rgb.shape[:2]
    whole = rgb
    if height % 2 or width % 2:
        whole = np.asarray(
            cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE), np.uint8
        )
    planes = np.asarray(cv2.cvtColor(whole, cv2.COLOR_RGB2YUV_I420), np.uint8)
    luma = planes[:height, :width].copy()
    embedder.embed(planes)
    change = cv2.subtract(planes[:height, :width], luma, dtype=cv2.CV_16S)
    change = cv2.addWeighted(change, _FULL_RANGE, change, 0.0, 0.0)
    return np.asarray(cv2.add(rgb, cv2.merge([change] * 3), dtype=cv2.CV_8U), np.uint8)
