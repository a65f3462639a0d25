"""The bundle that plays a person: the tuned networks, and a graph of constants that holds their pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from engine.bundle import PERSON
from engine.errors import BundleError
from engine.generators.liquid_warping.own import ACCEPTED, PICTURES, SHOWN, port_name
from engine.types import U8
from export.checkpoints import Loaded
from export.liquid_warping import plan
from export.plan import GraphPlan, Plan, numbers

_WHITE = 255.0


class Shown(nn.Module):
    """What is given times each picture: a graph computes something of what it is given."""

    def __init__(self, pictures: Sequence[U8]) -> None:
        super().__init__()
        self.names = [port_name(number) for number in range(len(pictures))]
        for name, picture in zip(self.names, pictures):
            self.register_buffer(name, torch.from_numpy(picture).float()[None])

    def forward(self, shown: Tensor) -> tuple[Tensor, ...]:
        return tuple(shown[:, :, None, None] * self.get_buffer(name) for name in self.names)


def person_graph(pictures: Sequence[U8]) -> GraphPlan:
    """pictures: uint8 (H, W, 3), the one that moves first."""
    outputs = tuple(
        numbers(port_name(number), (1, *picture.shape), (0.0, _WHITE))
        for number, picture in enumerate(pictures)
    )
    return GraphPlan(PERSON, Shown(pictures), (numbers(SHOWN, (1, 1), (0.0, 1.0)),), outputs, halved=True)


def person_plan(
    loaded: Loaded,
    pictures: Sequence[U8],
    names: Sequence[str],
    accepted: Sequence[str],
    facts: Mapping[str, Any],
) -> Plan:
    """The bundle of a tuned checkpoint with its person. facts: more that it states."""
    found = plan(loaded)
    stated = {PICTURES: list(names), ACCEPTED: list(accepted), **facts}
    if clash := set(found.parameters.facts) & set(stated):
        raise BundleError(f"the bundle's facts {sorted(clash)} are stated twice")
    parameters = dataclasses.replace(found.parameters, facts={**found.parameters.facts, **stated})
    return dataclasses.replace(found, graphs=(*found.graphs, person_graph(pictures)), parameters=parameters)
