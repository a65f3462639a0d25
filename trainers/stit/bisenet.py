"""BiSeNet on a ResNet-18: the face parser that STIT masks with, with the official names.

Its classes stand in another order than CelebAMask-HQ's. A picture is RGB (B, 3, H, W) with ImageNet's mean and
deviation taken off, officially 512 x 512. Nothing is downloaded; weights come from a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def normalised(image: Tensor) -> Tensor:
    """A picture in [-1, 1] as the parser wants it."""
    mean, deviation = (image.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    return ((image + 1) / 2 - mean) / deviation


class _Basic(nn.Module):
    """ResNet's block of two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if inputs != outputs or stride != 1:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        made = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(made + (x if self.downsample is None else self.downsample(x)))


class Resnet18(nn.Module):
    """Features at 1/8, 1/16 and 1/32 of the picture's size."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for index in range(4):
            inputs, outputs = width * 2 ** max(0, index - 1), width * 2**index
            stride = 1 if index == 0 else 2
            self.add_module(
                f"layer{index + 1}",
                nn.Sequential(_Basic(inputs, outputs, stride), _Basic(outputs, outputs, 1)),
            )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        found = []
        for index in range(1, 5):
            x = self.get_submodule(f"layer{index}")(x)
            found.append(x)
        return found[1], found[2], found[3]


class ConvBNReLU(nn.Module):
    """A convolution that keeps the size, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.bn(self.conv(x)))


class AttentionRefinement(nn.Module):
    """Channels weighed by the mean over the picture."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(inputs, outputs)
        self.conv_atten = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * torch.sigmoid(self.bn_atten(self.conv_atten(x.mean((2, 3), keepdim=True))))


class ContextPath(nn.Module):
    """What lies far apart: features at 1/8 (the backbone's), and refined ones at 1/8 and 1/16."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.resnet = Resnet18(width)
        inner = 2 * width
        self.arm16 = AttentionRefinement(4 * width, inner)
        self.arm32 = AttentionRefinement(8 * width, inner)
        self.conv_head32 = ConvBNReLU(inner, inner)
        self.conv_head16 = ConvBNReLU(inner, inner)
        self.conv_avg = ConvBNReLU(8 * width, inner, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        eighth, sixteenth, last = self.resnet(x)
        everywhere = self.conv_avg(last.mean((2, 3), keepdim=True))
        coarse = self.arm32(last) + everywhere
        coarse = self.conv_head32(functional.interpolate(coarse, size=sixteenth.shape[2:], mode="nearest"))
        fine = self.arm16(sixteenth) + coarse
        fine = self.conv_head16(functional.interpolate(fine, size=eighth.shape[2:], mode="nearest"))
        return eighth, fine, coarse


class FeatureFusion(nn.Module):
    """Two features in one, channels weighed again."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convblk = ConvBNReLU(channels, channels, 1)
        self.conv1 = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.conv2 = nn.Conv2d(channels // 4, channels, 1, bias=False)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        x = self.convblk(torch.cat((spatial, context), 1))
        weight = torch.sigmoid(self.conv2(torch.relu(self.conv1(x.mean((2, 3), keepdim=True)))))
        return cast(Tensor, x * weight + x)


class Head(nn.Module):
    """Features to logits of the classes."""

    def __init__(self, inputs: int, inner: int, n_classes: int) -> None:
        super().__init__()
        self.conv = ConvBNReLU(inputs, inner)
        self.conv_out = nn.Conv2d(inner, n_classes, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.conv_out(self.conv(x)))


@dataclass(frozen=True)
class Parsed:
    """Logits (B, n_classes, H, W) at the picture's size: the one that counts, and two that training looks at."""

    main: Tensor
    sixteenth: Tensor
    thirtysecond: Tensor


class BiSeNet(nn.Module):
    """forward gives the main logits (B, n_classes, H, W). H, W: multiples of 32. width: of ResNet's first stage."""

    def __init__(self, n_classes: int = 19, width: int = 64) -> None:
        super().__init__()
        self.cp = ContextPath(width)
        self.ffm = FeatureFusion(4 * width)
        self.conv_out = Head(4 * width, 4 * width, n_classes)
        self.conv_out16 = Head(2 * width, width, n_classes)
        self.conv_out32 = Head(2 * width, width, n_classes)

    def all_heads(self, image: Tensor) -> Parsed:
        """With the two heads that only training looks at."""
        eighth, fine, coarse = self.cp(image)
        size = image.shape[2:]
        return Parsed(
            _enlarged(self.conv_out(self.ffm(eighth, fine)), size),
            _enlarged(self.conv_out16(fine), size),
            _enlarged(self.conv_out32(coarse), size),
        )

    def forward(self, image: Tensor) -> Tensor:
        eighth, fine, _ = self.cp(image)
        return _enlarged(self.conv_out(self.ffm(eighth, fine)), image.shape[2:])


def _enlarged(logits: Tensor, size: torch.Size) -> Tensor:
    return functional.interpolate(logits, size=size, mode="bilinear", align_corners=True)
