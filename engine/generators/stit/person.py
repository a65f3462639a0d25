"""What an enrolled bundle says of its person: the edits that it offers, their reach, and how its crops were cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.bundle import Bundle, Parameters
from engine.errors import ManifestError
from engine.generators.ports import check_ports
from engine.parsing.classes import TABLES, ClassTable
from engine.types import F32, MOST_STRENGTH

FINEST = "synthesis"
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """names: of the edits, in the order of the port `strengths`. low, high: float32 (n,), their reach. scale: of the
    FFHQ square. outputs: sides of the pictures, the finest first. table: of the parser's classes, None without one.
    encoder, parser: sides of what these networks see; parser is 0 without one. strengths: entries of the port."""

    names: tuple[str, ...]
    low: F32
    high: F32
    scale: float
    outputs: tuple[int, ...]
    table: ClassTable | None
    encoder: int
    parser: int
    strengths: int

    def asked(self, directions: Mapping[str, float]) -> F32:
        """The port `strengths`, float32 (1, n): what was asked for, within its reach; a name that the bundle does not
        have asks for nothing."""
        wanted = np.zeros((1, self.strengths), np.float32)
        for column, name in enumerate(self.names):
            wanted[0, column] = min(max(directions.get(name, 0.0), self.low[column]), self.high[column])
        return wanted

    def reaches(self) -> tuple[tuple[str, float, float], ...]:
        """Each edit with its lowest and highest strength."""
        return tuple(zip(self.names, self.low.tolist(), self.high.tolist()))

    def share(self, strengths: F32) -> float:
        """The largest of them as a share of what can be asked for of it to that side, 0..1."""
        count = len(self.names)
        ends = np.where(strengths[0, :count] < 0, -self.low, self.high)
        return float((np.abs(strengths[0, :count]) / np.maximum(ends, 1e-6)).max(initial=0.0))

    def output(self, wanted: int) -> int:
        """The side that is synthesised: the smallest that is no smaller than wanted, the finest for 0."""
        fitting = [size for size in self.outputs if size >= wanted] if wanted > 0 else []
        return min(fitting, default=self.outputs[0])


def person_of(bundle: Bundle) -> Person:
    """Raises ManifestError where the bundle is of nobody, or where its facts and graphs do not fit each other."""
    parameters, graphs = bundle.manifest.parameters, bundle.manifest.graphs
    for graph in ("e4e", "moving", FINEST):
        if graph not in graphs:
            raise ManifestError(
                f"bundle {bundle.name}: it has no graph {graph!r}, so it is tuned to nobody; run: marotte enrol stit "
                "CLIP --weights CHECKPOINT --out BUNDLE"
            )
    names, low, high = _edits(bundle.name, parameters)
    strengths = bundle.info("moving").input("strengths").shape
    outputs = _outputs(bundle.name, parameters)
    parser = _side(bundle, "parsing", "image") if "parsing" in graphs else 0
    person = Person(
        names,
        low,
        high,
        _scale(bundle.name, parameters),
        outputs,
        _table(bundle.name, parameters) if parser else None,
        _side(bundle, "e4e", "image"),
        parser,
        strengths[1] if len(strengths) == 2 else 0,
    )
    if max(1, len(names)) != person.strengths:
        raise ManifestError(
            f"bundle {bundle.name}: {len(names)} edits and a port 'strengths' of {strengths}; enrol again"
        )
    _check(bundle, person)
    return person


def synthesis_of(person: Person, size: int) -> str:
    """The graph that makes pictures of this side."""
    return FINEST if size == person.outputs[0] else f"{FINEST}_{size}"


def _check(bundle: Bundle, person: Person) -> None:
    codes = bundle.info("e4e").output("ws").shape
    seen = (1, person.encoder, person.encoder, 3)
    check_ports(bundle, "e4e", {"image": seen}, {}, {"ws": codes})
    inputs = {"ws": codes, "strengths": (1, person.strengths), "neutral": codes, "puppet": (1, 1)}
    check_ports(bundle, "moving", {}, inputs, {"moved": codes})
    for size in person.outputs:
        check_ports(bundle, synthesis_of(person, size), {}, {"ws": codes}, {"image": (1, 3, size, size)})
    if person.table is not None:
        side, count = person.parser, len(person.table)
        logits = {"logits": (1, count, side, side)}
        check_ports(bundle, "parsing", {"image": (1, side, side, 3)}, {}, logits)


def _edits(name: str, parameters: Parameters) -> tuple[tuple[str, ...], F32, F32]:
    found = parameters.facts.get("edits", [])
    ends = [parameters.facts.get(f"edits_{end}", []) for end in ("low", "high")]
    texts = isinstance(found, list) and all(_is_name(one) for one in found)
    if not texts or not all(_numbers(one, len(found)) for one in ends) or len(set(found)) < len(found):
        raise ManifestError(
            f"bundle {name}: edits, edits_low and edits_high are {found!r}, {ends[0]!r} and {ends[1]!r}, expected "
            "names and as many numbers; enrol again"
        )
    low, high = (np.array(one, np.float32) for one in ends)
    if not ((low <= 0.0) & (high >= 0.0)).all():
        raise ManifestError(
            f"bundle {name}: an edit's reach has to hold 0, which changes nothing; enrol again"
        )
    return tuple(found), low, high


def _is_name(found: Any) -> bool:
    """One that a page can show and ask for."""
    return isinstance(found, str) and 0 < len(found) <= _LONGEST_NAME and found.isprintable()


def _numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(not isinstance(one, (bool, str)) and abs(one) <= MOST_STRENGTH for one in values)
    )


def _outputs(name: str, parameters: Parameters) -> tuple[int, ...]:
    found = parameters.facts.get("outputs", [parameters.crop.size])
    size = parameters.crop.size
    whole = isinstance(found, list) and all(isinstance(one, int) and 0 < one <= size for one in found)
    if not whole or list(found) != sorted(set(found), reverse=True) or found[:1] != [size]:
        raise ManifestError(
            f"bundle {name}: outputs are {found!r}, expected falling sides that begin with the crop's {size}; "
            "export it again"
        )
    return tuple(found)


def _scale(name: str, parameters: Parameters) -> float:
    scale = parameters.facts.get("alignment_scale", 1.0)
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0.2 <= scale <= 5.0:
        raise ManifestError(f"bundle {name}: alignment_scale is {scale!r}, expected .2 .. 5; enrol again")
    return float(scale)


def _table(name: str, parameters: Parameters) -> ClassTable:
    found = parameters.facts.get("classes")
    if not isinstance(found, str) or found not in TABLES:
        raise ManifestError(
            f"bundle {name}: classes are {found!r}, expected one of {', '.join(TABLES)}; export it again"
        )
    return TABLES[found]


def _side(bundle: Bundle, graph: str, port: str) -> int:
    shape = bundle.info(graph).input(port).shape
    return shape[1] if len(shape) == 4 else 0
