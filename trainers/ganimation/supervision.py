"""Losses on pairs: one person with two expressions and the action units of the second. Not in the paper.

Synthesis changes only what the expression moves. So the difference between the two pictures says both what the
composite has to be and where the attention mask has to let it through, and the mask saturates at neither end.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.ganimation.losses import smooth_squared_mean
from trainers.ganimation.panels import Edit
from trainers.ganimation.recipe import Pairs

TYPICAL, LEAST = 0.012, 0.003
"""How far synthesised pictures are apart as a rule, of black to white, and what is added to it: a pair that hardly
differs must not count without bounds."""

SPREAD = 5
"""Side of the square, in pixels, over which a change counts for its neighbours, too."""


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """What an edit has to become. picture (B, 3, S, S) in [-1, 1]; change (B, 1, S, S), 0 unchanged .. 1 fully. apart
    (B, 1, 1, 1): the mean difference from the source, of black to white."""

    picture: Tensor
    change: Tensor
    apart: Tensor

    def even(self, power: float) -> Tensor:
        """(B, 1, 1, 1): the inverse of how far the pictures are apart, to that power; 1 where they are so as a rule."""
        return ((TYPICAL + LEAST) / (self.apart + LEAST)) ** power


def target_of(source: Tensor, picture: Tensor, full: float) -> Target:
    """The target and where it differs from the source. full: the difference, of black to white, that counts as 1."""
    difference = (picture - source).abs().amax(dim=1, keepdim=True) / 2.0
    spread = torch.nn.functional.max_pool2d(difference, SPREAD, stride=1, padding=SPREAD // 2)
    smoothed = torch.nn.functional.avg_pool2d(
        spread, SPREAD, stride=1, padding=SPREAD // 2, count_include_pad=False
    )
    return Target(picture, (smoothed / full).clamp(max=1.0), difference.mean(dim=(1, 2, 3), keepdim=True))


def pair_losses(edit: Edit, target: Target, pairs: Pairs, mask_factor: float) -> dict[str, Tensor]:
    """The weighted losses, to be added up. mask_factor: the guard's; above 1 it makes the mask let more through."""
    attention, change = edit.attention, target.change
    counts, coloured = 1.0 + pairs.changed * change, pairs.elsewhere + pairs.changed * change
    if pairs.even:
        counts, coloured = target.even(pairs.even) * counts, target.even(pairs.even) * coloured
    return {
        "p_picture": pairs.picture * _mean_distance(edit.composed, target.picture, counts),
        "p_edges": pairs.edges * _slope_distance(edit.composed, target.picture, counts),
        "p_colour": pairs.colour * _mean_distance(edit.colour, target.picture, coloured),
        "p_keep": -pairs.keep / mask_factor * ((1.0 - change) * _log(attention)).mean(),
        "p_give": -pairs.give * mask_factor * (change * _log(1.0 - attention)).mean(),
        "p_smooth": pairs.smooth * smooth_squared_mean(attention),
    }


def _log(share: Tensor) -> Tensor:
    """Its slope does not vanish where the mask's sigmoid is saturated on the wrong side."""
    return share.clamp_min(1e-4).log()


def _mean_distance(picture: Tensor, wanted: Tensor, counts: Tensor) -> Tensor:
    return ((picture - wanted).abs() * counts).mean()


def _slope_distance(picture: Tensor, wanted: Tensor, counts: Tensor) -> Tensor:
    off = picture - wanted
    across = (off[..., 1:] - off[..., :-1]).abs() * counts[..., 1:]
    down = (off[..., 1:, :] - off[..., :-1, :]).abs() * counts[..., 1:, :]
    return across.mean() + down.mean()
