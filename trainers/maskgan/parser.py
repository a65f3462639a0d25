"""The face-parsing U-Net that came with MaskGAN: a picture to a class of CelebAMask-HQ per pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.errors import CheckpointError

IGNORED = 250
"""A label that counts for nothing."""

DEPTH = 4
_MULTIPLE = 2**DEPTH


class ParsingUNet(nn.Module):
    """The official `unet` under its own names: four halvings, four doublings, each with what it had at that size.

    classes: of the answer. width: channels at full resolution, doubled by each halving: 64 / feature_scale, 16 in the
    released file. channels: of the picture. norm: batch norm behind each convolution but the last.
    """

    def __init__(self, classes: int = 19, width: int = 16, channels: int = 3, norm: bool = True) -> None:
        super().__init__()
        if min(classes, width, channels) < 1:
            raise ValueError(
                f"classes {classes}, width {width}, channels {channels}: expected 1 or more of each"
            )
        self.classes = classes
        widths = [width * 2**k for k in range(DEPTH + 1)]
        self.conv1 = _Block(channels, widths[0], norm)
        self.conv2 = _Block(widths[0], widths[1], norm)
        self.conv3 = _Block(widths[1], widths[2], norm)
        self.conv4 = _Block(widths[2], widths[3], norm)
        self.center = _Block(widths[3], widths[4], norm)
        self.up_concat4 = _Up(widths[3], norm)
        self.up_concat3 = _Up(widths[2], norm)
        self.up_concat2 = _Up(widths[1], norm)
        self.up_concat1 = _Up(widths[0], norm)
        self.final = nn.Conv2d(widths[0], classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """RGB in -1..1, (B, channels, H, W), H and W multiples of 16, to logits (B, classes, H, W): no softmax."""
        if image.shape[-1] % _MULTIPLE or image.shape[-2] % _MULTIPLE:
            raise ValueError(
                f"image {tuple(image.shape)}: expected height and width in multiples of {_MULTIPLE}"
            )
        one = self.conv1(image)
        two = self.conv2(functional.max_pool2d(one, 2))
        three = self.conv3(functional.max_pool2d(two, 2))
        four = self.conv4(functional.max_pool2d(three, 2))
        x = self.center(functional.max_pool2d(four, 2))
        x = self.up_concat4(four, x)
        x = self.up_concat3(three, x)
        x = self.up_concat2(two, x)
        logits: Tensor = self.final(self.up_concat1(one, x))
        return logits


class _Block(nn.Module):
    """Two 3 x 3 convolutions with bias, each with its norm and ReLU."""

    def __init__(self, inner: int, outer: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = _convolution(inner, outer, norm)
        self.conv2 = _convolution(outer, outer, norm)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.conv2(self.conv1(x))
        return made


class _Up(nn.Module):
    """The smaller map at twice its size, behind the one that was kept."""

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        self.conv = _Block(2 * width, width, norm)
        self.up = nn.ConvTranspose2d(2 * width, width, 2, stride=2)

    def forward(self, kept: Tensor, x: Tensor) -> Tensor:
        made: Tensor = self.conv(torch.cat([kept, self.up(x)], 1))
        return made


def _convolution(inner: int, outer: int, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(inner, outer, 3, padding=1)]
    if norm:
        layers.append(nn.BatchNorm2d(outer))
    return nn.Sequential(*layers, nn.ReLU())


def arguments_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The constructor's arguments, by the shapes of an official file. Raises CheckpointError for another network's."""
    first, last = state.get("conv1.conv1.0.weight"), state.get("final.weight")
    if first is None or last is None or first.ndim != 4 or last.ndim != 4:
        few = ", ".join(list(state)[:3]) or "nothing"
        raise CheckpointError(
            f"no parsing U-Net: conv1.conv1.0.weight or final.weight is missing or no convolution, only {few}"
        )
    return {
        "classes": last.shape[0],
        "width": first.shape[0],
        "channels": first.shape[1],
        "norm": "conv1.conv1.1.weight" in state,
    }


def pixel_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy, the mean over all pixels that are not IGNORED. labels: (B, H, W) of an integer type."""
    return functional.cross_entropy(logits, labels.long(), ignore_index=IGNORED)
