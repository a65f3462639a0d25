"""One person's enrolment on disk, frame by frame: no clip is ever in memory.

FOLDER/clip.json          format, size (side of the crops), frames: their numbers in the video, in order
FOLDER/crops/000012.png   RGB, (size, size)
FOLDER/masks/000012.png   foreground of the crop, grey, 0 or 255, of any side
FOLDER/codes.npy          float32 (frames, num_ws, w_dim): the pivots
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.errors import DataError, PictureError
from trainers.stit.masks import BORDER, INNER, OUTER, StitchingMasks, stitching_masks

FORMAT = 1
_OFFICIAL_SIDE = 1024


class Clip:
    """Opens an enrolment's folder. size: side of the crops. frames: their numbers. Raises DataError where it is not
    whole; a picture that cannot be read raises PictureError when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        about = _about(folder / "clip.json")
        try:
            self.size = int(about["size"])
            self.frames = [int(number) for number in about["frames"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{folder / 'clip.json'}: incomplete ({error!r}); enrol the clip anew") from error
        if about.get("format") != FORMAT or not self.frames or not 4 <= self.size <= 4096:
            raise DataError(f"{folder / 'clip.json'}: of another format, or empty; enrol the clip anew")
        self._codes = self._read_codes()

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def rows(self) -> tuple[int, int]:
        """(num_ws, w_dim) of the codes."""
        _, rows, numbers = self._codes.shape
        return int(rows), int(numbers)

    def code(self, index: int) -> Tensor:
        """The pivot of a frame, (1, num_ws, w_dim)."""
        return torch.from_numpy(np.array(self._codes[index : index + 1]))

    def mean_code(self) -> Tensor:
        """The person's mean, (1, num_ws, w_dim)."""
        return torch.from_numpy(np.asarray(self._codes.mean(0, dtype=np.float64), np.float32)[None])

    def crop(self, index: int) -> Tensor:
        """(1, 3, size, size) in -1..1."""
        pixels = self._picture("crops", index, cv2.IMREAD_COLOR)
        if pixels.shape[:2] != (self.size, self.size):
            raise PictureError(
                f"{self._path('crops', index)}: of {pixels.shape[:2]}, expected {self.size} px"
            )
        rgb = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1)))
        return (rgb.float() / 127.5 - 1.0)[None]

    def masks(
        self, index: int, border: int = BORDER, inner: int = INNER, outer: int = OUTER
    ) -> StitchingMasks:
        """The stitching masks at the crop's size. border, inner, outer: pixels of a crop of 1024, in proportion."""
        grey = self._picture("masks", index, cv2.IMREAD_GRAYSCALE)
        mask = torch.from_numpy((grey >= 128).astype(np.float32))[None, None]

        def scaled(pixels: int) -> int:
            return round(pixels * int(grey.shape[0]) / _OFFICIAL_SIDE)

        found = stitching_masks(mask, border=scaled(border), inner=scaled(inner), outer=scaled(outer))
        return found if grey.shape[0] == self.size else found.resized(self.size)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the frames' numbers and codes: what a tuning that is resumed has to find again."""
        text = json.dumps([self.size, self.frames]).encode()
        return hashlib.sha256(text + self._codes.tobytes()).hexdigest()

    def _path(self, kind: str, index: int) -> Path:
        return self.folder / kind / f"{self.frames[index]:06d}.png"

    def _picture(self, kind: str, index: int, how: int) -> npt.NDArray[np.uint8]:
        path = self._path(kind, index)
        pixels = cv2.imread(str(path), how)
        if pixels is None:
            raise PictureError(f"{path}: missing or no picture; enrol the clip anew")
        return np.asarray(pixels, np.uint8)

    def _read_codes(self) -> npt.NDArray[np.float32]:
        path = self.folder / "codes.npy"
        try:
            codes = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{path}: not readable ({error}); enrol the clip anew") from error
        if codes.dtype != np.float32 or codes.ndim != 3 or len(codes) != len(self.frames):
            raise DataError(
                f"{path}: {codes.shape} {codes.dtype}, expected ({len(self.frames)}, rows, w_dim) float32"
            )
        kept: npt.NDArray[np.float32] = codes
        return kept


def _about(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable ({error}); enrol the clip anew") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds no JSON object; enrol the clip anew")
    return found
