"""What runs live, as plain modules that become graphs: donor encoder, transfer, removal.

The same numbers as `FlowGenerator` up to rounding, arranged so that a frame costs less:

- A convolution over a concat is the sum of one over each part. The donor's parts do not change while the donor stays,
  so the donor encoder runs them, too, and hands over their results, biases included.
- A 1x1 convolution and bilinear upsampling are both linear, and upsampling keeps a constant: their order does not
  matter, and the convolution is four times cheaper before.

Pictures come in as uint8 (1, S, S, 3) RGB, as a crop is; everything else is float32. The grid is a constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.errors import CheckpointError
from trainers.geogan.blocks import Head, Tail
from trainers.geogan.networks import FLOW_SCALE, RESIDUAL_REACH, FlowGenerator


def generator_of(
    arguments: Mapping[str, Any], weights: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> FlowGenerator:
    """The generator of a checkpoint in eval mode, its refinement weight from the checkpoint's facts.

    Raises CheckpointError where the weights are not those of these arguments, or the facts name no refinement weight.
    """
    if "refinement_weight" not in facts:
        raise CheckpointError("geogan: the facts name no refinement_weight; expected it beside the weights")
    try:
        generator = FlowGenerator(**{**arguments, "refinement_weight": float(facts["refinement_weight"])})
        generator.load_state_dict(dict(weights), strict=True)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"geogan: generator: {str(error).splitlines()[0]}") from error
    return generator.eval()


def port_names(generator: FlowGenerator) -> list[str]:
    """The names of `DonorEncoder`'s results, in its order: flow_0 .. flow_n+1, then mask_0 .. mask_n+1.

    `_0` belongs to the bottleneck, the next ones to the decoder's steps, coarsest first, the last to its output.
    """
    count = generator.flow_tail_By.upsamples + 2
    return [f"{branch}_{index}" for branch in ("flow", "mask") for index in range(count)]


def signed(image: Tensor) -> Tensor:
    """uint8 (1, S, S, 3) to float32 (1, 3, S, S) in -1..1."""
    return image.to(torch.float32).permute(0, 3, 1, 2) / 127.5 - 1.0


class _Branch(nn.Module):
    """Flow or mask: its encoder, its bottleneck and its decoder, and how the donor's shares enter."""

    def __init__(self, head: Head, block: nn.Sequential, tail: Tail) -> None:
        super().__init__()
        self.head, self.block, self.tail = head, block, tail

    def shares(self, donor: Tensor) -> list[Tensor]:
        """What the donor adds to every convolution over a concat, coarsest first, biases included."""
        levels = self.head(donor)
        depth = self.tail.upsamples
        meeting = _convolution(self.block[0])
        found = [_share(meeting, levels[-1], last=True)]
        for step in range(depth):
            found.append(_share(_convolution(self.tail.step(step)[1]), levels[depth - step], last=True))
        found.append(_share(_convolution(self.tail.output[0]), levels[0], last=True))
        return found

    def forward(self, target: Tensor, shares: Sequence[Tensor]) -> Tensor:
        levels = self.head(target)
        depth = self.tail.upsamples
        x = _share(_convolution(self.block[0]), levels[-1]) + shares[0]
        for layer in list(self.block)[1:]:
            x = layer(x)
        for step in range(depth):
            layers = list(self.tail.step(step))
            x = (
                _share(_convolution(layers[1]), torch.cat((x, levels[depth - step]), dim=1))
                + shares[step + 1]
            )
            x = layers[0](x)
            for layer in layers[2:]:
                x = layer(x)
        return _share(_convolution(self.tail.output[0]), torch.cat((x, levels[0]), dim=1)) + shares[-1]


def _convolution(layer: nn.Module) -> nn.Conv2d:
    assert isinstance(layer, nn.Conv2d)
    return layer


def _share(convolution: nn.Conv2d, x: Tensor, last: bool = False) -> Tensor:
    """The convolution over some of its input channels: the first ones without bias, or the `last` ones with it."""
    channels = x.shape[1]
    weight = convolution.weight[:, -channels:] if last else convolution.weight[:, :channels]
    bias = convolution.bias if last else None
    padding = convolution.padding
    assert not isinstance(padding, str)
    return functional.conv2d(x, weight, bias, convolution.stride, padding)


def _refuse_only_residual(generator: FlowGenerator) -> None:
    if generator.only_res_tail is not None:
        raise CheckpointError(
            "geogan: a generator with only_residual has no flow and no mask; it cannot run live"
        )


class DonorEncoder(nn.Module):
    """Once per donor: `image` uint8 (1, S, S, 3) to the tensors of `port_names`."""

    def __init__(self, generator: FlowGenerator) -> None:
        super().__init__()
        _refuse_only_residual(generator)
        self.flow = _Branch(generator.flow_head, generator.flow_block, generator.flow_tail_By)
        self.mask = _Branch(generator.mask_head, generator.mask_block, generator.flow_mask_tail)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        donor = signed(image)
        return (*self.flow.shares(donor), *self.mask.shares(donor))


class TransferStep(nn.Module):
    """Per frame: `image` and `donor` uint8 (1, S, S, 3), and the donor's tensors in the order of `port_names`.

    Gives `flow` (1, 2, S, S), grid units in the frame of image; `mask` (1, 1, S, S), 1 takes the donor; `residual`
    (1, 3, S, S), 2*tanh(.)*w before it is multiplied by the mask, zeros where w is 0.
    """

    def __init__(self, generator: FlowGenerator) -> None:
        super().__init__()
        _refuse_only_residual(generator)
        self.generator = generator.pointwise_first()
        self.flow = _Branch(generator.flow_head, generator.flow_block, generator.flow_tail_By)
        self.mask = _Branch(generator.mask_head, generator.mask_block, generator.flow_mask_tail)

    def forward(self, image: Tensor, donor: Tensor, *shares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        target, half = signed(image), len(shares) // 2
        flow = self.flow(target, shares[:half]) / FLOW_SCALE
        mask = torch.sigmoid(self.mask(target, shares[half:]))
        weight = self.generator.refinement_weight
        if weight == 0.0:
            return flow, mask, torch.zeros_like(target)
        blended = target * (1 - mask) + self.generator.warp(signed(donor), flow) * mask
        levels = self.generator.flow_res_head(torch.cat((blended, mask), dim=1))
        residual = torch.tanh(self.generator.flow_res_tail(levels[-1], levels))
        return flow, mask, RESIDUAL_REACH * weight * residual


class RemovalStep(nn.Module):
    """`image` uint8 (1, S, S, 3) and `mask` float32 (1, 1, S, S), 1 where the attribute is, to `image_out` (1, 3, S, S)
    in -1..1.

    The mask is that of a transfer with `image` as the donor, sampled at identity - flow (`Transfer.mask_in_donor`). A
    generator with a supervised stage also knows `regions.removal_mask` of the landmarks, and zeros, for a face that is
    looked at alone.
    """

    def __init__(self, generator: FlowGenerator) -> None:
        super().__init__()
        self.generator = generator.pointwise_first()

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        start = signed(image)
        levels = self.generator.res_head(torch.cat((start, mask), dim=1))
        residual = self.generator.res_tail(self.generator.res_block(levels[-1]), levels)
        return torch.clamp(start + RESIDUAL_REACH * torch.tanh(residual), -1, 1)
