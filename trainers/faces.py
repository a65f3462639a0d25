"""Face pictures with their labels, as every trainer reads them, wherever they come from.

Conventions: pictures float32 (3, S, S) RGB in -1..1; landmarks float32 (68, 2) x y in pixels of that picture, pixel
centres at integers, 300-W order; AUs float32 (17,) in 0..1, order AU_NAMES; parsing masks int64 (S, S), the 19 classes
of CelebAMask-HQ, whose sides are those of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.errors import PictureError

U8 = npt.NDArray[np.uint8]
Read = Callable[[int], U8]

AU_NAMES = (
    "AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10", "AU12",
    "AU14", "AU15", "AU17", "AU20", "AU23", "AU25", "AU26", "AU45",
)  # fmt: skip
"""The 17 action units of OpenFace, in its order. A value of 1 is OpenFace's intensity 5."""

PARSING_CLASSES = 19
CACHE_BYTES = 2 << 30
"""Decoded pictures up to this many bytes are kept in memory, so that a training is not bound by decoding."""

LANDMARK_MIRROR = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip
"""Landmark k of a mirrored picture is landmark LANDMARK_MIRROR[k] of the picture."""

PARSING_MIRROR = (0, 1, 2, 3, 5, 4, 7, 6, 9, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18)
"""What a class is called in the mirrored picture: eyes, brows and ears change sides."""

_MIRROR = torch.tensor(LANDMARK_MIRROR)
_CLASSES = torch.tensor(PARSING_MIRROR)


