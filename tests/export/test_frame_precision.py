"""Frame graphs in a lower precision: their networks keep what they keep alone, and the picture stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engine.blend import paste
from engine.bundle import open_bundle, read_manifest
from engine.bundles import SHIPPED, names
from engine.generators import open_generator
from engine.plug import Generator, Runner
from engine.types import Mode
from export.checkpoints import load
from export.frame import add
from export.frame.parity import FrameReport, drives
from export.frame.writers import WRITERS, write_frames
from export.keep import Keep
from export.pack import pack
from export.precision import lower
from export.rounding import rounded
from export.systems import plan_of
from export.wiring import Wiring
from tests.engine.edit_scenes import donor_source
from tests.export.framed import framed_bundle
from tests.export.pictures import psnr
from tests.export.tiny_plan import LABEL

ENOUGH = 40.0  # dB
ENDS = Keep(frozenset({"ends"}))


FRAMED = [name for name in names() if read_manifest(SHIPPED / name).system in WRITERS]
"""Shipped bundles whose system has frame graphs."""


def bundle_of(system: str, request: pytest.FixtureRequest, place: Path) -> Path:
    """The system's shipped bundle; one of its fixture's narrow networks where none is shipped."""
    for name in FRAMED:
        if read_manifest(SHIPPED / name).system == system:
            return SHIPPED / name
    pack(plan_of(load(request.getfixturevalue(system)())), LABEL, place)
    return place


@pytest.mark.parametrize("name", FRAMED)
def test_a_network_keeps_its_ends_inside_a_frame_graph(name: str) -> None:
    """What its pictures are scaled by and what makes its answers is no less precise there than in its own graph."""
    bundle = open_bundle(SHIPPED / name)
    frame = Wiring(onnx.load_from_string(framed_bundle(bundle)["frame"]))
    kept = ENDS.nodes(frame)
    found = 0
    for graph in bundle.manifest.graphs:
        alone = {f"{graph}.{node}" for node in ENDS.nodes(Wiring(onnx.load_from_string(bundle.data(graph))))}
        there = {node for node in alone if node in frame.makers}
        assert there <= kept
        found += len(there)
    assert found >= 3


def test_the_flow_of_a_removal_is_in_float32() -> None:
    """It leads to a picture by way of the frame graph's own sampling, and no compiler takes it in another type."""
    frame = framed_bundle(open_bundle(SHIPPED / "geogan_small"))["frame_removal"]
    assert {"transfer.flow", "transfer.mask"} <= ENDS.nodes(Wiring(onnx.load_from_string(frame)))
    lowered = lower(onnx.load_from_string(frame), "fp16")
    types = {value.name: value.type.tensor_type.elem_type for value in lowered.graph.value_info}
    assert types["transfer.flow"] == types["transfer.mask"] == onnx.TensorProto.FLOAT


@pytest.mark.full
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("system", sorted(WRITERS))
def test_the_picture_of_a_frame_graph_stays(
    system: str,
    precision: Any,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the frame itself, where the face was painted; each way that the bundle has of painting it."""
    monkeypatch.setattr(add, "measure_frames", lambda bundle: FrameReport(0.0, {"none": ("0", {})}))
    plain = bundle_of(system, request, tmp_path / "plain")
    add.add_frames(plain, tmp_path / "exact")

    def write_lowered(*about: Any) -> Any:
        return {
            graph: replace(
                one,
                data=rounded(lower(onnx.load_from_string(one.data), precision)).SerializeToString(
                    deterministic=True
                ),
            )
            for graph, one in write_frames(*about).items()
        }

    monkeypatch.setattr(add, "write_frames", write_lowered)
    add.add_frames(plain, tmp_path / "lowered")
    pairs = [
        open_generator(tmp_path / folder, backend="onnxruntime", threads=1, frames=True)
        for folder in ("exact", "lowered")
    ]
    for removes in (False, True) if "remove" in pairs[0][0].heeds else (False,):
        expected, got = (_painted(*pair, removes) for pair in pairs)
        for one, other in zip(expected, got, strict=True):
            assert np.inf > psnr(one, other) >= ENOUGH
    for _, runner in pairs:
        runner.close()


def _painted(generator: Generator, runner: Runner, removes: bool) -> Iterator[np.ndarray]:
    """The first frames of a drive, the face's own square of each."""
    takes = generator.takes_source(Mode.EDIT) and not removes
    state = generator.begin(generator.prepare(donor_source() if takes else None, Mode.EDIT))
    for drive, _ in zip(drives(generator, removes), range(2)):
        (answer,) = runner.run([generator.inputs(state, drive)])
        assert not isinstance(answer, Exception)
        left, top, right, bottom = drive.face.box.astype(int).clip(0)
        yield paste(generator.patch(state, answer))[top:bottom, left:right].copy()
