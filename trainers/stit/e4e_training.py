"""One step of e4e: pictures that come back, rows that look like the mapping's, and rows that stay near the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.stit.e4e import Inversion, resized
from trainers.stit.generator import Generator
from trainers.stit.latent_critic import LatentCodesDiscriminator
from trainers.stit.recipe import Inverting
from trainers.system import Turn

ENCODER, LATENT_CRITIC = "encoder", "latent_critic"


@dataclass(frozen=True)
class Encoding:
    """The networks of a step. generator: it stands still. perceptual, identity: None where the recipe has none."""

    inversion: Inversion
    critic: LatentCodesDiscriminator
    generator: Generator
    how: Inverting
    perceptual: nn.Module | None = None
    identity: nn.Module | None = None


def stage_of(step: int, how: Inverting, rows: int) -> int:
    """How many rows after the first may differ from it at this step: 0, then one more every so often."""
    if step < how.progressive_from:
        return 0
    return min(1 + (step - how.progressive_from) // how.progressive_every, rows - 1)


def delta_norms(ws: Tensor, stage: int) -> Tensor:
    """Sum over the rows that may differ of the mean distance to the first one."""
    if stage == 0:
        return ws.new_zeros(())
    apart: Tensor = torch.linalg.vector_norm(ws[:, 1 : stage + 1] - ws[:, :1], dim=2)
    total: Tensor = apart.mean(0).sum()
    return total


def e4e_step(encoding: Encoding, image: Tensor, turn: Turn) -> Mapping[str, Tensor | float]:
    """The critic of codes, its penalty when due, then the encoder. image: (B, 3, S, S), the aligned crop."""
    how = encoding.how
    stage = stage_of(turn.stage_step, how, encoding.generator.num_ws)
    seen = resized(image, encoding.inversion.encoder.size)
    with turn.autocast():
        ws = encoding.inversion(seen, stage)
    ws = ws.float()
    scalars: dict[str, Tensor | float] = {"stage": float(stage)}
    if how.adversarial:
        scalars |= _critic_steps(encoding, ws[:, : stage + 1].detach(), turn)
    with turn.autocast():
        made = encoding.generator.synthesis(ws)
    made = functional.adaptive_avg_pool2d(made.float(), seen.shape[-1])
    terms = encoder_terms(encoding, seen, made, ws, stage)
    turn.descend(torch.stack(list(terms.values())).sum(), ENCODER)
    return scalars | {name: term.detach() for name, term in terms.items()}


def encoder_terms(
    encoding: Encoding, seen: Tensor, made: Tensor, ws: Tensor, stage: int
) -> dict[str, Tensor]:
    """The encoder's losses, weighted. seen, made: pictures at the encoder's size."""
    how = encoding.how
    terms = {"l2": how.l2 * functional.mse_loss(made, seen)}
    if encoding.perceptual is not None:
        terms["perceptual"] = how.perceptual_weight * encoding.perceptual(made, seen)
    if encoding.identity is not None:
        terms["identity"] = how.identity_weight * encoding.identity(made, seen)
    if how.adversarial:
        score = encoding.critic(ws[:, : stage + 1].flatten(0, 1))
        terms["adversarial"] = how.adversarial * functional.softplus(-score).mean()
    if how.deltas and stage:
        terms["deltas"] = how.deltas * delta_norms(ws, stage)
    return terms


def _critic_steps(encoding: Encoding, fake: Tensor, turn: Turn) -> dict[str, Tensor | float]:
    """fake: the rows that may differ, (B, rows, w_dim). Real ones are drawn anew; there is no pool of older ones."""
    how, generator = encoding.how, encoding.generator
    z = torch.randn(len(fake), generator.z_dim, device=turn.device, generator=turn.generator)
    with torch.no_grad():
        real = generator.mapping(z)
    of_real, of_fake = encoding.critic(real), encoding.critic(fake.flatten(0, 1))
    loss = functional.softplus(-of_real).mean() + functional.softplus(of_fake).mean()
    turn.descend(loss, LATENT_CRITIC)
    scalars: dict[str, Tensor | float] = {"critic": loss.detach()}
    if how.r1 and turn.stage_step % how.r1_every == 0:
        seen = real.requires_grad_(True)
        (gradient,) = torch.autograd.grad(encoding.critic(seen).sum(), seen, create_graph=True)
        penalty = gradient.square().sum(1).mean()
        turn.descend(penalty * (how.r1 / 2 * how.r1_every), LATENT_CRITIC)
        scalars["r1"] = penalty.detach()
    return scalars


def decibels(made: Tensor, wanted: Tensor) -> Tensor:
    """PSNR of pictures in -1..1, mean over the batch."""
    error = (made.clamp(-1, 1) - wanted).square().mean([1, 2, 3]).clamp_min(1e-10)
    return (10 * torch.log10(4.0 / error)).mean()
