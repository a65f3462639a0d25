"""The arrows of the house: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent

FORBIDDEN = {
    "engine": {
        "torch", "aiortc", "aiohttp", "onnx", "uvloop", "prometheus_client",
        "trainers", "export", "streaming", "marotte",
    },
    "trainers": {"engine", "export", "streaming", "aiortc", "aiohttp", "marotte"},
    "export": {"streaming", "aiortc", "aiohttp", "prometheus_client", "marotte"},
    "streaming": {"trainers", "export", "torch", "marotte"},
}  # fmt: skip
ONE_FILE_ONLY = {
    "tensorrt": "engine/backends/tensorrt.py",
    "openvino": "engine/backends/openvino.py",
    "onnxruntime": "engine/backends/onnxruntime.py",
    "cuda": "engine/backends/cuda.py",
    "onnxruntime_ep_nv_tensorrt_rtx": "engine/backends/tensorrt_rtx.py",
    "mediapipe": "engine/track/mediapipe_tasks.py",
    "c2pa": "engine/provenance/native.py",
}


@cache
def _statements(path: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """A file's imports, wherever they stand in it; each file is read once for all tests."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return tuple(node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in _statements(path):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif node.level == 0:
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_a_package_imports_only_along_its_arrows(package: str) -> None:
    """streaming -> engine <- export -> trainers, and nothing else, not even inside a function."""
    broken = {
        f"{path.relative_to(PROJECT)} imports {name}"
        for path in (PROJECT / package).rglob("*.py")
        for name in _imports(path) & FORBIDDEN[package]
    }
    assert not broken


@pytest.mark.parametrize("runtime", sorted(ONE_FILE_ONLY))
def test_a_runtime_is_imported_in_one_file_of_the_engine(runtime: str) -> None:
    """Each optional runtime has one door, so that its absence is one clear error."""
    users = {
        str(path.relative_to(PROJECT).as_posix())
        for path in (PROJECT / "engine").rglob("*.py")
        if runtime in _imports(path)
    }
    assert users <= {ONE_FILE_ONLY[runtime]}


def _unpicklers(path: Path) -> bool:
    """Whether a file imports anything that can read a pickle; the error that torch.load raises cannot."""
    named = {
        name.split(".")[0]
        for node in _statements(path)
        if isinstance(node, ast.Import) or [alias.name for alias in node.names] != ["UnpicklingError"]
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
    }
    return bool(named & {"pickle", "cloudpickle", "dill", "joblib", "shelve"})


def test_no_pickle_is_read_anywhere() -> None:
    """Opening a user's file never runs code."""
    users = [
        str(path) for package in FORBIDDEN for path in (PROJECT / package).rglob("*.py") if _unpicklers(path)
    ]
    assert not users


def test_help_is_quick_and_loads_no_engine() -> None:
    """`marotte --help` costs under half a second of CPU, because a sub-command is imported only when called."""
    code = (
        "import sys, time, contextlib, io\n"
        "import marotte\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    marotte.main(['--help'])\n"
        "heavy = {'numpy', 'cv2', 'numba', 'openvino', 'onnx', 'av', 'rich'} & set(sys.modules)\n"
        "print(sorted(heavy), time.process_time())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    heavy, seconds = done.stdout.rsplit(maxsplit=1)
    assert heavy == "[]"
    assert float(seconds) < 0.5
