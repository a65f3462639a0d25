"""Directions of edits by name, in both spaces, and what several of them do to a picture at once.

A direction of W is an array (w_dim,), half its strength of which goes to every row of a code, as the official code has
it. A `StyleDirection` is StyleCLIP's: it goes whole to what the convolutions' affine layers make of the code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.stit.edits import F64, style_offsets, styled
from trainers.stit.generator import Noise, Synthesis
from trainers.typed import known


@dataclass(frozen=True, eq=False)
class StyleDirection:
    """values: (style channels,), the convolutions' in order; the colours' styles stay."""

    values: F64


Direction = F64 | StyleDirection


@dataclass(frozen=True, eq=False)
class Offset:
    """What edits at their strengths add up to. ws: (w_dim,), to every row. styles: (style channels,). None: nothing."""

    ws: F64 | None = None
    styles: F64 | None = None

    def code(self, ws: Tensor) -> Tensor:
        """A code (B, num_ws, w_dim) with what is added to its rows."""
        return ws if self.ws is None else ws + torch.from_numpy(self.ws).to(ws)


def offset_of(directions: Mapping[str, Direction], strengths: Mapping[str, float]) -> Offset:
    """The sum over the strengths, by name. Raises RecipeError for a name that is no direction."""
    ws: F64 | None = None
    styles: F64 | None = None
    for name, strength in strengths.items():
        known(name, directions, "edit")
        one = directions[name]
        if isinstance(one, StyleDirection):
            styles = strength * one.values + (0.0 if styles is None else styles)
        else:
            ws = 0.5 * strength * one + (0.0 if ws is None else ws)
    return Offset(ws, styles)


def edited_styles(synthesis: Synthesis, ws: Tensor, offset: Offset | None) -> list[Tensor]:
    """The styles of a code that is edited: for `Synthesis.from_styles`."""
    if offset is None:
        return synthesis.styles(ws)
    moved = offset.code(ws)
    if offset.styles is None:
        return synthesis.styles(moved)
    return styled(synthesis, moved, style_offsets(synthesis, torch.from_numpy(offset.styles).to(ws)), 1.0)


def synthesised(
    synthesis: Synthesis, ws: Tensor, offset: Offset | None = None, noise: Noise = "const"
) -> Tensor:
    """The picture of a code that is edited, (B, colours, S, S)."""
    return synthesis.from_styles(edited_styles(synthesis, ws, offset), noise)
