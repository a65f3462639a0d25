"""Inference runtimes behind one door: ``open_graph`` gives a graph with named ports, whatever runs it.

A backend is imported when it is first asked for. ``auto`` chooses and says why; a backend named by the user
is taken or refused, never replaced. No runtime of a GPU is touched before its driver answered.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from engine.backends.driver import driver as present_driver
from engine.backends.graph import Arrays, Graph, Port
from engine.errors import BackendError, ModelError, PortError
from engine.plans import policy
from engine.plans.request import Precision

__all__ = [
    "BACKENDS", "GPU_BACKENDS", "Arrays", "Choice", "Graph", "Port", "beside", "choose", "open_graph", "unusable",
]  # fmt: skip

BACKENDS: Final = ("openvino", "onnxruntime")
"""Backends that run on any machine, in the order in which ``auto`` prefers them."""

GPU_BACKENDS: Final = ("tensorrt", "tensorrt_rtx", "onnxruntime_cuda")
"""Backends that need an NVIDIA GPU; where one is really usable, ``auto`` prefers them to the others."""

_CLASSES: Final = {
    "openvino": "OpenVinoGraph",
    "onnxruntime": "OnnxRuntimeGraph",
    "onnxruntime_cuda": "OnnxRuntimeCudaGraph",
    "tensorrt_rtx": "TensorRtRtxGraph",
}
_REASONS: Final = {
    "openvino": "OpenVINO is installed, and is the fastest on a CPU",
    "onnxruntime": "OpenVINO is not installed here, ONNX Runtime is",
}
_PACKAGES: Final = {
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "onnxruntime_ep_nv_tensorrt_rtx",
    "onnxruntime_cuda": "onnxruntime",
}
"""What has to be installed for a GPU backend to be worth a look; its own `check` says the rest."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend and why it was taken."""

    name: str
    reason: str


def choose(name: str = "auto") -> Choice:
    """The backend that ``open_graph`` would take.

    Raises BackendError when it is not known or cannot be used, naming the fix.
    """
    if name == "auto":
        return _automatic()
    known = (*GPU_BACKENDS, *BACKENDS)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are auto, {', '.join(known)}"
        raise BackendError(f"backend {name!r} is not known; {hint}")
    if fault := unusable(name):
        raise BackendError(fault)
    return Choice(name, "asked for by name")


def unusable(name: str) -> str:
    """Why a known backend cannot be used here, in one line that ends with what mends it; "" when it can.

    A GPU backend is looked at no further than the driver where there is none; where there is one, a small network is
    run on it, once in a process.
    """
    if name in BACKENDS:
        return (
            "" if _installed(name) else f"backend {name} is not installed; run: python -m pip install {name}"
        )
    try:
        present_driver()
        module = importlib.import_module(f"engine.backends.{name}")
        module.check()
    except BackendError as error:
        return f"backend {name}: {error}"
    except (ImportError, OSError) as error:
        return f"backend {name} is broken ({error}); install it again"
    return ""


def _automatic() -> Choice:
    told = ""
    if gpu := _gpu():
        for name in GPU_BACKENDS:
            if not _worth(name):
                continue
            fault = unusable(name)
            if not fault:
                return Choice(name, f"it runs on {gpu}")
            told = told or fault
        told = told or f"on {gpu} it would be faster still: run: python -m pip install 'marotte[gpu]'"
    for name in BACKENDS:
        if _installed(name):
            return Choice(name, f"{_REASONS[name]}; {told}" if told else _REASONS[name])
    raise BackendError(f"no backend is installed; run: python -m pip install {BACKENDS[0]}")


def _gpu() -> str:
    """The first GPU and its driver, "" where there is none."""
    try:
        return str(present_driver())
    except BackendError:
        return ""


def _worth(name: str) -> bool:
    """Whether ``auto`` looks closer: its package is there, and for TensorRT also what builds its plans."""
    if name == "tensorrt" and policy.current().builder is None:
        return False
    return _installed(_PACKAGES[name]) and (name != "onnxruntime_cuda" or _has_cuda_provider())


def _has_cuda_provider() -> bool:
    """Whether the installed ONNX Runtime is its GPU build: told by its files, for importing it costs time."""
    found = find_spec("onnxruntime")
    folders = found.submodule_search_locations if found is not None else None
    return any(
        next(Path(folder, "capi").glob("*onnxruntime_providers_cuda.*"), None) for folder in folders or ()
    )


def _installed(name: str) -> bool:
    return find_spec(name) is not None


def beside(name: str) -> str:
    """The backend that serves while `name` is not ready. Raises BackendError where there is none."""
    for other in ("onnxruntime_cuda", *BACKENDS):
        usable = _installed(other) if other in BACKENDS else _worth(other) and not unusable(other)
        if other != name and usable:
            return other
    raise BackendError(f"nothing serves while {name} is not ready; run: python -m pip install {BACKENDS[0]}")


def open_graph(
    path: Path,
    backend: str = "auto",
    threads: int = 1,
    outputs: Sequence[str] | None = None,
    *,
    data: bytes | None = None,
    precision: Precision = "fp32",
    refit: bool = False,
) -> Graph:
    """Opens an ONNX file and makes it ready to run.

    backend: "auto" or a name from BACKENDS or GPU_BACKENDS. threads: cores that one run may use, 1 or more. outputs:
    names of those that are needed, all when None; OpenVINO leaves out what only the others need. data: the file's
    bytes, when they were read already; nothing is read then, and the path is only a name. precision: the lowest that
    may be used; only on a GPU does anything but float32 come of it. refit: other files of the same graph may come, with
    other weights. On TensorRT another backend serves until there is a plan (engine/plans/background.py). Raises
    ModelError when the file is not there, PortError for an unknown output, BackendError when the backend is absent,
    broken or refuses the graph.
    """
    choice = choose(backend)
    if threads < 1:
        raise BackendError(f"threads: expected 1 or more, got {threads}")
    if data is None and not path.is_file():
        raise ModelError(f"{path} is not there; run: marotte models pull")
    try:
        module = importlib.import_module(f"engine.backends.{choice.name}")
    except (ImportError, OSError) as error:
        raise BackendError(f"backend {choice.name} is broken ({error}); install it again") from error
    wanted = None if outputs is None else tuple(outputs)
    try:
        if choice.name == "tensorrt":
            data = path.read_bytes() if data is None else data
            return _planned(module, path, threads, wanted, data, precision, refit)
        exact = {"exact": precision == "fp32"} if choice.name == "onnxruntime_cuda" else {}
        graph: Graph = getattr(module, _CLASSES[choice.name])(path, threads, wanted, data, **exact)
    except PortError as error:
        raise PortError(f"{path.name}: {error}") from error
    return graph


def _planned(
    module: Any,
    path: Path,
    threads: int,
    wanted: tuple[str, ...] | None,
    data: bytes,
    precision: Precision,
    refit: bool,
) -> Graph:
    from engine.plans.opening import open_planned

    return open_planned(
        data,
        path.name,
        load=lambda plan: module.TensorRtGraph(plan, path.name, wanted),
        serve=lambda: open_graph(path, beside("tensorrt"), threads, wanted, data=data, precision=precision),
        version=module.version(),
        precision=precision,
        refit=refit,
    )
