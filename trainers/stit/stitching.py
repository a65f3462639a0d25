"""Stitching: an edited crop is brought to agree with its frame along the border that it is pasted by.

The paper tunes a copy of the generator for every frame (`stitch`), which takes minutes a frame. For live work the same
border loss is paid once, over the frames of the enrolment and edits drawn at random (`amortised_terms`), and no frame
is tuned after that: an addition of ours.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainers.stit.directions import Direction, Offset, offset_of, synthesised
from trainers.stit.generator import Generator
from trainers.stit.masks import CONTENT, Norm, StitchingMasks, masked_error
from trainers.stit.pivotal import Terms
from trainers.typed import at_least, within


@dataclass(frozen=True)
class Stitching:
    """One frame's tuning: the official figures.

    threshold: the tuning ends before a step where the border loss is below it; the release names .005 for plain
    backgrounds and .002 for hard ones, 0 = never.
    """

    steps: int = 100
    learning_rate: float = 3e-4
    content: float = CONTENT
    norm: Norm = "l2"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        at_least(self, 0, "steps", "content", "threshold")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}, expected more than 0")


@dataclass(frozen=True)
class Stitched:
    """generator: tuned to one frame. image: its picture, (1, 3, S, S). before, after: border loss. steps: made. course:
    border loss after 0, 1, .. steps."""

    generator: Generator
    image: Tensor
    before: float
    after: float
    steps: int
    course: tuple[float, ...]


def stitch(
    generator: Generator,
    ws: Tensor,
    crop: Tensor,
    edited: Tensor,
    masks: StitchingMasks,
    options: Stitching,
    offset: Offset | None = None,
) -> Stitched:
    """Tunes a copy of the generator to one frame: border(G(w), crop) + content * content(G(w), edited).

    ws: the edited code (1, num_ws, w_dim), or the frame's own where `offset` says how it is edited. crop: the frame's
    (1, 3, S, S). edited: the untuned generator's picture of it. masks: (1, 1, S, S). The generator itself is left as it
    is, so every frame starts from the same weights.
    """
    own = copy.deepcopy(generator).train()
    optimiser = torch.optim.Adam(own.parameters(), lr=options.learning_rate)
    course: list[float] = []
    for _ in range(options.steps):
        image = synthesised(own.synthesis, ws, offset)
        border = masked_error(image, crop, masks.border, options.norm)
        course.append(float(border.detach()))
        if course[-1] < options.threshold:
            break
        loss = border + options.content * masked_error(image, edited, masks.content, options.norm)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    else:
        with torch.no_grad():
            image = synthesised(own.synthesis, ws, offset)
            course.append(float(masked_error(image, crop, masks.border, options.norm)))
    return Stitched(own, image.detach(), course[0], course[-1], len(course) - 1, tuple(course))


# --- amortised -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reach:
    """One direction of W that the live page will offer: its name, and the strengths that are drawn while stitching."""

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"edit {self.name!r}: {self.low} .. {self.high}, expected the lower one first")


@dataclass(frozen=True)
class Amortised:
    """Passes over the enrolment frames, after the pivotal ones, in which the border counts as well.

    steps: how many steps are made in place of whole passes, on frames spread over the clip; 0 = passes. falling: share
    of the steps, the last ones, over which the rate falls to nothing. border: weight of border + content loss beside
    the pivotal terms. several: share of the steps in which two directions are drawn in place of one.
    """

    passes: int = 20
    steps: int = 0
    learning_rate: float = 3e-4
    falling: float = 0.0
    border: float = 10.0
    content: float = CONTENT
    norm: Norm = "l2"
    several: float = 0.25

    def __post_init__(self) -> None:
        within(self, 0, 1, "falling")
        at_least(self, 0, "passes", "steps", "border", "content", "several")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}, expected more than 0")


def drawn_edit(
    reaches: Sequence[Reach],
    directions: Mapping[str, Direction],
    numbers: np.random.Generator,
    several: float,
) -> Offset | None:
    """What edits in the reach of what will be offered add; None where nothing is offered: the picture as it is then."""
    if not reaches:
        return None
    count = min(len(reaches), 2 if numbers.random() < several else 1)
    chosen = [reaches[index] for index in numbers.choice(len(reaches), count, replace=False)]
    drawn = {one.name: float(numbers.uniform(one.low, one.high)) for one in chosen}
    return offset_of(directions, drawn)


def amortised_terms(
    image: Tensor, crop: Tensor, edited: Tensor, masks: StitchingMasks, options: Amortised
) -> Terms:
    """The weighted losses of one frame's edited picture. edited: of the generator before this stage."""
    border = masked_error(image, crop, masks.border, options.norm)
    content = masked_error(image, edited, masks.content, options.norm)
    return {"border": options.border * border, "content": options.border * options.content * content}
