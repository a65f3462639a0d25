"""The two networks, with the official names of their parameters.

Conventions: pictures are RGB in [-1, 1], (B, 3, H, W); action units are OpenFace's intensities divided by 5,
(B, c_dim), absolute and not a change; an attention mask of 1 keeps the source's pixel (the paper's second version and
its code).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast, get_args

import torch
from torch import Tensor, nn

Norm = Literal["instance", "instance_running", "instance_plain", "none"]
"""How the generator normalises.

instance: scale and shift, statistics of the picture itself always; the official network.
instance_running: scale and shift, running statistics in eval mode; the weights of vipermu/ganimation expect it.
instance_plain: neither scale nor shift, convolutions of the trunk with bias; donydchen/ganimation_replicate.
none: scale and shift alone, under the official keys; ours, for short trainings with pairs. An instance norm takes out
again what the constant planes of the action units have added to a channel, all but at the picture's border, and with it
the picture's own brightness and contrast, which the colour mask has to meet.
"""


Planes = Literal["constant", "regional"]
"""Where the planes of the action units have their values.

constant: everywhere, as in the paper. regional: only over the part of the face that the unit moves, fading out; ours,
for crops by the rule `face`, in which every face has its features in the same place. What a unit asks of the mouth is
not even seen at the brows.
"""

Units = Literal["absolute", "relative"]
"""What the action units say.

absolute: the intensities that the result has to have, as in the paper. relative: how much each one changes from the
picture to the result, -1..1 (Ling et al., Toward Fine-grained Facial Expression Manipulation, ECCV 2020): what a still
shows of its own is measured badly, and the generator need not guess it.
"""

BANDS = {"brows": (0.12, 0.47), "eyes": (0.25, 0.55), "nose": (0.35, 0.65), "mouth": (0.55, 0.97)}
"""Rows from and to, of the side of a `face` crop."""
SIDES = (0.08, 0.92)
FADE = 0.03
MOVES = (*["brows"] * 3, *["eyes"] * 3, "nose", *["mouth"] * 9, "eyes")
"""What each of the 17 action units moves."""


class ScaleShift(nn.Module):
    """What is left of a norm that does not normalise."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, None, None] + self.bias[:, None, None]


def _norm(kind: Norm, channels: int) -> nn.Module:
    if kind == "none":
        return ScaleShift(channels)
    return nn.InstanceNorm2d(
        channels, affine=kind != "instance_plain", track_running_stats=kind == "instance_running"
    )


