"""For every rule of the keep list a small graph of the kind that it is there for, and what goes wrong without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from export.keep import Keep
from export.precision import lower
from export.rounding import rounded
from tests.export.graphs import written
from tests.export.pictures import Array, runner


@dataclass(frozen=True)
class Case:
    """text: a graph from `x` to `y`. given: x. unit: what the error is counted in. worth: by how much the error in
    float16 at least grows without the rule."""

    text: str
    given: Callable[[np.random.Generator], Array]
    unit: str
    worth: float

    def errors(self, rule: str, precision: str = "fp16") -> tuple[float, float]:
        """With this rule alone, and with none."""
        return self._error(Keep(frozenset({rule})), precision), self._error(Keep(frozenset()), precision)

    def _error(self, keep: Keep, precision: str) -> float:
        """The largest difference from float32."""
        model = written(self.text)
        x = self.given(np.random.default_rng(5)).astype(np.float32)
        x = x.astype(np.uint8) if _reads_picture(model) else x
        exact = runner({"one": model})("one", {"x": x})["y"]
        lowered = runner({"one": rounded(lower(model, precision, keep=keep))})("one", {"x": x})["y"]
        apart = np.abs(lowered.astype(np.float64) - exact)
        return float(np.inf if np.isnan(apart).any() else apart.max())


def _reads_picture(model: onnx.ModelProto) -> bool:
    return bool(model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8)


CASES: dict[str, Case] = {
    "norms": Case(
        # a channel whose mean is forty times its deviation, centred as export/norms.py does
        """(float[1,4,16,16] x) => (float[1,4,16,16] y) {
            axes = Constant <value_ints = [2, 3]> ()
            one = Constant <value_float = 1.0> ()
            eps = Constant <value_float = 0.00001> ()
            mean = ReduceMean (x, axes)
            centred = Sub (x, mean)
            squares = Mul (centred, centred)
            variance = ReduceMean (squares, axes)
            raised = Add (variance, eps)
            deviation = Sqrt (raised)
            scale = Div (one, deviation)
            y = Mul (centred, scale)
        }""",
        lambda numbers: numbers.normal(20.0, 0.5, (1, 4, 16, 16)),
        "deviations",
        10.0,
    ),
    "sums": Case(
        # the demodulation of a layer's weights: their squares summed
        """(float[1,512,3,3] x) => (float[1,1,1,1] y) {
            axes = Constant <value_ints = [1, 2, 3]> ()
            squares = Mul (x, x)
            y = ReduceSum (squares, axes)
        }""",
        lambda numbers: numbers.normal(0.0, 5.0, (1, 512, 3, 3)),
        "of a sum of 115 000",
        10.0,
    ),
    "softmax": Case(
        # attention over a thousand places
        """(float[1,4,1024] x) => (float[1,4,1024] y) {
            y = Softmax <axis = -1> (x)
        }""",
        lambda numbers: numbers.normal(0.0, 18.0, (1, 4, 1024)),
        "share",
        1.2,
    ),
    "functions": Case(
        """(float[1,8,16,16] x) => (float[1,8,16,16] y) {
            grown = Exp (x)
            back = Log (grown)
            y = Relu (back)
        }""",
        lambda numbers: numbers.uniform(5.0, 14.0, (1, 8, 16, 16)),
        "units",
        10.0,
    ),
    "steps": Case(
        """(float[1,8,16,16] x) => (float[1,8,16,16] y) {
            whole = Floor (x)
            y = Relu (whole)
        }""",
        lambda numbers: numbers.uniform(1000.0, 2000.0, (1, 8, 16, 16)),
        "steps",
        1.5,
    ),
    "grids": Case(
        # a picture of 64 pixels sampled where the grid says
        """(float[1,64,64,2] x) => (float[1,1,64,64] y) {
            shape = Constant <value_ints = [1, 1, 64, 64]> ()
            from = Constant <value_float = 0.0> ()
            until = Constant <value_float = 4096.0> ()
            by = Constant <value_float = 1.0> ()
            line = Range (from, until, by)
            plane = Reshape (line, shape)
            nine = Constant <value_float = 9.0> ()
            wave = Mul (plane, nine)
            picture = Sin (wave)
            sampled = GridSample <mode = "bilinear", align_corners = 1> (picture, x)
            y = Relu (sampled)
        }""",
        lambda numbers: numbers.uniform(-0.9, 0.9, (1, 64, 64, 2)),
        "of a picture in -1..1",
        3.0,
    ),
    "ends": Case(
        """(uint8[1,16,16,3] x) => (float[1,3,16,16] y) {
            wide = Cast <to = 1> (x)
            planes = Transpose <perm = [0, 3, 1, 2]> (wide)
            half = Constant <value_float = 127.5> ()
            one = Constant <value_float = 1.0> ()
            scaled = Div (planes, half)
            signed = Sub (scaled, one)
            y = Mul (signed, half)
        }""",
        lambda numbers: numbers.integers(0, 256, (1, 16, 16, 3)),
        "grey levels",
        10.0,
    ),
    "small": Case(
        # an angle from 66 bins of three degrees each
        """(float[1,66] x) => (float[1] y) {
            places = Constant <value_floats = [PLACES]> ()
            three = Constant <value_float = 3.0> ()
            offset = Constant <value_float = 99.0> ()
            expected = MatMul (x, places)
            degrees = Mul (expected, three)
            angle = Sub (degrees, offset)
            y = Relu (angle)
        }""".replace("PLACES", ", ".join(f"{place}.0" for place in range(66))),
        lambda numbers: numbers.dirichlet(np.exp(-np.abs(np.arange(66) - 60.0)) + 0.01)[None],
        "degrees",
        10.0,
    ),
}
"""By rule."""
