"""The TFLite converter against the operators' definitions, written out in NumPy on small files made here."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engine.backends import BACKENDS
from engine.errors import ModelError
from export.tflite import convert
from tests.export.tflite_files import RNG, File, run, values

SAME, VALID = 0, 1


def kinds(data: bytes) -> list[str]:
    """The ONNX operators that a file becomes."""
    return [node.op_type for node in convert(data, "graph").graph.node]


def window(
    picture: Any, kernel: Any, stride: int, pads: Any, dilation: int = 1, depthwise: bool = False
) -> Any:
    """A convolution of (H, W, C) by the definition: one output place at a time. kernel: (out, kh, kw, in)."""
    padded = np.pad(picture, [*pads, (0, 0)])
    reach = (np.array(kernel.shape[1:3]) - 1) * dilation + 1
    rows, columns = ((np.array(padded.shape[:2]) - reach) // stride + 1).tolist()
    result = np.zeros((rows, columns, kernel.shape[3] if depthwise else kernel.shape[0]))
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride, column * stride
            piece = padded[top : top + reach[0] : dilation, left : left + reach[1] : dilation]
            rule = "hwc,hwc->c" if depthwise else "hwc,ohwc->o"
            result[row, column] = np.einsum(rule, piece, kernel[0] if depthwise else kernel)
    return result


def same_pads(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """TensorFlow's SAME padding, by its documentation."""
    total = max((-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2), (3, 1)])
