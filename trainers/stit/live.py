"""StyleGAN2's synthesis as a graph wants it: constant weights, the same numbers.

Styles scale the input and, by way of one fixed matrix per layer, the output of a shared convolution. Weights have unit
length per output channel, which demodulation undoes, so that half precision neither overflows nor loses the small ones;
the activation's gain is in the demodulation, the noise and the bias.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.stit.edits import style_offsets
from trainers.stit.generator import Generator, Synthesis, SynthesisLayer, ToRGB
from trainers.stit.primitives import GAIN, SLOPE, FullyConnected

_EPSILON = 1e-8


class _Affine(nn.Module):
    """A row of a code to a layer's styles, with all gains folded in."""

    def __init__(self, layer: FullyConnected, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = _constant(layer.weight * (layer.weight_gain * gain))
        self.bias = _constant(layer.bias * (layer.bias_gain * gain))

    def forward(self, w: Tensor) -> Tensor:
        return functional.linear(w, self.weight, self.bias)


class _Doubling(nn.Module):
    """The filter behind a transposed convolution, one for every channel alike."""

    def __init__(self, kernel: Tensor, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.weight = _constant((kernel * 4).flip([0, 1]).expand(channels, 1, *kernel.shape))

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight, padding=1, groups=self.channels)


class _Larger(nn.Module):
    """A picture of three colours at twice its size."""

    def __init__(self, kernel: Tensor, colours: int) -> None:
        super().__init__()
        self.colours = colours
        self.weight = _constant((kernel * 4).expand(colours, 1, *kernel.shape))

    def forward(self, image: Tensor) -> Tensor:
        return functional.conv_transpose2d(image, self.weight, stride=2, padding=1, groups=self.colours)


class LiveLayer(nn.Module):
    """One modulated convolution with noise, bias and activation: forward(x, w (B, w_dim))."""

    def __init__(self, layer: SynthesisLayer) -> None:
        super().__init__()
        self.clamp, self.doubles = layer.clamp, layer.up == 2
        weight = layer.weight.detach()
        lengths = weight.square().sum([1, 2, 3]).sqrt().clamp_min(1e-12)
        weight = weight / lengths[:, None, None, None]
        self.affine = _Affine(layer.affine)
        squares = weight.square().sum([2, 3])
        self.squares = _constant(squares)
        self.least = _constant(_EPSILON / lengths.square())
        self.noise = _constant(layer.noise_const * layer.noise_strength * GAIN)
        self.bias = _constant(layer.bias[:, None, None] * GAIN)
        self.filter: _Doubling | None = None
        if self.doubles:
            self.filter = _Doubling(layer.resample_filter, len(weight))
            weight = weight.transpose(0, 1)
        self.weight = _constant(weight)

    def forward(self, x: Tensor, w: Tensor, added: Tensor | None = None) -> Tensor:
        """added: (B, inputs), what an edit adds to the styles."""
        styles = self.affine(w)
        if added is not None:
            styles = styles + added
        factors = GAIN / torch.sqrt(functional.linear(styles * styles, self.squares) + self.least)
        x = x * styles[:, :, None, None]
        if self.filter is None:
            x = functional.conv2d(x, self.weight, padding=1)
        else:
            x = self.filter(functional.conv_transpose2d(x, self.weight, stride=2))
        x = functional.leaky_relu(x * factors[:, :, None, None] + self.noise + self.bias, SLOPE)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class LiveColours(nn.Module):
    """The colours of a block."""

    def __init__(self, layer: ToRGB) -> None:
        super().__init__()
        self.clamp = layer.clamp
        self.affine = _Affine(layer.affine, layer.weight_gain)
        self.weight = _constant(layer.weight)
        self.bias = _constant(layer.bias)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        made = functional.conv2d(x * self.affine(w)[:, :, None, None], self.weight, self.bias)
        return made if self.clamp is None else made.clamp(-self.clamp, self.clamp)


class LiveSynthesis(nn.Module):
    """forward(ws (B, rows, w_dim)) -> picture (B, 3, size, size), nominally in -1..1, noise as stored.

    size: the resolution to stop at, the generator's own when None. A picture of a coarser block is not the finest one
    made smaller, but what that block's colours have summed up to.

    styles: (n, style channels), directions in the styles of the convolutions, in order. A code has one row more then,
    the first n numbers of which are their strengths.
    """

    def __init__(self, synthesis: Synthesis, size: int | None = None, styles: Tensor | None = None) -> None:
        super().__init__()
        until = size or synthesis.sizes[-1]
        if until not in synthesis.sizes:
            raise ValueError(f"size is {until}, expected one of {', '.join(map(str, synthesis.sizes))}")
        blocks = synthesis.blocks()[: synthesis.sizes.index(until) + 1]
        self.size, self.w_dim, self.rows = until, synthesis.w_dim, synthesis.num_ws
        self.const = _constant(blocks[0].const[None])
        self.layers, self.colours, self.larger = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for block in blocks:
            self.layers.append(nn.ModuleList(LiveLayer(layer) for layer in block.convolutions))
            self.colours.append(LiveColours(block.torgb))
            if not block.first:
                self.larger.append(_Larger(block.resample_filter, len(block.torgb.bias)))
        self.directions: nn.ParameterList | None = None
        if styles is not None:
            apart = directions_apart(synthesis, styles)[: sum(len(block.convolutions) for block in blocks)]
            self.directions = nn.ParameterList(_constant(one) for one in apart)

    def forward(self, ws: Tensor) -> Tensor:
        x, image, row = self.const, None, 0
        for index, (layers, colours) in enumerate(zip(self.layers, self.colours)):
            for layer in cast(nn.ModuleList, layers):
                added = None
                if self.directions is not None:
                    own = self.directions[row]
                    added = ws[:, self.rows, : len(own)] @ own
                x = layer(x, ws[:, row], added)
                row += 1
            made = colours(x, ws[:, row])
            image = made if image is None else self.larger[index - 1](image) + made
        return cast(Tensor, image)


class Stopped(nn.Module):
    """The generator's own synthesis, stopped at a size: what `LiveSynthesis` is compared with. styles: as there."""

    def __init__(self, generator: Generator, size: int, styles: Tensor | None = None) -> None:
        super().__init__()
        self.synthesis, self.size, self.rows = generator.synthesis, size, generator.num_ws
        self.register_buffer("directions", styles)

    def forward(self, ws: Tensor) -> Tensor:
        found = self.synthesis.styles(ws[:, : self.rows])
        directions = self._buffers["directions"]
        if directions is not None:
            strengths = ws[:, self.rows, : len(directions)]
            rest, place = iter(directions_apart(self.synthesis, directions)), 0
            for block in self.synthesis.blocks():
                for _ in block.convolutions:
                    found[place] = found[place] + strengths @ next(rest)
                    place += 1
                place += 1  # the colours' style stays
        return self.synthesis.made(found, "const", self.size).image


def directions_apart(synthesis: Synthesis, styles: Tensor) -> list[Tensor]:
    """Directions (n, style channels) as those of each convolution, (n, its inputs). Raises CheckpointError for those of
    another generator."""
    for one in styles:
        style_offsets(synthesis, one)
    lengths = [layer.affine.weight.shape[0] for block in synthesis.blocks() for layer in block.convolutions]
    return list(torch.split(styles, lengths, 1))


def _constant(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().clone().contiguous(), requires_grad=False)
