"""What is known of a graph while it is turned from one item to many: which axis of every tensor counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from engine.errors import BundleError
from export.wiring import Wiring


class Items:
    """The graph under way. axis: of every tensor, the axis that counts items; None where there is one for all.

    batch: how many items, None for any number. nodes, constants: what is written so far, beside the graph's own
    constants.
    """

    def __init__(self, wiring: Wiring, batch: int | None) -> None:
        self.wiring, self.batch = wiring, batch
        self.axis: dict[str, int | None] = dict.fromkeys(wiring.constants)
        self.axis.update(dict.fromkeys(wiring.inputs, 0))
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self._spread: dict[str, str] = {}

    def refusal(self, node: onnx.NodeProto, why: str) -> BundleError:
        name = node.name or node.output[0]
        return BundleError(
            f"graph {self.wiring.model.graph.name}: {node.op_type} {name!r} cannot be batched: {why}; "
            "run it with batch 1, or export it otherwise"
        )

    def data(self, node: onnx.NodeProto, *, first: bool = False) -> int:
        """The axis of the first input, which has to have one. first: it has to be the first."""
        axis = self.axis[node.input[0]]
        if axis is None:
            raise self.refusal(node, f"{node.input[0]!r} is the same for all items, its other inputs are not")
        if first and axis:
            raise self.refusal(
                node, f"items are counted by axis {axis} of {node.input[0]!r}, expected the first"
            )
        return axis

    def only_first(self, node: onnx.NodeProto) -> None:
        """Refuse items in any input but the first."""
        for name in node.input[1:]:
            if name and self.axis[name] is not None:
                raise self.refusal(node, f"its input {name!r} differs from item to item")

    def shape(self, name: str) -> tuple[int, ...]:
        shape = self.wiring.shapes[name]
        if not all(isinstance(size, int) for size in shape):
            raise BundleError(
                f"graph {self.wiring.model.graph.name}: {name!r} is {shown(self.wiring, name)}, expected fixed sizes"
            )
        return tuple(int(size or 0) for size in shape)

    def rank(self, name: str) -> int:
        return len(self.wiring.shapes[name])

    def along(self, node: onnx.NodeProto, axis: int, along: int, what: str) -> int:
        """The axis, where the node does not work along it."""
        if along % self.rank(node.input[0]) == axis:
            raise self.refusal(node, f"it {what} the items")
        return axis

    def spread_others(self, node: onnx.NodeProto, places: Sequence[int] | range, axis: int) -> None:
        """Repeat, for every item, the inputs that are the same for all."""
        counted = next(name for name in node.input if name and self.axis[name] is not None)
        for place in places:
            if self.axis[node.input[place]] is None:
                node.input[place] = self.repeated(node.input[place], axis, counted)

    def repeated(self, name: str, axis: int, counted: str) -> str:
        """A tensor that is the same for all items, repeated; counted: one that counts them."""
        if name in self._spread:
            return self._spread[name]
        shape = np.array(self.shape(name), np.int64)
        if shape[axis] != 1:
            raise BundleError(
                f"graph {self.wiring.model.graph.name}: {name!r} is {tuple(shape)} and the same for all items; "
                f"expected a size of 1 in axis {axis}"
            )
        if self.batch is None:
            sizes = self._sizes(name, shape, axis, counted)
        else:
            shape[axis] = self.batch
            sizes = self.constant(f"{name}_shape", shape)
        made = self.fresh(f"{name}_each")
        self.nodes.append(helper.make_node("Expand", [name, sizes], [made], made))
        self._spread[name] = made
        return made

    def _sizes(self, name: str, shape: NDArray[np.int64], axis: int, counted: str) -> str:
        """A shape whose entry `axis` is the number of items."""
        place = self.axis[counted] or 0
        number = self.fresh(f"{name}_items")
        self.nodes.append(helper.make_node("Shape", [counted], [number], number, start=place, end=place + 1))
        parts = [
            *([self.constant(f"{name}_before", shape[:axis])] if axis else []),
            number,
            *([self.constant(f"{name}_after", shape[axis + 1 :])] if axis + 1 < len(shape) else []),
        ]
        made = self.fresh(f"{name}_shape")
        self.nodes.append(helper.make_node("Concat", parts, [made], made, axis=0))
        return made

    def fresh(self, name: str) -> str:
        while name in self.axis or name in self.constants:
            name += "_"
        self.axis[name] = None
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        name = self.fresh(name)
        self.constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name


def shown(wiring: Wiring, name: str) -> str:
    """A tensor's size for people."""
    return "(" + ", ".join("any" if size is None else str(size) for size in wiring.shapes[name]) + ")"
