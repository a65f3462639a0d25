"""A graph for one item turned into one for many: every port's first size becomes a number or free.

Each tensor is followed from the ports: which of its axes counts the items. Constants that state a size (of Reshape,
Slice, Resize) are rewritten, constants that meet items where ONNX does not repeat them by itself (Concat, GridSample)
are spread, and whatever would mix the items is refused by its name, so that a result of a batch is the one that each
item has alone. Batch first and lower the precision afterwards: ONNX cannot tell the types of bfloat16 in opset 18.
"""

from __future__ import annotations

from typing import Final

import onnx
from onnx import TensorProto

from engine.errors import BundleError, ConfigError
from export.counting import axis_of
from export.items import Items, shown
from export.wiring import Wiring

BATCH: Final = "batch"
"""The name of a free first size."""
MOST: Final = 1024


def batched(model: onnx.ModelProto, batch: int | None) -> onnx.ModelProto:
    """The same graph for `batch` items at once, or for any number of them (None: the first size is called "batch").

    The model given is not changed; its ports start with a size of 1. Raises BundleError for a graph that would mix its
    items, with the node's name, ConfigError for a batch that is no size.
    """
    if batch is not None and not (isinstance(batch, int) and 1 <= batch <= MOST):
        raise ConfigError(f"batch: got {batch!r}, expected a size in 1 .. {MOST}, or None for a free one")
    if any(tensor.data_type == TensorProto.BFLOAT16 for tensor in model.graph.initializer):
        raise ConfigError(
            f"batch: graph {model.graph.name} is in bf16; batch it first, then lower its precision"
        )
    wiring = Wiring(model)
    for name in wiring.inputs:
        if wiring.shapes[name][:1] != (1,):
            raise BundleError(
                f"graph {wiring.model.graph.name}: the port {name!r} is {shown(wiring, name)}, "
                "expected a first size of 1"
            )
    return _Batched(wiring, batch).model()


class _Batched(Items):
    """The graph written anew."""

    def model(self) -> onnx.ModelProto:
        for node in self.wiring.nodes:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            counted = any(self.axis[name] is not None for name in node.input if name)
            axis = axis_of(self, copied) if counted else None
            self.nodes.append(copied)
            self.axis.update(dict.fromkeys((name for name in node.output if name), axis))
        for name in self.wiring.outputs:
            self._finish(name)
        return self._written()

    def _written(self) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(self.wiring.model)
        graph = model.graph
        del graph.node[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        read = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in graph.initializer if tensor.name in read]
        del graph.initializer[:]
        graph.initializer.extend([*kept, *self.constants.values()])
        for value in (*graph.input, *graph.output):
            first = value.type.tensor_type.shape.dim[0]
            if self.batch is None:
                first.dim_param = BATCH
            else:
                first.dim_value = self.batch
        self._check(Wiring(model))
        return model

    def _check(self, made: Wiring) -> None:
        """That ONNX's own inference comes to the same sizes."""
        wanted = BATCH if self.batch is None else self.batch
        for name in made.outputs:
            expected = (wanted, *self.wiring.shapes[name][1:])
            if made.shapes[name] != expected:
                raise BundleError(
                    f"graph {made.model.graph.name}: batched, {name!r} is {made.shapes[name]}, expected {expected}"
                )

    def _finish(self, name: str) -> None:
        """An output counts items by its first axis; one that is the same for all is repeated."""
        if self.wiring.shapes[name][:1] != (1,):
            raise BundleError(
                f"graph {self.wiring.model.graph.name}: the port {name!r} is {shown(self.wiring, name)}, "
                "expected a first size of 1"
            )
        axis = self.axis[name]
        if axis == 0:
            return
        if axis is not None:
            raise BundleError(
                f"graph {self.wiring.model.graph.name}: the port {name!r} counts items by axis {axis}, "
                "expected the first"
            )
        maker = next(node for node in self.nodes if name in node.output)
        single = self.fresh(f"{name}_single")
        for node in self.nodes:
            for place, read in enumerate(node.input):
                if read == name:
                    node.input[place] = single
        maker.output[list(maker.output).index(name)] = single
        self.axis[single] = None
        self.wiring.shapes[single] = self.wiring.shapes[name]
        self.repeated(single, 0, self.wiring.inputs[0])
        self.nodes[-1].output[0] = name
