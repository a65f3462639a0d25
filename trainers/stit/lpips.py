"""LPIPS on AlexNet (Zhang et al. 2018): how far two pictures are apart to people's eyes, read from files of the user.

The official weights are two files: AlexNet's as torchvision ships it (`alexnet-*.pth`) and the five heads as the lpips
package does (`weights/v0.1/alex.pth`). They may be given as one file, too.
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
from trainers.perceptual import GradientDistance

Choice = Literal["lpips", "gradient", "none"]
"""lpips: this module. gradient: the stand-in of trainers/perceptual.py, which needs no weights. none: no such term."""

PLACES: Final = (0, 3, 6, 8, 10)
"""Of the convolutions in torchvision's `features`; each is looked at behind its ReLU."""
WIDTHS: Final = (64, 192, 384, 256, 256)
_KERNELS: Final = ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))
_POOLED_BEFORE: Final = (3, 6)
_SHIFT: Final = (-0.030, -0.088, -0.188)
_SCALE: Final = (0.458, 0.448, 0.450)
_EPSILON: Final = 1e-10


class LPIPS(nn.Module):
    """Called with two pictures (B, 3, H, W) in -1..1, sides at least 31: the distance, mean over the batch.

    Sum over five maps, each of unit length over its channels, of the weighted squared difference, mean over the
    picture. widths: of the convolutions, for small ones in tests.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        inputs = (3, *widths)
        self.features = nn.ModuleDict(
            {
                str(place): nn.Conv2d(inner, outer, kernel, stride=stride, padding=around)
                for place, inner, outer, (kernel, stride, around) in zip(PLACES, inputs, widths, _KERNELS)
            }
        )
        for index, width in enumerate(widths):
            self.add_module(f"lin{index}", _Head(width))
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None], persistent=False)
        self.requires_grad_(False)

    def forward(self, given: Tensor, wanted: Tensor) -> Tensor:
        return self.distances(given, wanted).mean()

    def distances(self, given: Tensor, wanted: Tensor) -> Tensor:
        """(B,), one per pair."""
        terms = []
        for index, (one, other) in enumerate(zip(self.maps(given), self.maps(wanted))):
            apart = (one - other).square()
            terms.append(self.get_submodule(f"lin{index}")(apart).mean((1, 2, 3)))
        return torch.stack(terms).sum(0)

    def maps(self, image: Tensor) -> list[Tensor]:
        """The five maps, of unit length over their channels."""
        maps, x = [], (image - self.shift) / self.scale
        for place in PLACES:
            if place in _POOLED_BEFORE:
                x = functional.max_pool2d(x, 3, 2)
            x = torch.relu(self.features[str(place)](x))
            maps.append(x / (x.square().sum(1, keepdim=True).sqrt() + _EPSILON))
        return maps


class _Head(nn.Module):
    """A weight per channel, under the lpips package's name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"1": nn.Conv2d(width, 1, 1, bias=False)})

    def forward(self, apart: Tensor) -> Tensor:
        weighed: Tensor = self.model["1"](apart)
        return weighed


def lpips_of(stored: Mapping[str, Tensor], network: LPIPS, where: str) -> LPIPS:
    """Puts weights under the official names into a network; what else a file holds (a classifier) is left alone.

    Raises CheckpointError, naming `where`, for a tensor that is missing or of another shape.
    """
    account = Account("torchvision and lpips", "LPIPS")
    wanted = network.state_dict()
    weights = account.fit({name: value for name, value in stored.items() if name in wanted}, wanted)
    if not account.whole:
        raise CheckpointError(f"{where}: {account.refusal()}")
    network.load_state_dict(weights)
    return network.eval()


def read_lpips(files: Sequence[Path]) -> LPIPS:
    """LPIPS from AlexNet's file and that of the heads, or from one that holds both. Raises CheckpointError."""
    stored: dict[str, Tensor] = {}
    for path in files:
        stored |= read_state_dict(path)
    return lpips_of(stored, LPIPS(), " and ".join(map(str, files)))


def distance(choice: Choice, files: Sequence[str], option: str) -> nn.Module | None:
    """The perceptual distance that a tuning chooses, None for "none". files: of `read_lpips`; option: what names them.

    Raises RecipeError where "lpips" is chosen without files that exist, CheckpointError where they hold others.
    """
    if choice == "none":
        return None
    if choice == "gradient":
        return GradientDistance()
    paths = [Path(file) for file in files]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing or not paths:
        found = f"{missing[0]!r} is no file" if missing else f"{option} is empty"
        section = option[: option.rfind(".") + 1]
        raise RecipeError(
            f"LPIPS needs AlexNet's weights and its heads, and {found}: name alexnet-*.pth and alex.pth by {option}, "
            f"or do without: --set {section}perceptual=gradient, a stand-in, or {section}perceptual=none"
        )
    return read_lpips(paths)
