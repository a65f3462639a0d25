"""What the builder is asked for beside the network: sizes, memory, flags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from engine.errors import PlanError
from engine.plans.request import PlanRequest
from export.tensorrt.api import Toolkit

if TYPE_CHECKING:
    import tensorrt as trt

BATCH: Final = "batch"
"""Name of a free first dimension (export/batch.py gives it)."""

SIDES: Final[Mapping[str, tuple[int, int, int]]] = {"height": (64, 720, 1920), "width": (64, 1280, 1920)}
"""Free sides of frames by the name of their dimension: the least, what is tuned for, the most. 1080p, also upright."""


def configured(
    toolkit: Toolkit,
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    request: PlanRequest,
    *,
    strip: bool = False,
) -> trt.IBuilderConfig:
    """The builder's settings. strip: leaves the weights out of the plan. Raises PlanError for sizes that do not fit."""
    config = builder.create_builder_config()
    config.set_memory_pool_limit(toolkit.api.MemoryPoolType.WORKSPACE, request.workspace_bytes)
    flags = toolkit.api.BuilderFlag
    # float32 is what a graph keeps because it needs it: rounding it to TF32's ten bits would undo the keep list
    config.clear_flag(flags.TF32)
    if request.refit or strip:
        config.set_flag(flags.REFIT)
    if strip:
        config.set_flag(flags.STRIP_PLAN)
    _add_profiles(builder, network, config, request)
    return config


def _add_profiles(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    request: PlanRequest,
) -> None:
    """One profile per batch, whose three sizes are the same: its kernels are chosen for that size, and a CUDA graph can
    be captured for it. Free sides of frames keep their range in each."""
    ports = [network.get_input(index) for index in range(network.num_inputs)]
    free = [port for port in ports if -1 in tuple(port.shape)]
    if not any(tuple(port.shape)[:1] == (-1,) for port in free):
        _check_fixed(ports, request)
    if not free:
        return
    for batch in request.batches:
        profile = builder.create_optimization_profile()
        for port in free:
            ranges = [_range(port, axis, batch, request.name) for axis in range(len(tuple(port.shape)))]
            least, tuned, most = (tuple(sizes) for sizes in zip(*ranges, strict=True))
            profile.set_shape(port.name, least, tuned, most)
        if config.add_optimization_profile(profile) < 0:
            raise PlanError(f"graph {request.name}: TensorRT takes no profile of batch {batch}")


def _check_fixed(ports: list[trt.ITensor], request: PlanRequest) -> None:
    """A graph without a free batch has the one that its ports say."""
    sizes = {tuple(port.shape)[:1] for port in ports}
    fixed = next(iter(sizes.pop()), 1) if len(sizes) == 1 else 1
    if request.batches != (fixed,):
        raise PlanError(
            f"graph {request.name} has a fixed batch of {fixed}, so it cannot have the batches "
            f"{', '.join(map(str, request.batches))}; ask for {fixed} or free its first dimension"
        )


def _range(port: trt.ITensor, axis: int, batch: int, name: str) -> tuple[int, int, int]:
    size = tuple(port.shape)[axis]
    if size >= 0:
        return size, size, size
    if axis == 0:
        return batch, batch, batch
    label = port.get_dimension_name(axis)
    if label not in SIDES:
        raise PlanError(
            f"graph {name}: dimension {axis} of port {port.name!r} is free ({label or 'without a name'}), expected "
            f"{BATCH} at 0, or one of {', '.join(SIDES)}; export it with a fixed size"
        )
    return SIDES[label]
