"""What is broken on this machine, and the one thing that mends it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from engine import backends, models
from engine.errors import BackendError, MarotteError
from engine.findings import Check, Finding, examined, parted
from engine.versions import versions

_NEEDED = ("numpy", "cv2", "numba", "av", "onnx", "flatbuffers", "rich")
_CODECS = ("libx264", "aac", "libvpx-vp9", "libopus")
_ROOM_BYTES = 300 << 20  # the wheel, the converted models and the kernels' cache
COMPILING_S: Final = 180.0
"""For a check that may have to compile: kernels, or a GPU's network."""
_PULL = "run: marotte models pull"


def checks(*, cache: Path | None = None, backend: str = "auto") -> list[Check]:
    """Every piece that rendering needs."""
    return [
        Check("python", _python),
        Check("packages", _packages),
        Check("cache", lambda: _cache(models.models_folder(cache), _complete(cache))),
        Check("models", lambda: _models(cache)),
        Check("gpu", lambda: _gpu(backend), COMPILING_S),
        Check("backend", lambda: _backend(backend, cache), COMPILING_S),
        Check("kernels", _kernels, COMPILING_S),
        Check("codecs", _codecs),
    ]


def examine(*, cache: Path | None = None, backend: str = "auto") -> list[Finding]:
    """Look at all of them; a piece whose examination fails, or hangs, is a finding, not a crash."""
    return list(examined(checks(cache=cache, backend=backend)))


def _python() -> list[Finding]:
    ok = sys.version_info >= (3, 11)
    where = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return [Finding("python", ok, where, "" if ok else "install Python 3.11 or newer")]


def _packages() -> list[Finding]:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        fix = "run again: python -m pip install marotte"
        return [Finding("packages", False, f"missing {', '.join(missing)}", fix)]
    found = ", ".join(f"{name} {text}" for name, text in versions().items() if name != "python")
    return [Finding("packages", True, found)]


def _complete(cache: Path | None) -> bool:
    """Whether nothing has to be pulled; whether it is whole is for the models' own findings."""
    return all(row.ok for row in models.list_models(cache) if row.model.sha256)


def _cache(folder: Path, complete: bool) -> list[Finding]:
    """complete: every model is there, so that rendering works though nothing can be written."""
    elsewhere = "name another folder with --cache DIR or MAROTTE_CACHE"
    standing = _standing(folder)
    if not standing.is_dir():
        return [
            Finding("cache", False, f"{standing} is a file, expected a folder", f"remove it, or {elsewhere}")
        ]
    fault = _unwritable(standing)
    if fault:
        detail = f"{folder} cannot be written ({fault})" + (", and holds every model" if complete else "")
        fix = "" if complete else f"make it writable, or {elsewhere}"
        return [Finding("cache", complete, detail, fix)]
    free = shutil.disk_usage(standing).free
    if free < _ROOM_BYTES and not complete:
        detail = f"{folder} has {free >> 20} MB left, expected {_ROOM_BYTES >> 20}"
        return [Finding("cache", False, detail, f"free some space, or {elsewhere}")]
    return [Finding("cache", True, f"{folder}, {free >> 20} MB left")]


def _standing(folder: Path) -> Path:
    """The folder, or its nearest parent that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def _unwritable(folder: Path) -> str:
    """Why nothing can be put there, or "". Tried, not asked: permissions do not tell of a read-only disk."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _models(cache: Path | None) -> list[Finding]:
    rows = models.verify(cache)
    return [_model(row) for row in rows if row.model.sha256 or row.path.exists()]


def _model(row: models.Row) -> Finding:
    piece = f"model {row.model.name}"
    if row.condition is models.Condition.READY:
        known = row.model.onnx_sha256 is not None
        return Finding(piece, True, "its SHA-256 is right" if known else "it is as it was when it was added")
    return Finding(piece, False, *parted(row.detail.removeprefix(f"{piece}: ")))


def _gpu(backend: str) -> list[Finding]:
    from engine.doctor_gpu import examine_gpu

    return examine_gpu(backend)


def _backend(name: str, cache: Path | None) -> list[Finding]:
    """Chosen, opened, and asked to find the sample portrait's face."""
    try:
        choice = backends.choose(name)
    except BackendError as error:
        return [Finding("backend", False, *parted(str(error)))]
    told = f"{choice.name} ({choice.reason})"
    try:
        found = _sample_faces(choice.name, cache)
    except BackendError as error:
        if choice.name in backends.GPU_BACKENDS:
            fault, fix = parted(str(error))
            return [
                Finding("backend", False, f"{told}: {fault}", fix or f"name --backend {backends.BACKENDS[0]}")
            ]
        other = next(one for one in backends.BACKENDS if one != choice.name)
        fix = f"run: python -m pip install --force-reinstall {choice.name}, or name --backend {other}"
        return [Finding("backend", False, f"{told}: {error}", fix)]
    except MarotteError as error:
        fault, fix = parted(str(error))
        return [Finding("backend", False, f"{told} was not tried: {fault}", fix)]
    if found != 1:
        detail = f"{told} finds {found} faces in the sample portrait, expected 1"
        return [Finding("backend", False, detail, f"{_PULL}, or name another --backend")]
    return [Finding("backend", True, f"{told}, finds the sample portrait's face")]


def _sample_faces(backend: str, cache: Path | None) -> int:
    from engine.media import read_picture
    from engine.sample import sample_portrait
    from engine.track.face import FaceTracker

    with closing(FaceTracker(backend=backend, cache=cache)) as tracker:
        return len(tracker.detect(read_picture(sample_portrait())))


def _kernels() -> list[Finding]:
    from engine.compiled import compiled
    from engine.generators import mesh_flow

    mesh_flow.warm_up()
    folder = compiled(_nothing).stats.cache_path  # type: ignore[attr-defined]
    if folder is None:
        detail = "compiled at every start, for no folder takes their cache"
        return [Finding("kernels", True, detail, "name a folder of yours in NUMBA_CACHE_DIR to start faster")]
    return [Finding("kernels", True, f"compiled, and kept in {folder}")]


def _nothing() -> None:
    """A kernel like any other, to ask where its cache lies."""


def _codecs() -> list[Finding]:
    import av

    missing = [name for name in _CODECS if name not in av.codecs_available]
    if missing:
        fix = "take PyAV from its wheel, which brings them: python -m pip install --force-reinstall av"
        return [Finding("codecs", False, f"no {', '.join(missing)}", fix)]
    return [Finding("codecs", True, ", ".join(_CODECS))]
