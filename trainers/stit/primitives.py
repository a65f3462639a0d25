"""StyleGAN2's operations in plain PyTorch: resampling by a filter, modulated convolution, equalised linear layers.

Both dialects of the release are covered: NVIDIA's (StyleGAN2-ADA, called ada here) and rosinality's. They differ in
where weights are scaled, not in what a layer computes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

FIR = (1.0, 3.0, 3.0, 1.0)
"""The filter of all resampling in both dialects."""

SLOPE, GAIN = 0.2, math.sqrt(2.0)
"""Of the leaky ReLU behind every layer; the gain keeps the variance."""

_EPSILON = 1e-8

Padding = tuple[int, int, int, int]
"""Pixels before and after: x0, x1, y0, y1. A negative number crops."""


def setup_filter(taps: Sequence[float] | Tensor) -> Tensor:
    """The two-dimensional filter of some taps, (N, N), float32, of sum 1."""
    row = torch.as_tensor(taps, dtype=torch.float32)
    square = row[:, None] * row[None, :] if row.ndim == 1 else row
    return square / square.sum()


def upfirdn2d(
    x: Tensor,
    kernel: Tensor,
    *,
    up: int = 1,
    down: int = 1,
    padding: Padding = (0, 0, 0, 0),
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Zeros between pixels (`up`), padding, a filter, every `down`-th pixel.

    x: (B, C, H, W). kernel: (K, K). flip_filter: correlate in place of convolving, which flips the filter. gain: factor
    on the filter. Inserted zeros are never made: a transposed convolution skips them.
    """
    channels = x.shape[1]
    rows, columns = kernel.shape
    weight = (kernel * gain).to(x.dtype)
    x0, x1, y0, y1 = padding
    if up == 1:
        weight = weight if flip_filter else weight.flip([0, 1])
        depthwise = weight.expand(channels, 1, rows, columns)
        return functional.conv2d(_padded(x, padding), depthwise, stride=down, groups=channels)
    weight = weight.flip([0, 1]) if flip_filter else weight
    depthwise = weight.expand(channels, 1, rows, columns)
    whole = functional.conv_transpose2d(x, depthwise, stride=up, groups=channels)
    around = (x0 - (columns - 1), x1 + up - columns, y0 - (rows - 1), y1 + up - rows)
    return _padded(whole, around)[:, :, ::down, ::down]


def _padded(x: Tensor, padding: Padding) -> Tensor:
    return functional.pad(x, list(padding)) if any(padding) else x


def upsample2d(x: Tensor, kernel: Tensor, factor: int = 2) -> Tensor:
    """Twice the size (`factor` times), brightness kept.

    Twice by four taps is done phase by phase: constant convolutions, whose results are interleaved. It sums as the
    official code does, which inserts zeros, so that training agrees with it to the bit.
    """
    size = kernel.shape[-1]
    if size == 4 and factor == 2:
        return _doubled(x, kernel)
    before, after = (size + factor - 1) // 2, (size - factor) // 2
    return upfirdn2d(x, kernel, up=factor, padding=(before, after, before, after), gain=factor**2)


def _doubled(x: Tensor, kernel: Tensor) -> Tensor:
    _, channels, height, width = x.shape
    taps = (kernel * 4).to(x.dtype).flip([0, 1])
    phases = [(row, column) for row in (0, 1) for column in (0, 1)]
    weight = torch.stack([taps[row::2, column::2] for row, column in phases])[:, None]
    wide = functional.pad(x, [1, 1, 1, 1])
    made = functional.conv2d(wide, weight.repeat(channels, 1, 1, 1), groups=channels)
    made = made.reshape(-1, channels, 4, height + 1, width + 1)
    placed = [
        made[:, :, index, row : row + height, column : column + width]
        for index, (row, column) in enumerate(phases)
    ]
    return functional.pixel_shuffle(torch.stack(placed, 2).flatten(1, 2), 2)


def downsample2d(x: Tensor, kernel: Tensor, factor: int = 2) -> Tensor:
    """Half the size."""
    size = kernel.shape[-1]
    before, after = (size - factor + 1) // 2, (size - factor) // 2
    return upfirdn2d(x, kernel, down=factor, padding=(before, after, before, after))


