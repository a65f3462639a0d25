"""One training step of GeoGAN: a single forward pass serves generator and critic, the generator steps first.

The critic judges the fakes once. Its loss reuses those judgements, but reaches only its own parameters, so the fakes
act as detached ones and the numbers are those of the official code, which steps the critic on the graph of the same
forward pass (and fails on a torch that checks versions, because the generator has moved by then).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainers.geogan import losses, regions
from trainers.geogan.networks import AttrMultiScalePatchDisc, Cycle, FlowGenerator, Judgement, Transfer
from trainers.geogan.recipe import Losses
from trainers.system import Turn

Terms = dict[str, Tensor]
HALF_CHANGED = 0.01
"""Squared colour difference (pictures in -1..1) at which a pixel counts half as changed."""


@dataclass(frozen=True)
class Judged:
    """What the critic says of the fakes (fake_Ax, fake_Ay, fake_Bx, fake_By) and of the two real pictures."""

    fakes: Sequence[Sequence[Judgement]]
    reals: Sequence[Sequence[Judgement]]


def judge(critic: AttrMultiScalePatchDisc, cycle: Cycle, target: Tensor, donor: Tensor) -> Judged:
    """The critic on all six pictures."""
    return Judged([critic(fake) for fake in cycle.fakes], [critic(real) for real in (target, donor)])


def _scores(judgements: Sequence[Judgement]) -> list[Tensor]:
    return [judgement.patch for judgement in judgements]


def _attribute_loss(judged: Sequence[Sequence[Judgement]], labels: Sequence[Tensor]) -> Tensor:
    terms = [
        losses.attribute_entropy(judgement.attributes, label)
        for judgements, label in zip(judged, labels)
        for judgement in judgements
    ]
    return torch.stack(terms).sum()


def generator_terms(cycle: Cycle, judged: Judged, pair: Mapping[str, Tensor], weights: Losses) -> Terms:
    """The generator's losses, weighted. pair: target, donor, their labels (B, attributes) and landmarks (B, 68, 2)."""
    target, donor = pair["target"], pair["donor"]
    of_target, of_donor = pair["target_labels"], pair["donor_labels"]
    terms: Terms = {}
    if weights.adversarial:
        scores = [losses.least_squares(_scores(fake), real=True) for fake in judged.fakes]
        terms["adversarial"] = weights.adversarial * torch.stack(scores).sum()
    if weights.attribute:
        labels = (of_target, of_donor, of_target, of_donor)
        terms["attribute"] = weights.attribute * _attribute_loss(judged.fakes, labels)
    if weights.reconstruction:
        apart = losses.absolute(cycle.target_again, target) + losses.absolute(cycle.back.image, donor)
        terms["reconstruction"] = weights.reconstruction * apart
    return {**terms, **flow_terms((cycle.there, cycle.back), pair, weights)}


def flow_terms(transfers: Sequence[Transfer], pair: Mapping[str, Tensor], weights: Losses) -> Terms:
    """Losses of masks and flows: masks and smoothness of every transfer, landmarks of the first."""
    terms: Terms = {}
    if weights.mask:
        official = weights.mask_of == "warped_back"
        masks = [one.mask_in_donor if official else one.mask for one in transfers]
        terms["mask"] = weights.mask * torch.stack([losses.mask_size(mask) for mask in masks]).sum()
    if weights.flow:
        smooth = [losses.total_variation(one.flow * one.flow.shape[-1]) for one in transfers]
        # the official code adds the flows of the removals, which are zero, and with them the floor of the loss
        smooth += [torch.full_like(smooth[0], losses.FLOOR)] * len(transfers)
        terms["flow"] = weights.flow * torch.stack(smooth).sum()
    if weights.landmark and "target_landmarks" in pair:
        terms["landmark"] = weights.landmark * landmark_term(transfers[0].flow, pair, weights)
    return terms


def landmark_term(flow: Tensor, pair: Mapping[str, Tensor], weights: Losses) -> Tensor:
    """The landmark loss with the recipe's goal and scale, before its weight."""
    scale = losses.OFFICIAL_LANDMARK_SCALE if weights.landmark_scale == "official" else float(flow.shape[-1])
    target, donor = pair["target_landmarks"], pair["donor_landmarks"]
    if weights.landmark_goal == "donor":
        return losses.landmark_error(flow, target, donor, scale)
    if weights.landmark_goal == "outside":
        return losses.landmark_error(flow, target, donor, scale, regions.outside_mouth(flow.device))
    wanted = regions.wanted_landmarks(target, donor)
    if "wanted_landmarks" in pair:
        known = pair["has_wanted"].reshape(-1, 1, 1) > 0
        wanted = torch.where(known, pair["wanted_landmarks"], wanted)
    return losses.landmark_error(flow, wanted, donor, scale)


