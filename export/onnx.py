"""From a torch module to the bytes of a bundle's graph.

torch's own exporter traces the module; export/tidy.py then writes the graph anew, so that its bytes depend on the
module alone. Opset 18 is what ONNX Runtime, OpenVINO and TensorRT (10 and later) all compute alike: GridSample came
with 16, and its mode was renamed with 20, which TensorRT's reader takes for "nearest".
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from engine.bundle import PortInfo
from engine.errors import BundleError
from engine.graph_file import check_graph
from export.batch import batched
from export.norms import portable
from export.plan import GraphPlan
from export.tidy import tidy

OPSET = 18
_DTYPES = {"uint8": torch.uint8, "float32": torch.float32, "int64": torch.int64}


def write_graph(plan: GraphPlan, *, half: bool = False) -> bytes:
    """The ONNX file of one graph: static shapes but for a free batch where the plan has one, named ports, no external
    data, the same bytes every time.

    half: weights that a float16 holds exactly are stored as one, with a Cast to float32 behind it; round them before,
    by `rounded_plan`. Raises BundleError for a module that cannot be written as a graph of a bundle.
    """
    module = portable(plan.module)
    _check_module(plan, module)
    model = _traced(plan, module)
    try:
        data = _tidied(plan, model, half or plan.halved)
        onnx.checker.check_model(data, full_check=True)
    except (ValueError, onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BundleError(f"graph {plan.name}: {_line(error)}") from error
    try:
        check_graph(data, plan.inputs, plan.outputs)
    except BundleError as error:
        raise BundleError(f"graph {plan.name}: {error}") from error
    return data


def rounded_plan(plan: GraphPlan) -> GraphPlan:
    """The same graph with weights that a float16 holds exactly, and held against itself: a reference whose weights are
    arranged otherwise would round others. Raises BundleError."""
    return dataclasses.replace(plan, module=rounded(plan.module), reference=None)


def rounded(module: nn.Module) -> nn.Module:
    """A copy whose weights a float16 holds exactly; scales, shifts and biases (vectors) stay as they are.

    Raises BundleError for a weight beyond float16's range.
    """
    module = copy.deepcopy(module)
    for name, weight in module.named_parameters():
        if weight.ndim < 2 or weight.dtype != torch.float32:
            continue
        half = weight.detach().half()
        if not torch.isfinite(half).all():
            raise BundleError(f"weight {name} is beyond the range of float16; export it without --fp16")
        weight.data = half.float()
    return module


def zeros(ports: Sequence[PortInfo]) -> tuple[Tensor, ...]:
    """One tensor of zeros per port."""
    return tuple(torch.zeros(port.shape, dtype=_DTYPES[port.dtype]) for port in ports)


def run(module: nn.Module, arrays: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The module's outputs, always as a tuple, computed without gradients."""
    with torch.inference_mode():
        found = module(*arrays)
    return (found,) if isinstance(found, Tensor) else tuple(found)


def _tidied(plan: GraphPlan, model: onnx.ModelProto, half: bool) -> bytes:
    def written(model: onnx.ModelProto, half: bool, free: bool) -> bytes:
        return tidy(model, plan.name, plan.inputs, plan.outputs, opset=OPSET, half=half, free=free)

    if not plan.batched:
        return written(model, half, False)
    plain = onnx.load_from_string(written(model, False, False))
    return written(batched(plain, None), half, True)


def _check_module(plan: GraphPlan, module: nn.Module) -> None:
    found = run(module, zeros(plan.inputs))
    shapes = [tuple(tensor.shape) for tensor in found]
    expected = [port.shape for port in plan.outputs]
    if shapes != expected:
        raise BundleError(f"graph {plan.name}: its module gives {shapes}, expected {expected}")
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BundleError(f"graph {plan.name}: {name} is not finite; take an earlier checkpoint")


def _traced(plan: GraphPlan, module: nn.Module) -> onnx.ModelProto:
    with _quiet():
        program = torch.onnx.export(
            module,
            zeros(plan.inputs),
            input_names=[port.name for port in plan.inputs],
            output_names=[port.name for port in plan.outputs],
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verify=False,
            verbose=False,
            external_data=False,
        )
    if program is None:
        raise BundleError(f"graph {plan.name}: torch's exporter gave nothing")
    model: onnx.ModelProto = program.model_proto
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """What torch's exporter tells about itself (a torchvision that is not there, say) is of no use here."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
