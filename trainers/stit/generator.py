"""StyleGAN2's generator in the ada dialect, with the official names: what STIT edits and tunes to a person.

Pictures are RGB, (B, 3, R, R), nominally in [-1, 1] and not clipped. A code is ws, (B, num_ws, w_dim): one row per
convolution and one for the last picture layer. Styles are what the affine layers make of it, (B, channels) each, in the
order b4.conv1, b4.torgb, b8.conv0, b8.conv1, b8.torgb, ...
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from trainers.stit.primitives import (
    FIR,
    FullyConnected,
    activated,
    modulated_conv2d,
    setup_filter,
    upsample2d,
)

Noise = Literal["const", "none", "random"]
"""const: the stored pictures of noise. random: anew each time, from torch's global generator; training's."""


def widths_of(resolution: int, base: int = 32768, most: int = 512) -> tuple[int, ...]:
    """Channels at 4, 8, ..., `resolution` as the official code states them (channel_base, channel_max)."""
    return tuple(min(base // 2**power, most) for power in range(2, _power(resolution) + 1))


def resolutions(widths: Sequence[int]) -> list[int]:
    """4, 8, ...: one per width."""
    return [4 * 2**index for index in range(len(widths))]


def _power(resolution: int) -> int:
    power = int(resolution).bit_length() - 1
    if resolution < 4 or 2**power != resolution:
        raise ValueError(f"resolution is {resolution}, expected a power of 2 of 4 or more")
    return power


@dataclass(frozen=True)
class Made:
    """A picture and every block's feature map, by its resolution."""

    image: Tensor
    features: dict[int, Tensor]


class Mapping(nn.Module):
    """z (B, z_dim) to w (B, w_dim). w_avg: the moving average of w, to which truncation pulls."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int, layers: int = 8, lr_multiplier: float = 0.01) -> None:
        super().__init__()
        self.layers = layers
        for index in range(layers):
            inputs = z_dim if index == 0 else w_dim
            self.add_module(f"fc{index}", FullyConnected(inputs, w_dim, "lrelu", lr_multiplier))
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor) -> Tensor:
        x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for index in range(self.layers):
            x = self.get_submodule(f"fc{index}")(x)
        return x

    @torch.no_grad()
    def track(self, w: Tensor, decay: float = 0.998) -> None:
        """Move w_avg towards the mean of a batch: once per step of training."""
        self.w_avg.copy_(w.detach().mean(0).lerp(self.w_avg, decay))


class SynthesisLayer(nn.Module):
    """A modulated 3x3 convolution with noise, bias and activation. up: 2 doubles the size first."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, resolution: int, up: int, clamp: float | None
    ) -> None:
        super().__init__()
        self.up, self.clamp, self.resolution = up, clamp, resolution
        self.affine = FullyConnected(w_dim, inputs, bias_init=1)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", setup_filter(FIR))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, styles: Tensor, noise: Noise = "const") -> Tensor:
        drawn = None
        if noise == "const":
            drawn = self.noise_const * self.noise_strength
        elif noise == "random":
            size = (len(x), 1, self.resolution, self.resolution)
            drawn = torch.randn(size, device=x.device) * self.noise_strength
        x = modulated_conv2d(
            x,
            self.weight,
            styles,
            noise=drawn,
            up=self.up,
            padding=1,
            resample_filter=self.resample_filter,
            flip_weight=self.up == 1,
            fused_modconv=not self.training,
        )
        return activated(x, self.bias, clamp=self.clamp)


