"""TensorRT for RTX, for the cards most people own: a plug-in of ONNX Runtime that compiles graphs by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.backends.driver import Device, driver
from engine.backends.gpu_session import Add, GpuGraph
from engine.backends.onnxruntime import Place, Provider, module
from engine.backends.trial import INPUT, TRIAL, check_trial
from engine.errors import BackendError, PlanError
from engine.plans.compiled import KeptCompiled
from engine.plans.key import Target

NAME: Final = "tensorrt_rtx"
INSTALL: Final = "python -m pip install 'marotte[rtx]'"

_PLUGIN: Final = "onnxruntime_ep_nv_tensorrt_rtx"
_LEAST_ORT: Final = (1, 24)
_NVIDIA: Final = 0x10DE  # PCI's number of the maker
_CAPABILITIES: Final = ((8, 6), (8, 9))
_FROM: Final = (12, 0)


@cache
def check() -> None:
    """Raises BackendError, with the one command that mends it, unless a small network really runs on the card."""
    card = driver().devices[0]
    if not supported(card.capability):
        raise BackendError(
            f"TensorRT for RTX runs on GeForce and RTX cards from the 30 series, got {_shown(card)}; "
            "take --backend tensorrt"
        )
    _devices()
    graph = TensorRtRtxGraph(Path("trial.onnx"), 1, None, TRIAL, checked=False)
    try:
        check_trial(graph.run({INPUT: np.ones((1, 1, 3, 3), np.float32)}), NAME)
    finally:
        graph.close()


def supported(capability: tuple[int, int]) -> bool:
    """Whether its library takes a processor of that capability, as the header of its package says."""
    return capability in _CAPABILITIES or capability >= _FROM


class TensorRtRtxGraph(GpuGraph):
    """See GpuGraph. What it compiles is kept in the cache of plans, and opened from there at the next start."""

    name, place = NAME, Place("gpu", 0, _NVIDIA)

    @staticmethod
    def check() -> None:
        """See the function of that name."""
        check()

    def provider(self, stream: dict[str, str], *, exact: bool) -> tuple[str, Add]:
        """See GpuGraph; it is exact in any case."""
        name, devices = _devices()

        def add(options: Any, capture: bool) -> Sequence[Provider]:
            # Its own cache of kernels (nv_runtime_cache_path) stays off: native code that it loads unasked.
            given = {"enable_cuda_graph": "1" if capture else "0", **stream}
            options.add_provider_for_devices(devices, given)
            return []

        return name, add

    def opened(
        self,
        session_of: Callable[[bytes | None], tuple[Any, bool]],
        path: Path,
        data: bytes | None,
        *,
        keep: bool,
    ) -> tuple[Any, bool]:
        """See GpuGraph. A kept plan that is refused is deleted and compiled again; where none can be made, the graph is
        compiled as it opens."""
        if not keep:
            return session_of(data)
        graph = path.read_bytes() if data is None else data
        kept = KeptCompiled(graph, path.name, _target(), lambda: _compiled(graph))
        for plan in kept.tries():
            try:
                return session_of(plan)
            except BackendError as error:
                kept.refuse(str(error))
        return session_of(graph)


def _compiled(graph: bytes) -> bytes:
    """The graph as one node that holds what the provider compiled. Raises PlanError."""
    runtime, (_, devices) = module(), _devices()
    options = runtime.SessionOptions()
    options.add_provider_for_devices(devices, {})
    flags = runtime.OrtCompileApiFlags.ERROR_IF_NO_NODES_COMPILED
    try:
        compiler = runtime.ModelCompiler(options, graph, embed_compiled_data_into_model=True, flags=flags)
        return bytes(compiler.compile_to_bytes())
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        raise PlanError(f"{NAME} gives no plan to keep ({_line(error)})") from error


def _target() -> Target:
    """What a kept plan is for: everything that may refuse it elsewhere."""
    found = driver()
    card = found.devices[0]
    made_by = f"{NAME} {_plugin_version()}, ONNX Runtime {module().__version__}"
    return Target(card.name, card.capability, found.release, made_by)


def _plugin_version() -> str:
    """By its package, whatever that is called for this CUDA; "" where it is not told."""
    for package in metadata.packages_distributions().get(_PLUGIN, []):
        return metadata.version(package)
    return ""


@cache
def _devices() -> tuple[str, list[Any]]:
    """The provider's name and the first device that it offers. Registered once, for the life of the process."""
    driver()  # its library is bound to the driver's
    runtime = module()
    version = tuple(int(part) for part in runtime.__version__.split(".")[:2])
    if version < _LEAST_ORT:
        raise BackendError(
            f"ONNX Runtime {runtime.__version__} takes no plug-in, expected 1.24 or newer; "
            "run: python -m pip install --upgrade onnxruntime"
        )
    try:
        import onnxruntime_ep_nv_tensorrt_rtx as plugin

        name = str(plugin.get_ep_name())
        runtime.register_execution_provider_library(name, plugin.get_library_path())
    except ImportError as error:
        raise BackendError(f"TensorRT for RTX is not installed ({error}); run: {INSTALL}") from error
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        raise BackendError(f"TensorRT for RTX cannot be loaded ({_line(error)}); run: {INSTALL}") from error
    devices = [device for device in runtime.get_ep_devices() if device.ep_name == name]
    if not devices:
        raise BackendError(f"TensorRT for RTX offers no device on {driver()}; update NVIDIA's driver")
    return name, devices[:1]


def _shown(card: Device) -> str:
    return f"{card.name} of capability {card.capability[0]}.{card.capability[1]}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
