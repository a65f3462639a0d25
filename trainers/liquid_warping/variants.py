"""The official generators by their names, and the two that warp no features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from trainers.liquid_warping.blocks import AutoEncoder, ResNetInpaintor
from trainers.liquid_warping.generator import LiquidWarpingGenerator


class Pictures(NamedTuple):
    """As generator.Made, of a generator that does not rebuild its sources."""

    background: Tensor
    images: Tensor
    masks: Tensor


class _OneNetwork(nn.Module):
    """A background network and one auto-encoder for everything else."""

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int],
        residual_blocks: int,
        background_widths: Sequence[int],
        background_blocks: int,
        background_inputs: int,
    ) -> None:
        super().__init__()
        self.bg_net = ResNetInpaintor(background_inputs, background_widths, background_blocks)
        self.tsf_net = AutoEncoder(inputs, widths, residual_blocks)

    def inputs_of(self, sources: Tensor, targets: Tensor) -> Tensor:
        """(B, T, C, H, W): what the network sees of every frame."""
        raise NotImplementedError

    def forward(self, backgrounds: Tensor, sources: Tensor, targets: Tensor) -> Pictures:
        """Shapes as in LiquidWarpingGenerator.forward."""
        seen = self.inputs_of(sources, targets)
        image, mask = (one.unflatten(0, seen.shape[:2]) for one in self.tsf_net(seen.flatten(0, 1)))
        background = self.bg_net(backgrounds.flatten(0, 1)).unflatten(0, backgrounds.shape[:2])
        return Pictures(background, image, mask)


class InputConcatGenerator(_OneNetwork):
    """All sources and the target's condition in one input: missing sources are repeated in turn from the first on,
    surplus ones are left out."""

    def __init__(
        self,
        source_count: int = 4,
        widths: Sequence[int] = (64, 128, 256),
        residual_blocks: int = 6,
        *,
        background_widths: Sequence[int] = (64, 128, 128, 256),
        background_blocks: int = 6,
        background_inputs: int = 4,
        source_inputs: int = 6,
    ) -> None:
        inputs = source_count * source_inputs + 3
        super().__init__(
            inputs, widths, residual_blocks, background_widths, background_blocks, background_inputs
        )
        self.source_count = source_count

    def inputs_of(self, sources: Tensor, targets: Tensor) -> Tensor:
        turns = [place % sources.shape[1] for place in range(self.source_count)]
        beside = sources[:, turns].flatten(1, 2)
        return torch.cat(
            (beside.unsqueeze(1).expand(-1, targets.shape[1], -1, -1, -1), targets[:, :, -3:]), 2
        )


class TextureWarpingGenerator(_OneNetwork):
    """The texture at the target's places, and its condition, are all that it sees."""

    def __init__(
        self,
        widths: Sequence[int] = (64, 128, 256),
        residual_blocks: int = 6,
        *,
        background_widths: Sequence[int] = (64, 128, 128, 256),
        background_blocks: int = 6,
        background_inputs: int = 4,
        transfer_inputs: int = 6,
    ) -> None:
        super().__init__(
            transfer_inputs, widths, residual_blocks, background_widths, background_blocks, background_inputs
        )

    def inputs_of(self, sources: Tensor, targets: Tensor) -> Tensor:
        return targets


FLOWING: Final[Mapping[str, Mapping[str, Any]]] = {
    "AttLWB-SPADE": {"block": "attention_spade"},
    "AttLWB-Front-SPADE": {"block": "attention_spade", "background": False},
    "AttLWB-AdaIN": {"block": "attention_adain"},
    "AddLWB": {"block": "sum"},
    "AvgLWB": {"block": "mean"},
    "SoftGateAddLWB": {"block": "gated_sum"},
    "SoftGateAvgLWB": {"block": "gated_mean"},
}
"""Official name to what distinguishes it among the LiquidWarpingGenerators."""

NAMES: Final = (*FLOWING, "InputConcat", "TextureWarping")
"""Every official generator."""


def generator_of(
    name: str, background: Mapping[str, Any], source: Mapping[str, Any], transfer: Mapping[str, Any]
) -> nn.Module:
    """The generator of an official configuration: its name, and its sections BGNet, SIDNet and TSFNet with cond_nc,
    n_res_block and num_filters (norm_type stands in them and is read by nobody).

    Raises ValueError for a name that is not in NAMES, and for streams that do not fit each other.
    """
    if name not in NAMES:
        raise ValueError(f"generator: got {name!r}, expected one of {', '.join(NAMES)}")
    behind = {
        "background_widths": tuple(background["num_filters"]),
        "background_blocks": background["n_res_block"],
        "background_inputs": background["cond_nc"],
    }
    widths, blocks = tuple(transfer["num_filters"]), transfer["n_res_block"]
    if name == "InputConcat":
        return InputConcatGenerator(
            transfer["num_source"],
            widths,
            blocks,
            source_inputs=transfer["each_source_cond_nc"],
            **behind,
        )
    if name == "TextureWarping":
        return TextureWarpingGenerator(widths, blocks, transfer_inputs=transfer["cond_nc"], **behind)
    if source["n_res_block"] != blocks:
        raise ValueError(
            f"n_res_block: SIDNet has {source['n_res_block']}, TSFNet {blocks}; expected as many"
        )
    build: Callable[..., nn.Module] = LiquidWarpingGenerator
    return build(
        widths=widths,
        residual_blocks=blocks,
        source_widths=tuple(source["num_filters"]),
        source_inputs=source["cond_nc"],
        transfer_inputs=transfer["cond_nc"],
        **behind,
        **FLOWING[name],
    )
