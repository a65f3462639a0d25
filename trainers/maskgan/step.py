"""One step of MaskGAN, of both its stages.

The release has the losses and no loop. The order within one iteration of Editing Behaviour Simulated Training is what
its author confirmed (issue 36 of the official repository): critic on real and G's, then G; critic on real and B's, then
G and B. There is one critic, and it always judges a picture together with the mask that belongs to the real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainers.maskgan import losses
from trainers.maskgan.blender import AlphaBlender
from trainers.maskgan.critic import MultiscaleCritic
from trainers.maskgan.labels import MOVING
from trainers.maskgan.networks import DenseMappingNetwork, Style
from trainers.maskgan.recipe import Losses
from trainers.system import Turn

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Pair:
    """A picture and its mask (M_t, I_t): planes (B, classes, S, S) one-hot, image (B, 3, S, S) in -1..1.

    inner, outer: planes of the interpolated masks, None where they are not needed. style_planes, style_image: where the
    style is taken from; None takes the pair itself, as officially.
    """

    planes: Tensor
    image: Tensor
    inner: Tensor | None = None
    outer: Tensor | None = None
    style_planes: Tensor | None = None
    style_image: Tensor | None = None

    def style(self, generator: DenseMappingNetwork) -> Style:
        """What G takes from the reference."""
        planes = self.planes if self.style_planes is None else self.style_planes
        return generator.style(planes, self.image if self.style_image is None else self.style_image)


class Pictures(NamedTuple):
    """What is made of a pair: from its own mask, from the inner and the outer one, and of these two the blend."""

    reconstructed: Tensor
    inner: Tensor
    outer: Tensor
    blended: Tensor
    alpha: Tensor


class Networks(NamedTuple):
    """G, B, D and the perceptual distance, None where the recipe has none."""

    generator: DenseMappingNetwork
    blender: AlphaBlender
    critic: MultiscaleCritic
    distance: nn.Module | None


def reconstruct(generator: DenseMappingNetwork, pair: Pair) -> Tensor:
    """G(M_t; M_t, I_t)."""
    return generator.draw(pair.planes, pair.style(generator)).float()


def simulate(
    generator: DenseMappingNetwork, blender: AlphaBlender, pair: Pair
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The inner and the outer picture, their blend, and alpha: the simulated edit."""
    if pair.inner is None or pair.outer is None:
        raise ValueError("the pair has no inner and outer masks; the editing stage needs them")
    style = pair.style(generator)
    inner, outer = generator.draw(pair.inner, style).float(), generator.draw(pair.outer, style).float()
    blended, alpha = blender(inner, outer)
    return inner, outer, blended.float(), alpha.float()


def made(generator: DenseMappingNetwork, blender: AlphaBlender, pair: Pair) -> Pictures:
    """All pictures from the same weights, as the released forward pass makes them."""
    return Pictures(reconstruct(generator, pair), *simulate(generator, blender, pair))


def given_terms(
    critic: MultiscaleCritic, pair: Pair, fake: Tensor, distance: nn.Module | None, weights: Losses
) -> Terms:
    """What a picture costs its maker: adversarial, features, perceptual, weighted; those that the recipe has."""
    judged = _judged(critic, pair, fake)
    terms = {"adversarial": weights.adversarial * losses.least_squares(judged, real=True)}
    if weights.features:
        with torch.no_grad():
            real = _judged(critic, pair, pair.image)
        terms["features"] = weights.features * losses.feature_matching(judged, real)
    if distance is not None and weights.perceptual_weight:
        terms["perceptual"] = weights.perceptual_weight * distance(fake, pair.image)
    return terms


def generator_terms(
    critic: MultiscaleCritic, pair: Pair, pictures: Pictures, distance: nn.Module | None, weights: Losses
) -> Terms:
    """The six terms of the released forward pass: those of the reconstruction, and those of the blend."""
    blend = given_terms(critic, pair, pictures.blended, distance, weights)
    return {
        **given_terms(critic, pair, pictures.reconstructed, distance, weights),
        **{f"blend_{name}": term for name, term in blend.items()},
    }


