"""MediaPipe's own operators against their definitions, and its models against the runtimes they were made
for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flatbuffers import flexbuffers

from engine import models as registry
from engine.backends import BACKENDS, open_graph
from tests.export.tflite_files import RNG, File, run, values

GOLDEN = Path(__file__).parent / "data" / "mediapipe_outputs.json"


def region_matrix(points: Any, options: dict[str, Any]) -> Any:
    """MediaPipe's transform of a region, by its steps: turn, box, turn back, scale, shift. float64 (3, 3)."""
    left, right = (points[options[key], :2] for key in ("left_rotation_idx", "right_rotation_idx"))
    angle = options["target_rotation_radians"] - np.arctan2(*(right - left)[::-1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = points[options["subset_idxs"], :2] @ turn.T
    low, high = turned.min(0), turned.max(0)
    size = np.array([options["output_width"], options["output_height"]])
    linear = turn.T @ np.diag((high - low) * [options["scale_x"], options["scale_y"]] / size)
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = turn.T @ (low + high) / 2 - linear @ size / 2
    return matrix


def sampled(picture: Any, matrix: Any, size: int) -> Any:
    """Bilinear samples of (H, W, C) at the transform of every pixel centre; 0 wherever that is outside."""
    result = np.zeros((size, size, picture.shape[2]))
    for row in range(size):
        for column in range(size):
            x, y = (matrix @ [column + 0.5, row + 0.5, 1])[:2] - 0.5
            if 0 <= x <= picture.shape[1] - 1 and 0 <= y <= picture.shape[0] - 1:
                left, top = int(x), int(y)
                block = np.pad(picture, [(0, 1), (0, 1), (0, 0)])[top : top + 2, left : left + 2]
                weights = np.outer([1 - y + top, y - top], [1 - x + left, x - left])
                result[row, column] = np.einsum("ij,ijc->c", weights, block)
    return result


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("spread", "target"), [(3.0, 0.0), (9.0, 0.7)])
def test_the_attention_operators(tmp_path: Path, backend: str, spread: float, target: float) -> None:
    """Region, sampling in it (also where it leaves the picture) and the way back equal their definitions."""
    features = values(1, 12, 10, 3)
    points = (RNG.normal(size=(1, 8, 3)) * spread + 5).astype(np.float32)
    options = {
        "left_rotation_idx": 7, "right_rotation_idx": 2, "subset_idxs": [0, 1, 3, 4, 5, 6], "scale_x": 1.5,
        "scale_y": 1.25, "output_width": 6, "output_height": 6, "target_rotation_radians": target,
    }  # fmt: skip
    factors = np.ones((1, 4, 4), np.float32)
    factors[0, :2, 3] = 4
    local = values(1, 5, 3)
    file = File()
    x, p = file.tensor("x", features.shape), file.tensor("p", points.shape)
    matrix, wide = file.tensor("matrix", (1, 4, 4)), file.tensor("wide", (1, 4, 4))
    y, moved = file.tensor("y", (1, 6, 6, 3)), file.tensor("moved", local.shape)
    custom = bytes(flexbuffers.Dumps(options))
    file.operator(32, [p], [matrix], custom=("Landmarks2TransformMatrix", 2, custom))
    file.operator(32, [x, matrix], [y], custom=("TransformTensorBilinear", 2, b""))
    file.operator(18, [matrix, file.constant(factors)], [wide])
    file.operator(32, [file.constant(local), wide], [moved], custom=("TransformLandmarks", 2, b""))
    got = run(tmp_path, file.write([x, p], [y, moved]), backend, x=features, p=points)
    expected = region_matrix(points[0].astype(np.float64), options)
    np.testing.assert_allclose(got["y"][0], sampled(features[0], expected, 6), atol=2e-4)
    expected[:2, 2] *= 4
    flat = local[0, :, :2] @ expected[:2, :2].T + expected[:2, 2]
    np.testing.assert_allclose(got["moved"][0, :, :2], flat, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(got["moved"][0, :, 2], local[0, :, 2])


def test_a_region_without_a_direction_stays_finite(tmp_path: Path) -> None:
    """Two rotation landmarks in one place give no angle; the result must not be NaN."""
    options = {
        "left_rotation_idx": 0, "right_rotation_idx": 0, "subset_idxs": [0, 1], "scale_x": 1.0,
        "scale_y": 1.0, "output_width": 2, "output_height": 2, "target_rotation_radians": 0.0,
    }  # fmt: skip
    file = File()
    p = file.tensor("p", (1, 2, 3))
    matrix, moved = file.tensor("matrix", (1, 4, 4)), file.tensor("moved", (1, 1, 2))
    file.operator(
        32, [p], [matrix], custom=("Landmarks2TransformMatrix", 2, bytes(flexbuffers.Dumps(options)))
    )
    local = file.constant(np.ones((1, 1, 2), np.float32))
    file.operator(32, [local, matrix], [moved], custom=("TransformLandmarks", 2, b""))
    got = run(tmp_path, file.write([p], [moved]), p=values(1, 2, 3))["moved"]
    assert np.isfinite(got).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_transposed_convolution_with_bias(tmp_path: Path, backend: str) -> None:
    """MediaPipe's own upsampling: every input pixel stamps the kernel, then the bias is added."""
    kernel, bias, picture = values(2, 2, 2, 3), values(2), values(1, 4, 2, 3)
    expected = np.einsum("yxi,ohwi->yhxwo", picture[0], kernel).reshape(8, 4, 2) + bias
    file = File()
    x = file.tensor("x", picture.shape)
    y = file.tensor("y", (1, 8, 4, 2))
    options = np.array([1, 2, 2], "<i4").tobytes()
    file.operator(
        32,
        [x, file.constant(kernel), file.constant(bias)],
        [y],
        custom=("Convolution2DTransposeBias", 1, options),
    )
    got = run(tmp_path, file.write([x], [y]), backend, x=picture)["y"]
    np.testing.assert_allclose(got[0], expected, atol=1e-5)


def picture(size: int) -> Any:
    """Waves in three colours, float32 (1, size, size, 3) in 0 .. 1, in steps of 1/255."""
    y, x, c = np.mgrid[:size, :size, :3]
    waves = np.sin(0.043 * (c + 1) * y + 0.031 * x * (1 + 0.5 * np.cos(0.021 * y)))
    return np.round(127.5 + 127.5 * waves).astype(np.float32)[None] / np.float32(255)


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [entry.name for entry in registry.PULLED])
def test_the_real_models_give_the_numbers_of_the_original_runtimes(name: str, backend: str) -> None:
    """Against LiteRT 2.3.0, and MediaPipe 0.10.21 itself for the attention mesh, on the same picture."""
    golden = json.loads(GOLDEN.read_text("utf-8"))[name]
    graph = open_graph(registry.locate(name), backend)
    port = graph.inputs[0]
    found = graph.run({port.name: picture(port.shape[1] or 0)})
    assert set(found) == set(golden)
    for output, expected in golden.items():
        flat = found[output].ravel()
        places = np.linspace(0, flat.size - 1, len(expected)).astype(int)
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(flat[places], expected, atol=1e-4 * scale, err_msg=output)
