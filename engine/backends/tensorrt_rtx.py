"""TensorRT for RTX, for the cards most people own: a plug-in of ONNX Runtime that compiles graphs as it opens them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.backends.cuda import allocating
from engine.backends.driver import Device, driver
from engine.backends.onnxruntime import DeviceGraph, Place, Provider, device_session, module
from engine.backends.trial import INPUT, TRIAL, check_trial
from engine.errors import BackendError

NAME: Final = "tensorrt_rtx"
INSTALL: Final = "python -m pip install 'marotte[rtx]'"

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


class TensorRtRtxGraph(DeviceGraph):
    """A session on the first card. Raises BackendError as `check` does, and where the graph is refused."""

    def __init__(
        self,
        path: Path,
        threads: int,
        wanted: tuple[str, ...] | None,
        data: bytes | None = None,
        *,
        checked: bool = True,
    ) -> None:
        if checked:
            check()
        provider, devices = _devices()

        def add(options: Any, capture: bool) -> Sequence[Provider]:
            # What it compiles for a card is native code, so it is kept in no folder that it would be loaded from.
            options.add_provider_for_devices(devices, {"enable_cuda_graph": "1" if capture else "0"})
            return []

        with allocating:
            session, captured = device_session(path, data, threads, NAME, add, provider)
            super().__init__(NAME, session, Place("gpu", 0, _NVIDIA), wanted, captured=captured)


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
