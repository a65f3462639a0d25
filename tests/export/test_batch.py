"""A graph for one item turned into one for many: the same numbers, or a refusal that names the node."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engine import models as registry
from engine.backends import BACKENDS, open_graph
from engine.errors import BundleError, ConfigError
from export.batch import BATCH, batched
from export.precision import lower
from export.systems import EXPORTERS
from export.wiring import Wiring
from tests.export.graphs import narrow, written
from tests.export.pictures import Array

COUNT = 3


def _given(model: onnx.ModelProto, count: int, seed: int = 0) -> dict[str, Array]:
    """Inputs of a batch, every item another."""
    wiring, numbers = Wiring(model), np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for name in wiring.inputs:
        shape = [count, *(size for size in wiring.shapes[name][1:] if isinstance(size, int))]
        picture = wiring.types[name] == onnx.TensorProto.UINT8
        found[name] = (
            numbers.integers(0, 256, shape).astype(np.uint8)
            if picture
            else numbers.uniform(0.0, 1.0, shape).astype(np.float32)
        )
    return found


def _run(model: onnx.ModelProto, arrays: Mapping[str, Array], backend: str) -> dict[str, Array]:
    graph = open_graph(Path("graph.onnx"), backend, data=model.SerializeToString())
    try:
        return {name: array.copy() for name, array in graph.run(arrays).items()}
    finally:
        graph.close()


def _alone(model: onnx.ModelProto, arrays: Mapping[str, Array], backend: str) -> dict[str, Array]:
    """Every item by itself, put together afterwards."""
    count = len(next(iter(arrays.values())))
    graph = open_graph(Path("graph.onnx"), backend, data=model.SerializeToString())
    each = [
        {
            name: array.copy()
            for name, array in graph.run(
                {port: all_[k : k + 1].copy() for port, all_ in arrays.items()}
            ).items()
        }
        for k in range(count)
    ]
    graph.close()
    return {name: np.concatenate([one[name] for one in each]) for name in each[0]}


def _hold(model: onnx.ModelProto, backend: str, batch: int | None, count: int = COUNT) -> None:
    """That a batch gives what its items give alone, and that these differ from each other."""
    arrays = _given(model, count)
    expected = _alone(model, arrays, backend)
    made = _run(batched(model, batch), arrays, backend)
    assert made.keys() == expected.keys()
    for name, array in made.items():
        assert array.shape == expected[name].shape
        np.testing.assert_allclose(
            array.astype(np.float64),
            expected[name],
            rtol=2e-5,
            atol=2e-5 * max(1e-3, np.abs(expected[name]).max()),
        )
    assert any(not np.array_equal(array[0], array[1]) for array in expected.values())


@pytest.mark.parametrize(
    "backend",
    [pytest.param(one, marks=pytest.mark.full if one == "openvino" else ()) for one in BACKENDS],
)
@pytest.mark.parametrize("system", sorted(EXPORTERS))
def test_every_exported_graph_is_batched(system: str, backend: str, request: pytest.FixtureRequest) -> None:
    """A fixed and a free number of items, on each runtime."""
    for model in narrow(system, request).values():
        _hold(model, backend, COUNT)
        _hold(model, backend, None)


def test_one_is_what_it_was(request: pytest.FixtureRequest) -> None:
    """A batch of one asks for nothing."""
    model = narrow("ganimation", request)["generator"]
    made = batched(model, 1)
    assert list(made.graph.input) == list(model.graph.input)
    assert [node.op_type for node in made.graph.node] == [node.op_type for node in Wiring(model).nodes]


def test_a_free_size_has_one_name_in_all_ports(request: pytest.FixtureRequest) -> None:
    """A runtime knows then that they are the same."""
    made = batched(narrow("geogan", request)["transfer"], None)
    for value in (*made.graph.input, *made.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == BATCH


MENDED = {
    "a shape": """(float[1,4,6,6] x) => (float[1,2,72] y) {
        shape = Constant <value_ints = [1, 2, 72]> ()
        bent = Relu (x)
        y = Reshape (bent, shape)
    }""",
    "a shape with a hole": """(float[1,4,6,6] x) => (float[1,4,36] y) {
        shape = Constant <value_ints = [1, 0, -1]> ()
        y = Reshape (x, shape)
    }""",
    "a row": """(float[1,4,6,6] x) => (float[1,144] y) { y = Flatten <axis = 0> (x) }""",
    "rows": """(float[1,4,6,6] x) => (float[1,144] y) { y = Flatten (x) }""",
    "a part of everything": """(float[1,4,6,6] x) => (float[1,2,6,6] y) {
        from = Constant <value_ints = [0, 1]> ()
        until = Constant <value_ints = [1, 3]> ()
        y = Slice (x, from, until)
    }""",
    "sizes": """(float[1,4,6,6] x) => (float[1,4,12,9] y) {
        sizes = Constant <value_ints = [1, 4, 12, 9]> ()
        y = Resize <mode = "linear"> (x, , , sizes)
    }""",
    "a constant beside items": """(float[1,2,6,6] x) => (float[1,3,6,6] y) {
        size = Constant <value_ints = [1, 1, 6, 6]> ()
        plane = ConstantOfShape <value = float[1] {0.25}> (size)
        y = Concat <axis = 1> (x, plane)
    }""",
    "a constant grid": """(float[1,2,4,4] x) => (float[1,2,1,2] y)
        <float[1,1,2,2] grid = {-0.5, 0.25, 0.5, 0.75}> {
        y = GridSample <align_corners = 1> (x, grid)
    }""",
    "an output of constants": """(float[1,2,4,4] x) => (float[1,2,4,4] y, float[1,3] z) <float[1,3] c = {1, 2, 3}> {
        y = Relu (x)
        z = Neg (c)
    }""",
    "an axis that moves": """(float[1,2,4,8] x) => (float[1,8,4,2] y) {
        inner = Transpose <perm = [3, 0, 1, 2]> (x)
        bent = Relu (inner)
        y = Transpose <perm = [1, 0, 3, 2]> (bent)
    }""",
    "sums, choices and products": """(float[1,4,6] x) => (float[1,2] y) <float[4,2] w = {1, 2, 3, 4, 5, 6, 7, 8}> {
        axes = Constant <value_ints = [2]> ()
        summed = ReduceSum <keepdims = 0> (x, axes)
        chosen = Constant <value_ints = [2, 0, 1, 1]> ()
        other = Gather <axis = 1> (summed, chosen)
        shares = Softmax <axis = 1> (other)
        y = MatMul (shares, w)
    }""",
    "items multiplied by items": """(float[1,4,6] x) => (float[1,4,4] y) {
        turned = Transpose <perm = [0, 2, 1]> (x)
        y = MatMul (x, turned)
    }""",
    "an added axis": """(float[1,4] x) => (float[1,4,3,3] y) {
        axes = Constant <value_ints = [2, 3]> ()
        tall = Unsqueeze (x, axes)
        size = Constant <value_ints = [1, 1, 3, 3]> ()
        y = Expand (tall, size)
    }""",
    "parts": """(float[1,4,6] x) => (float[1,2,6] y) {
        parts = Constant <value_ints = [2, 2]> ()
        one, two = Split <axis = 1> (x, parts)
        y = Mul (one, two)
    }""",
}  # fmt: skip


@pytest.mark.parametrize("what", MENDED)
def test_constants_that_state_a_size_are_mended(what: str) -> None:
    """And those that have to be there for every item are spread."""
    model = written(MENDED[what])
    for batch in (COUNT, None):
        _hold(model, "onnxruntime", batch)
    _hold(model, "openvino", None)


REFUSED = {
    "sums over the items": """(float[1,4] x) => (float[1,4] y) {
        axes = Constant <value_ints = [0]> ()
        y = ReduceMean (x, axes)
    }""",
    "compares the items": "(float[1,4] x) => (float[1,4] y) { y = Softmax <axis = 0> (x) }",
    "joins the items": """(float[1,4] x) => (float[1,4] y) {
        two = Concat <axis = 0> (x, x)
        axes = Constant <value_ints = [0]> ()
        y = ReduceMax (two, axes)
    }""",
    "takes away the axis that counts items": """(float[1,4] x) => (float[1,4] y) {
        axes = Constant <value_ints = [0]> ()
        flat = Squeeze (x, axes)
        y = Unsqueeze (flat, axes)
    }""",
    "has no size of 1 in front": """(float[1,4] x) => (float[1,4] y) {
        all = Constant <value_ints = [-1]> ()
        flat = Reshape (x, all)
        axes = Constant <value_ints = [0]> ()
        y = Unsqueeze (flat, axes)
    }""",
    "not counted by the outermost axis": """(float[1,4,2] x) => (float[1,8] y) {
        turned = Transpose <perm = [1, 0, 2]> (x)
        shape = Constant <value_ints = [1, 8]> ()
        y = Reshape (turned, shape)
    }""",
    "its input 'w' differs from item to item": """(float[1,4,6,6] x, float[1,4,1,1] w) => (float[1,1,6,6] y) {
        y = Conv (x, w)
    }""",
    "meets a constant that is longer there": """(float[1,4] x) => (float[1,4] y) <float[3,4] c = {CONSTANTS}> {
        tall = Add (x, c)
        axes = Constant <value_ints = [0]> ()
        y = ReduceMax (tall, axes)
    }""".replace("CONSTANTS", ", ".join("1.0" for _ in range(12))),
    "count items by different axes": """(float[1,1,4] x) => (float[1,1,4] y) {
        turned = Transpose <perm = [1, 0, 2]> (x)
        y = Add (x, turned)
    }""",
    "repeats the axis that counts items": """(float[1,4] x) => (float[1,4] y) {
        twice = Constant <value_ints = [2, 1]> ()
        two = Tile (x, twice)
        axes = Constant <value_ints = [0]> ()
        y = ReduceMax (two, axes)
    }""",
    "chooses among the items": """(float[1,4] x) => (float[1,4] y) {
        first = Constant <value_ints = [0]> ()
        y = Gather <axis = 0> (x, first)
    }""",
    "sums over the items, or mixes them": """(float[1,4] x) => (float[1,1] y) {
        turned = Transpose <perm = [1, 0]> (x)
        y = MatMul (x, turned)
    }""",
    "adds items": """(float[1,4] x) => (float[1,4] y) {
        pads = Constant <value_ints = [1, 0, 0, 0]> ()
        two = Pad (x, pads)
        axes = Constant <value_ints = [0]> ()
        y = ReduceMax (two, axes)
    }""",
    "not known how it counts items": """(float[1,4] x) => (float[1,4] y) {
        places = NonZero (x)
        y = Relu (x)
        wide = Cast <to = 1> (places)
    }""",
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
def test_what_would_mix_items_is_refused_by_name(why: str) -> None:
    """A wrong picture would be shown otherwise, to somebody else."""
    with pytest.raises(BundleError, match=rf"'\w+' cannot be batched: .*{why}"):
        batched(written(REFUSED[why]), None)


def test_a_port_without_a_first_size_of_one_is_refused() -> None:
    """Nothing says then what an item is."""
    with pytest.raises(BundleError, match=r"the port 'x' is \(2, 4\), expected a first size of 1"):
        batched(written("(float[2,4] x) => (float[2,4] y) { y = Relu (x) }"), 2)
    text = "(float[1,4] x) => (float[1,4] z, float[2] y) <float[2] c = {1, 2}> { z = Relu (x) y = Neg (c) }"
    with pytest.raises(BundleError, match=r"the port 'y' is \(2\), expected a first size of 1"):
        batched(written(text), 2)


@pytest.mark.parametrize("batch", [0, -1, 2.0, 10_000])
def test_a_batch_is_a_size(batch: Any, request: pytest.FixtureRequest) -> None:
    """One line, as everywhere."""
    with pytest.raises(ConfigError, match=f"batch: got {batch!r}, expected a size in 1 .. 1024, or None"):
        batched(narrow("ganimation", request)["generator"], batch)


def test_precision_comes_after_the_batch(request: pytest.FixtureRequest) -> None:
    """float16 may come first; bfloat16 may not, because its sizes can no longer be told."""
    model = narrow("ganimation", request)["generator"]
    with pytest.raises(ConfigError, match="is in bf16; batch it first"):
        batched(lower(model, "bf16"), 2)
    arrays = _given(model, 2)
    one = _run(batched(lower(model, "fp16"), 2), arrays, "openvino")
    other = _run(lower(batched(model, 2), "fp16"), arrays, "openvino")
    for name, array in one.items():
        np.testing.assert_allclose(array, other[name], atol=1e-5)


TRACKER = sorted(entry.name for entry in registry.PULLED)
UNBATCHED = {"face_mesh_attention"}
"""Puts all points in one row and chooses among them by number."""


@pytest.mark.full
@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("name", TRACKER)
def test_the_trackers_graphs_are_batched_or_refused(name: str) -> None:
    """All but one, on each runtime."""
    model = onnx.load_from_string(registry.locate(name).read_bytes())
    if name in UNBATCHED:
        with pytest.raises(BundleError, match=r"Reshape .* cannot be batched"):
            batched(model, None)
        return
    for backend in BACKENDS:
        _hold(model, backend, COUNT)
        _hold(model, backend, None)
