"""ArcFace on IR-SE (model_ir_se50.pth): whether two pictures show one person. Read from a file that the user names."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.containers import Account, read_state_dict
from trainers.errors import CheckpointError, RecipeError
from trainers.stit.e4e import Encoder4Editing
from trainers.stit.irse import body, input_layer

_SIDE, _SEEN = 112, 7
_WINDOW = (35 / 256, 223 / 256, 32 / 256, 220 / 256)
"""The part of an aligned picture that ArcFace sees: rows from and to, columns from and to."""


class ArcFace(nn.Module):
    """Called with two aligned pictures (B, 3, S, S) in -1..1: 1 minus the cosine between their descriptions.

    In eval mode always: its statistics are those of its own training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = input_layer(64)
        self.body = body()
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(0.6),
            nn.Flatten(),
            nn.Linear(512 * _SEEN**2, 512),
            nn.BatchNorm1d(512),
        )
        self.requires_grad_(False)

    def describe(self, image: Tensor) -> Tensor:
        """(B, 512), of unit length."""
        top, bottom, left, right = (round(share * image.shape[-1]) for share in _WINDOW)
        part = functional.adaptive_avg_pool2d(image[:, :, top:bottom, left:right], (_SIDE, _SIDE))
        found: Tensor = self.output_layer(self.body(self.input_layer(part)))
        return functional.normalize(found)

    def forward(self, made: Tensor, wanted: Tensor) -> Tensor:
        return (1 - (self.describe(made) * self.describe(wanted).detach()).sum(1)).mean()


def read_arcface(file: str, option: str) -> ArcFace:
    """Raises RecipeError where the file is not there, CheckpointError where it holds another network."""
    if not file or not Path(file).is_file():
        found = f"{file!r} is no file" if file else f"{option} is empty"
        raise RecipeError(
            f"the identity loss needs ArcFace's weights and {found}: name model_ir_se50.pth by {option}, or say "
            'identity = "none"'
        )
    network, account = ArcFace(), Account("official", "ArcFace")
    weights = account.fit(read_state_dict(Path(file)), network.state_dict())
    if not account.whole:
        raise CheckpointError(f"{file}: {account.refusal()}")
    network.load_state_dict(weights)
    return network.eval()


@torch.no_grad()
def start_backbone(encoder: Encoder4Editing, file: str) -> None:
    """The encoder's backbone from ArcFace's. Raises RecipeError and CheckpointError."""
    if not Path(file).is_file():
        raise RecipeError(f"encoder.backbone: {file!r} is no file; name model_ir_se50.pth, or leave it empty")
    wanted = {
        name: value
        for name, value in encoder.state_dict().items()
        if name.startswith(("input_layer.", "body."))
    }
    account = Account("official", "backbone")
    stored = {name: value for name, value in read_state_dict(Path(file)).items() if name in wanted}
    weights = account.fit(stored, wanted)
    if not account.whole:
        raise CheckpointError(f"{file}: {account.refusal()}")
    encoder.load_state_dict(weights, strict=False)
