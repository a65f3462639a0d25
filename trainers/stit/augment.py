"""ADA's augmentations (Karras et al. 2020, appendix B): blitting, geometry and colour, differentiable.

Each is applied with probability p, drawn for each picture, in the paper's order and of its strengths. Two things are
ours: pictures are sampled bilinearly with mirrored borders, where the official code oversamples by a wavelet filter;
and all moves are one matrix, whole pixels and quarter turns too, so that a picture is sampled one time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_MOVED = 0.125
_SCALED = 0.2
_BRIGHTER, _CONTRAST, _SATURATED = 0.2, 0.5, 1.0


def augmented(image: Tensor, p: float, generator: torch.Generator) -> Tensor:
    """A batch (B, 3, S, S) in -1..1, each picture by its own draw. p: 0 gives the batch itself."""
    if p <= 0:
        return image
    draw = _Draw(len(image), p, image.device, generator)
    grid = functional.affine_grid(
        _places(draw, image.shape[-1])[:, :2], list(image.shape), align_corners=False
    )
    moved = functional.grid_sample(
        image, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    matrix = _colours(draw)
    flat = moved.flatten(2)
    return (matrix[:, :3, :3] @ flat + matrix[:, :3, 3:]).reshape(image.shape)


class _Draw:
    """Random numbers of a batch; each one is 0 where its augmentation is not applied."""

    def __init__(self, count: int, p: float, device: torch.device, generator: torch.Generator) -> None:
        self.count, self.p, self.device, self.generator = count, p, device, generator

    def uniform(self) -> Tensor:
        return torch.rand(self.count, device=self.device, generator=self.generator)

    def normal(self) -> Tensor:
        return torch.randn(self.count, device=self.device, generator=self.generator)

    def applied(self, value: Tensor, p: float | None = None) -> Tensor:
        return torch.where(self.uniform() < (self.p if p is None else p), value, torch.zeros_like(value))

    def eye(self, size: int) -> Tensor:
        return torch.eye(size, device=self.device).repeat(self.count, 1, 1)


def _places(draw: _Draw, size: int) -> Tensor:
    """(B, 3, 3): from places in the result to places in the picture, both -1..1."""
    matrix = _scale(draw, 1 - 2 * draw.applied((draw.uniform() < 0.5).float()), None)
    matrix = matrix @ _turn(draw, draw.applied((draw.uniform() * 4).floor()) * (math.pi / 2))
    whole = [draw.applied((draw.uniform() * 2 - 1) * _MOVED) for _ in range(2)]
    matrix = matrix @ _move(draw, *((one * size).round() * (2 / size) for one in whole))
    larger = torch.exp2(draw.applied(draw.normal() * _SCALED))
    matrix = matrix @ _scale(draw, larger, larger)
    half = 1 - math.sqrt(1 - draw.p)
    matrix = matrix @ _turn(draw, draw.applied((draw.uniform() * 2 - 1) * math.pi, half))
    wider = torch.exp2(draw.applied(draw.normal() * _SCALED))
    matrix = matrix @ _scale(draw, wider, 1 / wider)
    matrix = matrix @ _turn(draw, draw.applied((draw.uniform() * 2 - 1) * math.pi, half))
    return matrix @ _move(draw, *(2 * draw.applied(draw.normal() * _MOVED) for _ in range(2)))


def _scale(draw: _Draw, across: Tensor, down: Tensor | None) -> Tensor:
    matrix = draw.eye(3)
    matrix[:, 0, 0] = across
    if down is not None:
        matrix[:, 1, 1] = down
    return matrix


def _move(draw: _Draw, across: Tensor, down: Tensor) -> Tensor:
    matrix = draw.eye(3)
    matrix[:, 0, 2], matrix[:, 1, 2] = across, down
    return matrix


def _turn(draw: _Draw, angle: Tensor) -> Tensor:
    matrix = draw.eye(3)
    cos, sin = angle.cos(), angle.sin()
    matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 0], matrix[:, 1, 1] = cos, -sin, sin, cos
    return matrix


def _colours(draw: _Draw) -> Tensor:
    """(B, 4, 4) on red, green, blue and 1."""
    grey = torch.tensor([1.0, 1.0, 1.0, 0.0], device=draw.device) / math.sqrt(3)
    onto = torch.outer(grey, grey)
    eye = draw.eye(4)
    brighter = eye.clone()
    brighter[:, :3, 3] = draw.applied(draw.normal() * _BRIGHTER)[:, None]
    contrast = eye.clone()
    factor = torch.exp2(draw.applied(draw.normal() * _CONTRAST))
    contrast[:, range(3), range(3)] = factor[:, None]
    flipped = draw.applied((draw.uniform() < 0.5).float())[:, None, None]
    luma = eye - 2 * onto * flipped
    hue = _around_grey(draw, draw.applied((draw.uniform() * 2 - 1) * math.pi))
    strength = torch.exp2(draw.applied(draw.normal() * _SATURATED))[:, None, None]
    saturated = onto + (eye - onto) * strength
    saturated[:, 3] = eye[:, 3]
    return saturated @ hue @ luma @ contrast @ brighter


def _around_grey(draw: _Draw, angle: Tensor) -> Tensor:
    """Rodrigues' rotation of colours around the grey axis."""
    one = 1 / math.sqrt(3)
    cross = torch.tensor([[0.0, -one, one], [one, 0.0, -one], [-one, one, 0.0]], device=draw.device)
    matrix = draw.eye(4)
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    matrix[:, :3, :3] = matrix[:, :3, :3] + sin * cross + (1 - cos) * (cross @ cross)
    return matrix
