"""The visible mark: a small plate with the letters AI, which says that what is seen was generated."""

from __future__ import annotations

from typing import Final, NamedTuple

import cv2
import numpy as np

from engine.marks.config import MarksConfig
from engine.marks.drawing import aspect, averaged, covers
from engine.marks.wording import LANGUAGES
from engine.types import F32, U8, Mode

_LEAST_PIXELS: Final = 20
_MARGIN: Final = 0.065
"""Of the shorter side: a tenth may be cropped away around it. It is clear of the strip, which covers a 32nd of the
height."""
_MOST_ACROSS: Final = 0.5
_MOST_WORDS: Final = 0.9

_INK: Final = (235.0, 128.0, 128.0)  # Y U V, BT.601 limited range


class _Look(NamedTuple):
    """plate: Y U V. plate_alpha, rim_alpha: 0 .. 1; the rim is of the letters' colour."""

    plate: tuple[float, float, float]
    plate_alpha: float
    rim_alpha: float


_ON_DARK: Final = _Look((62.0, 132.0, 124.0), 0.8, 0.85)
_ON_LIGHT: Final = _Look((16.0, 130.0, 126.0), 0.85, 0.22)

DARK, LIGHT = 96.0, 120.0
"""Luma (BT.601 limited range) below which a ground is taken for dark, and above which for light; between them it stays
what it was."""
_MEMORY: Final = 0.05  # of each picture's ground in the remembered one
STEPS: Final = 40
"""Pictures from one look to the other."""


