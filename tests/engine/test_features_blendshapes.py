"""The blendshape network, on a small one of the same build: normalised points, mixed tokens, 52 scores."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.backends import BACKENDS
from engine.errors import ModelError
from engine.features.action_units import BLENDSHAPES
from engine.features.blendshapes import NAMES, POINTS, Blendshapes
from export.pull import add_task
from tests.export.tflite_files import File, values

TOKENS, CHANNELS = 6, 4
ADD, CONCAT, CONV, LOGISTIC, MUL, RESHAPE, TRANSPOSE, MEAN, SUB, DIV = 0, 2, 3, 14, 18, 22, 39, 40, 41, 42
SLICE, SUM, SQRT, RSQRT, SQUARED_DIFFERENCE = 45, 74, 75, 76, 99
KEEP = [(0, "b", 1)]
STRIDES = [(1, "i", 1), (2, "i", 1)]


class Mixer:
    """A network of the blendshape model's build with few weights, as a TFLite file and in NumPy."""

    def __init__(self, inputs: int = len(POINTS), outputs: int = len(NAMES)) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.tokens = values(TOKENS, inputs) * 0.1
        self.channels = values(CHANNELS, 2)
        self.extra = values(1, 1, 1, CHANNELS)
        self.gain = values(CHANNELS)
        self.head = values(outputs, CHANNELS)

    def scores(self, points: Any) -> Any:
        """What the file computes, by its formulas."""
        moved = points - points.mean(0)
        moved = moved / np.sqrt((moved**2).sum(1)).mean()
        mixed = np.concatenate([self.extra[0, 0], (self.tokens @ moved) @ self.channels.T])
        spread = np.sqrt(mixed.var(1, keepdims=True) + 1e-6)
        normal = (mixed - mixed.mean(1, keepdims=True)) / spread * self.gain
        return 1 / (1 + np.exp(-self.head @ normal[0]))

    def write(self) -> bytes:
        """The file."""
        self.file = File()
        self.count = 0
        x = self.file.tensor("points", (1, self.inputs, 2))
        centred = self._step(SUB, [x, self._mean(x, 1, (1, 1, 2))], (1, self.inputs, 2))
        squares = self._step(MUL, [centred, centred], (1, self.inputs, 2))
        summed = self._step(SUM, [squares, self._axis(2)], (1, self.inputs, 1), KEEP)
        length = self._mean(self._step(SQRT, [summed], (1, self.inputs, 1)), 1, (1, 1, 1))
        scaled = self._step(DIV, [centred, length], (1, self.inputs, 2))
        picture = self._step(RESHAPE, [scaled], (1, 1, self.inputs, 2))
        mixed = self._mixed(self._turned(picture, (1, 1, 2, self.inputs)))
        first = [
            self.file.constant(np.array(v, np.int32)) for v in ([0, 0, 0, 0], [1, 1, 1, CHANNELS], [1] * 4)
        ]
        token = self._step(SLICE, [self._normal(mixed), *first], (1, 1, 1, CHANNELS))
        logits = self._conv(token, self.head, (1, 1, 1, self.outputs))
        flat = self._step(RESHAPE, [self._step(LOGISTIC, [logits], (1, 1, 1, self.outputs))], (self.outputs,))
        return self.file.write([x], [flat])

    def _step(self, code: int, inputs: list[int], shape: tuple[int, ...], options: Any = ()) -> int:
        self.count += 1
        output = self.file.tensor(f"t{self.count}", shape)
        self.file.operator(code, inputs, [output], options)
        return output

    def _axis(self, axis: int) -> int:
        return self.file.constant(np.array([axis], np.int32))

    def _mean(self, index: int, axis: int, shape: tuple[int, ...]) -> int:
        return self._step(MEAN, [index, self._axis(axis)], shape, KEEP)

    def _turned(self, index: int, shape: tuple[int, ...]) -> int:
        return self._step(TRANSPOSE, [index, self.file.constant(np.array([0, 1, 3, 2], np.int32))], shape)

    def _conv(self, index: int, weights: Any, shape: tuple[int, ...]) -> int:
        kernel = self.file.constant(weights[:, None, None, :])
        bias = self.file.constant(np.zeros(len(weights), np.float32))
        return self._step(CONV, [index, kernel, bias], shape, STRIDES)

    def _mixed(self, index: int) -> int:
        tokens = self._turned(self._conv(index, self.tokens, (1, 1, 2, TOKENS)), (1, 1, TOKENS, 2))
        wide = self._conv(tokens, self.channels, (1, 1, TOKENS, CHANNELS))
        shape = (1, 1, TOKENS + 1, CHANNELS)
        return self._step(CONCAT, [self.file.constant(self.extra), wide], shape, [(0, "i", 2)])

    def _normal(self, index: int) -> int:
        whole, narrow = (1, 1, TOKENS + 1, CHANNELS), (1, 1, TOKENS + 1, 1)
        mean = self._mean(index, 3, narrow)
        squares = self._step(SQUARED_DIFFERENCE, [index, mean], whole)
        floor = self.file.constant(np.array([1e-6], np.float32))
        spread = self._step(ADD, [self._mean(squares, 3, narrow), floor], narrow)
        centred = self._step(SUB, [index, mean], whole)
        normal = self._step(MUL, [centred, self._step(RSQRT, [spread], narrow)], whole)
        return self._step(MUL, [normal, self.file.constant(self.gain)], whole)


def add(folder: Path, network: bytes) -> None:
    """Puts a task file with a network into the cache."""
    task = folder / "face_landmarker.task"
    other = File()
    x, y = other.tensor("x", (1, 2)), other.tensor("y", (1, 2))
    other.operator(19, [x], [y])
    with zipfile.ZipFile(task, "w") as out:
        for name in ("face_detector.tflite", "face_landmarks_detector.tflite"):
            out.writestr(name, other.write([x], [y]))
        out.writestr("face_blendshapes.tflite", network)
    add_task(task, folder)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_scores_are_those_of_the_file(tmp_path: Path, backend: str) -> None:
    """From a task file to named scores: points chosen in order, the network converted, its numbers kept."""
    mixer = Mixer()
    add(tmp_path, mixer.write())
    points = values(478, 3) * 50 + 200
    network = Blendshapes(backend=backend, cache=tmp_path)
    scores = network.measure(points)
    network.close()
    assert tuple(scores) == NAMES
    expected = mixer.scores(points[list(POINTS), :2].astype(np.float64))
    np.testing.assert_allclose(list(scores.values()), expected, atol=1e-5)


def test_without_a_task_file_the_way_is_named(tmp_path: Path) -> None:
    """The message says how to bring one."""
    with pytest.raises(ModelError, match="--task FILE"):
        Blendshapes(cache=tmp_path)


def test_a_network_of_another_shape_is_refused(tmp_path: Path) -> None:
    """Fewer points or fewer scores than named are another network."""
    add(tmp_path, Mixer(inputs=12).write())
    with pytest.raises(ModelError, match="146"):
        Blendshapes(cache=tmp_path)
    add(tmp_path, Mixer(outputs=10).write())
    with pytest.raises(ModelError, match="52"):
        Blendshapes(cache=tmp_path).measure(values(478, 3))


def test_every_blendshape_that_feeds_an_action_unit_exists() -> None:
    """A misspelt name would silently count as zero."""
    assert len(set(NAMES)) == 52
    assert len(set(POINTS)) == 146
    assert {name for weights in BLENDSHAPES.values() for name in weights} <= set(NAMES)
