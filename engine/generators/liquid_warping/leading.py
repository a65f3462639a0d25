"""Which picture's pixels a turned head is textured with: those that look most as it does.

Where several pictures see a place, a texture has the first one's. A frontal picture sees most of a head, but draws its
cheek out and lights it as it is lit from the front; so for every frame the texture is led by the picture nearest in
yaw, and between two pictures by both, in proportion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.types import F32


@dataclass(frozen=True, slots=True, eq=False)
class Led:
    """A texture, float32 (3, U, U), led by a picture that looks by `yaw` degrees."""

    yaw: float
    texture: F32


def in_order(yaws: Sequence[float], textures: Sequence[F32]) -> tuple[Led, ...]:
    """By yaw; of pictures that look alike the earlier one."""
    found: list[Led] = []
    for yaw, texture in sorted(zip(yaws, textures), key=lambda one: one[0]):
        if not found or yaw - found[-1].yaw >= _ALIKE:
            found.append(Led(yaw, texture))
    return tuple(found)


_ALIKE = 0.5  # degrees


def texture_at(led: Sequence[Led], yaw: float) -> F32:
    """The texture for a head turned by `yaw` degrees, (3, U, U). led: one or more, in order."""
    if len(led) == 1 or yaw <= led[0].yaw:
        return led[0].texture
    above = int(np.searchsorted([one.yaw for one in led], yaw))
    if above == len(led):
        return led[-1].texture
    below, upper = led[above - 1], led[above]
    share = np.float32((yaw - below.yaw) / (upper.yaw - below.yaw))
    return np.asarray(below.texture + share * (upper.texture - below.texture), np.float32)