class Badge:
    """White letters on a rounded plate with a rim. The letters stay white and the plate dark, so that a mixture of two
    pictures shows them too; the plate is darker and its rim fainter on a light ground, lighter with a strong rim on a
    dark one. It follows a change of ground in STEPS pictures, and not before it has lasted, so that nothing flickers.

    It stands in its corner of the picture's middle square (of a tall picture: of its whole), where a call app's square
    tile keeps it, and a crop by a tenth.

    size: (width, height) of the pictures. mode: what is said where `config.words` asks for it. It keeps working
    buffers and what it remembers of the ground: one thread at a time.
    """

    def __init__(
        self, size: tuple[int, int], config: MarksConfig | None = None, mode: Mode | None = None
    ) -> None:
        config = config or MarksConfig()
        self._size = size
        text = LANGUAGES[config.language].text((mode or Mode.PUPPET) if config.words else None)
        self.box = _box(size, config, aspect(text), _MOST_WORDS if config.words else _MOST_ACROSS)
        """x0 y0 x1 y1 in pixels of the picture, each even."""
        x0, y0, x1, y1 = self.box
        wide, tall = x1 - x0, y1 - y0
        fine = covers(text, wide, tall)
        halved = tuple(averaged(cover, wide // 2, tall // 2) for cover in fine)
        self._planes = [_Layer(of, channel) for channel, of in enumerate((fine, halved, halved))]
        self._colours = [_Layer(fine, channel, rgb=True) for channel in range(3)]
        self._ground: float | None = None
        self._target = self._step = 0

    def compose(self, planes: U8) -> None:
        """Draw it in place into I420 planes, uint8 (H * 3 / 2, W), C-contiguous. Raises ValueError for another size."""
        width, height = self._size
        if planes.shape != (height * 3 // 2, width) or height % 2 or width % 2:
            raise ValueError(
                f"badge: got planes of shape {planes.shape}, expected {(height * 3 // 2, width)}"
            )
        x0, y0, x1, y1 = self.box
        area = planes[y0:y1, x0:x1]
        self._follow(cv2.mean(area)[0])
        self._planes[0].compose(area, self._step)
        chroma = planes[height:].reshape(2, height // 2, width // 2)
        for layer, plane in zip(self._planes[1:], chroma):
            layer.compose(plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2], self._step)

    def compose_rgb(self, rgb: U8) -> None:
        """The same in place into RGB, uint8 (H, W, 3)."""
        width, height = self._size
        if rgb.shape != (height, width, 3):
            raise ValueError(f"badge: got a picture of shape {rgb.shape}, expected {(height, width, 3)}")
        x0, y0, x1, y1 = self.box
        area = rgb[y0:y1, x0:x1]
        red, green, blue, _ = cv2.mean(area)
        self._follow(16.0 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255.0)
        for channel, layer in enumerate(self._colours):
            layer.compose(area[..., channel], self._step)

    def cut(self) -> None:
        """Forget the ground: the next picture's is taken at once."""
        self._ground = None

    def _follow(self, luma: float) -> None:
        """Move towards the look that this ground asks for."""
        if self._ground is None:
            self._ground, self._target = luma, STEPS if luma > 0.5 * (DARK + LIGHT) else 0
            self._step = self._target
            return
        self._ground += _MEMORY * (luma - self._ground)
        if self._ground < DARK:
            self._target = 0
        elif self._ground > LIGHT:
            self._target = STEPS
        self._step += int(np.sign(self._target - self._step))


class _Layer:
    """One plane of the badge, premultiplied: picture * keep + add, in 256ths; of both looks, and of what is between."""

    def __init__(self, of: tuple[F32, ...], channel: int, *, rgb: bool = False) -> None:
        (alpha, colour), (other, second) = (_over(of, look, channel, rgb) for look in (_ON_DARK, _ON_LIGHT))
        self._keeps = [np.rint((1.0 - one) * 256.0).astype(np.int32) for one in (alpha, other)]
        self._adds = [np.rint(one * 256.0 + 127.0).astype(np.int32) for one in (colour, second)]
        self._keep, self._add = np.empty(alpha.shape, np.uint16), np.empty(alpha.shape, np.uint16)
        self._sum, self._part = np.empty_like(self._add), np.empty_like(self._keeps[0])
        self._step = -1

    def compose(self, area: U8, step: int) -> None:
        """step: 0 on a dark ground .. STEPS on a light one."""
        if step != self._step:
            self._step = step
            self._mix(self._keeps, self._keep)
            self._mix(self._adds, self._add)
        np.multiply(area, self._keep, out=self._sum, dtype=np.uint16)
        self._sum += self._add
        self._sum >>= 8
        area[:] = self._sum

    def _mix(self, two: list[np.ndarray], out: np.ndarray) -> None:
        dark, light = two
        np.subtract(light, dark, out=self._part)
        self._part *= self._step
        self._part //= STEPS
        self._part += dark
        out[:] = self._part


def _over(of: tuple[F32, ...], look: _Look, channel: int, rgb: bool) -> tuple[F32, F32]:
    """Ink over rim over plate: (alpha, premultiplied colour) of one channel."""
    ink, rim, plate = of
    ground, light = (_rgb(one)[channel] if rgb else one[channel] for one in (look.plate, _INK))
    alpha = plate * np.float32(look.plate_alpha)
    colour = alpha * np.float32(ground)
    for cover in (rim * np.float32(look.rim_alpha), ink):
        colour = colour * (1.0 - cover) + cover * np.float32(light)
        alpha = alpha * (1.0 - cover) + cover
    return alpha, colour


def _rgb(yuv: tuple[float, float, float]) -> tuple[float, float, float]:
    y, u, v = 1.164383 * (yuv[0] - 16.0), yuv[1] - 128.0, yuv[2] - 128.0
    red, green, blue = y + 1.596027 * v, y - 0.391762 * u - 0.812968 * v, y + 2.017232 * u
    return min(255.0, max(0.0, red)), min(255.0, max(0.0, green)), min(255.0, max(0.0, blue))


def _box(size: tuple[int, int], config: MarksConfig, shape: float, most: float) -> tuple[int, int, int, int]:
    width, height = size[0] & ~1, size[1] & ~1
    scale = min(height, width * 2)  # a tall picture's badge fits its width
    tall = _even(min(max(_LEAST_PIXELS, scale * config.size), height / 2, most * width / shape))
    wide = min(_even(shape * tall), width)
    margin = max(_LEAST_PIXELS / 2, _MARGIN * min(width, height))
    beside = _even(min(max(0.0, (width - height) / 2) + margin, width - wide))
    above = _even(min(max(margin, height / 22), height - tall))
    if config.words:  # a long one may be wider than the middle square
        beside = min(beside, max(0, (width - wide) // 4 * 2))
    x0 = beside if config.place.endswith("left") else width - wide - beside
    y0 = above if config.place.startswith("top") else height - tall - above
    return x0, y0, x0 + wide, y0 + tall


def _even(value: float) -> int:
    return max(2, 2 * int(value / 2 + 0.25))