class Faces:
    """N pictures of one split. Safe to be read by several processes; pictures in memory are shared by a fork.

    names: of each, for messages. pixels: index to uint8 (S, S, 3) RGB at `size`, raising PictureError. parsing: the
    same to uint8 (S, S), or None. aus: float32 (N, 17), landmarks: float32 (N, 68, 2), or None. persons: one name per
    picture. bases: per picture the index of the one it was synthesised from, -1 for a real one.
    """

    def __init__(
        self,
        names: Sequence[str],
        pixels: Read,
        *,
        size: int,
        aus: npt.NDArray[np.float32] | None = None,
        landmarks: npt.NDArray[np.float32] | None = None,
        parsing: Read | None = None,
        persons: Sequence[str] | None = None,
        bases: Sequence[int] | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.names, self.size = tuple(names), size
        self.aus = None if aus is None else torch.from_numpy(np.ascontiguousarray(aus, np.float32))
        self.landmarks = (
            None if landmarks is None else torch.from_numpy(np.ascontiguousarray(landmarks, np.float32))
        )
        people = list(persons) if persons is not None else list(names)
        self.persons = tuple(dict.fromkeys(people))
        """Everybody in the split, in the order of their first picture."""
        places = {person: place for place, person in enumerate(self.persons)}
        self.person = torch.tensor([places[one] for one in people], dtype=torch.int64)
        """int64 (N,): whose picture it is, an index of `persons`."""
        self.base = torch.tensor([-1] * len(names) if bases is None else list(bases), dtype=torch.int64)
        """int64 (N,): the picture it was synthesised from, -1 for a real one."""
        self._pixels, self._parsing = pixels, parsing
        self._kept: dict[str, Tensor] = {}
        self._broken: dict[str, dict[int, PictureError]] = {"pixels": {}, "parsing": {}}
        each = size * size * (3 + (parsing is not None))
        if 0 < len(names) * each <= cache_bytes:
            self._keep("pixels", pixels, (size, size, 3))
            if parsing is not None:
                self._keep("parsing", parsing, (size, size))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def has_parsing(self) -> bool:
        return self._parsing is not None

    def image(self, index: int, *, flip: bool = False) -> Tensor:
        """float32 (3, S, S) in -1..1. flip: mirrored. Raises PictureError when it cannot be read."""
        chw = self._stored("pixels", self._pixels, index).permute(2, 0, 1)
        scaled = chw.to(torch.float32) / 127.5 - 1.0
        return scaled.flip(-1) if flip else scaled.contiguous()

    def points(self, index: int, *, flip: bool = False) -> Tensor:
        """Landmarks, float32 (68, 2) pixels. A mirrored picture's right side is the left one of the picture."""
        if self.landmarks is None:
            raise PictureError(f"{self.names[index]}: has no landmarks; use data that was prepared with them")
        points = self.landmarks[index]
        return mirror_landmarks(points, self.size) if flip else points.clone()

    def classes(self, index: int, *, flip: bool = False) -> Tensor:
        """The parsing mask, int64 (S, S)."""
        if self._parsing is None:
            raise PictureError(
                f"{self.names[index]}: has no parsing mask; use data that was prepared with it"
            )
        mask = self._stored("parsing", self._parsing, index).to(torch.int64)
        return _CLASSES[mask.flip(-1)] if flip else mask

    def item(self, index: int, *, flip: bool = False) -> dict[str, Tensor]:
        """`image`, `index`, `person`, and where the data has them `aus` and `landmarks`: tensors that stack."""
        item = {
            "image": self.image(index, flip=flip),
            "index": torch.tensor(index),
            "person": self.person[index],
        }
        if self.aus is not None:
            item["aus"] = self.aus[index].clone()
        if self.landmarks is not None:
            item["landmarks"] = self.points(index, flip=flip)
        return item

    def pairs(self) -> Tensor:
        """int64 (M, 2): base and synthesised picture of it, pixel for pixel in the same crop."""
        made = torch.nonzero(self.base >= 0).flatten()
        return torch.stack([self.base[made], made], 1)

    def real(self) -> Tensor:
        """int64: the pictures that were not synthesised."""
        return torch.nonzero(self.base < 0).flatten()

    def of_person(self) -> list[Tensor]:
        """Per entry of `persons` the indices of their pictures, int64."""
        return [torch.nonzero(self.person == place).flatten() for place in range(len(self.persons))]

    def _stored(self, what: str, read: Read, index: int) -> Tensor:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        if index in self._broken[what]:
            raise self._broken[what][index]
        kept = self._kept.get(what)
        return torch.from_numpy(read(index)) if kept is None else kept[index]

    def _keep(self, what: str, read: Read, shape: tuple[int, ...]) -> None:
        kept = np.zeros((len(self), *shape), np.uint8)

        def fill(index: int) -> None:
            try:
                kept[index] = read(index)
            except PictureError as error:
                self._broken[what][index] = error

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(fill, range(len(self))))
        self._kept[what] = torch.from_numpy(kept)


def mirror_landmarks(points: Tensor, size: int) -> Tensor:
    """Landmarks (68, 2) of the mirrored picture, `size` pixels wide."""
    mirrored = points[_MIRROR]
    return torch.stack([size - 1 - mirrored[:, 0], mirrored[:, 1]], 1)


def resize_pixels(rgb: U8, size: int) -> U8:
    """A square picture (H, H, 3) at `size`: by area averaging when it shrinks, bilinearly when it grows."""
    if rgb.shape[0] == size:
        return rgb
    how = cv2.INTER_AREA if size < rgb.shape[0] else cv2.INTER_LINEAR
    return np.ascontiguousarray(cv2.resize(rgb, (size, size), interpolation=how), np.uint8)


def resize_classes(mask: U8, size: int) -> U8:
    """A parsing mask (H, H) at `size`, the nearest pixel's class."""
    if mask.shape[0] == size:
        return mask
    return np.ascontiguousarray(
        cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8
    )


def scale_landmarks(points: npt.NDArray[np.float32], stored: int, size: int) -> npt.NDArray[np.float32]:
    """Pixels of a picture `stored` wide as pixels of the same one `size` wide; pixel centres are integers in both."""
    factor = size / stored
    return np.asarray((points + 0.5) * factor - 0.5, np.float32)
