"""Samples of label maps, with their pictures where a parser learns from both, moved together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.errors import DataError
from trainers.faces import Faces
from trainers.maskgan.mask_recipes import MaskData
from trainers.system import Draw

F64 = npt.NDArray[np.float64]
_COUNTED = 512


class LabelMaps:
    """labels uint8 (S, S), and with `pictures` image float32 (3, S, S) in -1..1. moved: as the recipe says, drawn anew
    each time; else as they lie. Labels are moved by the nearest pixel alone."""

    def __init__(self, faces: Faces, data: MaskData, *, moved: bool, pictures: bool = False) -> None:
        if len(faces) and not faces.has_parsing:
            raise DataError("the data has no parsing masks; prepare the folder again")
        self._faces, self._data, self._moved, self._pictures = faces, data, moved, pictures

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, draw: Draw) -> Mapping[str, Any]:
        numbers, row = draw.numbers(), draw.index
        flip = self._moved and bool(numbers.random() < self._data.flip)
        labels = self._faces.classes(row, flip=flip).to(torch.uint8)
        sample = {"labels": labels}
        if self._pictures:
            sample["image"] = self._faces.image(row, flip=flip)
        if not self._moved:
            return sample
        matrix = _drawn(self._data, self._faces.size, numbers)
        if matrix is not None:
            sample["labels"] = _warped(labels, matrix, cv2.INTER_NEAREST)
        if self._pictures:
            image = sample["image"]
            if matrix is not None:
                image = _warped(image.permute(1, 2, 0), matrix, cv2.INTER_LINEAR).permute(2, 0, 1)
            sample["image"] = _lit(image, self._data.colour, numbers)
        return sample


def shares(faces: Faces, classes: int) -> Tensor:
    """float32 (classes,): each class's share of the pixels, of at most 512 maps spread over the split."""
    counts = torch.zeros(classes, dtype=torch.int64)
    for index in range(0, len(faces), max(1, len(faces) // _COUNTED)):
        counts += torch.bincount(faces.classes(index).flatten(), minlength=classes)
    return counts / counts.sum().clamp(min=1)


def _drawn(data: MaskData, size: int, numbers: np.random.Generator) -> F64 | None:
    """A similarity about the middle, source to result, float64 (2, 3); None where nothing is moved."""
    turn, zoom, *shift = numbers.uniform(-1.0, 1.0, 4) * (data.turn, data.zoom, data.shift, data.shift)
    if not (data.turn or data.zoom or data.shift):
        return None
    factor = math.exp(zoom)
    cosine, sine = factor * math.cos(math.radians(turn)), factor * math.sin(math.radians(turn))
    linear = np.array([[cosine, -sine], [sine, cosine]])
    middle = np.full(2, 0.5 * (size - 1))
    return np.column_stack([linear, middle + size * np.array(shift) - linear @ middle])


def _warped(array: Tensor, matrix: F64, how: int) -> Tensor:
    height, width = array.shape[:2]
    moved = cv2.warpAffine(
        np.ascontiguousarray(array.numpy()),
        matrix,
        (width, height),
        flags=how,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return torch.from_numpy(np.ascontiguousarray(moved))


def _lit(image: Tensor, amount: float, numbers: np.random.Generator) -> Tensor:
    if not amount:
        return image.contiguous()
    factors = 1.0 + amount * (0.5 * numbers.uniform(-1, 1, 3) + 0.5 * numbers.uniform(-1, 1))
    scaled = (image + 1.0) * torch.tensor(factors, dtype=torch.float32).reshape(3, 1, 1) - 1.0
    return scaled.clamp(-1.0, 1.0)
