"""MaskGAN's losses, each as the released forward pass has it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

Judged = Sequence[Sequence[Tensor]]
"""What the critic gives: per scale the features, the scores last."""

FEATURES_WEIGHTED = 4.0
"""The official factor of feature matching: 4 over one more than the critic's layers, over the scales."""


def least_squares(judged: Judged, *, real: bool) -> Tensor:
    """LSGAN: sum over the scales of mean((score - 1)^2) for real, mean(score^2) for not."""
    wanted = 1.0 if real else 0.0
    return torch.stack([(features[-1].float() - wanted).square().mean() for features in judged]).sum()


def feature_matching(fake: Judged, real: Judged) -> Tensor:
    """Sum over scales and features, without the scores, of L1 to what the critic makes of the real picture, which is
    a goal only; divided by the scales and by a quarter of the features. Before its weight, officially 10."""
    share = FEATURES_WEIGHTED / (len(fake[0]) - 1) / len(fake)
    terms = [
        functional.l1_loss(one.float(), other.float().detach())
        for ours, theirs in zip(fake, real)
        for one, other in zip(ours[:-1], theirs[:-1])
    ]
    return share * torch.stack(terms).sum()