def test_convolution_pads_as_tensorflow_does(
    tmp_path: Path, backend: str, stride: int, dilation: int
) -> None:
    """SAME puts the odd zero behind, for every stride and dilation: one pixel would move every landmark."""
    kernel, bias, picture = values(4, 3, 3, 2), values(4), values(1, 9, 8, 2)
    pads = [same_pads(size, 3, stride, dilation) for size in (9, 8)]
    expected = window(picture[0], kernel, stride, pads, dilation) + bias
    file = File()
    x = file.tensor("x", picture.shape)
    y = file.tensor("y", (1, *expected.shape))
    options = [(0, "b", SAME), (1, "i", stride), (2, "i", stride), (4, "i", dilation), (5, "i", dilation)]
    file.operator(3, [x, file.constant(kernel), file.constant(bias)], [y], options)
    got = run(tmp_path, file.write([x], [y]), backend, x=picture)["y"]
    np.testing.assert_allclose(got[0], expected, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_depthwise_convolution_keeps_channels_apart(tmp_path: Path, backend: str) -> None:
    """Each channel meets its own kernel and no other."""
    kernel, bias, picture = values(1, 3, 3, 5), values(5), values(1, 6, 7, 5)
    expected = window(picture[0], kernel, 2, [same_pads(6, 3, 2), same_pads(7, 3, 2)], depthwise=True) + bias
    file = File()
    x = file.tensor("x", picture.shape)
    y = file.tensor("y", (1, *expected.shape))
    file.operator(
        4, [x, file.constant(kernel), file.constant(bias)], [y], [(1, "i", 2), (2, "i", 2), (3, "i", 1)]
    )
    got = run(tmp_path, file.write([x], [y]), backend, x=picture)["y"]
    np.testing.assert_allclose(got[0], expected, atol=1e-5)


def test_padding_is_taken_over_by_the_convolution(tmp_path: Path) -> None:
    """A PAD before a VALID convolution costs nothing: it becomes the convolution's own zeros."""
    kernel, bias, picture = values(2, 3, 3, 3), values(2), values(1, 5, 5, 3)
    expected = window(picture[0], kernel, 1, [(1, 2), (0, 1)]) + bias
    file = File()
    x = file.tensor("x", picture.shape)
    padded = file.tensor("padded", (1, 8, 6, 3))
    y = file.tensor("y", (1, *expected.shape))
    amounts = file.constant(np.array([[0, 0], [1, 2], [0, 1], [0, 0]], np.int32))
    file.operator(34, [x, amounts], [padded])
    file.operator(
        3,
        [padded, file.constant(kernel), file.constant(bias)],
        [y],
        [(0, "b", VALID), (1, "i", 1), (2, "i", 1)],
    )
    data = file.write([x], [y])
    assert "Pad" not in kinds(data)
    np.testing.assert_allclose(run(tmp_path, data, x=picture)["y"][0], expected, atol=1e-5)


def test_padding_that_is_read_as_such_is_kept(tmp_path: Path) -> None:
    """Zeros that no convolution takes over are put in place, around pictures and behind channels alike."""
    file = File()
    x = file.tensor("x", (1, 2, 2, 3))
    padded = file.tensor("padded", (1, 4, 3, 3))
    wide = file.tensor("wide", (1, 4, 3, 5))
    file.operator(34, [x, file.constant(np.array([[0, 0], [1, 1], [0, 1], [0, 0]], np.int32))], [padded])
    file.operator(34, [padded, file.constant(np.array([[0, 0], [0, 0], [0, 0], [0, 2]], np.int32))], [wide])
    picture = values(1, 2, 2, 3)
    got = run(tmp_path, file.write([x], [wide]), x=picture)["wide"]
    np.testing.assert_array_equal(got, np.pad(picture, [(0, 0), (1, 1), (0, 1), (0, 2)]))


def test_half_precision_weights_become_float32(tmp_path: Path) -> None:
    """DEQUANTIZE of a float16 constant is folded: the graph carries float32 and no cast."""
    weights = values(2, 1, 1, 3).astype(np.float16)
    file = File()
    x = file.tensor("x", (1, 2, 2, 3))
    wide = file.tensor("wide", weights.shape)
    y = file.tensor("y", (1, 2, 2, 2))
    file.operator(6, [file.constant(weights)], [wide])
    file.operator(3, [x, wide, file.constant(np.zeros(2, np.float32))], [y], [(1, "i", 1), (2, "i", 1)])
    data = file.write([x], [y])
    assert {entry.data_type for entry in convert(data, "g").graph.initializer} == {onnx.TensorProto.FLOAT}
    picture = values(1, 2, 2, 3)
    expected = picture @ weights[:, 0, 0].astype(np.float32).T
    np.testing.assert_allclose(run(tmp_path, data, x=picture)["y"], expected, atol=1e-6)


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_sparse_weights_are_spread(tmp_path: Path, kind: int) -> None:
    """DENSIFY puts the stored values at their rows and columns, whatever integers the indices are kept in."""
    dense = values(4, 1, 1, 6).astype(np.float16)
    dense[RNG.random(dense.shape) < 0.6] = 0
    rows = dense.reshape(4, 6)
    columns = [np.flatnonzero(row) for row in rows]
    segments = np.cumsum([0, *map(len, columns)])
    file = File()
    x = file.tensor("x", (1, 1, 1, 6))
    stored = file.constant(rows[rows != 0], dense.shape, (segments, np.concatenate(columns), kind))
    half, wide = file.tensor("half", dense.shape, np.float16), file.tensor("wide", dense.shape)
    y = file.tensor("y", (1, 1, 1, 4))
    file.operator(124, [stored], [half])
    file.operator(6, [half], [wide])
    file.operator(3, [x, wide, file.constant(np.zeros(4, np.float32))], [y], [(1, "i", 1), (2, "i", 1)])
    picture = values(1, 1, 1, 6)
    got = run(tmp_path, file.write([x], [y]), x=picture)["y"]
    np.testing.assert_allclose(got, picture @ rows.astype(np.float32).T, atol=1e-5)


def test_elementwise_chains_stay_in_one_layout(tmp_path: Path) -> None:
    """Slopes, constants and sums meet the right channel without a transpose between them."""
    picture, slope, shift = values(1, 3, 2, 4), values(1, 1, 4), values(4)
    file = File()
    x = file.tensor("x", picture.shape)
    bent, moved, y = (file.tensor(name, picture.shape) for name in ("bent", "moved", "y"))
    file.operator(54, [x, file.constant(slope)], [bent])
    file.operator(0, [bent, file.constant(shift)], [moved], [(0, "b", 3)])
    file.operator(18, [moved, bent], [y])
    data = file.write([x], [y])
    assert kinds(data).count("Transpose") == 2
    bent_values = np.where(picture > 0, picture, picture * slope)
    expected = np.clip(bent_values + shift, 0, 6) * bent_values
    np.testing.assert_allclose(run(tmp_path, data, x=picture)["y"], expected, atol=1e-6)


def test_pools(tmp_path: Path) -> None:
    """A maximum over SAME windows ignores the padding, a mean over all of the picture is one number a
    channel.
    """
    picture = values(1, 5, 4, 3)
    file = File()
    x = file.tensor("x", picture.shape)
    high, mean = file.tensor("high", (1, 3, 2, 3)), file.tensor("mean", (1, 1, 1, 3))
    file.operator(17, [x], [high], [(1, "i", 2), (2, "i", 2), (3, "i", 2), (4, "i", 2)])
    file.operator(1, [x], [mean], [(0, "b", VALID), (1, "i", 4), (2, "i", 5), (3, "i", 4), (4, "i", 5)])
    got = run(tmp_path, file.write([x], [high, mean]), x=picture)
    padded = np.pad(picture[0], [(0, 1), (0, 0), (0, 0)], constant_values=-np.inf)
    np.testing.assert_array_equal(got["high"][0], padded.reshape(3, 2, 2, 2, 3).max((1, 3)))
    np.testing.assert_allclose(got["mean"][0, 0, 0], picture[0].mean((0, 1)), atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_bilinear_resize_takes_pixel_centres(tmp_path: Path, backend: str) -> None:
    """Half-pixel centres: twice the size samples at a quarter and three quarters between pixels."""
    ramp = np.arange(4, dtype=np.float32).reshape(1, 1, 4, 1) * np.ones((1, 2, 1, 2), np.float32)
    file = File()
    x = file.tensor("x", ramp.shape)
    y = file.tensor("y", (1, 4, 8, 2))
    file.operator(23, [x, file.constant(np.array([4, 8], np.int32))], [y], [(3, "b", 1)])
    got = run(tmp_path, file.write([x], [y]), backend, x=ramp)["y"]
    np.testing.assert_allclose(got[0, 1, :, 0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], atol=1e-6)


def test_channels_spread_into_blocks(tmp_path: Path) -> None:
    """DEPTH_TO_SPACE reads channels as (row, column, depth)."""
    picture = values(1, 2, 3, 8)
    file = File()
    x = file.tensor("x", picture.shape)
    y = file.tensor("y", (1, 4, 6, 2))
    file.operator(5, [x], [y], [(0, "i", 2)])
    expected = picture.reshape(2, 3, 2, 2, 2).transpose(0, 2, 1, 3, 4).reshape(4, 6, 2)
    np.testing.assert_array_equal(run(tmp_path, file.write([x], [y]), x=picture)["y"][0], expected)


def test_reshape_reads_pictures_in_their_own_order(tmp_path: Path) -> None:
    """Channels second is ours alone: what a reshape sees, and what leaves, is rows, columns, channels."""
    picture = values(1, 2, 3, 4)
    file = File()
    x = file.tensor("x", picture.shape)
    small, flat = file.tensor("small", picture.shape), file.tensor("flat", (1, 12, 2))
    joined = file.tensor("joined", (1, 24, 2))
    file.operator(19, [x], [small])
    file.operator(22, [small, file.constant(np.array([1, -1, 2], np.int32))], [flat])
    file.operator(2, [flat, flat], [joined], [(0, "i", 1)])
    got = run(tmp_path, file.write([x], [joined, small]), x=picture)
    np.testing.assert_array_equal(got["small"], np.maximum(picture, 0))
    np.testing.assert_array_equal(got["joined"][:, 12:], np.maximum(picture, 0).reshape(1, 12, 2))


def test_concatenation_of_pictures_follows_the_axis(tmp_path: Path) -> None:
    """An axis of the file means the same axis after the layout has changed."""
    picture = values(1, 2, 3, 4)
    file = File()
    x = file.tensor("x", picture.shape)
    bent = file.tensor("bent", picture.shape)
    outs = [file.tensor(name, shape) for name, shape in (("tall", (1, 4, 3, 4)), ("deep", (1, 2, 3, 8)))]
    file.operator(54, [x, file.constant(np.ones((1, 1, 4), np.float32))], [bent])
    file.operator(2, [bent, bent], [outs[0]], [(0, "i", 1)])
    file.operator(2, [bent, bent], [outs[1]], [(0, "i", -1)])
    got = run(tmp_path, file.write([x], outs), x=picture)
    np.testing.assert_array_equal(got["tall"], np.concatenate([picture, picture], 1))
    np.testing.assert_array_equal(got["deep"], np.concatenate([picture, picture], 3))


def test_dense_layers_and_slices(tmp_path: Path) -> None:
    """FULLY_CONNECTED keeps leading axes, STRIDED_SLICE drops an axis where its mask says so."""
    weights, bias, rows = values(5, 4), values(5), values(1, 3, 4)
    file = File()
    x = file.tensor("x", rows.shape)
    y, row = file.tensor("y", (1, 3, 5)), file.tensor("row", (1, 5))
    file.operator(9, [x, file.constant(weights), file.constant(bias)], [y], [(0, "b", 1)])
    bounds = [file.constant(np.array(v, np.int32)) for v in ([0, 1, 0], [1, 2, 0], [1, 1, 1])]
    file.operator(45, [y, *bounds], [row], [(1, "i", 0b100), (4, "i", 0b010)])
    expected = np.maximum(rows @ weights.T + bias, 0)
    np.testing.assert_allclose(
        run(tmp_path, file.write([x], [row]), x=rows)["row"], expected[:, 1], atol=1e-5
    )


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        (14, lambda x: 1 / (1 + np.exp(-x))),
        (21, lambda x: np.clip(x, 0, 6)),
        (28, np.tanh),
        (76, lambda x: 1 / np.sqrt(x)),
        (92, np.square),
        (101, np.abs),
        (117, lambda x: x * np.clip(x + 3, 0, 6) / 6),
    ],
)
def test_functions_of_one_input(tmp_path: Path, code: int, rule: Any) -> None:
    """Each function is the one of its definition."""
    picture = np.abs(values(1, 2, 2, 3)) + 0.1 if code == 76 else values(1, 2, 2, 3)
    file = File()
    x = file.tensor("x", picture.shape)
    y = file.tensor("y", picture.shape)
    file.operator(code, [x], [y])
    np.testing.assert_allclose(run(tmp_path, file.write([x], [y]), x=picture)["y"], rule(picture), rtol=1e-5)