def filter2d(x: Tensor, kernel: Tensor) -> Tensor:
    """The same size, filtered."""
    size = kernel.shape[-1]
    before, after = size // 2, (size - 1) // 2
    return upfirdn2d(x, kernel, padding=(before, after, before, after))


def activated(x: Tensor, bias: Tensor | None, *, gain: float = 1.0, clamp: float | None = None) -> Tensor:
    """Bias (C,), leaky ReLU, gain: the end of a layer. clamp: largest magnitude, itself times `gain`."""
    if bias is not None:
        x = x + bias.to(x.dtype).reshape([1, -1] + [1] * (x.ndim - 2))
    x = functional.leaky_relu(x, SLOPE) * (GAIN * gain)
    return x if clamp is None else x.clamp(-clamp * gain, clamp * gain)


def conv_resampled(
    x: Tensor,
    weight: Tensor,
    kernel: Tensor | None = None,
    *,
    up: int = 1,
    down: int = 1,
    padding: int = 0,
    groups: int = 1,
    flip_weight: bool = True,
) -> Tensor:
    """A convolution that doubles (a transposed one, then the filter) or halves (the filter, then strides of 2).

    weight: (out, in / groups, K, K). kernel: the filter, where up or down is 2. flip_weight: correlate, as PyTorch's
    convolutions do.
    """
    size = weight.shape[-1]
    weight = weight if flip_weight else weight.flip([2, 3])
    if up == 1 and down == 1:
        return functional.conv2d(x, weight, padding=padding, groups=groups)
    if kernel is None:
        raise ValueError("a convolution that resamples needs its filter")
    taps = kernel.shape[-1]
    if down > 1:
        before, after = padding + (taps - down + 1) // 2, padding + (taps - down) // 2
        around = (before, after, before, after)
        if size == 1:  # the order does not matter, and a small picture costs less
            return functional.conv2d(upfirdn2d(x, kernel, down=down, padding=around), weight, groups=groups)
        return functional.conv2d(upfirdn2d(x, kernel, padding=around), weight, stride=down, groups=groups)
    before = padding + (taps + up - 1) // 2 - (size - 1)
    after = padding + (taps - up) // 2 - (size - up)
    cropped = max(min(-before, -after), 0)
    grouped = weight.flip([2, 3]).reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)
    x = functional.conv_transpose2d(
        x,
        grouped.reshape(-1, weight.shape[0] // groups, size, size),
        stride=up,
        padding=cropped,
        groups=groups,
    )
    before, after = before + cropped, after + cropped
    return upfirdn2d(x, kernel, padding=(before, after, before, after), gain=up**2)


def demodulation(weight: Tensor, styles: Tensor) -> Tensor:
    """What brings each output channel back to its variance: (B, out), from weights (out, in, K, K), styles (B, in).

    The weights' part, the sum of squares over the kernel, is a matrix that is fixed where the weights are.
    """
    return (styles.square() @ weight.square().sum([2, 3]).t() + _EPSILON).rsqrt()


def modulated_conv2d(
    x: Tensor,
    weight: Tensor,
    styles: Tensor,
    *,
    noise: Tensor | None = None,
    up: int = 1,
    padding: int = 0,
    resample_filter: Tensor | None = None,
    demodulate: bool = True,
    flip_weight: bool = True,
    fused_modconv: bool = False,
) -> Tensor:
    """The ada dialect's convolution, whose input channels are scaled by styles (B, in).

    fused_modconv: scale the weights, one set per item; else scale input and output around one shared convolution. The
    numbers are the same but for rounding (3e-6). noise: added at the end, broadcast.
    """
    batch, _, height, width = x.shape
    kernel = None if resample_filter is None else resample_filter.to(x.dtype)
    if fused_modconv:
        own = weight[None] * styles.reshape(batch, 1, -1, 1, 1)
        if demodulate:
            own = own * (own.square().sum([2, 3, 4], keepdim=True) + _EPSILON).rsqrt()
        grouped = x.reshape(1, -1, height, width)
        own = own.reshape(-1, *weight.shape[1:]).to(x.dtype)
        x = conv_resampled(
            grouped, own, kernel, up=up, padding=padding, groups=batch, flip_weight=flip_weight
        )
        x = x.reshape(batch, -1, *x.shape[2:])
    else:
        x = x * styles.to(x.dtype)[:, :, None, None]
        x = conv_resampled(x, weight.to(x.dtype), kernel, up=up, padding=padding, flip_weight=flip_weight)
        if demodulate:
            back = _demodulation_in_order(weight, styles).to(x.dtype)[:, :, None, None]
            return x * back if noise is None else torch.addcmul(noise.to(x.dtype), x, back)
    return x if noise is None else x + noise.to(x.dtype)


def _demodulation_in_order(weight: Tensor, styles: Tensor) -> Tensor:
    """`demodulation` summed as the official code sums, to its rounding: a tuning by absolute differences begins at
    zero, where the sign of every gradient is rounding's."""
    own = weight[None] * styles[:, None, :, None, None]
    return (own.square().sum([2, 3, 4]) + _EPSILON).rsqrt()


Activation = Literal["linear", "lrelu"]


class FullyConnected(nn.Module):
    """The ada dialect's linear layer: weights are drawn wide and scaled at run time. lr_multiplier: slows learning."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        activation: Activation = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), float(bias_init)))
        self.weight_gain, self.bias_gain = lr_multiplier / math.sqrt(inputs), lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) to (B, outputs)."""
        made = functional.linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)
        return functional.leaky_relu(made, SLOPE) * GAIN if self.activation == "lrelu" else made


