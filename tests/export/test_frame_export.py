"""An exported bundle has its frame graphs, unless they were not wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import marotte
from engine.bundle import FRAME, open_bundle
from engine.bundles import SHIPPED, names
from engine.errors import BundleError
from engine.generators import frame_opening, open_generator
from engine.generators.frame_runner import FrameGenerator
from export import pack as packing
from export.checkpoints import load
from export.frame import add, parity
from export.frame.parity import Apart, FrameReport
from export.frame.writers import WITHOUT, WRITERS
from export.pack import pack
from export.systems import EXPORTERS, plan_of
from tests.export.test_systems import official_checkpoint
from tests.export.tiny_plan import LABEL

MOST_SHIPPED = 20_000_000
"""Bytes of all shipped bundles together: everybody who installs the program has them."""


def framed(folder: Path) -> list[str]:
    return [name for name in open_bundle(folder).manifest.graphs if name.startswith(FRAME)]


def test_every_system_has_frame_graphs_or_says_why_not() -> None:
    """Nobody is left out of the tests by system, and what is written can be run."""
    assert EXPORTERS.keys() <= WRITERS.keys() | WITHOUT.keys()
    assert not WRITERS.keys() & WITHOUT.keys()
    assert WRITERS.keys() == frame_opening._SYSTEMS.keys()


@pytest.mark.full
@pytest.mark.parametrize("system", sorted(WRITERS))
def test_export_adds_frame_graphs_and_compares_them(
    system: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unasked, every mode against the CPU path on every runtime; they take batches, and the bundle runs by them."""
    out = tmp_path / "bundle"
    assert marotte.main(["export", str(request.getfixturevalue(system)()), "--out", str(out)]) == 0
    assert "frame graph, edit" in capsys.readouterr().out
    bundle = open_bundle(out)
    found = bundle.manifest.parity["frames"]["runtimes"]
    assert set(found) == {"openvino", "onnxruntime"}
    for one in found.values():
        assert all(case["within_one"] >= parity.GATE for case in one["cases"].values())
    assert FRAME in framed(out)
    assert set(framed(out)) <= bundle.batched
    generator, runner = open_generator(out, backend="onnxruntime", frames=True, batches=(1, 2))
    runner.close()
    assert isinstance(generator, FrameGenerator)
    assert runner.batches == (1, 2)  # type: ignore[attr-defined]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that are neither traced nor compared: a shipped bundle's stand for them."""
    kept = open_bundle(SHIPPED / "ganimation_small")
    monkeypatch.setattr(packing, "write_graph", lambda graph, half: kept.data(graph.name))
    monkeypatch.setattr(packing, "measure", lambda *given, **options: _Report())


class _Report:
    def table(self) -> dict[str, Any]:
        return dict(open_bundle(SHIPPED / "ganimation_small").manifest.parity)

    def lines(self) -> list[str]:
        return []


def shipped_plan(made: Any) -> Any:
    """A plan whose ports are those of the shipped bundle."""
    manifest = open_bundle(SHIPPED / "ganimation_small").manifest
    info = manifest.graphs["generator"]
    graph = replace(made.graphs[0], inputs=info.inputs, outputs=info.outputs)
    return replace(made, graphs=(graph,), parameters=manifest.parameters)


@pytest.mark.usefixtures("quick")
def test_frame_graphs_are_left_out_where_they_are_not_wanted(
    ganimation: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the option, and for a system that has no writer; else they are there, unasked, and take batches."""
    made = shipped_plan(plan_of(load(ganimation())))
    monkeypatch.setattr("export.systems.plan_of", lambda loaded: made)
    out = tmp_path / "bundle"
    checkpoint = str(tmp_path / "checkpoint")
    assert marotte.main(["export", checkpoint, "--out", str(out), "--no-frame-graph"]) == 0
    assert framed(out) == []
    monkeypatch.setattr(
        add, "measure_frames", lambda bundle: FrameReport(1.0, {"one": ("1", {"edit": Apart(1.0, 0, 0.0)})})
    )
    assert marotte.main(["export", checkpoint, "--out", str(out)]) == 0
    assert framed(out) == ["frame"]
    assert open_bundle(out).batched == {"generator", "frame"}
    monkeypatch.setattr(packing, "WRITERS", {})
    assert marotte.main(["export", checkpoint, "--out", str(out)]) == 0
    assert framed(out) == []


@pytest.mark.usefixtures("quick")
def test_a_frame_graph_that_differs_packs_nothing_and_names_the_option(
    ganimation: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be trusted is not written by default; the one who exports decides."""

    def differs(bundle: Any) -> FrameReport:
        raise BundleError("frame graph, edit: 3 % of the pixels")

    monkeypatch.setattr(add, "measure_frames", differs)
    with pytest.raises(BundleError, match=r"3 % of the pixels; --no-frame-graph leaves"):
        pack(shipped_plan(plan_of(load(ganimation()))), LABEL, tmp_path / "bundle", frames=True)
    assert not (tmp_path / "bundle").exists()


def test_shipped_bundles_stay_small() -> None:
    """They are shipped without frame graphs, which `marotte frame` adds where there is a GPU."""
    bundles = [open_bundle(SHIPPED / name) for name in names()]
    assert not [bundle.name for bundle in bundles if framed(bundle.folder)]
    graphs = [info for bundle in bundles for info in bundle.manifest.graphs.values()]
    assert sum(info.bytes for info in graphs) <= MOST_SHIPPED


@pytest.mark.full
@pytest.mark.parametrize("system", sorted(WRITERS))
def test_the_official_width_has_frame_graphs_too(system: str, parity_root: Path, tmp_path: Path) -> None:
    """Weights by rule, at the published size: every picture as the CPU path has it, on every runtime."""
    loaded = official_checkpoint(system, parity_root, tmp_path)
    packed = pack(plan_of(loaded), LABEL, tmp_path / "bundle", half=True, frames=True)
    assert packed.frames is not None
    assert set(packed.frames.runtimes) == {"openvino", "onnxruntime"}
    assert framed(tmp_path / "bundle")
