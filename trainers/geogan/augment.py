"""Small changes of a pair that teach the flow to align and the refinement to match colours."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from trainers.geogan.recipe import Augmentation
from trainers.geogan.regions import mirrored

Pair = dict[str, Tensor]
_TARGETS, _DONORS = ("target", "wanted"), ("donor", "donor_plain")


def augmented(batch: Pair, how: Augmentation, numbers: torch.Generator) -> Pair:
    """The batch with pictures (B, 3, S, S) in -1..1 and their `<name>_landmarks` changed alike; labels stay.

    `donor` and `donor_plain` (the donor without the attribute) are changed alike, so are `target` and `wanted`.
    """
    result = dict(batch)
    count, device = len(batch["target"]), batch["target"].device
    if how.flip:
        flips = torch.rand(count, generator=numbers, device=device) < how.flip
        for name in (*_TARGETS, *_DONORS):
            _flip(result, name, flips)
    if how.turn or how.zoom or how.shift:
        for names, amount in ((_TARGETS, how.target), (_DONORS, 1.0)):
            if amount:
                factor, move = _similarity(count, how, amount, numbers, device)
                for name in names:
                    _place(result, name, factor, move)
    if how.colour:
        gain = 1 + how.colour * (2 * torch.rand(count, 4, 1, 1, generator=numbers, device=device) - 1)
        for name in _DONORS:
            if name in result:
                bright = (result[name] + 1) * gain[:, :1] * gain[:, 1:].sqrt()
                result[name] = (bright - 1).clamp(-1, 1)
    return result


def _flip(pair: Pair, name: str, flips: Tensor) -> None:
    if name in pair:
        pair[name] = torch.where(flips[:, None, None, None], pair[name].flip(3), pair[name])
    points = f"{name}_landmarks"
    if points in pair:
        pair[points] = torch.where(flips[:, None, None], mirrored(pair[points]), pair[points])


def _similarity(
    count: int, how: Augmentation, amount: float, numbers: torch.Generator, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Complex factor and shift of a point x + iy, (count, 1)."""
    draw = amount * (2 * torch.rand(count, 4, generator=numbers, device=device) - 1)
    angle = math.radians(how.turn) * draw[:, 0]
    factor = torch.polar((how.zoom * draw[:, 1]).exp(), angle)
    return factor[:, None], (2 * how.shift * torch.complex(draw[:, 2], draw[:, 3]))[:, None]


def _place(pair: Pair, name: str, factor: Tensor, move: Tensor) -> None:
    if name in pair:
        inverse, back = 1 / factor[:, 0], -move[:, 0] / factor[:, 0]
        rows = (
            torch.stack((inverse.real, -inverse.imag, back.real), dim=1),
            torch.stack((inverse.imag, inverse.real, back.imag), dim=1),
        )
        matrix = torch.stack(rows, dim=1)
        grid = functional.affine_grid(matrix, list(pair[name].shape), align_corners=True)
        pair[name] = functional.grid_sample(
            pair[name], grid, mode="bilinear", padding_mode="border", align_corners=True
        )
    points = f"{name}_landmarks"
    if points in pair:
        pair[points] = torch.view_as_real(factor * torch.view_as_complex(pair[points].contiguous()) + move)