class ResidualBlock(nn.Module):
    """x + f(x), f of two 3x3 convolutions; no activation after the sum."""

    def __init__(self, channels: int, norm: Norm = "instance") -> None:
        super().__init__()
        bias = norm == "instance_plain"
        self.main = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=bias),
            _norm(norm, channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=bias),
            _norm(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.main(x)
        return x + added


class Generator(nn.Module):
    """forward(x, c) -> (colour (B, 3, H, W) in [-1, 1], attention (B, 1, H, W) in [0, 1]); H and W divisible by 4.

    Compositing is `compose`, outside of the network. `attetion_reg` is spelled as in the official checkpoints.
    """

    def __init__(
        self,
        conv_dim: int = 64,
        c_dim: int = 17,
        repeat_num: int = 6,
        norm: Norm = "instance",
        planes: Planes = "constant",
    ) -> None:
        super().__init__()
        for name, value, choices in (("norm", norm, get_args(Norm)), ("planes", planes, get_args(Planes))):
            if value not in choices:
                raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
        if planes == "regional" and c_dim != len(MOVES):
            raise ValueError(f"planes 'regional' are of {len(MOVES)} action units, got a c_dim of {c_dim}")
        self.conv_dim, self.c_dim, self.repeat_num = conv_dim, c_dim, repeat_num
        self.norm, self.planes = norm, planes
        bias = norm == "instance_plain"
        width = conv_dim
        layers: list[nn.Module] = [nn.Conv2d(3 + c_dim, width, 7, padding=3, bias=bias)]
        layers += [_norm(norm, width), nn.ReLU(inplace=True)]
        for _ in range(2):
            layers.append(nn.Conv2d(width, width * 2, 4, stride=2, padding=1, bias=bias))
            width *= 2
            layers += [_norm(norm, width), nn.ReLU(inplace=True)]
        layers += [ResidualBlock(width, norm) for _ in range(repeat_num)]
        for _ in range(2):
            layers.append(nn.ConvTranspose2d(width, width // 2, 4, stride=2, padding=1, bias=bias))
            width //= 2
            layers += [_norm(norm, width), nn.ReLU(inplace=True)]
        self.main = nn.Sequential(*layers)
        self.img_reg = nn.Sequential(nn.Conv2d(width, 3, 7, padding=3, bias=False), nn.Tanh())
        self.attetion_reg = nn.Sequential(nn.Conv2d(width, 1, 7, padding=3, bias=False), nn.Sigmoid())

    def forward(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        planes = c[:, :, None, None].expand(-1, -1, x.shape[2], x.shape[3])
        if self.planes == "regional":
            rows, columns = _extent(x)
            planes = planes * (rows[:, :, None] * columns)
        features = self.main(torch.cat((x, planes), dim=1))
        return self.img_reg(features), self.attetion_reg(features)

    def quick(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """The same up to rounding, in three quarters of the time: for long trainings on a CPU.

        The planes of the action units are a row's value times a column's, and their part of the first convolution is
        computed from these; norms are computed where the memory lies, without copies, and a scale and shift within the
        convolution before it; both heads are one convolution.
        """
        first, rest = cast(nn.Conv2d, self.main[0]), list(self.main)[1:]
        rows, columns = _extent(x)
        if self.planes == "constant":
            rows, columns = torch.ones_like(rows[:1]).expand(self.c_dim, -1), torch.ones_like(columns)
        features = nn.functional.conv2d(x, first.weight[:, :3], first.bias, padding=3)
        features = _quick(rest, features + _of_planes(first.weight[:, 3:], c, rows, columns))
        colour, attention = (cast(nn.Conv2d, head[0]) for head in (self.img_reg, self.attetion_reg))
        heads = torch.cat((colour.weight, attention.weight))
        both = nn.functional.conv2d(features, heads, padding=3)
        return both[:, :3].tanh(), both[:, 3:].sigmoid()


def _extent(x: Tensor) -> tuple[Tensor, Tensor]:
    """How far each action unit's plane reaches in pictures (B, 3, H, W): by rows (17, H) and by columns (W,), 0..1."""
    down, across = ((torch.arange(side, device=x.device, dtype=x.dtype) + 0.5) / side for side in x.shape[2:])
    bands = {part: _band(down, *limits) for part, limits in BANDS.items()}
    return torch.stack([bands[part] for part in MOVES]), _band(across, *SIDES)


def _band(places: Tensor, start: float, end: float) -> Tensor:
    return torch.sigmoid((places - start) / FADE) * torch.sigmoid((end - places) / FADE)


def _of_planes(weight: Tensor, c: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """A 7x7 convolution, zero padding 3, of planes c[b, k] * rows[k, y] * columns[x]: (B, out, H, W)."""
    above, beside = (nn.functional.pad(line, (3, 3)).unfold(-1, 7, 1) for line in (rows, columns))
    down = torch.einsum("bk,khi,okij->bohj", c, above, weight)
    return torch.einsum("bohj,wj->bohw", down, beside).contiguous(memory_format=torch.channels_last)


def _quick(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    place = 0
    while place < len(layers):
        layer, after = layers[place], layers[place + 1] if place + 1 < len(layers) else None
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and isinstance(after, ScaleShift):
            x, place = _scaled(layer, after, x), place + 1
        elif isinstance(layer, nn.InstanceNorm2d) and not layer.track_running_stats:
            x = nn.functional.group_norm(x, layer.num_features, layer.weight, layer.bias, layer.eps)
        elif isinstance(layer, ResidualBlock):
            x = x + _quick(list(layer.main), x)
        else:
            x = layer(x)
        place += 1
    return x


def _scaled(conv: nn.Conv2d | nn.ConvTranspose2d, after: ScaleShift, x: Tensor) -> Tensor:
    if isinstance(conv, nn.ConvTranspose2d):
        weight = conv.weight * after.weight[:, None, None]
        padding = cast("tuple[int, ...]", conv.padding)  # words are of other convolutions
        return nn.functional.conv_transpose2d(x, weight, after.bias, conv.stride, padding)
    weight = conv.weight * after.weight[:, None, None, None]
    return nn.functional.conv2d(x, weight, after.bias, conv.stride, conv.padding)


class Discriminator(nn.Module):
    """The critic: forward(x) -> (patch scores (B, 1, h, w), action units (B, c_dim)), no activation on either.

    h = w = image_size / 2**repeat_num, which is also the kernel of the action units' head. Unlike the official code the
    batch axis stays for a single picture, and other sizes than image_size are refused.
    """

    def __init__(
        self, image_size: int = 128, conv_dim: int = 64, c_dim: int = 17, repeat_num: int = 6
    ) -> None:
        super().__init__()
        if image_size < 2**repeat_num or image_size % 2**repeat_num:
            raise ValueError(
                f"image_size: expected a multiple of {2**repeat_num} (2 to the power of repeat_num), got {image_size}"
            )
        self.image_size, self.conv_dim, self.c_dim, self.repeat_num = image_size, conv_dim, c_dim, repeat_num
        layers: list[nn.Module] = []
        width, channels = conv_dim, 3
        for _ in range(repeat_num):
            layers += [
                nn.Conv2d(channels, width, 4, stride=2, padding=1),
                nn.LeakyReLU(0.01, inplace=True),
            ]
            channels, width = width, width * 2
        self.main = nn.Sequential(*layers)
        self.conv1 = nn.Conv2d(channels, 1, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, c_dim, image_size // 2**repeat_num, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"pictures: expected {self.image_size}x{self.image_size}, got {x.shape[-1]}x{x.shape[-2]}"
            )
        features = self.main(x)
        return self.conv1(features), self.conv2(features).flatten(1)


def compose(source: Tensor, colour: Tensor, attention: Tensor) -> Tensor:
    """A * source + (1 - A) * C."""
    return attention * source + (1.0 - attention) * colour


def saturate(attention: Tensor) -> Tensor:
    """clamp(0.55 tanh(3 (A - 0.5)) + 0.5, 0, 1): masks nearer to 0 and 1, an experiment of the authors."""
    return (0.55 * torch.tanh(3.0 * (attention - 0.5)) + 0.5).clamp(0.0, 1.0)


def initialise(network: nn.Module) -> None:
    """Convolutions from N(0, 0.02), their biases 0; norms keep torch's start (scale 1, shift 0), as officially.

    Without norms the numbers would fade on their way: there a layer keeps the variance, and residual blocks begin
    small.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if isinstance(network, Generator) and network.norm == "none":
        for module in network.main.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, (2.0 / (module.in_channels * 4)) ** 0.5)
            elif isinstance(module, ResidualBlock):
                nn.init.constant_(cast(ScaleShift, module.main[4]).weight, 0.3)
