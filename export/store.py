"""Converting one TFLite file into the cache: the graph and its sidecar, each written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Final

from engine.errors import ModelError
from engine.models import CONVERSION, Condition, Model, Sidecar, graph_path, inspect, sidecar_path
from export.tflite import convert

_PROVEN: Final = "1.23.2"
"""A version of onnx that makes the pinned graphs."""


def store(entry: Model, data: bytes, cache: Path | None = None) -> Path:
    """Converts a model's TFLite bytes and puts the result where the engine looks for it.

    Raises ModelError when the bytes are not the pinned ones, do not convert or convert to another graph than
    the pinned one, or the cache cannot be written to.
    """
    source = hashlib.sha256(data).hexdigest()
    if entry.sha256 not in (None, source):
        raise ModelError(
            f"model {entry.name}: SHA-256 {source}, expected {entry.sha256}; fetch the file again"
        )
    graph = _converted(entry, data)
    path = graph_path(entry.name, cache)
    sidecar = Sidecar(entry.name, source, CONVERSION, hashlib.sha256(graph).hexdigest(), len(graph))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, graph)
        # The sidecar comes last: a graph without it does not count.
        write_whole(sidecar_path(path), sidecar.to_json().encode())
    except OSError as error:
        raise ModelError(
            f"cannot write {path} ({error.strerror}); name a writable folder with --cache"
        ) from error
    return path


def _converted(entry: Model, data: bytes) -> bytes:
    graph: bytes = convert(data, entry.name).SerializeToString(deterministic=True)
    got = hashlib.sha256(graph).hexdigest()
    if entry.onnx_sha256 not in (None, got):
        made = f"model {entry.name}: onnx {version('onnx')} made a graph with the SHA-256 {got}"
        raise ModelError(f"{made}, expected {entry.onnx_sha256}; run: python -m pip install onnx=={_PROVEN}")
    return graph


def is_stored(entry: Model, cache: Path | None = None) -> bool:
    """Whether the graph is there and whole, so that nothing has to be done."""
    return inspect(entry, cache, full=True).condition is Condition.READY


def write_whole(path: Path, data: bytes) -> None:
    """Writes to a name of its own in the same folder, then renames: readers and rivals see the old or the
    new.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
