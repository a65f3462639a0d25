"""The losses of the paper and of its official code. Where the two differ both are here, each under its own name.

Every function gives the unweighted value; weights stand in `Weights`.

| term            | official code                                     | paper                                       |
| --------------- | ------------------------------------------------- | ------------------------------------------- |
| mask            | mean(A)                                           | L2 norm of A, mean over the batch           |
| smoothness      | sum of |dA|, over the batch too, 1e-5             | sum of (dA)^2, mean over the batch, 1e-4    |
| action units    | mean squared error / batch size, 4000             | 4000 at a batch of 25, that is 160 for any  |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trainers.ganimation.networks import Discriminator

MaskNorm = Literal["mean", "l2"]
Smoothness = Literal["absolute_sum", "squared_sum", "squared_mean"]
Conditioning = Literal["divided_by_batch", "constant"]


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights and forms of the terms; as they stand, the official code's.

    mask_norm: mean, or l2 (paper). mask_smoothness: absolute_sum (official), squared_sum (paper), or squared_mean,
    which depends neither on the batch nor on the size. conditioning: divided_by_batch (official: the weight
    depends on the batch), or constant. saturate_mask: the authors' experiment, off in the paper.
    """

    adversarial: float = 1.0
    condition: float = 4000.0
    gradient_penalty: float = 10.0
    cycle: float = 10.0
    mask: float = 0.1
    smooth: float = 1e-5
    mask_norm: MaskNorm = "mean"
    mask_smoothness: Smoothness = "absolute_sum"
    conditioning: Conditioning = "divided_by_batch"
    saturate_mask: bool = False


def mask_mean(attention: Tensor) -> Tensor:
    """mean(A)."""
    return attention.mean()


def mask_l2(attention: Tensor) -> Tensor:
    """||A||_2 of every sample, mean over the batch."""
    lengths: Tensor = attention.flatten(1).norm(dim=1)
    return lengths.mean()


def _steps(attention: Tensor) -> tuple[Tensor, Tensor]:
    return (
        attention[:, :, :, 1:] - attention[:, :, :, :-1],
        attention[:, :, 1:, :] - attention[:, :, :-1, :],
    )


def smooth_absolute(attention: Tensor) -> Tensor:
    """Sum of |A - neighbour| over both directions, all pixels and the batch."""
    across, down = _steps(attention)
    return across.abs().sum() + down.abs().sum()


def smooth_squared(attention: Tensor) -> Tensor:
    """Sum of (A - neighbour)^2 over both directions and all pixels, mean over the batch."""
    across, down = _steps(attention)
    return (across.square().sum() + down.square().sum()) / len(attention)


def smooth_squared_mean(attention: Tensor) -> Tensor:
    """Mean of (A - neighbour)^2, both directions added."""
    across, down = _steps(attention)
    return across.square().mean() + down.square().mean()


def condition_by_batch(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error over all B * c_dim entries, divided by B once more."""
    return condition_constant(predicted, wanted) / len(wanted)


def condition_constant(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Mean squared error over all B * c_dim entries. Raises ValueError where the shapes differ (none is broadcast)."""
    if predicted.shape != wanted.shape:
        raise ValueError(f"action units: expected {tuple(wanted.shape)}, got {tuple(predicted.shape)}")
    return (predicted - wanted).square().mean()


def adversarial_real(scores: Tensor) -> Tensor:
    """-mean(D): what the critic minimises on real pictures, and the generator on its own."""
    return -scores.mean()


def adversarial_fake(scores: Tensor) -> Tensor:
    """mean(D): what the critic minimises on generated pictures."""
    return scores.mean()


def cycle(back: Tensor, source: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (back - source).abs().mean()


@dataclass(frozen=True, slots=True, eq=False)
class Penalty:
    """value: mean of (norm - 1)^2. between: x_hat (B, 3, H, W). gradient: dD/dx_hat. norms: (B,)."""

    value: Tensor
    between: Tensor
    gradient: Tensor
    norms: Tensor


def gradient_penalty(critic: Discriminator, real: Tensor, fake: Tensor, alpha: Tensor) -> Penalty:
    """WGAN-GP at x_hat = alpha * real + (1 - alpha) * fake, alpha (B, 1, 1, 1).

    The gradient is that of the SUM of a picture's patch scores, so its norm grows with their number, as officially.
    """
    between = (alpha * real + (1.0 - alpha) * fake).detach().requires_grad_(True)
    scores, _ = critic(between)
    (gradient,) = torch.autograd.grad(scores.sum(), between, create_graph=True)
    norms = gradient.flatten(1).square().sum(dim=1).clamp_min(1e-24).sqrt()  # no NaN where it is all 0
    return Penalty((norms - 1.0).square().mean(), between, gradient, norms)


MASKS = {"mean": mask_mean, "l2": mask_l2}
SMOOTHNESS = {
    "absolute_sum": smooth_absolute,
    "squared_sum": smooth_squared,
    "squared_mean": smooth_squared_mean,
}
CONDITIONING = {"divided_by_batch": condition_by_batch, "constant": condition_constant}
