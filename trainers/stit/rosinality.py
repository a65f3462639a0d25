"""StyleGAN2's generator in rosinality's dialect: the decoder inside an e4e checkpoint, with the official names.

Inversion makes its picture and throws it away, so live code never runs it. It is here to read and check those files,
and to see what an encoder was trained to give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from trainers.stit.primitives import FIR, EqualLinear, ModulatedConv2d, activated, setup_filter, upfirdn2d


def channels_of(size: int, multiplier: int = 2) -> int:
    """Channels at a resolution: 512 up to 32 pixels, then halved."""
    return 512 if size <= 32 else 256 * multiplier * 64 // size


class PixelNorm(nn.Module):
    """A code at unit mean square."""

    def forward(self, z: Tensor) -> Tensor:
        return z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class ConstantInput(nn.Module):
    """What the first convolution sees, whatever the code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class _Noise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class _Bias(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias, activation."""

    def __init__(self, inputs: int, outputs: int, style_dim: int, upsample: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(inputs, outputs, 3, style_dim, upsample=upsample)
        self.noise = _Noise()
        self.activate = _Bias(outputs)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        return activated(self.conv(x, style) + self.noise.weight * noise, self.activate.bias)


class _Upsample(nn.Module):
    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", setup_filter(FIR) * 4)

    def forward(self, image: Tensor) -> Tensor:
        return upfirdn2d(image, self.kernel, up=2, padding=(2, 1, 2, 1))


class ToRGB(nn.Module):
    """Colours, added to the picture so far at twice its size."""

    def __init__(self, inputs: int, style_dim: int, upsample: bool = True) -> None:
        super().__init__()
        self.upsample = _Upsample() if upsample else None
        self.conv = ModulatedConv2d(inputs, 3, 1, style_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor, style: Tensor, image: Tensor | None = None) -> Tensor:
        made = cast(Tensor, self.conv(x, style) + self.bias)
        return made if image is None or self.upsample is None else made + self.upsample(image)


@dataclass(frozen=True)
class Decoded:
    """image (B, 3, size, size); latents (B, rows, style_dim): the rows that it was made of."""

    image: Tensor
    latents: Tensor


class RosinalityGenerator(nn.Module):
    """size: of the picture, a power of 2. Noise comes from the stored buffers, always."""

    def __init__(self, size: int, style_dim: int = 512, n_mlp: int = 8, channel_multiplier: int = 2) -> None:
        super().__init__()
        levels = int(size).bit_length() - 1
        if size < 8 or 2**levels != size:
            raise ValueError(f"size is {size}, expected a power of 2 of 8 or more")
        self.n_latent = 2 * levels - 2
        layers = [
            EqualLinear(style_dim, style_dim, lr_mul=0.01, activation="fused_lrelu") for _ in range(n_mlp)
        ]
        self.style = nn.Sequential(PixelNorm(), *layers)
        width = channels_of(4, channel_multiplier)
        self.input = ConstantInput(width)
        self.conv1 = StyledConv(width, width, style_dim)
        self.to_rgb1 = ToRGB(width, style_dim, upsample=False)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        for layer in range(2 * levels - 3):
            side = 2 ** ((layer + 5) // 2)
            self.noises.register_buffer(f"noise_{layer}", torch.randn(1, 1, side, side))
        for level in range(3, levels + 1):
            outputs = channels_of(2**level, channel_multiplier)
            self.convs.append(StyledConv(width, outputs, style_dim, upsample=True))
            self.convs.append(StyledConv(outputs, outputs, style_dim))
            self.to_rgbs.append(ToRGB(outputs, style_dim))
            width = outputs

    def rows(
        self,
        styles: Sequence[Tensor],
        inject_index: int | None = None,
        truncation: float = 1.0,
        truncation_latent: Tensor | None = None,
    ) -> Tensor:
        """The rows of one or two codes: a whole one (B, rows, style_dim), a w (B, style_dim) repeated, or two w, the
        second from row `inject_index` on."""
        if truncation < 1.0 and truncation_latent is not None:
            styles = [truncation_latent + truncation * (style - truncation_latent) for style in styles]
        if len(styles) == 1:
            only = styles[0]
            return only if only.ndim == 3 else only[:, None].repeat(1, self.n_latent, 1)
        if inject_index is None:
            raise ValueError("two codes need inject_index, the row where the second begins")
        first, second = (style[:, None] for style in styles)
        return torch.cat(
            (first.repeat(1, inject_index, 1), second.repeat(1, self.n_latent - inject_index, 1)), 1
        )

    def forward(self, latents: Tensor) -> Decoded:
        """latents: (B, n_latent, style_dim)."""
        noises = [self.noises.get_buffer(f"noise_{layer}") for layer in range(len(self.convs) + 1)]
        x = self.input.input.expand(len(latents), -1, -1, -1)
        x = self.conv1(x, latents[:, 0], noises[0])
        image = self.to_rgb1(x, latents[:, 1])
        for level, to_rgb in enumerate(self.to_rgbs):
            at = 2 * level
            x = self.convs[at](x, latents[:, at + 1], noises[at + 1])
            x = self.convs[at + 1](x, latents[:, at + 2], noises[at + 2])
            image = to_rgb(x, latents[:, at + 3], image)
        return Decoded(image, latents)
