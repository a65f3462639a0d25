"""One training step: a single forward pass, the generator's step, then the critic's on the same pictures.

The critic learns from the pictures that the generator made before its own step, as in the official loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainers.liquid_warping import losses
from trainers.liquid_warping.discriminators import PartsDiscriminator, average
from trainers.liquid_warping.face_loss import FaceDistance
from trainers.liquid_warping.generator import LiquidWarpingGenerator, Made, composed
from trainers.liquid_warping.recipe import Losses

Terms = dict[str, Tensor]
REAL, FAKE, FOOLED = 1.0, -1.0, 0.0
"""What the critic is to say of real and made pictures, and what the generator wants to hear."""


@dataclass(frozen=True)
class Sample:
    """A batch. H and W are the pictures' sides, N the sources, T the target frames, n the backgrounds.

    backgrounds: (B, n, 4, H, W). sources: (B, N, 6, H, W). targets: (B, T, 6, H, W). flow: (B, T, N, H, W, 2).
    flow_back: (B, T-1, H, W, 2) or None. These are the generator's inputs, see LiquidWarpingGenerator.forward.
    real_sources (B, N, 3, H, W), real_targets (B, T, 3, H, W), real_background (B, n, 3, H, W) or (B, 3, H, W): what it
    is to make. masks: (B, N + T, 1, H, W), 1 = background, of the sources and then of the targets.
    body, head: int64 (B, T, 4), boxes min_x, max_x, min_y, max_y in pixels, or None. scene, scene_mask: (B, 3, H, W)
    and (B, 1, H, W), another picture without people, and 0 where the person of the first source would hide it; with one
    it is the scene, not the background, that is compared; None without.
    """

    backgrounds: Tensor
    sources: Tensor
    targets: Tensor
    flow: Tensor
    real_sources: Tensor
    real_targets: Tensor
    real_background: Tensor
    masks: Tensor
    flow_back: Tensor | None = None
    body: Tensor | None = None
    head: Tensor | None = None
    scene: Tensor | None = None
    scene_mask: Tensor | None = None


class Shown(NamedTuple):
    """What was made, put together. background: (B, 3, H, W), of the first source. sources: (B, N, 3, H, W). targets:
    (B, T, 3, H, W). masks: (B, N + T, 1, H, W). scene: (B, 3, H, W) or None."""

    background: Tensor
    sources: Tensor
    targets: Tensor
    masks: Tensor
    scene: Tensor | None


class Judges(NamedTuple):
    """What judges: the critic, the perceptual and the face distance, None where a recipe has none."""

    critic: PartsDiscriminator
    perceptual: nn.Module | None
    face: FaceDistance | None


class Learnt(NamedTuple):
    """The critic's side of a step. terms: its losses. says_of_real, says_of_fake: the means of its scores, which are
    what the official program records of it."""

    terms: Terms
    says_of_real: Tensor
    says_of_fake: Tensor


def show(generator: LiquidWarpingGenerator, sample: Sample) -> Shown:
    """Everything that a step looks at, float32. Every picture lies on the first background."""
    made = generator(sample.backgrounds, sample.sources, sample.targets, sample.flow, sample.flow_back)
    return shown_of(Made(*(one.float() for one in made)), _scene(generator, sample))


def _scene(generator: LiquidWarpingGenerator, sample: Sample) -> Tensor | None:
    if sample.scene is None or sample.scene_mask is None:
        return None
    hidden = torch.cat((sample.scene * sample.scene_mask, sample.scene_mask), 1)
    return generator.backgrounds(hidden.unsqueeze(1))[:, 0].float()


def shown_of(made: Made, scene: Tensor | None = None) -> Shown:
    """The streams of a forward pass, composed."""
    assert made.background is not None
    behind = made.background[:, :1]
    return Shown(
        behind[:, 0],
        composed(made.source_images, made.source_masks, behind),
        composed(made.images, made.masks, behind),
        torch.cat((made.source_masks, made.masks), 1),
        scene,
    )


def generator_terms(shown: Shown, sample: Sample, judges: Judges, weights: Losses) -> Terms:
    """The generator's losses, weighted; those that are not 0."""
    real_background = sample.real_background
    if real_background.ndim == 5:
        real_background = real_background[:, 0]
    terms: Terms = {}
    if weights.reconstruction:
        if shown.scene is not None and sample.scene is not None:
            background = losses.absolute(shown.scene, sample.scene)
        else:
            background = losses.absolute(shown.background, real_background)
        sources = losses.absolute(shown.sources, sample.real_sources)
        terms["reconstruction"] = weights.reconstruction * (sources + background) / 2
    fake, real = shown.targets.flatten(0, 1), sample.real_targets.flatten(0, 1)
    if weights.direct:
        terms["direct"] = weights.direct * losses.absolute(fake, real)
    if weights.perceptual_weight and judges.perceptual is not None:
        terms["perceptual"] = weights.perceptual_weight * judges.perceptual(fake, real)
    if weights.face and judges.face is not None and sample.head is not None:
        terms["face"] = weights.face * judges.face(fake, real, sample.head.flatten(0, 1))
    if weights.mask:
        terms["mask"] = weights.mask * losses.mask_entropy(shown.masks, sample.masks)
    if weights.smoothness:
        terms["smoothness"] = weights.smoothness * losses.total_variation(shown.masks)
    if weights.adversarial:
        judged = judge(judges.critic, shown.targets, shown.scene, sample)
        terms["adversarial"] = weights.adversarial * losses.least_squares(judged, FOOLED)
    return terms


def critic_terms(critic: PartsDiscriminator, shown: Shown, sample: Sample) -> Learnt:
    """What the critic is to learn, of pictures that are not followed back."""
    scene = None if shown.scene is None else shown.scene.detach()
    made = judge(critic, shown.targets.detach(), scene, sample)
    real = judge(critic, sample.real_targets, sample.scene, sample)
    terms = {"real": losses.least_squares(real, REAL), "fake": losses.least_squares(made, FAKE)}
    return Learnt(terms, average(real).detach(), average(made).detach())


def judge(critic: PartsDiscriminator, targets: Tensor, scene: Tensor | None, sample: Sample) -> list[Tensor]:
    """Scores of target frames (B, T, 3, H, W), each with its condition, and of a scene with its mask."""
    seen = torch.cat((targets, sample.targets[:, :, -3:]), 2).flatten(0, 1)
    boxes = [None if box is None else box.flatten(0, 1) for box in (sample.body, sample.head)]
    behind = None
    if scene is not None and sample.scene_mask is not None:
        behind = torch.cat((scene, sample.scene_mask), 1)
    scores: list[Tensor] = critic(seen, behind, *boxes)
    return scores


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """The objective."""
    return torch.stack(list(terms.values())).sum()
