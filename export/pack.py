"""Writing a bundle: everything in memory first, then a folder beside its place, checked and renamed when whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.bundle import FORMAT, MANIFEST, RECORD, Bundle, Parameters, PortInfo, open_bundle, parse_manifest
from engine.errors import BundleError
from export.frame.add import complete
from export.frame.parity import FrameReport
from export.frame.writers import WRITERS
from export.onnx import rounded_plan, write_graph
from export.parity import Report, measure
from export.place import check_bundle_place, placed, write
from export.plan import Plan

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Label:
    """What only a person can state. title: None takes the plan's own. licence: SPDX, of the weights. acceptance: the
    name that has to be accepted before it loads; weights that are not for commercial use have one. record: the file of
    a consent record, of a bundle that was tuned to a person."""

    licence: str
    weights: str
    data: str
    consent: str
    title: str | None = None
    commercial: bool = True
    acceptance: str | None = None
    record: bytes | None = None

    @property
    def stated_record(self) -> dict[str, str]:
        """What a manifest states of it."""
        return {} if self.record is None else {"record": hashlib.sha256(self.record).hexdigest()}


@dataclass(frozen=True, slots=True)
class Packed:
    """What was written. frames: of its frame graphs, None where there are none."""

    bundle: Bundle
    report: Report
    frames: FrameReport | None = None


def pack(
    plan: Plan,
    label: Label,
    out: Path,
    *,
    half: bool = False,
    frames: bool = False,
    gate: float | None = None,
    tell: Tell | None = None,
) -> Packed:
    """Writes the graphs, holds them against torch, and puts the bundle in its place, whole or not at all.

    out: its folder; a bundle that stands there is replaced when the new one is whole, and anything else is refused.
    half: weights as float16, compared with torch on the same rounded weights. frames: with graphs of whole frames
    around them, where the system has a writer of such. tell: is told of each step. Raises BundleError where a graph
    cannot be written or differs by more than the gate, or the folder cannot be written.
    """
    tell = tell or _silent
    check_bundle_place(out)
    exact = plan.graphs
    graphs = tuple(map(rounded_plan, exact)) if half else exact
    files: dict[str, bytes] = {}
    for graph in graphs:
        tell(f"writing {graph.name}")
        files[graph.name] = write_graph(graph, half=half)
    tell("comparing with torch")
    report = measure(graphs, files, gate=plan.gate if gate is None else gate, exact=exact if half else None)
    manifest = manifest_text(plan, label, files, report)
    accepted = frozenset() if label.acceptance is None else frozenset({label.acceptance})
    with placed(out) as folder:
        for name, data in files.items():
            write(folder / f"{name}.onnx", data)
        write(folder / MANIFEST, manifest.encode())
        if label.record is not None:
            write(folder / RECORD, label.record)
        framed = _framed(folder, accepted, tell) if frames and plan.system in WRITERS else None
        bundle = open_bundle(folder, accepted)
    return Packed(dataclasses.replace(bundle, folder=out), report, framed)


def _framed(folder: Path, accepted: frozenset[str], tell: Tell) -> FrameReport:
    try:
        return complete(folder, accept=accepted, tell=tell)
    except BundleError as error:
        raise BundleError(f"{error}; --no-frame-graph leaves the graphs of whole frames out") from error


def manifest_text(plan: Plan, label: Label, files: Mapping[str, bytes], report: Report) -> str:
    """The manifest's JSON, checked as a reader checks it. Raises ManifestError for a label that does not fit."""
    table = {
        "format": FORMAT,
        "system": plan.system,
        "title": label.title or plan.title,
        "licence": label.licence,
        "commercial": label.commercial,
        "acceptance": label.acceptance,
        "origin": {"weights": label.weights, "data": label.data},
        "consent": label.consent,
        **label.stated_record,
        "graphs": {
            graph.name: {
                "file": f"{graph.name}.onnx",
                "sha256": hashlib.sha256(files[graph.name]).hexdigest(),
                "bytes": len(files[graph.name]),
                "inputs": [_port(port) for port in graph.inputs],
                "outputs": [_port(port) for port in graph.outputs],
            }
            for graph in plan.graphs
        },
        "parameters": _parameters(plan.parameters),
        "parity": report.table(),
    }
    text = json.dumps(table, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    parse_manifest(text)
    return text


def _port(port: PortInfo) -> dict[str, Any]:
    limits = None if port.range is None else list(port.range)
    return {"name": port.name, "shape": list(port.shape), "dtype": port.dtype, "range": limits}


def _parameters(parameters: Parameters) -> dict[str, Any]:
    extractor, limits = parameters.extractor, parameters.au_range
    return {
        "crop": dataclasses.asdict(parameters.crop),
        "aus": list(parameters.aus),
        "extractor": None if extractor is None else dataclasses.asdict(extractor),
        "au_range": None if limits is None else list(limits),
        "modes": sorted(mode.value for mode in parameters.modes),
        "facts": dict(parameters.facts),
    }


def _silent(step: str) -> None:
    """Nobody is told."""
