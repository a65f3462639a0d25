"""An enrolled person's weights as float16."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import marotte
from engine.bundle import MANIFEST
from tests.export.test_enrol import _plays, clip, marks  # noqa: F401 - fixtures

GRAPHS = ("e4e", "moving", "synthesis")


@pytest.mark.full
def test_an_enrolment_is_packed_as_halves(
    clip: Path,  # noqa: F811
    marks: Path,  # noqa: F811
    stit: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """--fp16 after a run without it tunes nothing again: the same person and facts, every weight of two axes and more a
    float16 that differs by rounding alone, compared with torch within its own gate; and it plays live."""
    weights = stit(widths=[8, 8, 8, 8])
    (tmp_path / "d").mkdir()
    np.save(tmp_path / "d" / "smile.npy", np.full((18, 8), 0.3))
    work, whole, half = tmp_path / "work", tmp_path / "whole", tmp_path / "half"
    line = [
        *("enrol", "stit", str(clip), "--weights", str(weights), "--work", str(work), "--device", "cpu"),
        *("--landmarks", str(marks), "--directions", str(tmp_path / "d"), "--edit", "smile=-2:2"),
        *("--set", "pivotal.passes=2", "--set", "pivotal.perceptual=gradient", "--set", "stitching.passes=1"),
    ]
    assert marotte.main([*line, "--out", str(whole)]) == 0
    tuned = {path: path.stat().st_mtime_ns for path in work.rglob("0*.png")}
    assert marotte.main([*line, "--out", str(half), "--fp16"]) == 0
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in tuned.items())
    exact, rounded = (json.loads((one / MANIFEST).read_text()) for one in (whole, half))
    assert exact["parameters"] == rounded["parameters"]
    assert (exact["parity"]["weights"], rounded["parity"]["weights"]) == ("float32", "float16")
    assert set(rounded["parity"]["runtimes"]) == {"onnxruntime", "openvino"}
    assert max(port["max"] for ports in rounded["parity"]["rounding"].values() for port in ports.values()) > 0
    for name in GRAPHS:
        kept, stored = (_weights(one / f"{name}.onnx") for one in (whole, half))
        halves = {key for key, value in stored.items() if value.dtype == np.float16}
        assert name == "moving" or halves
        assert not any(value.dtype == np.float16 for value in kept.values())
        for key in halves & kept.keys():
            np.testing.assert_array_equal(stored[key], kept[key].astype(np.float16))
    assert (half / "synthesis.onnx").stat().st_size < (whole / "synthesis.onnx").stat().st_size
    _plays(half)


def _weights(file: Path) -> dict[str, np.ndarray]:
    held = onnx.load(file).graph.initializer
    kinds = (TensorProto.FLOAT, TensorProto.FLOAT16)
    return {one.name: onnx.numpy_helper.to_array(one) for one in held if one.data_type in kinds}
