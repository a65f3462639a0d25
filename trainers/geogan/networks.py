"""GeoGAN's generator (flow, mask, refinement, removal) and its multi-scale critic."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from trainers.geogan.blocks import (
    Head,
    ResidualBlock,
    Tail,
    identity_grid,
    meeting_block,
    norm_layer,
    paired,
    sample,
)

DEAD_DECODERS = ("res_flow_tail", "res_blend_tail", "flow_tail_Ax")
"""Decoders that official files hold and nothing calls."""

FLOW_SCALE = 10.0
"""The flow decoder's output is divided by this to give grid units."""

RESIDUAL_REACH = 2.0
"""Residuals reach from -2 to 2: from black to white and back."""


class Transfer(NamedTuple):
    """The attribute of a donor on a target; everything in the target's frame but `mask_in_donor`.

    image: (B, 3, S, S) in -1..1. flow: (B, 2, S, S), x and y in grid units (2 / (S - 1) is a pixel): the donor is
    sampled at identity + flow. mask: (B, 1, S, S), 1 takes the warped donor, 0 keeps the target. warped: the
    donor, sampled. residual: what refinement added, already times weight and mask. mask_in_donor: the mask
    sampled at identity - flow, a crude inverse, which the removal network is given.
    """

    image: Tensor
    flow: Tensor
    mask: Tensor
    warped: Tensor
    residual: Tensor
    mask_in_donor: Tensor


