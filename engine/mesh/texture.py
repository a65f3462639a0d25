"""A person's texture, merged from several sources: where the first one cannot see, the others fill in.

With T_i the flow from the texture to source i, V_i the texture's places that source i sees (grown by a box of GROWN
pixels), and I_i the sources' pictures:

    texture = I_0(T_0) where V_0, or where nobody else sees;  else  sum_i V_i I_i(T_i) / sum_i V_i over i > 0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from engine.errors import InputError
from engine.mesh.flow import flow
from engine.mesh.masks import dilated
from engine.mesh.raster import Raster
from engine.mesh.sampling import sampled
from engine.types import F32

GROWN: Final = 13
_NOT_ZERO: Final = np.float32(1e-5)


def merged(
    pictures: Sequence[F32], corners: Sequence[F32], visible_corners: Sequence[F32], texture: Raster
) -> F32:
    """float32 (3, S, S): one texture out of the sources' pictures (3, H, W).

    corners: per source (F, 3, 2), as the texture reads them; visible_corners: the same with ABSENT for what the source
    does not see. texture: the mesh drawn in its layout. Only the first picture is used where none but it sees a place,
    so that a hole keeps what the flow finds there.
    """
    if not len(pictures) == len(corners) == len(visible_corners) or not pictures:
        raise InputError(
            f"texture: expected as many corners as pictures, one at least, got {len(pictures)} pictures,"
            f" {len(corners)} and {len(visible_corners)} corners"
        )
    first = sampled(pictures[0], flow(texture, corners[0]))
    if len(pictures) == 1:
        return first
    total = np.zeros_like(first[0])
    mixed = np.zeros_like(first)
    for picture, place, seen in zip(pictures[1:], corners[1:], visible_corners[1:]):
        sees = coverage(picture.shape, seen, texture)
        total += sees
        mixed += sampled(picture, flow(texture, place)) * sees
    others = (1 - coverage(pictures[0].shape, visible_corners[0], texture)) * (total >= 1)
    return np.asarray(first * (1 - others) + mixed / (total + _NOT_ZERO) * others, np.float32)


def coverage(shape: tuple[int, ...], corners: F32, texture: Raster) -> F32:
    """float32 (S, S), 0 or 1: the texture's places that these corners (F, 3, 2) reach in a picture (C, H, W), grown."""
    return dilated(inside(shape, corners, texture), GROWN)


def inside(shape: tuple[int, ...], corners: F32, texture: Raster) -> F32:
    """float32 (S, S), 0..1: how far the texture's places lie within a picture (C, H, W) by these corners (F, 3, 2)."""
    whole = np.ones((1, *shape[-2:]), np.float32)
    return np.asarray(sampled(whole, flow(texture, corners))[0], np.float32)


def blended(textures: Sequence[F32], shares: Sequence[F32]) -> F32:
    """float32 (3, S, S): several persons' textures (3, S, S), each weighted by its share (S, S) of all shares there."""
    total = np.sum(shares, axis=0) + np.float32(1e-7)
    found: F32 = np.sum([texture * (share / total) for texture, share in zip(textures, shares)], axis=0)
    return found