class ToRGB(nn.Module):
    """A modulated 1x1 convolution to colours, without demodulation and activation."""

    def __init__(self, inputs: int, colours: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = FullyConnected(w_dim, inputs, bias_init=1)
        self.weight = nn.Parameter(torch.randn(colours, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(colours))
        self.weight_gain = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        made = modulated_conv2d(
            x, self.weight, styles * self.weight_gain, demodulate=False, fused_modconv=not self.training
        )
        made = made + self.bias[:, None, None].to(made.dtype)
        return made if self.clamp is None else made.clamp(-self.clamp, self.clamp)


class SynthesisBlock(nn.Module):
    """One resolution. inputs: channels of the block before; 0 is the first one, which starts from a constant."""

    resample_filter: Tensor

    def __init__(
        self, inputs: int, width: int, w_dim: int, resolution: int, colours: int, clamp: float | None
    ) -> None:
        super().__init__()
        self.first = inputs == 0
        if self.first:
            self.const = nn.Parameter(torch.randn(width, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(inputs, width, w_dim, resolution, 2, clamp)
        self.register_buffer("resample_filter", setup_filter(FIR))
        self.conv1 = SynthesisLayer(width, width, w_dim, resolution, 1, clamp)
        self.torgb = ToRGB(width, colours, w_dim, clamp)

    @property
    def convolutions(self) -> tuple[SynthesisLayer, ...]:
        return (self.conv1,) if self.first else (self.conv0, self.conv1)

    def forward(
        self, x: Tensor | None, image: Tensor | None, styles: Sequence[Tensor], noise: Noise = "const"
    ) -> tuple[Tensor, Tensor]:
        """Features and picture, one step finer. styles: one per convolution, then that of the colours."""
        if x is None:
            x = self.const.expand(len(styles[0]), -1, -1, -1)
        for layer, style in zip(self.convolutions, styles):
            x = layer(x, style, noise)
        made = cast(Tensor, self.torgb(x, styles[-1]))
        return x, made if image is None else upsample2d(image, self.resample_filter) + made


class Synthesis(nn.Module):
    """ws (B, num_ws, w_dim) to a picture."""

    def __init__(
        self, w_dim: int, widths: Sequence[int], colours: int = 3, conv_clamp: float | None = None
    ) -> None:
        super().__init__()
        self.w_dim, self.widths, self.sizes = w_dim, tuple(widths), resolutions(widths)
        if len(widths) < 1 or min(widths) < 1:
            raise ValueError(f"widths is {tuple(widths)}, expected one number of channels per resolution")
        for index, (size, width) in enumerate(zip(self.sizes, widths)):
            inputs = widths[index - 1] if index else 0
            self.add_module(f"b{size}", SynthesisBlock(inputs, width, w_dim, size, colours, conv_clamp))
        self.num_ws = 2 * len(widths)

    def blocks(self) -> list[SynthesisBlock]:
        """From coarse to fine."""
        return [cast(SynthesisBlock, self.get_submodule(f"b{size}")) for size in self.sizes]

    def rows(self) -> list[int]:
        """For each style the row of ws that makes it: a picture layer shares its row with the next convolution."""
        found: list[int] = []
        at = 0
        for block in self.blocks():
            count = len(block.convolutions)
            found += range(at, at + count + 1)
            at += count
        return found

    def affines(self) -> list[FullyConnected]:
        """The layers that make the styles, in their order."""
        found: list[FullyConnected] = []
        for block in self.blocks():
            found += [layer.affine for layer in block.convolutions]
            found.append(block.torgb.affine)
        return found

    def styles(self, ws: Tensor) -> list[Tensor]:
        """What the affine layers make of a code. Raises ValueError for a code of another shape."""
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(f"ws is {tuple(ws.shape)}, expected (B, {self.num_ws}, {self.w_dim})")
        return [affine(ws[:, row]) for affine, row in zip(self.affines(), self.rows())]

    def made(self, styles: Sequence[Tensor], noise: Noise = "const", until: int | None = None) -> Made:
        """Picture and features from styles, in their order. until: stop at this resolution; its picture is given."""
        rest, x, image = list(styles), None, None
        features: dict[int, Tensor] = {}
        for size, block in zip(self.sizes, self.blocks()):
            count = len(block.convolutions) + 1
            x, image = block(x, image, rest[:count], noise)
            rest = rest[count:]
            features[size] = x
            if size == until:
                break
        if image is None:
            raise ValueError("a synthesis has one block at least")
        return Made(image, features)

    def from_styles(self, styles: Sequence[Tensor], noise: Noise = "const") -> Tensor:
        """The official `style_input`: a picture from styles, edited ones say."""
        return self.made(styles, noise).image

    def forward(self, ws: Tensor, noise: Noise = "const") -> Tensor:
        """In train mode modulation is not fused, as the official code has it; the numbers differ by rounding."""
        return self.made(self.styles(ws), noise).image


class Generator(nn.Module):
    """The official Generator without classes. widths: channels at 4, 8, ... (`widths_of`), which say the resolution.

    conv_clamp: the official bound on every layer's output, None where the file has none.
    """

    def __init__(
        self,
        widths: Sequence[int],
        z_dim: int = 512,
        w_dim: int = 512,
        mapping_layers: int = 8,
        colours: int = 3,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.z_dim, self.w_dim = z_dim, w_dim
        self.synthesis = Synthesis(w_dim, widths, colours, conv_clamp)
        self.mapping = Mapping(z_dim, w_dim, mapping_layers)
        self.num_ws, self.resolution = self.synthesis.num_ws, self.synthesis.sizes[-1]

    def map(self, z: Tensor, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """z (B, z_dim) to ws (B, num_ws, w_dim). psi: truncation, 0 is the mean; cutoff: of the first rows only."""
        ws = self.mapping(z)[:, None].repeat(1, self.num_ws, 1)
        if psi == 1.0:
            return cast(Tensor, ws)
        pulled = self.mapping.w_avg.lerp(ws[:, :cutoff], psi)
        return pulled if cutoff is None else torch.cat((pulled, ws[:, cutoff:]), 1)

    def forward(self, z: Tensor, psi: float = 1.0, noise: Noise = "const") -> Tensor:
        return cast(Tensor, self.synthesis(self.map(z, psi), noise))