class EqualLinear(nn.Module):
    """Rosinality's linear layer, which computes the same. activation: "fused_lrelu" or none."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        bias_init: float = 0.0,
        lr_mul: float = 1.0,
        activation: Literal["fused_lrelu"] | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_dim, in_dim) / lr_mul)
        self.bias = nn.Parameter(torch.full((out_dim,), float(bias_init)))
        self.activation, self.lr_mul = activation, lr_mul
        self.scale = lr_mul / math.sqrt(in_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_dim) to (..., out_dim)."""
        made = functional.linear(x, self.weight * self.scale, self.bias * self.lr_mul)
        return functional.leaky_relu(made, SLOPE) * GAIN if self.activation else made


class Blur(nn.Module):
    """Rosinality's filter, whose taps stand in the checkpoint. factor: of the size that it belongs to, squared."""

    kernel: Tensor

    def __init__(self, padding: tuple[int, int], factor: int = 1) -> None:
        super().__init__()
        self.register_buffer("kernel", setup_filter(FIR) * factor**2)
        self.padding: Padding = (*padding, *padding)

    def forward(self, x: Tensor) -> Tensor:
        return upfirdn2d(x, self.kernel, padding=self.padding)


class ModulatedConv2d(nn.Module):
    """Rosinality's modulated convolution: forward(x (B, in, H, W), style (B, style_dim)).

    Weights are scaled by 1 / sqrt(fan in) before they are demodulated, which matters through the epsilon alone.
    """

    def __init__(
        self,
        in_channel: int,
        out_channel: int,
        kernel_size: int,
        style_dim: int,
        demodulate: bool = True,
        upsample: bool = False,
        downsample: bool = False,
    ) -> None:
        super().__init__()
        self.demodulate, self.upsample, self.downsample = demodulate, upsample, downsample
        self.padding = kernel_size // 2
        spare = len(FIR) - 2
        if upsample:
            spare -= kernel_size - 1
            self.blur = Blur(((spare + 1) // 2 + 1, spare // 2 + 1), factor=2)
        elif downsample:
            spare += kernel_size - 1
            self.blur = Blur(((spare + 1) // 2, spare // 2))
        self.scale = 1 / math.sqrt(in_channel * kernel_size**2)
        self.weight = nn.Parameter(torch.randn(1, out_channel, in_channel, kernel_size, kernel_size))
        self.modulation = EqualLinear(style_dim, in_channel, bias_init=1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        weight = self.weight[0] * self.scale
        styles = cast(Tensor, self.modulation(style))
        x = x * styles[:, :, None, None]
        if self.upsample:
            x = self.blur(functional.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
        elif self.downsample:
            x = functional.conv2d(self.blur(x), weight, stride=2)
        else:
            x = functional.conv2d(x, weight, padding=self.padding)
        return x * demodulation(weight, styles)[:, :, None, None] if self.demodulate else x
