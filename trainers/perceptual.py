"""Distances of pictures as a network sees them, and what stands in where its weights are not at hand.

Weights that others trained are read from a file that the user names; none are fetched, and none are made up: a recipe
that names no file says `perceptual = "none"`, or which stand-in it takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.containers import Account, read_state_dict
from trainers.errors import CheckpointError, RecipeError

Choice = Literal["vgg19", "gradient", "none"]
"""vgg19: L1 of its features. gradient: L1 of colours and of their differences, at several sizes: no network, and no
knowledge of faces; it keeps colours and edges in their place. none: no such term."""

VGG19_LAYERS: Final = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
"""Places of the convolutions in torchvision's `features`, up to the last that is looked at."""
VGG19_WIDTHS: Final = (64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512)
VGG19_TAPS: Final = (0, 5, 10, 19, 28)
"""Convolutions whose ReLU is looked at: relu1_1, relu2_1, relu3_1, relu4_1, relu5_1."""
TAP_WEIGHTS: Final = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
GRADIENT_SCALES: Final = 3

_POOLED_BEFORE: Final = (5, 10, 19, 28)


class VGG19(nn.Module):
    """The part of VGG19 that is looked at, under torchvision's names. widths: of its convolutions, in order."""

    def __init__(self, widths: Sequence[int] = VGG19_WIDTHS) -> None:
        super().__init__()
        inputs = (3, *widths)
        self.features = nn.ModuleDict(
            {
                str(place): nn.Conv2d(inner, outer, 3, padding=1)
                for place, inner, outer in zip(VGG19_LAYERS, inputs, widths)
            }
        )
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The five maps of a picture (B, 3, H, W), whose sides are at least 16."""
        maps, x = [], image
        for place in VGG19_LAYERS:
            if place in _POOLED_BEFORE:
                x = functional.max_pool2d(x, 2)
            x = torch.relu(self.features[str(place)](x))
            if place in VGG19_TAPS:
                maps.append(x)
        return maps


class VGGDistance(nn.Module):
    """Sum over the five maps of weight * mean absolute difference; no gradient goes into the second picture.

    Pictures are given in -1..1 as they are, without ImageNet's means and deviations: so does pix2pixHD, and MaskGAN
    after it.
    """

    weights = TAP_WEIGHTS

    def __init__(self, network: VGG19) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        with torch.no_grad():
            goals = self.network(real)
        terms = [
            weight * functional.l1_loss(one, goal)
            for weight, one, goal in zip(self.weights, self.network(fake), goals)
        ]
        return torch.stack(terms).sum()


class GradientDistance(nn.Module):
    """The stand-in: mean over GRADIENT_SCALES sizes, each half the one before, of L1 of the colours and of their
    differences to the next pixel right and below."""

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        terms = []
        apart = fake - real.detach()
        for scale in range(GRADIENT_SCALES):
            if scale:
                apart = functional.avg_pool2d(apart, 2)
            right, below = apart[..., 1:] - apart[..., :-1], apart[..., 1:, :] - apart[..., :-1, :]
            terms.append(apart.abs().mean() + right.abs().mean() + below.abs().mean())
        return torch.stack(terms).mean()


def perceptual_distance(choice: Choice, file: str, option: str) -> nn.Module | None:
    """The distance that a recipe chooses, None for "none". file: of VGG19's weights; option: what names it there.

    Raises RecipeError where "vgg19" is chosen without a file that exists, CheckpointError where it holds others.
    """
    if choice == "none":
        return None
    if choice == "gradient":
        return GradientDistance()
    if not file or not Path(file).is_file():
        found = f"{file!r} is no file" if file else f"{option} is empty"
        raise RecipeError(
            f"the perceptual loss needs VGG19's weights and {found}: name torchvision's file (vgg19-*.pth) by "
            f'{option}, or say perceptual = "none" or "gradient"'
        )
    return VGGDistance(read_vgg19(Path(file)))


def read_vgg19(path: Path) -> VGG19:
    """VGG19 from torchvision's file, of which the classifier and the deepest layers are left alone.

    Raises CheckpointError where a tensor of it is missing or of another shape.
    """
    return vgg19_of(read_state_dict(path), VGG19(), str(path))


def vgg19_of(stored: Mapping[str, Tensor], network: VGG19, where: str) -> VGG19:
    """Puts weights under torchvision's names into a network; `where` they come from is named in a CheckpointError."""
    account = Account("torchvision", "VGG19")
    wanted = network.state_dict()
    weights = account.fit({name: value for name, value in stored.items() if name in wanted}, wanted)
    if not account.whole:
        raise CheckpointError(f"{where}: {account.refusal()}")
    network.load_state_dict(weights)
    return network.eval()