def critic_terms(judged: Judged, pair: Mapping[str, Tensor], weights: Losses) -> Terms:
    """The critic's losses, weighted: reals count whole, fakes half, attributes on reals only."""
    fake = torch.stack([losses.least_squares(_scores(one), real=False) for one in judged.fakes]).sum()
    real = torch.stack([losses.least_squares(_scores(one), real=True) for one in judged.reals]).sum()
    terms = {"real": weights.adversarial * real, "fake": weights.adversarial * 0.5 * fake}
    if weights.attribute:
        labels = (pair["target_labels"], pair["donor_labels"])
        terms["attribute"] = weights.attribute * _attribute_loss(judged.reals, labels)
    return terms


def supervised_terms(
    there: Transfer, removed: Tensor | None, pair: Mapping[str, Tensor], weights: Losses
) -> Terms:
    """Losses against the wanted picture, over the samples that have one (`has_wanted`), and those of `removal_terms`.

    removed: what the removal network made of the donor; None where it is left out of this step.
    """
    has = pair["has_wanted"].reshape(-1, 1, 1, 1)
    changed = _changed(pair["wanted"], pair["target"])
    terms = _against("supervised", there.image, pair["wanted"], has, changed, weights)
    if removed is not None:
        terms |= removal_terms(removed, pair, weights)
    if weights.mask_goal:
        goal = changed
        if weights.mask_goal_of == "mouth":
            goal = regions.removal_mask(pair["wanted_landmarks"], changed.shape[-1])
        entropy = functional.binary_cross_entropy(there.mask.float(), goal, reduction="none")
        terms["mask_goal"] = weights.mask_goal * (entropy * has).mean() / has.mean().clamp(min=1e-3)
    return terms


def removal_terms(removed: Tensor, pair: Mapping[str, Tensor], weights: Losses) -> Terms:
    """Losses of removal against the donor without the attribute (`donor_plain`), where that is known (`has_plain`)."""
    plain = pair["has_plain"].reshape(-1, 1, 1, 1)
    changed = _changed(pair["donor_plain"], pair["donor"])
    return _against("removal", removed, pair["donor_plain"], plain, changed, weights)


def _against(
    name: str, given: Tensor, aim: Tensor, counted: Tensor, changed: Tensor, weights: Losses
) -> Terms:
    """L1 over all pixels, and over the changed ones alone; both over the samples that count."""
    terms: Terms = {}
    error = (given - aim).abs() * counted
    if weights.supervised:
        terms[name] = weights.supervised * error.mean() / counted.mean().clamp(min=1e-3)
    if weights.supervised_change:
        part = (error * changed).mean() / (counted * changed).mean().clamp(min=1e-3)
        terms[f"{name}_change"] = weights.supervised_change * part
    return terms


def _changed(wanted: Tensor, target: Tensor) -> Tensor:
    """(B, 1, S, S), 0..1: where the wanted picture differs from the target, filled and widened by its neighbourhood."""
    squared = (wanted - target).square().mean(1, keepdim=True)
    size = 2 * (wanted.shape[-1] // 16) + 1
    wide = functional.max_pool2d(squared / (squared + HALF_CHANGED), size, 1, size // 2)
    return functional.avg_pool2d(wide, size, 1, size // 2, count_include_pad=False).clamp(0, 1).detach()


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """Their sum."""
    return torch.stack([term.float() for term in terms.values()]).sum()


def adversarial_step(
    generator: FlowGenerator,
    critic: AttrMultiScalePatchDisc,
    pair: Mapping[str, Tensor],
    weights: Losses,
    turn: Turn,
    clip: float | None = None,
) -> tuple[Cycle, Terms, Terms]:
    """One step of the generator, then one of the critic, from one forward pass. Gives the pass and both's terms.

    Pairs with wanted pictures have the losses of `supervised_terms`, too.
    """
    with turn.autocast():
        cycle = generator(pair["target"], pair["donor"])
        judged = judge(critic, cycle, pair["target"], pair["donor"])
    of_generator = generator_terms(cycle, judged, pair, weights)
    if "wanted" in pair:
        of_generator |= supervised_terms(cycle.there, cycle.removed, pair, weights)
    of_critic = critic_terms(judged, pair, weights)
    turn.descend(total(of_generator), "generator", clip=clip, retain_graph=True)
    turn.descend(total(of_critic), "critic", clip=clip)
    return cycle, of_generator, of_critic