def judged_terms(critic: MultiscaleCritic, pair: Pair, fake: Tensor, name: str = "fake") -> Terms:
    """What the critic is to learn of the real picture and of a made one, which is not followed back; unweighted."""
    return {
        "real": losses.least_squares(_judged(critic, pair, pair.image), real=True),
        name: losses.least_squares(_judged(critic, pair, fake.detach()), real=False),
    }


def critic_terms(critic: MultiscaleCritic, pair: Pair, pictures: Pictures) -> Terms:
    """D_real, D_fake and D_blend of the released forward pass."""
    return {
        **judged_terms(critic, pair, pictures.reconstructed),
        "blend": judged_terms(critic, pair, pictures.blended, "blend")["blend"],
    }


def reconstruction(pair: Pair, fake: Tensor, parts: float) -> Tensor:
    """Mean L1 to the picture; the pixels of what moves in a face count `parts` times more, by either layout."""
    away = (fake - pair.image).abs().mean(1)
    if not parts:
        return away.mean()
    seen = pair.planes[:, MOVING].amax(1)
    if pair.style_planes is not None:
        seen = torch.maximum(seen, pair.style_planes[:, MOVING].amax(1))
    return (away * (1 + parts * seen)).mean()


def colours(pair: Pair, fake: Tensor) -> Tensor:
    """L1 between the mean colours of a part in both pictures; mean over the parts that a layout shows."""
    pixels = pair.planes.sum((2, 3))
    sums = torch.einsum("bchw,bkhw->bck", pair.planes, fake - pair.image)
    away = (sums / pixels.clamp(min=1)[..., None]).abs().mean(2)
    return away.sum() / (pixels > 0).sum()


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """Their sum."""
    return torch.stack([term.float() for term in terms.values()]).sum()


def mapping_step(networks: Networks, pair: Pair, weights: Losses, turn: Turn, clip: float | None) -> Terms:
    """The critic on the real picture and G's, then G. Optimisers "critic" and "generator"."""
    generator, _, critic, distance = networks
    with turn.autocast():
        fake = reconstruct(generator, pair)
        judged = judged_terms(critic, pair, fake)
    turn.descend(weights.critic * total(judged), "critic", clip=clip)
    with turn.autocast():
        given = given_terms(critic, pair, fake, distance, weights)
    if weights.reconstruction:
        given["reconstruction"] = weights.reconstruction * reconstruction(pair, fake, weights.parts)
    if weights.colours:
        given["colours"] = weights.colours * colours(pair, fake)
    turn.descend(total(given), "generator", clip=clip)
    return _named("critic", judged) | _named("generator", given)


def editing_step(networks: Networks, pair: Pair, weights: Losses, turn: Turn, clip: float | None) -> Terms:
    """The mapping step; then the critic on the real picture and B's, and G and B together. Optimisers "critic",
    "generator" and "both"."""
    told = mapping_step(networks, pair, weights, turn, clip)
    generator, blender, critic, distance = networks
    with turn.autocast():
        _, _, blended, alpha = simulate(generator, blender, pair)
        judged = judged_terms(critic, pair, blended, "blend")
    turn.descend(weights.critic * total(judged), "critic", clip=clip)
    with turn.autocast():
        given = given_terms(critic, pair, blended, distance, weights)
    turn.descend(total(given), "both", clip=clip)
    alone = {"critic/blend": judged["blend"].detach(), "blend/alpha": alpha.detach().mean()}
    return told | _named("blend", given) | alone


def _judged(critic: MultiscaleCritic, pair: Pair, image: Tensor) -> list[list[Tensor]]:
    found: list[list[Tensor]] = critic(torch.cat((pair.planes, image), dim=1))
    return found


def _named(network: str, terms: Terms) -> Terms:
    return {f"{network}/{name}": term.detach() for name, term in terms.items()}
