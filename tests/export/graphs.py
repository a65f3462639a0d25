"""A system's narrow graphs, exported once for all processes of a run, and small graphs written as text."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest
from filelock import FileLock

from engine.free_batch import settled
from export.checkpoints import load
from export.onnx import write_graph
from export.systems import plan_of

_SETTLED: dict[str, dict[str, bytes]] = {}


def exported(system: str, request: pytest.FixtureRequest) -> Mapping[str, bytes]:
    """What `write_graph` gives for each graph of the fixture that is called like the system, by name: some seconds per
    graph, so the first test that asks writes them to where every worker of pytest-xdist finds them."""
    base: Path = request.getfixturevalue("tmp_path_factory").getbasetemp()
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"{system}.graphs"
    with FileLock(place.with_suffix(".lock")):  # who asks meanwhile waits, and leaves the cores to others
        if not place.exists():
            plan = plan_of(load(request.getfixturevalue(system)()))
            own = place.with_suffix(f".{os.getpid()}")
            with zipfile.ZipFile(own, "w") as archive:
                for graph in plan.graphs:
                    archive.writestr(graph.name, write_graph(graph))
            own.replace(place)
    with zipfile.ZipFile(place) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def narrow(system: str, request: pytest.FixtureRequest) -> Mapping[str, onnx.ModelProto]:
    """The same graphs as they are for one entry."""
    if system not in _SETTLED:
        _SETTLED[system] = {name: settled(data, 1) for name, data in exported(system, request).items()}
    return {name: onnx.load_from_string(data) for name, data in _SETTLED[system].items()}


def written(text: str, opset: int = 18) -> onnx.ModelProto:
    """A graph from ONNX's own notation, its signature in front: "(float[1,4] x) => (float[1,4] y) {...}"."""
    head = f'<ir_version: 8, opset_import: ["" : {opset}]> small '
    model = onnx.parser.parse_model(head + text)
    onnx.checker.check_model(model, full_check=True)
    return model
