"""The generator with its three streams: background, source identity, transfer.

What a source gives the target flows through a warping block (warping.py) behind every level of the transfer stream's
encoder and behind each of its residual blocks. Official classes `AttentionLWBGenerator` and those of the other blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from trainers.liquid_warping.blocks import (
    AutoEncoder,
    Encoder,
    ResidualBlock,
    ResNetInpaintor,
    SkipDecoder,
    image_head,
    mask_head,
)
from trainers.liquid_warping.warping import BLOCKS, resized


class Features(NamedTuple):
    """Of N sources: the encoder's levels, finest first, and what each residual block gave; (B, N, C, h, w) each."""

    levels: list[Tensor]
    deep: list[Tensor]

    def joined(self, other: Features) -> Features:
        """These sources, then the other ones."""
        pairs = zip(self, other)
        return Features(*([torch.cat(two, 1) for two in zip(mine, theirs)] for mine, theirs in pairs))


class Made(NamedTuple):
    """One forward pass. background: (B, n, 3, H, W), None without a background network. source_images (B, N, 3, H, W)
    and source_masks (B, N, 1, H, W): the sources again. images (B, T, 3, H, W) and masks (B, T, 1, H, W): the targets'
    colours and masks. Colours in -1..1, masks 1 = background; `composed` puts them together."""

    background: Tensor | None
    source_images: Tensor
    source_masks: Tensor
    images: Tensor
    masks: Tensor


def composed(image: Tensor, mask: Tensor, background: Tensor) -> Tensor:
    """mask * background + (1 - mask) * image: the mask is 1 where the background is."""
    return mask * background + (1 - mask) * image


def apart(flat: Tensor, like: Tensor) -> Tensor:
    """(B * N, ...) as (B, N, ...), with B and N those of `like`."""
    return flat.reshape(*like.shape[:2], *flat.shape[1:])


class LiquidWarpingGenerator(nn.Module):
    """The generator. block: one of warping.BLOCKS. widths: of the transfer stream's levels, source_widths of the source
    stream's where they differ. background: whether it has a background network.

    checkpointed, an attribute: keep only the warping blocks' inputs for the backward pass and compute what is between
    again: the same numbers for more time and less memory.

    Pictures' sides are multiples of 2**len(widths), and of the background network's halvings.
    """

    def __init__(
        self,
        block: str = "attention_spade",
        widths: Sequence[int] = (64, 128, 256),
        residual_blocks: int = 6,
        *,
        source_widths: Sequence[int] | None = None,
        background: bool = True,
        background_widths: Sequence[int] = (64, 128, 128, 256),
        background_blocks: int = 6,
        background_inputs: int = 4,
        source_inputs: int = 6,
        transfer_inputs: int = 6,
    ) -> None:
        super().__init__()
        if block not in BLOCKS:
            raise ValueError(f"block: got {block!r}, expected one of {', '.join(BLOCKS)}")
        given = widths if source_widths is None else source_widths
        if len(given) != len(widths):
            raise ValueError(
                f"source_widths: got {len(given)} of them, expected {len(widths)}, one per level"
            )
        self.checkpointed = False
        if background:
            self.bg_net = ResNetInpaintor(background_inputs, background_widths, background_blocks)
        self.has_background = background
        self.src_net = AutoEncoder(source_inputs, given, residual_blocks)
        self.tsf_net_enc = Encoder(transfer_inputs, widths, bias=False)
        self.tsf_net_dec = SkipDecoder(widths)
        build = BLOCKS[block]
        self.enc_attlwbs = nn.ModuleList(build(ours, theirs, ours) for ours, theirs in zip(widths, given))
        self.res_attlwbs = nn.ModuleList(
            build(widths[-1], given[-1], widths[-1]) for _ in range(residual_blocks)
        )
        self.res_blocks = nn.Sequential(*(ResidualBlock(widths[-1]) for _ in range(residual_blocks)))
        self.tsf_img_reg = image_head(widths[0])
        self.tsf_att_reg = mask_head(widths[0])

    # --- once per person ---------------------------------------------------------------------------

    def backgrounds(self, inputs: Tensor) -> Tensor:
        """(B, n, 4, H, W), a picture without the person and where it is known, to (B, n, 3, H, W)."""
        return apart(self.bg_net(inputs.flatten(0, 1)), inputs)

    def encode(self, sources: Tensor) -> Features:
        """(B, N, 6, H, W): RGB without its background, then the condition of the mesh."""
        levels, deep = self.src_net.encode(sources.flatten(0, 1))
        return Features([apart(one, sources) for one in levels], [apart(one, sources) for one in deep])

    def rebuild(self, features: Features) -> tuple[Tensor, Tensor]:
        """Images and masks of the sources themselves, from their last map."""
        deepest = features.deep[-1] if features.deep else features.levels[-1]
        image, mask = self.src_net.decode(deepest.flatten(0, 1))
        return apart(image, deepest), apart(mask, deepest)

    # --- every frame -------------------------------------------------------------------------------

    def transfer(self, target: Tensor, features: Features, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Image (B, 3, H, W) and mask (B, 1, H, W) of one frame.

        target: (B, 6, H, W), the texture at the target's places, then the condition. flow: (B, N, H, W, 2), where every
        source of `features` is sampled. Earlier frames are further sources: `features.joined`, their flows behind.
        """
        x, levels = target, []
        flows: dict[tuple[int, int], Tensor] = {}

        def meeting(block: nn.Module, x: Tensor, sources: Tensor) -> Tensor:
            size = (x.shape[-2], x.shape[-1])
            if size not in flows:
                flows[size] = resized(flow, size)
            if self.checkpointed and torch.is_grad_enabled():
                again: Tensor = checkpoint(block, x, sources, flows[size], use_reentrant=False)
                return again
            result: Tensor = block(x, sources, flows[size])
            return result

        for layer, block, sources in zip(self.tsf_net_enc.layers, self.enc_attlwbs, features.levels):
            x = meeting(block, layer(x), sources)
            levels.append(x)
        for residual, block, sources in zip(self.res_blocks, self.res_attlwbs, features.deep):
            x = meeting(block, residual(x), sources)
        x = self.tsf_net_dec(x, levels)
        return self.tsf_img_reg(x), self.tsf_att_reg(x)

    def forward(
        self,
        backgrounds: Tensor | None,
        sources: Tensor,
        targets: Tensor,
        flow: Tensor,
        flow_back: Tensor | None = None,
    ) -> Made:
        """backgrounds: (B, n, 4, H, W), None where there is no such network. sources: (B, N, 6, H, W). targets:
        (B, T, 6, H, W). flow: (B, T, N, H, W, 2). flow_back: (B, T-1, H, W, 2), from each frame to the one before:
        given, the frame before is one more source of the next, encoded as [image * (1 - mask), channels 0:3 of its
        target input], as the official training does."""
        features = self.encode(sources)
        source_images, source_masks = self.rebuild(features)
        images: list[Tensor] = []
        masks: list[Tensor] = []
        for step in range(targets.shape[1]):
            known, flows = features, flow[:, step]
            if flow_back is not None and step:
                shown = images[-1] * (1 - masks[-1])
                before = torch.cat((shown, targets[:, step - 1, :3]), 1).unsqueeze(1)
                known = features.joined(self.encode(before))
                flows = torch.cat((flows, flow_back[:, step - 1 : step]), 1)
            image, mask = self.transfer(targets[:, step], known, flows)
            images.append(image)
            masks.append(mask)
        made = None if backgrounds is None else self.backgrounds(backgrounds)
        return Made(made, source_images, source_masks, torch.stack(images, 1), torch.stack(masks, 1))
