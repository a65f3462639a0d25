"""Patch critics of the whole picture, of its parts, and of the background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE: Final = 0.2

PARTS: Final = {"global": 1, "local": 2, "body": 2, "head": 4}
"""What a critic can look at, and by how much smaller it is looked at than the picture."""


class PatchDiscriminator(nn.Module):
    """`layers` convolutions of stride 2, one of stride 1, and one to the scores.

    widest: largest factor on `width`. norm: "instance" (no parameters, statistics of the picture) or "batch" (affine,
    running statistics). forward: (B, inputs, H, W) to scores (B, 1, h, w), of about H / 2**layers - 2 a side.
    """

    def __init__(
        self,
        inputs: int = 6,
        width: int = 64,
        layers: int = 4,
        widest: int = 8,
        norm: str = "instance",
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        norms = {"instance": nn.InstanceNorm2d, "batch": nn.BatchNorm2d}
        if norm not in norms:
            raise ValueError(f"norm: got {norm!r}, expected one of {', '.join(norms)}")
        made: list[nn.Module] = [
            nn.Conv2d(inputs, width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
        ]
        inner = width
        for place in range(1, layers + 1):
            outer = width * min(2**place, widest)
            stride = 2 if place < layers else 1
            made += [
                nn.Conv2d(inner, outer, 4, stride=stride, padding=1, bias=norm == "instance"),
                norms[norm](outer),
                nn.LeakyReLU(SLOPE),
            ]
            inner = outer
        made.append(nn.Conv2d(inner, 1, 4, padding=1))
        if sigmoid:
            made.append(nn.Sigmoid())
        self.model = nn.Sequential(*made)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.model(x)
        return scores


def cut(images: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """The boxes of pictures (B, C, H, W) at one size: bilinear, align_corners=True.

    boxes: int64 (B, 4), min_x, max_x, min_y, max_y in pixels, the last ones outside. A picture whose box is empty is
    left out, so that the result may hold fewer, or none.
    """
    found = []
    for image, box in zip(images, boxes.tolist()):
        left, right, top, bottom = box
        if left < right and top < bottom:
            part = image[None, :, top:bottom, left:right]
            found.append(functional.interpolate(part, size=size, mode="bilinear", align_corners=True))
    return torch.cat(found) if found else images[:0, :, : size[0], : size[1]]


class PartsDiscriminator(nn.Module):
    """Critics of the picture and of parts of it, and of the background where `background` is set.

    parts: of PARTS, "global" first. Official classes: ("global",) is GlobalDiscriminator, ("global", "local")
    GlobalLocalDiscriminator, ("global", "body", "head") GlobalBodyHeadDiscriminator.
    """

    def __init__(
        self,
        parts: Sequence[str] = ("global",),
        background: bool = False,
        *,
        inputs: int = 6,
        background_inputs: int = 4,
        width: int = 64,
        layers: int = 4,
        widest: int = 8,
        norm: str = "instance",
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        if not parts or parts[0] != "global" or any(part not in PARTS for part in parts):
            raise ValueError(f"parts: got {tuple(parts)}, expected 'global', then of {', '.join(PARTS)}")
        self.parts, self.background = tuple(parts), background
        for part in self.parts:
            critic = PatchDiscriminator(inputs, width, layers, widest, norm, sigmoid)
            self.add_module(f"{part}_model", critic)
        if background:
            self.bg_model = PatchDiscriminator(background_inputs, width, layers, widest, norm, sigmoid)

    def forward(
        self,
        x: Tensor,
        background: Tensor | None = None,
        body: Tensor | None = None,
        head: Tensor | None = None,
    ) -> list[Tensor]:
        """Scores in the official order: background, global, then the parts; background last where the picture is looked
        at only as a whole.

        x: (B, 6, H, W), image and condition. background: (B, 4, H, W), image and mask. body, head: boxes as in `cut`.
        A part that is not in any picture gives no scores.
        """
        boxes = {"local": body, "body": body, "head": head}
        scores = []
        for part in self.parts:
            seen = x
            if part != "global":
                box, smaller = boxes[part], PARTS[part]
                if box is None:
                    continue
                seen = cut(x, box, (x.shape[-2] // smaller, x.shape[-1] // smaller))
            if len(seen):
                scores.append(self.get_submodule(f"{part}_model")(seen))
        if self.background and background is not None:
            place = len(scores) if self.parts == ("global",) else 0
            scores.insert(place, self.bg_model(background))
        return scores


class MultiScaleDiscriminator(nn.Module):
    """One critic of a global input, and two of a local one, at full and half size (bilinear, align_corners=True)."""

    def __init__(
        self,
        global_inputs: int = 4,
        inputs: int = 6,
        *,
        width: int = 64,
        layers: int = 4,
        widest: int = 8,
        norm: str = "instance",
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        self.scale_models = nn.ModuleList(
            PatchDiscriminator(inputs, width, layers, widest, norm, sigmoid) for _ in range(2)
        )
        self.global_model = PatchDiscriminator(global_inputs, width, layers, widest, norm, sigmoid)

    def forward(self, whole: Tensor, local: Tensor) -> list[Tensor]:
        """Scores: global, scale 1, scale 1/2."""
        size = (local.shape[-2] // 2, local.shape[-1] // 2)
        half = functional.interpolate(local, size=size, mode="bilinear", align_corners=True)
        first, second = self.scale_models
        return [self.global_model(whole), first(local), second(half)]


def average(scores: Sequence[Tensor]) -> Tensor:
    """The mean of the means: what is recorded of a critic."""
    return torch.stack([one.mean() for one in scores]).mean()
