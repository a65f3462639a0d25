"""One step of StyleGAN2: logistic losses without saturation, R1, path lengths, a moving average."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainers.stit.augment import augmented
from trainers.stit.critic import Critic
from trainers.stit.generator import Generator
from trainers.stit.recipe import Adversarial
from trainers.system import Turn

GENERATOR, CRITIC = "generator", "critic"


@dataclass
class GAN:
    """The networks of a step. trained: what steps; mean: its moving average. paths: the mean path length so far."""

    trained: Generator
    mean: Generator
    critic: Critic
    how: Adversarial
    paths: float = 0.0


def lazy(
    rate: float, betas: tuple[float, float], every: int, penalised: bool
) -> tuple[float, tuple[float, float]]:
    """Adam's rate and decays where a penalty has steps of its own, one in `every`: all is slowed a little, as in the
    paper's appendix B."""
    share = every / (every + 1) if penalised else 1.0
    return rate * share, (betas[0] ** share, betas[1] ** share)


def codes(generator: Generator, count: int, turn: Turn, mixing: float = 0.0) -> tuple[Tensor, Tensor]:
    """w (B, w_dim) and ws (B, num_ws, w_dim) of random z; with probability `mixing` the rows from a random one on
    belong to a second w."""

    def draw() -> Tensor:
        z = torch.randn(count, generator.z_dim, device=turn.device, generator=turn.generator)
        made: Tensor = generator.mapping(z)
        return made

    first = draw()
    ws = first[:, None].repeat(1, generator.num_ws, 1)
    if mixing and generator.num_ws > 1 and _uniform(turn) < mixing:
        row = 1 + int(_uniform(turn) * (generator.num_ws - 1))
        ws = torch.cat((ws[:, :row], draw()[:, None].repeat(1, generator.num_ws - row, 1)), 1)
    return first, ws


def _uniform(turn: Turn) -> float:
    return float(torch.rand((), device=turn.device, generator=turn.generator))


def gan_step(gan: GAN, real: Tensor, turn: Turn, p: float) -> Mapping[str, Tensor | float]:
    """Generator, its penalty when due, critic, its penalty when due, moving average. p: of the augmentations."""
    how, count = gan.how, len(real)
    scalars: dict[str, Tensor | float] = {"generator": _generator_step(gan, count, turn, p)}
    if how.path and turn.stage_step % how.path_every == 0:
        scalars["path"] = _path_step(gan, max(1, count // how.path_share), turn)
    scalars |= _critic_step(gan, real, turn, p)
    if how.r1 and turn.stage_step % how.r1_every == 0:
        scalars["r1"] = _r1_step(gan, real, turn, p)
    follow(gan, count, turn)
    return scalars


def _generator_step(gan: GAN, count: int, turn: Turn, p: float) -> Tensor:
    with turn.autocast():
        first, ws = codes(gan.trained, count, turn, gan.how.mixing)
        made = gan.trained.synthesis(ws, "random")
        score = gan.critic(augmented(made, p, turn.generator)).float()
    gan.trained.mapping.track(first.float())
    loss = functional.softplus(-score).mean()
    turn.descend(loss, GENERATOR)
    return loss.detach()


def path_lengths(image: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """(B,): the length of the code's gradient of the picture times noise, which is scaled by the picture's size."""
    scaled = noise / math.sqrt(image.shape[2] * image.shape[3])
    (gradient,) = torch.autograd.grad((image * scaled).sum(), ws, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def _path_step(gan: GAN, count: int, turn: Turn) -> Tensor:
    how = gan.how
    _, ws = codes(gan.trained, count, turn, how.mixing)
    image = gan.trained.synthesis(ws, "random")
    noise = torch.randn(image.shape, device=turn.device, generator=turn.generator)
    lengths = path_lengths(image, ws, noise)
    mean = lengths.detach().mean()[None]
    turn.average([mean])
    gan.paths += how.path_decay * (float(mean) - gan.paths)
    loss = (lengths - gan.paths).square().mean()
    turn.descend(loss * (how.path * how.path_every), GENERATOR)
    return loss.detach()


def _critic_step(gan: GAN, real: Tensor, turn: Turn, p: float) -> Mapping[str, Tensor]:
    with torch.no_grad(), turn.autocast():
        _, ws = codes(gan.trained, len(real), turn, gan.how.mixing)
        made = gan.trained.synthesis(ws, "random").float()
    with turn.autocast():
        of_made = gan.critic(augmented(made, p, turn.generator)).float()
        of_real = gan.critic(augmented(real, p, turn.generator)).float()
    fake, true = functional.softplus(of_made).mean(), functional.softplus(-of_real).mean()
    turn.descend(fake + true, CRITIC)
    return {"critic": (fake + true).detach(), "sign": of_real.detach().sign().mean()}


def r1_penalty(critic: Critic, real: Tensor) -> Tensor:
    """Mean over the batch of the squared gradient of the score, at the pictures that the critic sees."""
    seen = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(seen).sum(), seen, create_graph=True)
    return gradient.square().sum([1, 2, 3]).mean()


def _r1_step(gan: GAN, real: Tensor, turn: Turn, p: float) -> Tensor:
    """The penalty is taken behind the augmentation, whose sampling has no second derivative in PyTorch."""
    how = gan.how
    penalty = r1_penalty(gan.critic, augmented(real, p, turn.generator))
    turn.descend(penalty * (how.r1 / 2 * how.r1_every), CRITIC)
    return penalty.detach()


@torch.no_grad()
def follow(gan: GAN, count: int, turn: Turn) -> None:
    """The moving average, one step: weights by their half-life, buffers as they are."""
    seen = (turn.stage_step + 1) * count
    half_life = min(gan.how.half_life, max(seen * gan.how.ramp, 1e-8))
    decay = 0.5 ** (count / half_life)
    olds: list[Tensor] = list(gan.mean.parameters())
    news: list[Tensor] = list(gan.trained.parameters())
    torch._foreach_lerp_(olds, news, 1.0 - decay)
    for old, new in zip(gan.mean.buffers(), gan.trained.buffers()):
        old.copy_(new)
