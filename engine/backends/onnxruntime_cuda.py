"""ONNX Runtime on a GPU by its CUDA provider: needs no plan and no TensorRT."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.backends.driver import driver
from engine.backends.gpu_session import Add, GpuGraph
from engine.backends.onnxruntime import Place, Provider, module
from engine.backends.trial import INPUT, TRIAL, check_trial
from engine.errors import BackendError

NAME: Final = "onnxruntime_cuda"
INSTALL: Final = "python -m pip install --force-reinstall 'onnxruntime-gpu[cuda,cudnn]'"

_PROVIDER: Final = "CUDAExecutionProvider"
_FAILED: Final = "Failed to load "


@cache
def check() -> None:
    """Raises BackendError, with the one command that mends it, unless a small network really runs on the GPU."""
    driver()
    runtime = module()
    if _PROVIDER not in runtime.get_available_providers():
        raise BackendError(f"this ONNX Runtime {runtime.__version__} has no CUDA provider; run: {INSTALL}")
    if missing := _missing(runtime):
        raise BackendError(f"{', '.join(missing)} cannot be loaded; run: {INSTALL}")
    graph = OnnxRuntimeCudaGraph(Path("trial.onnx"), 1, None, TRIAL, checked=False)
    try:
        check_trial(graph.run({INPUT: np.ones((1, 1, 3, 3), np.float32)}), NAME)
    finally:
        graph.close()


class OnnxRuntimeCudaGraph(GpuGraph):
    """See GpuGraph. Where it need not be exact, convolutions may round what they read to ten bits (TF32)."""

    name, place = NAME, Place("cuda")

    @staticmethod
    def check() -> None:
        """See the function of that name."""
        check()

    def provider(self, stream: dict[str, str], *, exact: bool) -> tuple[str, Add]:
        """See GpuGraph."""

        def add(options: Any, capture: bool) -> Sequence[Provider]:
            return [(_PROVIDER, _settings(exact=exact, capture=capture) | stream)]

        return _PROVIDER, add


def _settings(*, exact: bool, capture: bool) -> dict[str, str]:
    return {
        "device_id": "0",
        "enable_cuda_graph": "1" if capture else "0",
        # Every size is tried once, at opening, and the fastest algorithm kept.
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        # As much as is asked for and no more: several graphs share the memory.
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0" if exact else "1",
    }


def _missing(runtime: Any) -> list[str]:
    """Libraries of CUDA and cuDNN that are not there; those that came by pip are loaded on the way."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):  # it prints what it cannot find
        runtime.preload_dlls(directory="")
    lines = [line for line in told.getvalue().splitlines() if line.startswith(_FAILED)]
    return [line.removeprefix(_FAILED).partition(":")[0] for line in lines]