def test_reductions_with_and_without_kept_axes(tmp_path: Path) -> None:
    """The axes of the file are meant, also where channels stand second."""
    picture = values(1, 3, 4, 5)
    file = File()
    x = file.tensor("x", picture.shape)
    bent = file.tensor("bent", picture.shape)
    kept, gone = file.tensor("kept", (1, 1, 1, 5)), file.tensor("gone", (1, 5))
    axes = file.constant(np.array([1, 2], np.int32))
    file.operator(54, [x, file.constant(np.ones((1, 1, 5), np.float32))], [bent])
    file.operator(40, [bent, axes], [kept], [(0, "b", 1)])
    file.operator(74, [bent, axes], [gone])
    got = run(tmp_path, file.write([x], [kept, gone]), x=picture)
    np.testing.assert_allclose(got["kept"], picture.mean((1, 2), keepdims=True), atol=1e-6)
    np.testing.assert_allclose(got["gone"], picture.sum((1, 2)), atol=1e-5)


def tiny() -> bytes:
    """A file with a convolution, a sum and a reshape."""
    file = File()
    x = file.tensor("x", (1, 4, 4, 2))
    a, b, y = file.tensor("a", (1, 2, 2, 2)), file.tensor("b", (1, 2, 2, 2)), file.tensor("y", (1, 8))
    weights, bias = file.constant(np.ones((2, 3, 3, 2), np.float32)), file.constant(np.zeros(2, np.float32))
    file.operator(3, [x, weights, bias], [a], [(1, "i", 2), (2, "i", 2)])
    file.operator(0, [a, a], [b])
    file.operator(22, [b], [y])
    return file.write([x], [y])


