"""Real reenacted pictures, as they are before any mark: the default generator's, from portraits and clips."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from fractions import Fraction
from itertools import chain, cycle
from pathlib import Path

import cv2
import numpy as np

from engine.media import open_media
from engine.media.planes import i420_of
from engine.puppet import Opening, load, open_session
from engine.types import U8, Frame

RATE = 30


def covering(rgb: U8, size: tuple[int, int]) -> U8:
    """A picture resized until it covers (width, height), and cut to it, more at the bottom than at the top."""
    height, width = rgb.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    whole = max(size[0], round(width * scale)), max(size[1], round(height * scale))
    resized = cv2.resize(rgb, whole, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    left, top = (whole[0] - size[0]) // 2, (whole[1] - size[1]) // 3
    return np.ascontiguousarray(resized[top : top + size[1], left : left + size[0]], np.uint8)


def driven(portrait: Path, driver: Path, size: tuple[int, int], frames: int) -> Iterator[U8]:
    """I420 planes (H * 3 / 2, W) of the portrait moved by the clip, which is played to and fro, 30 a second."""
    with open_media(driver) as media:
        clip = [frame for _, frame in zip(range(frames), media)]
    there_and_back = cycle(chain(clip, clip[-2:0:-1]))
    opening = Opening()
    loaded = load(portrait, opening)
    with ExitStack() as opened:
        opened.callback(loaded.runner.close)
        tracker = opened.enter_context(closing(opening.tracker()))
        session = open_session(loaded, opening, tracker, opened)
        for index, frame in zip(range(frames), there_and_back):
            timed = replace(frame, pts=index, time_base=Fraction(1, RATE))
            shown, _report = session.step(Frame(timed.rgb, timed.pts, timed.time_base, index / RATE))
            yield i420_of(covering(shown.rgb, size))


def face_square(luma: U8) -> tuple[slice, slice] | None:
    """Where a call app cuts a face out: a square of twice its height about it, within the picture; None without one."""
    frame = Frame(np.repeat(luma[..., None], 3, axis=2), 0, Fraction(1, RATE), 0.0)
    with closing(Opening().detector()) as detector:
        faces = detector.track(frame)
    if not faces:
        return None
    x0, y0, x1, y1 = (float(value) for value in faces[0].box)
    side = int(min(2.0 * (y1 - y0), *luma.shape))
    left = int(np.clip((x0 + x1 - side) / 2, 0, luma.shape[1] - side))
    top = int(np.clip((y0 + y1 - side) / 2, 0, luma.shape[0] - side))
    return slice(top, top + side), slice(left, left + side)