class Cycle(NamedTuple):
    """One forward pass: the attribute put on the target, taken from the donor, put back, taken off again."""

    there: Transfer
    """The donor's attribute on the target: fake_Ay."""
    removed: Tensor
    """The donor without the attribute: fake_Bx."""
    back: Transfer
    """The attribute of fake_Ay on fake_Bx: fake_By, which should be the donor."""
    target_again: Tensor
    """fake_Ay without the attribute: fake_Ax, which should be the target."""

    @property
    def fakes(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """fake_Ax, fake_Ay, fake_Bx, fake_By."""
        return self.target_again, self.there.image, self.removed, self.back.image


def official_refinement_weight(epoch: float, most: float) -> float:
    """The weight of refinement in epoch `epoch` (counted from 0) of the official schedule: off through epoch 10,
    then 0.1 more per epoch up to `most`."""
    return min(most, 0.1 * max(epoch - 10, 0))


class FlowGenerator(nn.Module):
    """GeoGAN's generator for square pictures of `size`, a multiple of 2**downsamples.

    width: channels at full resolution. blocks: residual blocks at the bottleneck. only_residual: the ablation
    without warp and mask. dead_decoders: also hold the three decoders that official files contain and nothing
    calls, so that such a file is read and written whole. refinement_weight: w of the refinement, 2*tanh(.)*w*m;
    the official code derives it from the epoch at inference, here it belongs to the weights.
    """

    grid: Tensor

    def __init__(
        self,
        size: int = 128,
        width: int = 16,
        downsamples: int = 3,
        blocks: int = 3,
        norm: str = "instance",
        only_residual: bool = False,
        dead_decoders: bool = False,
        refinement_weight: float = 0.1,
    ) -> None:
        super().__init__()
        if downsamples < 1 or size % 2**downsamples:
            raise ValueError(
                f"size: got {size}, expected a multiple of {2**downsamples} ({downsamples} halvings)"
            )
        self.size = size
        self.refinement_weight = refinement_weight
        deepest = width * 2**downsamples

        def head(inputs: int) -> Head:
            return Head(inputs, downsamples, width, norm)

        def tail(outputs: int, sources: int) -> Tail:
            return Tail(outputs, downsamples, width, sources, norm)

        self.res_head = head(4)
        self.res_block = nn.Sequential(*(ResidualBlock(deepest, norm) for _ in range(blocks)))
        self.res_tail = tail(3, 2)
        if dead_decoders:
            self.res_flow_tail = tail(2, 2)
            self.res_blend_tail = tail(1, 2)
        self.flow_head = head(3)
        self.mask_head = head(3)
        self.flow_block = meeting_block(deepest, blocks, norm)
        self.mask_block = meeting_block(deepest, blocks, norm)
        if dead_decoders:
            self.flow_tail_Ax = tail(2, 3)
        self.flow_tail_By = tail(2, 3)
        self.flow_mask_tail = tail(1, 3)
        self.flow_res_head = head(4)
        self.flow_res_tail = tail(3, 2)
        self.only_res_tail = tail(3, 3) if only_residual else None
        self.register_buffer("grid", identity_grid(size), persistent=False)

    def pointwise_first(self) -> FlowGenerator:
        """Make every decoder run in its cheaper order, see Tail; the same numbers up to rounding."""
        for module in self.modules():
            if isinstance(module, Tail):
                module.pointwise_first = True
        return self

    def warp(self, image: Tensor, flow: Tensor) -> Tensor:
        """`image` sampled at identity + flow (grid units, align_corners=True, zeros outside)."""
        return sample(image, self.grid + flow)

    def flow_and_mask(self, target: Tensor, donor: Tensor) -> tuple[Tensor, Tensor]:
        """Flow (grid units) and blending mask (0..1) that bring the donor's attribute to the target."""
        ours, theirs = self.flow_head(target), self.flow_head(donor)
        bottleneck = self.flow_block(torch.cat((ours[-1], theirs[-1]), dim=1))
        flow = self.flow_tail_By(bottleneck, paired(ours, theirs)) / FLOW_SCALE
        ours, theirs = self.mask_head(target), self.mask_head(donor)
        bottleneck = self.mask_block(torch.cat((ours[-1], theirs[-1]), dim=1))
        return flow, torch.sigmoid(self.flow_mask_tail(bottleneck, paired(ours, theirs)))

    def refinement(self, blended: Tensor, mask: Tensor) -> Tensor:
        """The residual before weight and mask, in -2..2. The mask is only looked at: no gradient goes through it."""
        levels = self.flow_res_head(torch.cat((blended, mask.detach()), dim=1))
        return RESIDUAL_REACH * torch.tanh(self.flow_res_tail(levels[-1], levels))

    def add_attribute(self, target: Tensor, donor: Tensor) -> Transfer:
        """The donor's attribute on the target: clamp(target*(1 - m) + warp(donor)*m + 2*tanh(.)*w*m, -1, 1)."""
        if self.only_res_tail is not None:
            return self._only_residual(target, donor)
        flow, mask = self.flow_and_mask(target, donor)
        warped = self.warp(donor, flow)
        blended = target * (1 - mask) + warped * mask
        residual = self.refinement(blended, mask) * self.refinement_weight * mask
        image = torch.clamp(blended + residual, -1, 1)
        return Transfer(image, flow, mask, warped, residual, self.warp(mask, -flow))

    def _only_residual(self, target: Tensor, donor: Tensor) -> Transfer:
        assert self.only_res_tail is not None
        ours, theirs = self.flow_head(target), self.flow_head(donor)
        bottleneck = self.flow_block(torch.cat((ours[-1], theirs[-1]), dim=1))
        residual = RESIDUAL_REACH * torch.tanh(self.only_res_tail(bottleneck, paired(ours, theirs)))
        nothing = torch.zeros_like(target)
        mask = nothing[:, :1]
        return Transfer(target + residual, nothing[:, :2], mask, nothing, nothing, mask)

    def remove_attribute(self, image: Tensor, mask: Tensor) -> Tensor:
        """`image` without the attribute that `mask` (B, 1, S, S) points at: clamp(image + 2*tanh(.), -1, 1)."""
        levels = self.res_head(torch.cat((image, mask), dim=1))
        residual = RESIDUAL_REACH * torch.tanh(self.res_tail(self.res_block(levels[-1]), levels))
        return torch.clamp(image + residual, -1, 1)

    def forward(self, target: Tensor, donor: Tensor) -> Cycle:
        """target (Ax, without the attribute) and donor (By, with it): (B, 3, size, size), RGB in -1..1."""
        there = self.add_attribute(target, donor)
        removed = self.remove_attribute(donor, there.mask_in_donor)
        back = self.add_attribute(removed, there.image)
        return Cycle(there, removed, back, self.remove_attribute(there.image, back.mask_in_donor))


class Judgement(NamedTuple):
    """What the critic says at one scale. features: activations after each LeakyReLU. patch: raw scores (B, 1, h, w).
    attributes: probabilities (B, attributes), in the recipe's order."""

    features: list[Tensor]
    patch: Tensor
    attributes: Tensor


class PatchCritic(nn.Module):
    """One scale of the critic: `layers` convolutions of stride 2, three dilated ones side by side, two heads."""

    WIDEST = 512

    def __init__(self, width: int, layers: int, attributes: int, norm: str, inputs: int = 3) -> None:
        super().__init__()
        trunk: list[nn.Module] = [nn.Conv2d(inputs, width, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for _ in range(layers - 1):
            narrow, width = width, min(2 * width, self.WIDEST)
            trunk += [
                nn.Conv2d(narrow, width, 3, stride=2, padding=1),
                norm_layer(norm, width),
                nn.LeakyReLU(0.2),
            ]
        narrow, width = width, min(2 * width, self.WIDEST)
        self.dilate_layer_2 = nn.Conv2d(narrow, width, 3, padding=2, dilation=2)
        self.dilate_layer_4 = nn.Conv2d(narrow, width, 3, padding=4, dilation=4)
        self.dilate_layer_6 = nn.Conv2d(narrow, width, 3, padding=6, dilation=6)
        self.dilate_concat = nn.Conv2d(3 * width, width, 1)
        self.disc_layer = nn.Conv2d(width, 1, 3, padding=1)
        self.attr_layer = nn.Sequential(nn.Conv2d(width, attributes, 3, padding=1))
        self.d_layers = nn.ModuleList(trunk)

    def forward(self, image: Tensor) -> Judgement:
        features = []
        x = image
        for layer in self.d_layers:
            x = layer(x)
            if isinstance(layer, nn.LeakyReLU):
                features.append(x)
        views = (self.dilate_layer_2(x), self.dilate_layer_4(x), self.dilate_layer_6(x))
        joined = self.dilate_concat(torch.cat(views, dim=1))
        attributes = torch.sigmoid(self.attr_layer(joined).mean(dim=(2, 3)))
        return Judgement(features, self.disc_layer(joined), attributes)


class AttrMultiScalePatchDisc(nn.Module):
    """The critic: independent PatchCritics on the picture and on its halves.

    forward: (B, inputs, S, S) in -1..1 to one Judgement per scale, full size first. With 3 scales and 3 layers
    the smallest S is 64 with norm "instance": at 32 its last map is one pixel, which has no statistics.
    """

    def __init__(
        self,
        width: int = 64,
        layers: int = 3,
        scales: int = 3,
        attributes: int = 1,
        norm: str = "instance",
        inputs: int = 3,
    ) -> None:
        super().__init__()
        self.scales = scales
        for scale in range(scales):
            self.add_module(f"disc_{scale}", PatchCritic(width, layers, attributes, norm, inputs))
        self.halve = nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)

    def forward(self, image: Tensor) -> list[Judgement]:
        judgements = []
        for scale in range(self.scales):
            judgements.append(self.get_submodule(f"disc_{scale}")(image))
            if scale + 1 < self.scales:
                image = self.halve(image)
        return judgements
