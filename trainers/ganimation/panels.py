"""Pictures of what the generator does, as the official test program shows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from trainers.ganimation.networks import compose, saturate

U8 = npt.NDArray[np.uint8]
Generate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""A generator, or another way through it: (pictures, action units) to (colour, attention)."""


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """One pass of the generator. colour (B, 3, H, W), attention (B, 1, H, W) as used, composed (B, 3, H, W)."""

    colour: Tensor
    attention: Tensor
    composed: Tensor


def edit(generator: Generate, source: Tensor, wanted: Tensor, *, saturated: bool = False) -> Edit:
    """Generate and composite. saturated: through the saturated mask."""
    colour, attention = generator(source, wanted)
    if saturated:
        attention = saturate(attention)
    return Edit(colour, attention, compose(source, colour, attention))


def grey_levels(values: Tensor) -> U8:
    """(B, 3, H, W) in [-1, 1] to (B, H, W, 3): (v/2 + .5) * 254 cut off, so that white becomes 254, as officially."""
    return _levels(values * 0.5 + 0.5)


def mask_levels(attention: Tensor) -> U8:
    """(B, 1, H, W) in [0, 1] to grey (B, H, W, 3): v * 254 cut off."""
    return _levels(attention.expand(-1, 3, -1, -1))


def _levels(unit: Tensor) -> U8:
    cut_off = (unit.detach().float() * 254.0).clamp(0.0, 255.0)
    return np.ascontiguousarray(cut_off.permute(0, 2, 3, 1).cpu().numpy().astype(np.uint8))


@torch.no_grad()
def panels(
    generator: nn.Module, source: Tensor, own: Tensor, wanted: Tensor, *, saturated: bool = False
) -> tuple[Edit, U8]:
    """The edit, and seven pictures per sample, uint8 (B, 7, H, W, 3).

    Input, composed, mask, colour; and of the way back to `own`: colour, mask, composed.
    """
    there = edit(generator, source, wanted, saturated=saturated)
    back = edit(generator, there.composed, own, saturated=saturated)
    shown = (
        grey_levels(source),
        grey_levels(there.composed),
        mask_levels(there.attention),
        grey_levels(there.colour),
        grey_levels(back.colour),
        mask_levels(back.attention),
        grey_levels(back.composed),
    )
    return there, np.stack(shown, axis=1)
