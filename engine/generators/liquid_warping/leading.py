"""Which picture's pixels a turned head is textured with: those that look most as it does.

Where several pictures see a place, a texture has the first one's. A frontal picture sees most of a head, but draws its
cheek out and lights it as it is lit from the front; so for every frame the texture is led by the picture nearest in
yaw, and between two pictures by both, in proportion. About the eyes it is led alike by how far they are open, because
lids that are drawn shut open badly, as long as no picture is turned far away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.features import openness
from engine.geometry import head_pose
from engine.types import F32, FaceShape


@dataclass(frozen=True, slots=True, eq=False)
class Led:
    """A texture, float32 (3, U, U), led by a picture that shows `at`: degrees of yaw, or percent of openness."""

    at: float
    texture: F32


@dataclass(frozen=True, slots=True, eq=False)
class Leading:
    """The same textures by yaw and by the openness of eyes. lids: float32 (U, U), 1 about the eyes."""

    by_yaw: tuple[Led, ...]
    by_eyes: tuple[Led, ...]
    lids: F32

    def texture(self, shape: FaceShape) -> F32:
        """For a face, (3, U, U)."""
        yaw = head_pose(shape.rotation).yaw
        turned = texture_at(self.by_yaw, yaw)
        farthest = max(abs(yaw - self.by_yaw[0].at), abs(yaw - self.by_yaw[-1].at))
        share = np.float32(np.clip((_FAR[1] - farthest) / (_FAR[1] - _FAR[0]), 0.0, 1.0))
        if len(self.by_eyes) == 1 or share == 0.0:
            return turned
        eyes = texture_at(self.by_eyes, eyes_of(shape))
        return np.asarray(turned + share * self.lids * (eyes - turned), np.float32)


_FAR = (20.0, 40.0)
"""Degrees of yaw between a face and a picture from which on its eyes lead less, and not at all: they are drawn out."""


def eyes_of(shape: FaceShape) -> float:
    """How far the less open eye is open, in percent of its width."""
    gaps = openness.measure(shape)
    return 100.0 * min(gaps.right_eye, gaps.left_eye)


def in_order(shown: Sequence[float], textures: Sequence[F32]) -> tuple[Led, ...]:
    """By what they show; of pictures that are alike the earlier one."""
    found: list[Led] = []
    for at, texture in sorted(zip(shown, textures), key=lambda one: one[0]):
        if not found or at - found[-1].at >= _ALIKE:
            found.append(Led(at, texture))
    return tuple(found)


_ALIKE = 0.5


def texture_at(led: Sequence[Led], at: float) -> F32:
    """The texture for what is to be shown, (3, U, U). led: one or more, in order."""
    if len(led) == 1 or at <= led[0].at:
        return led[0].texture
    above = int(np.searchsorted([one.at for one in led], at))
    if above == len(led):
        return led[-1].texture
    below, upper = led[above - 1], led[above]
    share = np.float32((at - below.at) / (upper.at - below.at))
    return np.asarray(below.texture + share * (upper.texture - below.texture), np.float32)
