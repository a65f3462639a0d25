"""What is broken on this machine, and the one thing that mends it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine import models
from engine.errors import MarotteError

_ROOM_BYTES = 300 << 20  # the wheel, the converted models and the kernels' cache


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece that was looked at. fix: what to do about it, empty when it is sound."""

    piece: str
    ok: bool
    detail: str
    fix: str = ""

    def __str__(self) -> str:
        mark = "ok  " if self.ok else "BAD "
        return f"{mark} {self.piece}: {self.detail}" + (f" -> {self.fix}" if self.fix else "")


def examine(*, cache: Path | None = None, backend: str = "auto") -> list[Finding]:
    """Look at every piece that rendering needs; a piece whose examination fails is a finding, not a crash."""
    checks: list[Callable[[], list[Finding]]] = [
        _python,
        _packages,
        lambda: _cache(models.cache_folder(cache)),
        lambda: _models(cache),
        lambda: _backend(backend, cache),
        _kernels,
        _codecs,
    ]
    return [finding for check in checks for finding in _guarded(check)]


def _guarded(check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as error:
        name = getattr(check, "__name__", "check").strip("_")
        return [Finding(name, False, f"{type(error).__name__}: {error}", "report this with the text above")]


def _python() -> list[Finding]:
    ok = sys.version_info >= (3, 11)
    where = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return [Finding("python", ok, where, "" if ok else "install Python 3.11 or newer")]


def _packages() -> list[Finding]:
    missing = [
        name
        for name in ("numpy", "cv2", "numba", "av", "onnx", "flatbuffers", "rich")
        if not importlib.util.find_spec(name)
    ]
    if missing:
        return [
            Finding("packages", False, f"missing {', '.join(missing)}", "run `pip install marotte` again")
        ]
    return [Finding("packages", True, "all of the plain install is there")]


def _cache(folder: Path) -> list[Finding]:
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir() or not _writable(existing):
        fix = "make it writable, or name another with --cache DIR or MAROTTE_CACHE"
        return [Finding("cache", False, f"{folder} cannot be written", fix)]
    free = shutil.disk_usage(existing).free
    if free < _ROOM_BYTES:
        fix = f"free {(_ROOM_BYTES - free) >> 20} MB more, or name another folder with --cache DIR"
        return [Finding("cache", False, f"{folder} has {free >> 20} MB left", fix)]
    return [Finding("cache", True, f"{folder}, {free >> 30} GB left")]


def _writable(folder: Path) -> bool:
    """Tried, not asked: permissions alone do not tell of a read-only file system."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _models(cache: Path | None) -> list[Finding]:
    rows = models.verify(cache)
    return [
        Finding(f"model {row.name}", row.ok, row.detail, "" if row.ok else "run `marotte models pull`")
        for row in rows
    ]


def _backend(name: str, cache: Path | None) -> list[Finding]:
    from engine import backends

    try:
        choice = backends.choose(name)
    except MarotteError as error:
        return [
            Finding("backend", False, str(error), "run `pip install openvino` or name --backend onnxruntime")
        ]
    try:
        backends.open_graph(models.locate(next(iter(models.REGISTRY)), cache), choice.name).close()
    except MarotteError as error:
        return [
            Finding("backend", False, f"{choice.name}: {error}", "run `marotte models pull`, then try again")
        ]
    return [Finding("backend", True, f"{choice.name} ({choice.reason})")]


def _kernels() -> list[Finding]:
    from engine.generators import mesh_flow

    mesh_flow.warm_up()
    where = os.environ.get("NUMBA_CACHE_DIR", "beside the package")
    return [Finding("kernels", True, f"compiled; their cache is {where}")]


def _codecs() -> list[Finding]:
    import av

    missing = [name for name in ("libx264", "aac", "libvpx") if name not in av.codecs_available]
    if missing:
        fix = "install PyAV from its wheel (`pip install --force-reinstall av`), which brings them"
        return [Finding("codecs", False, f"no {', '.join(missing)}", fix)]
    return [Finding("codecs", True, "H.264, VP8 and AAC")]
