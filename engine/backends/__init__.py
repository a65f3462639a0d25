"""Inference runtimes behind one door: ``open_graph`` gives a graph with named ports, whatever runs it.

A backend is imported when it is first asked for. ``auto`` chooses and says why; a backend named by the user
is taken or refused, never replaced.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from engine.backends.graph import Arrays, Graph, Port
from engine.errors import BackendError, ModelError, PortError

__all__ = ["BACKENDS", "Arrays", "Choice", "Graph", "Port", "choose", "open_graph"]

BACKENDS: Final = ("openvino", "onnxruntime")
"""Known backends, in the order in which ``auto`` prefers them."""

_CLASSES: Final = {"openvino": "OpenVinoGraph", "onnxruntime": "OnnxRuntimeGraph"}
_REASONS: Final = {
    "openvino": "OpenVINO is installed, and is the fastest on a CPU",
    "onnxruntime": "OpenVINO is not installed here, ONNX Runtime is",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend and why it was taken."""

    name: str
    reason: str


def choose(name: str = "auto") -> Choice:
    """The backend that ``open_graph`` would take.

    Raises BackendError when it is not known or not installed, naming the fix.
    """
    if name == "auto":
        return _automatic()
    if name not in BACKENDS:
        near = difflib.get_close_matches(name, BACKENDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are auto, {', '.join(BACKENDS)}"
        raise BackendError(f"backend {name!r} is not known; {hint}")
    if not _installed(name):
        raise BackendError(f"backend {name} is not installed; run: python -m pip install {name}")
    return Choice(name, "asked for by name")


def _automatic() -> Choice:
    for name in BACKENDS:
        if _installed(name):
            return Choice(name, _REASONS[name])
    raise BackendError(f"no backend is installed; run: python -m pip install {BACKENDS[0]}")


def _installed(name: str) -> bool:
    return find_spec(name) is not None


def open_graph(
    path: Path,
    backend: str = "auto",
    threads: int = 1,
    outputs: Sequence[str] | None = None,
    *,
    data: bytes | None = None,
) -> Graph:
    """Opens an ONNX file and makes it ready to run.

    backend: "auto" or a name from BACKENDS. threads: cores that one run may use, 1 or more. outputs: names of
    those that are needed, all when None; OpenVINO leaves out what only the others need. data: the file's bytes,
    when they were read already; nothing is read then, and the path is only a name. Arithmetic is float32
    throughout. Raises ModelError when the file is not there, PortError for an unknown output, BackendError
    when the backend is absent, broken or refuses the graph.
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
        graph: Graph = getattr(module, _CLASSES[choice.name])(path, threads, wanted, data)
    except PortError as error:
        raise PortError(f"{path.name}: {error}") from error
    return graph