@pytest.mark.parametrize(("code", "custom"), [(38, ("", 1, b"")), (32, ("SomethingElse", 1, b"x"))])
def test_an_unknown_operator_is_refused_by_name(code: int, custom: tuple[str, int, bytes]) -> None:
    """What cannot be converted is never left out silently."""
    file = File()
    x, y = file.tensor("x", (1, 2)), file.tensor("y", (1, 2))
    file.operator(code, [x], [y], custom=custom)
    with pytest.raises(ModelError, match=custom[0] or "38"):
        convert(file.write([x], [y]), "graph")


def test_other_files_are_refused() -> None:
    """A file that is no TFLite file says so."""
    for data in (b"", b"PK\x03\x04", b"\x08\x00\x00\x00GGUF" + bytes(40)):
        with pytest.raises(ModelError, match="TFL3"):
            convert(data, "graph")


def test_damaged_files_are_refused_and_never_crash() -> None:
    """Cut or altered at random, a file converts or raises ModelError: nothing else leaves the reader."""
    whole = tiny()
    chance = random.Random(1)
    for length in range(8, len(whole), 12):
        with pytest.raises(ModelError):
            convert(whole[:length], "graph")
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(3):
            data[chance.randrange(8, len(data))] = chance.randrange(256)
        try:
            convert(bytes(data), "graph")
        except ModelError:
            continue
