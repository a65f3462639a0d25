"""Samples of MaskGAN: a picture with its label map, where its style comes from, and other masks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers.errors import DataError
from trainers.faces import PARSING_MIRROR, U8, Faces
from trainers.maskgan.interpolation import reference_of
from trainers.maskgan.labels import EYES, HAIR
from trainers.system import Draw

Read = Callable[[int], U8]


class Pairs:
    """One sample per picture.

    image float32 (3, S, S) in -1..1 and labels uint8 (S, S): I_t and M_t. style_image, style_labels: where the style
    comes from: the same, or in the share `expressions` another picture of the same base, which lies pixel on pixel and
    differs in its expression. closed, recolour: as in the recipe. reference uint8 (S, S): the mask of another person.
    inner, outer uint8 (S, S), where both are given: the precomputed masks, which belong to the picture. flip: share
    that is mirrored, all of it.
    """

    def __init__(
        self,
        faces: Faces,
        *,
        expressions: float = 0.0,
        closed: float = 0.0,
        recolour: float = 0.0,
        flip: float = 0.0,
        inner: Read | None = None,
        outer: Read | None = None,
    ) -> None:
        if len(faces) == 1:
            raise DataError("one picture alone has no other person's mask; give two or more on each side")
        self._faces, self._expressions, self._closed, self._flip = faces, expressions, closed, flip
        self._recolour = recolour
        self._masks = {"inner": inner, "outer": outer}
        base = np.where(faces.base.numpy() >= 0, faces.base.numpy(), np.arange(len(faces)))
        members: dict[int, list[int]] = {}
        for row, first in enumerate(base.tolist()):
            members.setdefault(first, []).append(row)
        self._family = [members[first] for first in base.tolist()]
        self._sleepers = _least_eyes(faces, members) if closed else {}

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, draw: Draw) -> Mapping[str, Any]:
        faces, numbers, row = self._faces, draw.numbers(), draw.index
        flip = bool(numbers.random() < self._flip)
        if numbers.random() < self._closed:
            row = self._sleepers[self._family[row][0]]
        style = row
        if numbers.random() < self._expressions:
            others = [other for other in self._family[row] if other != row]
            style = others[int(numbers.integers(len(others)))] if others else row
        reference = reference_of(faces, row, numbers)
        sample = {
            "image": faces.image(row, flip=flip),
            "labels": faces.classes(row, flip=flip).to(torch.uint8),
            "style_image": faces.image(style, flip=flip),
            "style_labels": faces.classes(style, flip=flip).to(torch.uint8),
            "reference": faces.classes(reference, flip=flip).to(torch.uint8),
        }
        if self._recolour:
            colours = numbers.normal(0.0, self._recolour, (2, 2, 3)).astype(np.float32)
            for prefix in ("", "style_"):
                image, labels = sample[f"{prefix}image"], sample[f"{prefix}labels"]
                sample[f"{prefix}image"] = recoloured(image, labels, torch.from_numpy(colours))
        for name, read in self._masks.items():
            if read is not None:
                sample[name] = _mirrored(read(row)) if flip else torch.from_numpy(read(row))
        return sample


def _least_eyes(faces: Faces, members: Mapping[int, list[int]]) -> dict[int, int]:
    """By the first picture of a family, the one that shows the least of its eyes."""
    shown = {row: int(np.isin(faces.classes(row), EYES).sum()) for rows in members.values() for row in rows}
    return {rows[0]: min(rows, key=lambda row: shown[row]) for rows in members.values()}


def recoloured(image: Tensor, labels: Tensor, colours: Tensor) -> Tensor:
    """The picture (3, S, S), in -1..1, in other colours. colours (2, 2, 3): of the whole picture and, after it, of the
    hair alone, the logarithm of a factor and a shift per colour."""
    everywhere, hair = colours[..., None, None]
    image = image * everywhere[0].exp() + everywhere[1]
    dyed = image * hair[0].exp() + hair[1]
    return torch.where(labels == HAIR, dyed, image).clamp(-1.0, 1.0)


def _mirrored(labels: U8) -> Tensor:
    """The label map of the mirrored picture: what is left becomes right."""
    return torch.from_numpy(np.asarray(PARSING_MIRROR, np.uint8)[labels[:, ::-1]])


def resized(labels: Tensor, size: int) -> Tensor:
    """Label maps (B, S, S) of any integer type at another side, the nearest pixel's class; never by way of floats."""
    side = labels.shape[-1]
    if side == size:
        return labels
    places = ((2 * torch.arange(size, device=labels.device) + 1) * side) // (2 * size)
    return labels[:, places][:, :, places]
