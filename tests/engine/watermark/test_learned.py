"""A learned watermark behind the same doors, by graphs that were written here."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.errors import ConfigError, InputError, PortError
from engine.types import U8
from engine.watermark import Payload, open_detector, open_embedder
from engine.watermark.learned import message

PAYLOAD = Payload.of("a session", date(2026, 11, 22))
SIZE = (128, 96)


def graphs(folder: Path, bits: int = 160, side: int | None = None) -> tuple[Path, Path]:
    """An embedder that adds each bit's own noise, and a detector that correlates with it. side: of fixed pictures."""
    height, width = (side, side) if side else (SIZE[1], SIZE[0])
    half = np.random.default_rng(7).choice([-1.0, 1.0], (bits, height * width // 2)).astype(np.float32)
    noise = np.concatenate([half, -half], axis=1)  # a picture's mean says nothing
    shape = [1, 3, height, width]
    tensors = {
        "noise": noise,
        "grey": np.full((1, 3, 1, 1), 1 / 3, np.float32),
        "two": np.float32(2.0),
        "one": np.float32(1.0),
        "weak": np.float32(0.02 / np.sqrt(bits)),
        "flat": np.array([1, height * width], np.int64),
        "plane": np.array([1, 1, height, width], np.int64),
        "across": np.ascontiguousarray(noise.T),
        "zero": np.zeros((1, 1), np.float32),
    }
    embedder = [
        helper.make_node("Mul", ["message", "two"], ["doubled"]),
        helper.make_node("Sub", ["doubled", "one"], ["signs"]),
        helper.make_node("MatMul", ["signs", "noise"], ["sum"]),
        helper.make_node("Mul", ["sum", "weak"], ["small"]),
        helper.make_node("Reshape", ["small", "plane"], ["change"]),
        helper.make_node("Add", ["picture", "change"], ["marked"]),
    ]
    detector = [
        helper.make_node("Conv", ["picture", "grey"], ["grey_picture"]),
        helper.make_node("Reshape", ["grey_picture", "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "across"], ["found"]),
        helper.make_node("Concat", ["zero", "found"], ["bits"], axis=1),
    ]
    paths = folder / "embedder.onnx", folder / "detector.onnx"
    _write(paths[0], embedder, {"message": [1, bits], "picture": shape}, {"marked": shape}, tensors)
    _write(paths[1], detector, {"picture": shape}, {"bits": [1, bits + 1]}, tensors)
    return paths


def _write(path: Path, nodes: list, inputs: dict, outputs: dict, tensors: dict) -> None:
    read = {name for node in nodes for name in node.input}
    ports = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ports.items()]
        for ports in (inputs, outputs)
    ]
    stored = [numpy_helper.from_array(array, name) for name, array in tensors.items() if name in read]
    graph = helper.make_graph(nodes, "watermark", *ports, initializer=stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    path.write_bytes(model.SerializeToString())


def planes() -> U8:
    luma = np.random.default_rng(2).integers(110, 140, (SIZE[1], SIZE[0]))
    return np.concatenate([luma, np.full((SIZE[1] // 2, SIZE[0]), 128)]).astype(np.uint8)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_learned_mark_takes_the_same_doors(tmp_path: Path, backend: str) -> None:
    """What one graph writes another reads, and an unmarked picture, or another key, says nothing."""
    embedder, detector = graphs(tmp_path)
    marked, plain = planes(), planes()
    open_embedder(SIZE, PAYLOAD, model=embedder, backend=backend).embed(marked)
    assert np.array_equal(marked[SIZE[1] :], plain[SIZE[1] :])  # only luma
    for picture, key, payload in ((marked, None, PAYLOAD), (plain, None, None), (marked, b"other", None)):
        reader = (
            open_detector(model=detector, backend=backend)
            if key is None
            else open_detector(key, model=detector, backend=backend)
        )
        for _ in range(2):
            reader.add(picture[: SIZE[1]])
        found = reader.result()
        assert found.payload == payload
        assert found.present == (payload is not None)
        assert found.frames == 2
        assert (found.probability_of_chance < 1e-9) == found.present


def test_a_fixed_side_is_resized_to(tmp_path: Path) -> None:
    """A graph for pictures of one size marks others too: what it adds is enlarged."""
    embedder, detector = graphs(tmp_path, 80, side=48)
    marked = planes()
    open_embedder(SIZE, PAYLOAD, strength=2.0, model=embedder, backend="onnxruntime").embed(marked)
    change = marked.astype(int) - planes()
    assert 0.3 < np.abs(change[: SIZE[1]]).mean() < 12
    reader = open_detector(model=detector, backend="onnxruntime")
    reader.add(np.clip(128 + 8 * change[: SIZE[1]], 0, 255).astype(np.uint8))
    assert reader.result().payload == PAYLOAD


def test_messages_have_room(tmp_path: Path) -> None:
    """A payload and its CRC are repeated as often as they fit, and never cut."""
    assert len(message(PAYLOAD, 256, b"key")) == 256
    with pytest.raises(ConfigError, match="79 bits, expected 80"):
        message(PAYLOAD, 79, b"key")
    embedder, _ = graphs(tmp_path, 64)
    with pytest.raises(ConfigError, match="64 bits"):
        open_embedder(SIZE, PAYLOAD, model=embedder, backend="onnxruntime")


def test_other_ports_are_refused(tmp_path: Path) -> None:
    """An embedder is no detector: the line names what was expected."""
    embedder, detector = graphs(tmp_path)
    with pytest.raises(PortError, match="its ports are message, picture, expected picture"):
        open_detector(model=embedder, backend="onnxruntime")
    with pytest.raises(PortError, match="expected message, picture"):
        open_embedder(SIZE, PAYLOAD, model=detector, backend="onnxruntime")


def test_nothing_added_says_nothing(tmp_path: Path) -> None:
    """A result without a frame is refused, and frames of two sizes are."""
    reader = open_detector(model=graphs(tmp_path)[1], backend="onnxruntime")
    with pytest.raises(InputError, match="no frame"):
        reader.result()
    reader.add(planes()[: SIZE[1]])
    with pytest.raises(InputError, match="ones before"):
        reader.add(planes())
    assert onnx.load(str(tmp_path / "detector.onnx"))
