"""The person that a bundle was tuned to: their pictures, which the bundle holds as a graph of constants.

The graph `person` gives shown * picture for every picture, so that they are found with shown = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from engine.bundle import PERSON, Bundle
from engine.errors import ManifestError
from engine.generators.graph_runner import run_graph
from engine.media.wording import one_line
from engine.several import ACCEPTANCE, MOST_SOURCES
from engine.types import U8

SHOWN: Final = "shown"
LONGEST_SIDE: Final = 1280
"""In pixels, of a picture."""
_LONGEST_NAME: Final = 120
PICTURES, ACCEPTED = "pictures", "accepted"
"""Facts: the pictures' names, and the acceptances under which they were taken for one person's."""


@dataclass(frozen=True, slots=True, eq=False)
class OwnPerson:
    """pictures: uint8 (H, W, 3), RGB, the one that moves first. accept: what the enrolment was given."""

    pictures: tuple[U8, ...]
    names: tuple[str, ...]
    accept: frozenset[str]


def port_name(number: int) -> str:
    """Of the graph's output."""
    return f"picture_{number}"


def read_person(bundle: Bundle, backend: str = "auto") -> OwnPerson:
    """The person of a bundle that holds one. Raises BundleError or BackendError."""
    info = bundle.info(PERSON)
    count = len(info.outputs)
    shapes = [info.output(port_name(number)).shape for number in range(count)]
    shown = info.input(SHOWN)
    if len(info.inputs) != 1 or shown.shape != (1, 1) or shown.dtype != "float32" or count > MOST_SOURCES:
        raise ManifestError(
            f"bundle {bundle.name}: its person has {len(info.inputs)} inputs and {count} pictures, expected the input "
            f"{SHOWN!r} and up to {MOST_SOURCES}; enrol it again"
        )
    for number, shape in enumerate(shapes):
        _check(bundle, info.output(port_name(number)).dtype, shape)
    graph = bundle.graph(PERSON, backend, 1)
    try:
        found = run_graph(graph, {SHOWN: np.ones((1, 1), np.float32)}, keep=True)
    finally:
        graph.close()
    pictures = [
        np.rint(np.clip(found[port_name(number)][0], 0.0, 255.0)).astype(np.uint8) for number in range(count)
    ]
    facts = bundle.manifest.parameters.facts
    accepted = facts.get(ACCEPTED)
    accept = frozenset({ACCEPTANCE} & set(accepted if isinstance(accepted, list) else ()))
    return OwnPerson(tuple(pictures), _names(facts.get(PICTURES), count), accept)


def _check(bundle: Bundle, dtype: str, shape: Sequence[int]) -> None:
    if dtype != "float32" or len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or max(shape) > LONGEST_SIDE:
        raise ManifestError(
            f"bundle {bundle.name}: a picture of its person is {tuple(shape)} {dtype}, expected (1, height, width, 3) "
            f"float32 with sides up to {LONGEST_SIDE}; enrol it again"
        )


def _names(stated: object, count: int) -> tuple[str, ...]:
    """They are shown and written down: one line each, whoever made the bundle."""
    names = [one_line(str(name))[:_LONGEST_NAME] for name in stated] if isinstance(stated, list) else []
    return tuple(names[number] if number < len(names) else f"picture {number + 1}" for number in range(count))
