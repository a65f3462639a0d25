"""What a training step gets: pairs of one person, or single pictures with action units that are wanted of them.

A dataset gives plain pictures; `Augment` moves, mirrors and lights a whole batch of them on the device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.errors import DataError
from trainers.faces import Faces
from trainers.ganimation.data import Side
from trainers.ganimation.networks import Units
from trainers.ganimation.recipe import Data, Pairs
from trainers.system import Draw

Sample = Mapping[str, Any]

FOREHEAD = 0.35
"""How far the oval reaches above the brows, in distances from brows to chin: landmarks end at the brows."""


def oval(points: npt.NDArray[np.float32], size: int) -> Tensor:
    """The face's oval from its 68 landmarks (68, 2), float32 (1, size, size), 1 inside."""
    brows = points[17:27]
    up = (brows.mean(0) - points[8]) * FOREHEAD
    hull = cv2.convexHull(np.rint(np.concatenate((points, brows + up))).astype(np.int32))
    return torch.from_numpy(cv2.fillConvexPoly(np.zeros((size, size), np.float32), hull, 1.0))[None]


def _sample(faces: Faces, source: int, **more: Any) -> Sample:
    found: dict[str, Any] = {"source": faces.image(source), **more}
    if faces.landmarks is not None:
        found["face"] = oval(faces.landmarks[source].numpy(), faces.size)
    return found


class PairPictures:
    """Source and target, float32 (3, H, W) in -1..1; `wanted` (17,), the target's action units, and `given` (17,), what
    the generator is told of them; `face` (1, H, W) of the source where landmarks are known.

    One sample per synthesised picture: from the real picture, from another synthesised one, the way back, or itself.
    """

    def __init__(self, side: Side, pairs: Pairs, units: Units) -> None:
        faces = side.faces
        if len(faces) and not len(faces.pairs()):
            raise DataError(
                "no synthesised pictures; prepare the folder with --synthesise, or train without pairs"
            )
        self._faces, self._pairs, self._units = faces, pairs, units
        self._labels = {"asked": (side.asked, side.relative), "measured": (side.measured, side.measured)}
        self._ends = faces.pairs()
        self._family = {
            base: self._ends[self._ends[:, 0] == base, 1] for base in set(self._ends[:, 0].tolist())
        }

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, draw: Draw) -> Sample:
        numbers = draw.numbers()
        base, made = (int(end) for end in self._ends[draw.index])
        source, target = self._way(base, made, numbers)
        labels = "asked" if numbers.random() < self._pairs.asked else "measured"
        absolute, changing = self._labels[labels]
        wanted = absolute[target].clone()
        given = wanted if self._units == "absolute" else changing[target] - changing[source]
        return _sample(self._faces, source, target=self._faces.image(target), wanted=wanted, given=given)

    def _way(self, base: int, made: int, numbers: np.random.Generator) -> tuple[int, int]:
        if numbers.random() < self._pairs.same:
            same = base if numbers.random() < 0.5 else made
            return same, same
        if numbers.random() < self._pairs.to_base:
            return made, base
        if numbers.random() < self._pairs.from_base:
            return base, made
        return int(self._family[base][numbers.integers(len(self._family[base]))]), made


class SinglePictures:
    """Source as in pairs, its `own` (17,), and `wanted`: those of another random picture, a little off."""

    def __init__(self, side: Side, data: Data) -> None:
        self._faces, self._noise = side.faces, data.wanted_noise
        self._aus = side.asked if data.labels == "asked" else side.measured

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, draw: Draw) -> Sample:
        numbers, aus = draw.numbers(), self._aus
        noise = numbers.uniform(-self._noise, self._noise, aus.shape[1]).astype(np.float32)
        wanted = aus[int(numbers.integers(len(aus)))] + torch.from_numpy(noise)
        return _sample(self._faces, draw.index, own=aus[draw.index].clone(), wanted=wanted)


class Augment:
    """Pictures (B, C, H, W) at the size that they were read at to the networks' size, alike within a sample."""

    def __init__(self, data: Data, pairs: Pairs) -> None:
        self._data, self._pairs = data, pairs

    def plain(self, pictures: Sequence[Tensor]) -> list[Tensor]:
        """Only brought to size, by area."""
        size = (self._data.size, self._data.size)
        return [
            one if one.shape[-2:] == size else torch.nn.functional.interpolate(one, size=size, mode="area")
            for one in pictures
        ]

    def mirrored(self, pictures: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
        """To size, and about every other sample mirrored: all that the paper's training does."""
        small = self.plain(pictures)
        if not self._data.flip:
            return small
        flips = torch.rand(len(small[0]), 1, 1, 1, generator=generator, device=generator.device) < 0.5
        return [torch.where(flips, one.flip(3), one) for one in small]

    def moved(self, pictures: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
        """To size by one resampling, shifted, turned, zoomed and, where the recipe flips, mirrored."""
        joined = torch.cat(list(pictures), dim=1)
        count = len(joined)

        def uniform(most: float) -> Tensor:
            return (torch.rand(count, generator=generator, device=generator.device) * 2.0 - 1.0) * most

        turn, zoom = uniform(math.radians(self._pairs.turn)), 1.0 + uniform(self._pairs.zoom)
        mirror = torch.where(uniform(1.0) < 0.0, -1.0, 1.0) if self._data.flip else torch.ones_like(zoom)
        shifts = (uniform(2.0 * self._pairs.shift), uniform(2.0 * self._pairs.shift))
        first = torch.stack((turn.cos() * zoom * mirror, -turn.sin() * zoom, shifts[0]), dim=1)
        second = torch.stack((turn.sin() * zoom * mirror, turn.cos() * zoom, shifts[1]), dim=1)
        size = [count, joined.shape[1], self._data.size, self._data.size]
        where = torch.nn.functional.affine_grid(
            torch.stack((first, second), dim=1), size, align_corners=False
        )
        warped = torch.nn.functional.grid_sample(joined, where, padding_mode="border", align_corners=False)
        return list(torch.split_with_sizes(warped, [one.shape[1] for one in pictures], dim=1))

    def lit(self, pictures: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
        """Brighter or darker, and each colour stronger or weaker; pictures in -1..1, cut to it."""
        count, most = len(pictures[0]), self._pairs.light
        numbers = torch.rand(count, 4, 1, 1, generator=generator, device=generator.device) * 2.0 - 1.0
        gain, offset = 1.0 + most * numbers[:, :3], most * numbers[:, 3:]
        return [(one * gain + offset).clamp(-1.0, 1.0) for one in pictures]


def as_input(picture: Tensor) -> Tensor:
    """Channels last in memory, which is what the convolutions are fastest on."""
    return picture.contiguous(memory_format=torch.channels_last)
