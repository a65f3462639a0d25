"""One iteration of the adversarial training, in the official order.

Per batch: (1) the critic on real pictures, their action units, and the generator's pictures; (2) the critic again, a
step of its own on the gradient penalty alone, so that the penalty sees the critic that (1) has moved; (3) every n-th
batch the generator, against the critic after both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.ganimation import losses
from trainers.ganimation.losses import Weights
from trainers.ganimation.networks import Discriminator, Generator, Units
from trainers.ganimation.panels import Edit, edit
from trainers.system import Turn

Losses = dict[str, Tensor]

GENERATOR, CRITIC = "generator", "discriminator"
"""Names of the networks, and of their optimisers."""


@dataclass(frozen=True, slots=True, eq=False)
class Real:
    """A batch. pictures (B, 3, S, S) in [-1, 1]; own and wanted action units (B, c_dim)."""

    pictures: Tensor
    own: Tensor
    wanted: Tensor
    units: Units = "absolute"

    @property
    def there(self) -> Tensor:
        """What the generator is told on the way to the wanted units."""
        return self.wanted if self.units == "absolute" else self.wanted - self.own

    @property
    def back(self) -> Tensor:
        """What it is told on the way back to the picture's own."""
        return self.own if self.units == "absolute" else self.own - self.wanted


def critic_step(
    generator: Generator, critic: Discriminator, real: Real, weights: Weights, turn: Turn
) -> tuple[Tensor, Losses]:
    """Step (1). Returns the generator's pictures, detached, for the penalty; and the weighted losses."""
    with torch.no_grad(), turn.autocast():
        fake = edit(generator, real.pictures, real.there, saturated=weights.saturate_mask).composed
    fake = fake.float()
    return fake, critic_on(critic, real, fake, weights, turn)


def critic_on(critic: Discriminator, real: Real, fake: Tensor, weights: Weights, turn: Turn) -> Losses:
    """Step (1) on generated pictures that are at hand, detached."""
    with turn.autocast():
        real_scores, units = critic(real.pictures)
        fake_scores, _ = critic(fake)
    found = {
        "d_real": weights.adversarial * losses.adversarial_real(real_scores.float()),
        "d_cond": weights.condition * losses.CONDITIONING[weights.conditioning](units.float(), real.own),
        "d_fake": weights.adversarial * losses.adversarial_fake(fake_scores.float()),
    }
    turn.descend(_total(found), CRITIC)
    return _detached(found)


def penalty_step(
    critic: Discriminator, real: Tensor, fake: Tensor, alpha: Tensor, weights: Weights, turn: Turn
) -> Losses:
    """Step (2). alpha: (B, 1, 1, 1), the real picture's share."""
    penalty = weights.gradient_penalty * losses.gradient_penalty(critic, real, fake, alpha).value
    turn.descend(penalty, CRITIC)
    return {"d_gp": penalty.detach()}


def generator_step(
    generator: Generator, critic: Discriminator, real: Real, weights: Weights, turn: Turn
) -> tuple[Edit, Losses]:
    """Step (3). Returns the edit there, and the weighted losses."""
    there, found = generator_losses(generator, critic, real, weights, turn)
    turn.descend(_total(found), GENERATOR)
    return there, _detached(found)


def generator_losses(
    generator: Generator, critic: Discriminator, real: Real, weights: Weights, turn: Turn
) -> tuple[Edit, Losses]:
    """The generator's weighted losses, to be added up."""
    with turn.autocast():
        there = edit(generator, real.pictures, real.there, saturated=weights.saturate_mask)
        against = judged(critic, there.composed, real.wanted, weights)
        back = edit(generator, there.composed, real.back, saturated=weights.saturate_mask)
    first, second = there.attention.float(), back.attention.float()
    mask, smooth = losses.MASKS[weights.mask_norm], losses.SMOOTHNESS[weights.mask_smoothness]
    return there, {
        **against,
        "g_cyc": weights.cycle * losses.cycle(back.composed.float(), real.pictures),
        "g_m1": weights.mask * mask(first),
        "g_m2": weights.mask * mask(second),
        "g_m1_s": weights.smooth * smooth(first),
        "g_m2_s": weights.smooth * smooth(second),
    }


def judged(critic: Discriminator, composed: Tensor, wanted: Tensor, weights: Weights) -> Losses:
    """The generator's two losses that come from the critic."""
    scores, units = critic(composed)
    condition = losses.CONDITIONING[weights.conditioning](units.float(), wanted)
    return {
        "g_mskd_fake": weights.adversarial * losses.adversarial_real(scores.float()),
        "g_mskd_cond": weights.condition * condition,
    }


def blend_shares(batch: int, turn: Turn) -> Tensor:
    """alpha of the penalty: one number in 0..1 per sample."""
    return torch.rand(batch, 1, 1, 1, generator=turn.generator, device=turn.device)


def _total(found: Losses) -> Tensor:
    return torch.stack(list(found.values())).sum()


def _detached(found: Losses) -> Losses:
    return {name: value.detach() for name, value in found.items()}
