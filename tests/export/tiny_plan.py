"""A plan whose graph is written in a second: one convolution and a norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.bundle import CropRule, Parameters
from engine.types import Mode
from export.pack import Label
from export.plan import GraphPlan, Plan, numbers, picture, scaled

SIDE = 16
LABEL = Label(licence="CC0-1.0", weights="a test", data="none", consent="no face was used")


class Tiny(nn.Module):
    """relu(norm(conv(picture))) + shift. `dead` is never called."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.convolution = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.InstanceNorm2d(8, affine=True)
        self.dead = nn.Conv2d(8, 64, 3)

    def forward(self, image: Tensor, shift: Tensor) -> Tensor:
        found: Tensor = torch.relu(self.norm(self.convolution(scaled(image)))) + shift[:, :, None, None]
        return found


def graph(module: nn.Module | None = None) -> GraphPlan:
    """Ports `image` and `shift` to `made`."""
    return GraphPlan(
        "tiny",
        (Tiny() if module is None else module).eval(),
        (picture("image", SIDE), numbers("shift", (1, 8), (0.0, 1.0))),
        (numbers("made", (1, 8, SIDE, SIDE)),),
    )


def plan(module: nn.Module | None = None) -> Plan:
    """A bundle of that graph alone."""
    parameters = Parameters(CropRule("face", SIDE), (), None, None, frozenset({Mode.EDIT}), {})
    return Plan("ganimation", "tiny", (graph(module),), parameters)
