"""The face loss: distances of heads as SphereFace-20 sees them. Its weights are read from a file that is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from trainers.containers import Account, read_state_dict
from trainers.errors import CheckpointError, RecipeError
from trainers.liquid_warping.discriminators import cut
from trainers.liquid_warping.losses import absolute
from trainers.perceptual import TAP_WEIGHTS

SIZE: Final = (112, 96)
"""Height and width of a head."""
EMBEDDING: Final = 512
STAGES: Final = ((64, 1), (128, 2), (256, 4), (512, 1))
"""Channels and residual pairs of every stage; each begins with a convolution of stride 2."""


class SphereFace20(nn.Module):
    """Official class `Sphere20a`, without the classifier. forward: heads (B, 3, 112, 96) in -1..1 to the maps of the
    four stages and the embedding (B, 512)."""

    def __init__(self) -> None:
        super().__init__()
        inner = 3
        for stage, (outer, pairs) in enumerate(STAGES, 1):
            for place in range(1, 2 * pairs + 2):
                stride = 2 if place == 1 else 1
                self.add_module(f"conv{stage}_{place}", nn.Conv2d(inner, outer, 3, stride=stride, padding=1))
                self.add_module(f"relu{stage}_{place}", nn.PReLU(outer))
                inner = outer
        self.fc5 = nn.Linear(inner * (SIZE[0] // 16) * (SIZE[1] // 16), EMBEDDING)

    def _layer(self, stage: int, place: int, x: Tensor) -> Tensor:
        convolved = self.get_submodule(f"conv{stage}_{place}")(x)
        result: Tensor = self.get_submodule(f"relu{stage}_{place}")(convolved)
        return result

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for stage, (_, pairs) in enumerate(STAGES, 1):
            x = self._layer(stage, 1, x)
            for pair in range(1, pairs + 1):
                x = x + self._layer(stage, 2 * pair + 1, self._layer(stage, 2 * pair, x))
            found.append(x)
        return [*found, self.fc5(x.flatten(1))]


class FaceDistance(nn.Module):
    """Sum over the five outputs of weight * L1; no gradient goes into the second picture."""

    def __init__(self, network: SphereFace20) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    def forward(self, fake: Tensor, real: Tensor, boxes: Tensor) -> Tensor:
        """Of the heads in `boxes`, int64 (B, 4): min_x, max_x, min_y, max_y; an empty box is none. 0 without any."""
        ours, theirs = cut(fake, boxes, SIZE), cut(real, boxes, SIZE)
        if not len(ours):
            return fake.new_zeros(())
        with torch.no_grad():
            goals = self.network(theirs)
        terms = [
            weight * absolute(one, goal) for weight, one, goal in zip(TAP_WEIGHTS, self.network(ours), goals)
        ]
        return torch.stack(terms).sum()


def face_distance(file: str, option: str) -> FaceDistance:
    """With the weights of a file (sphere20a_20171020.pth). option: what names it in the recipe.

    Raises RecipeError where there is no such file, CheckpointError where it holds something else.
    """
    if not file or not Path(file).is_file():
        found = f"{file!r} is no file" if file else f"{option} is empty"
        raise RecipeError(
            f"the face loss needs SphereFace-20's weights and {found}: name sphere20a_20171020.pth by {option} (keys "
            "conv1_1.weight .. conv4_3.bias, relu1_1.weight .., fc5), or set losses.face to 0"
        )
    return FaceDistance(read_sphereface(Path(file)))


def read_sphereface(path: Path) -> SphereFace20:
    """SphereFace-20 from its official file. Raises CheckpointError."""
    return sphereface_of(read_state_dict(path), str(path))


def sphereface_of(stored: Mapping[str, Tensor], where: str) -> SphereFace20:
    """With weights under the official names; fc6, the classifier, is left alone."""
    account = Account("official", "SphereFace-20")
    kept = {name: value for name, value in stored.items() if not name.startswith("fc6.")}
    with torch.device("meta"):
        network = SphereFace20()
    weights = account.fit(kept, network.state_dict())
    if not account.whole:
        raise CheckpointError(f"{where}: {account.refusal()}")
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)
