"""The graph that moves a code: the edits that a person's bundle offers, and the puppet's exchange of persons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from export.plan import GraphPlan, numbers
from trainers.stit.edits import F64
from trainers.stit.stitching import Reach


class Moving(nn.Module):
    """ws + puppet * (person - neutral) + sum of strength / 2 * direction.

    With puppet 0 the frame's own code is edited, as the paper does. With puppet 1 the enrolled person shows what the
    driver changes against a neutral code of the driver: an extension of ours, the paper has no driver.
    """

    def __init__(self, person: Tensor, directions: F64) -> None:
        super().__init__()
        self.register_buffer("person", person)
        self.register_buffer("directions", torch.from_numpy(directions).float())

    def forward(self, ws: Tensor, strengths: Tensor, neutral: Tensor, puppet: Tensor) -> Tensor:
        person, directions = self.get_buffer("person"), self.get_buffer("directions")
        offset = (0.5 * strengths) @ directions
        moved: Tensor = ws + puppet[:, :, None] * (person - neutral) + offset[:, None]
        return moved


def moving(person: Tensor, reaches: Sequence[Reach], directions: Mapping[str, F64]) -> GraphPlan:
    """The graph `moving`. person: the mean code (1, rows, w_dim). Without an edit one strength, of no effect."""
    rows, width = person.shape[1:]
    stacked = [directions[reach.name] for reach in reaches] or [np.zeros(width)]
    codes = (1, rows, width)
    most = max((max(abs(reach.low), abs(reach.high)) for reach in reaches), default=1.0) or 1.0
    return GraphPlan(
        "moving",
        Moving(person, np.stack(stacked)),
        (
            numbers("ws", codes, (-1.5, 1.5)),
            numbers("strengths", (1, len(stacked)), (-most, most)),
            numbers("neutral", codes, (-1.5, 1.5)),
            numbers("puppet", (1, 1), (0.0, 1.0)),
        ),
        (numbers("moved", codes),),
    )
