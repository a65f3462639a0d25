"""The graph that moves a code: the edits that a person's bundle offers, and the puppet's exchange of persons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import ConfigError
from export.plan import GraphPlan, numbers
from trainers.stit.directions import Direction, StyleDirection
from trainers.stit.edits import F64
from trainers.stit.stitching import Reach


class Moving(nn.Module):
    """ws + puppet * (person - neutral) + sum of strength / 2 * direction.

    With puppet 0 the frame's own code is edited, as the paper does. With puppet 1 the enrolled person shows what the
    driver changes against a neutral code of the driver: an extension of ours, the paper has no driver.

    directions: (n, w_dim), rows of zeros for edits in the styles. marks: (n, w_dim), a 1 where such an edit's strength
    stands in the spare row that codes have then, behind those of the person; None where there are none. frozen: the
    first row that stays the person's mean; None where all move.
    """

    def __init__(
        self, person: Tensor, directions: F64, marks: F64 | None = None, frozen: int | None = None
    ) -> None:
        super().__init__()
        rows = person.shape[1]
        spare = 0 if marks is None else 1
        own = torch.ones(1, rows + spare, 1)
        own[:, rows:] = 0
        free = torch.ones_like(own)
        free[:, rows if frozen is None else frozen : rows] = 0
        self.frozen, self.styled = frozen is not None, spare > 0
        self.register_buffer("person", torch.cat([person, *[torch.zeros_like(person[:, :1])] * spare], 1))
        self.register_buffer("directions", torch.from_numpy(directions).float())
        self.register_buffer("marks", torch.zeros(0) if marks is None else torch.from_numpy(marks).float())
        self.register_buffer("own", own)
        self.register_buffer("free", free)

    def forward(self, ws: Tensor, strengths: Tensor, neutral: Tensor, puppet: Tensor) -> Tensor:
        person, directions = self.get_buffer("person"), self.get_buffer("directions")
        offset = ((0.5 * strengths) @ directions)[:, None]
        moved: Tensor = ws + puppet[:, :, None] * (person - neutral)
        if self.frozen:
            free = self.get_buffer("free")
            moved = moved * free + person * (1.0 - free)
        if not self.styled:
            return moved + offset
        own = self.get_buffer("own")
        return moved + offset * own + (strengths @ self.get_buffer("marks"))[:, None] * (1.0 - own)


def moving(
    person: Tensor,
    reaches: Sequence[Reach],
    directions: Mapping[str, Direction],
    frozen: int | None = None,
) -> GraphPlan:
    """The graph `moving`. person: the mean code (1, rows, w_dim). Without an edit one strength, of no effect."""
    rows, width = person.shape[1:]
    chosen = [directions[reach.name] for reach in reaches]
    plain = [np.zeros(width) if isinstance(one, StyleDirection) else one for one in chosen]
    marks = _marks(chosen, width)
    codes = (1, rows + (0 if marks is None else 1), width)
    most = max((max(abs(reach.low), abs(reach.high)) for reach in reaches), default=1.0) or 1.0
    return GraphPlan(
        "moving",
        Moving(person, np.stack(plain or [np.zeros(width)]), marks, frozen),
        (
            numbers("ws", codes, (-1.5, 1.5)),
            numbers("strengths", (1, max(1, len(chosen))), (-most, most)),
            numbers("neutral", codes, (-1.5, 1.5)),
            numbers("puppet", (1, 1), (0.0, 1.0)),
        ),
        (numbers("moved", codes),),
    )


def style_directions(reaches: Sequence[Reach], directions: Mapping[str, Direction]) -> Tensor | None:
    """Those of the edits that go to the styles, (n, style channels), in the order of their strengths in the spare row
    of a code; None where there are none."""
    chosen = [directions[reach.name] for reach in reaches]
    found = [one.values for one in chosen if isinstance(one, StyleDirection)]
    return torch.from_numpy(np.stack(found)).float() if found else None


def _marks(chosen: Sequence[Direction], width: int) -> F64 | None:
    styled = [index for index, one in enumerate(chosen) if isinstance(one, StyleDirection)]
    if not styled:
        return None
    if len(styled) > width:
        raise ConfigError(f"edit: {len(styled)} edits of styles, expected at most {width} in one bundle")
    marks = np.zeros((len(chosen), width))
    marks[styled, range(len(styled))] = 1.0
    return marks
