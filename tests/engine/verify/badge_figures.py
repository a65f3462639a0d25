"""What the badge's likeness is with and without a badge: `python -m tests.engine.verify.badge_figures FACES [EVERY]`.

FACES: a folder with drivers/ and portraits/; EVERY: only each so many-th file. Prints the figures of docs/verify.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from engine.errors import MarotteError
from engine.marks import Marks, MarksConfig
from engine.marks.wording import LANGUAGES
from engine.media import open_media
from engine.types import U8
from engine.verify.badges import MeanPicture, find_badge
from engine.verify.looking import luma_of

_FRAMES, _EVERY = 8, 6
_SQUARE = "middle square"
_WAYS: dict[str, Callable[[U8], U8]] = {
    "as it is": lambda rgb: rgb,
    "halved, JPEG 40": lambda rgb: _coded(
        cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    ),
    "a twentieth off each side": lambda rgb: _inside(rgb, 0.05),
    _SQUARE: lambda rgb: _square(rgb),
}


def _coded(rgb: U8) -> U8:
    return cv2.imdecode(cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)


def _inside(rgb: U8, share: float) -> U8:
    down, across = round(share * rgb.shape[0]), round(share * rgb.shape[1])
    return rgb[down : rgb.shape[0] - down, across : rgb.shape[1] - across]


def _square(rgb: U8) -> U8:
    side = min(rgb.shape[:2])
    top, left = (rgb.shape[0] - side) // 2, (rgb.shape[1] - side) // 2
    return rgb[top : top + side, left : left + side]


def _likeness(frames: list[U8]) -> tuple[float, str]:
    mean = MeanPicture()
    for rgb in frames:
        mean.add(luma_of(rgb))
    seen = find_badge(mean.picture())
    return seen.likeness, seen.text


def _frames(path: Path) -> list[U8]:
    with open_media(path) as media:
        return [frame.rgb for number, frame in zip(range(_FRAMES * _EVERY), media) if number % _EVERY == 0]


def main(words: list[str]) -> None:
    """As the module says."""
    faces, every = Path(words[0]), int(words[1]) if len(words) > 1 else 1
    plain: list[float] = []
    marked: dict[tuple[str, str], list[float]] = {}
    files = sorted(path for room in ("drivers", "portraits") for path in (faces / room).iterdir())
    for path in files[::every]:
        try:
            frames = _frames(path)
        except MarotteError:
            continue
        plain.append(_likeness(frames)[0])
        size = (frames[0].shape[1], frames[0].shape[0])
        for language in ("en", "de", "zh"):
            marks = Marks.of(size, MarksConfig(watermark=False, language=language), "figures")
            shown = [marks.compose_rgb(rgb) for rgb in frames]
            for way, change in _WAYS.items():
                if way == _SQUARE and size[1] > size[0]:
                    continue  # of a tall picture the badge keeps to the whole width: docs/marks.md
                likeness, text = _likeness([change(rgb) for rgb in shown])
                right = text == LANGUAGES[language].label
                marked.setdefault((language, way), []).append(likeness if right else -1.0)
        print(f"{path.name}: {plain[-1]:.2f}", file=sys.stderr, flush=True)
    print(f"without a badge, {len(plain)} files: at most {max(plain):.3f}, median {np.median(plain):.3f}")
    for (language, way), found in marked.items():
        print(f"{language}, {way}: least {min(found):.3f}, median {np.median(found):.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
