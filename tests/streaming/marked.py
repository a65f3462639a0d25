"""Pictures of somebody who moves, on their way out, and whether what arrives carries both marks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from importlib import resources

import cv2
import numpy as np

from engine.marks.badge import Badge
from engine.marks.drawing import covers
from engine.media import decode_picture
from engine.media.planes import i420_of
from engine.types import F32, U8
from engine.watermark import Found, Payload, open_detector
from engine.worker.interface import SourceInfo, Stamp
from streaming.config import ServeConfig
from streaming.peer import Peer
from tests.streaming.doorstep import Site, open_site
from tests.streaming.whip.house import HouseWorker

SIDE = 384
FRAMES = 16
"""Pictures that are looked at on each way."""
_CROPPED = 0.05
"""Of each side: a call app's tile is the middle square, a little closer."""


@cache
def portrait(number: int) -> U8:
    """RGB (SIDE, SIDE, 3): the sample portrait, swaying; without marks."""
    data = resources.files("engine").joinpath("data/sample_portrait.webp").read_bytes()
    small = cv2.resize(decode_picture(data, "sample"), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    move = np.array([[1, 0, 4 * np.sin(number / 4)], [0, 1, 3 * np.cos(number / 5)]], np.float32)
    return np.asarray(cv2.warpAffine(small, move, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT), np.uint8)


class PortraitWorker(HouseWorker):
    """Answers each frame with the portrait, moved a little. frames: the driver's, as they came."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[U8] = []
        self._number = 0
        self.making = self._made

    def add_source(self, data: bytes, name: str) -> Future[SourceInfo]:
        future: Future[SourceInfo] = Future()
        info = SourceInfo("a" * 64, name, (SIDE, SIDE), 1, i420_of(portrait(0)))
        self.sources[info.id] = info
        future.set_result(info)
        return future

    def post(self, session: str, rgb: U8, stamp: Stamp) -> bool:
        self.frames.append(rgb.copy())
        return super().post(session, rgb, stamp)

    def _made(self, session: str, rgb: U8, stamp: Stamp) -> U8:
        self._number += 1
        return i420_of(portrait(self._number % 32))


@contextmanager
def open_studio(config: ServeConfig | None = None) -> Iterator[Site]:
    """A server whose sessions show the portrait. MAROTTE_STATE has to name a folder of the test's."""
    worker = PortraitWorker()
    worker.start()
    try:
        with open_site(config, worker=worker, open_peer=Peer.open) as site:  # type: ignore[arg-type]
            yield site
    finally:
        worker.close()


class Looked:
    """The last FRAMES of some pictures' luma, each uint8 (H, W) of one size, whole or as a call app shows them. made:
    (width, height) that they were generated at, where that is another."""

    def __init__(
        self, lumas: Sequence[U8], *, cropped: bool = False, made: tuple[int, int] | None = None
    ) -> None:
        assert len(lumas) >= FRAMES, f"only {len(lumas)} pictures came"
        height, width = lumas[-1].shape
        side = min(height, width)
        inset = round(_CROPPED * side) if cropped else 0
        self._left = (width - side) // 2 + inset if cropped else 0
        self._top = (height - side) // 2 + inset if cropped else 0
        wide, tall = width - 2 * self._left, height - 2 * self._top
        self._size, self._made = (width, height), made or (width, height)
        self.lumas = [
            np.ascontiguousarray(luma[self._top : self._top + tall, self._left : self._left + wide])
            for luma in lumas[-FRAMES:]
        ]

    @property
    def mean(self) -> F32:
        return np.mean(self.lumas, axis=0, dtype=np.float32)

    def watermark(self) -> Found:
        detector = open_detector()
        for luma in self.lumas:
            detector.add(luma)
        return detector.result()

    def badge(self) -> float:
        """How alike the badge's place is to the badge, -1 .. 1."""
        share = self._size[0] / self._made[0]
        box = Badge((self._made[0] & ~1, self._made[1] & ~1)).box
        x0, y0, x1, y1 = (round(share * side) for side in box)
        ink, rim, plate = covers("AI", x1 - x0, y1 - y0)
        drawn, mask = np.maximum(ink, 0.5 * rim), (plate > 0.5).astype(np.float32)
        x, y = x0 - self._left, y0 - self._top
        about = self.mean[max(0, y - 3) : y + drawn.shape[0] + 3, max(0, x - 3) : x + drawn.shape[1] + 3]
        if about.shape[0] < drawn.shape[0] or about.shape[1] < drawn.shape[1]:
            return -1.0
        found = cv2.matchTemplate(np.ascontiguousarray(about), drawn, cv2.TM_CCOEFF_NORMED, mask=mask)
        return float(np.nan_to_num(found, nan=-1.0, posinf=-1.0).max())


def lumas(planes: Sequence[U8]) -> list[U8]:
    """Of the I420 planes of that size of which most came: a narrow way is given smaller pictures meanwhile."""
    if not planes:
        return []
    ((shape, _),) = Counter(one.shape for one in planes).most_common(1)
    return [one[: shape[0] * 2 // 3] for one in planes if one.shape == shape]


def enough(planes: Sequence[U8]) -> bool:
    """Whether so many came that they can be looked at, the first ones left out."""
    return len(lumas(planes)) >= FRAMES + 8


def check(
    pictures: Sequence[U8], session: str | None = None, *, made: tuple[int, int] | None = (SIDE, SIDE)
) -> None:
    """That both marks are in these lumas, also as a call app shows them. session: whose id the watermark says.
    made: as of Looked."""
    for cropped in (False, True):
        looked = Looked(pictures, cropped=cropped, made=made)
        assert looked.badge() > 0.8, f"no badge{' after the crop' * cropped}"
        found = looked.watermark()
        assert found.present, f"no watermark{' after the crop' * cropped}"
        if session is not None:
            assert found.payload == Payload.of(session)


def check_none(pictures: Sequence[U8]) -> None:
    """That neither is there."""
    looked = Looked(pictures)
    assert looked.badge() < 0.6
    assert not looked.watermark().present
