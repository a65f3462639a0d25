"""The calls into TensorRT, held against its real bindings: what cannot run here is at least called as it is written.

The stubs in tests/stubs are made from the bindings of 10 and 11. mypy holds the code against both; here the stubs
are held against the bindings that are installed: RTX's, and TensorRT's own, which load without a GPU beside stand-ins.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TOOLS = PROJECT / "tests" / "tensorrt"
STUBS = PROJECT / "tests" / "stubs"
LIBRARIES = ("libnvinfer.so.11", "libnvonnxparser.so.11", "libnvinfer_plugin.so.11")
NOT_OF_RTX = ("kernel_text", "PREFER_AOT_PYTHON_PLUGINS", "PREFER_JIT_PYTHON_PLUGINS")
"""What RTX lacks, and nothing here uses: plugins written in Python."""


@cache
def _stub(major: int) -> dict[str, list[list[str]]]:
    """As read_signatures.py gives them, of a stub."""
    tree = ast.parse((STUBS / f"tensorrt{major}" / "tensorrt" / "__init__.pyi").read_text("utf-8"))
    found: dict[str, list[list[str]]] = {}
    for cls in tree.body:
        if not isinstance(cls, ast.ClassDef):
            continue
        found[cls.name] = []
        for part in cls.body:
            if isinstance(part, ast.FunctionDef):
                plain = not any(isinstance(d, ast.Name) and d.id == "property" for d in part.decorator_list)
                entry = found.setdefault(f"{cls.name}.{part.name}", [])
                if plain:
                    entry.append([argument.arg for argument in part.args.args])
            elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                found[f"{cls.name}.{part.target.id}"] = []
    return found


def _read(module: str, libraries: tuple[Path, ...] = ()) -> tuple[str, dict[str, list[list[str]]]]:
    if find_spec(module) is None:
        if os.environ.get("CI") and sys.platform == "linux":
            pytest.fail(f"{module} is part of the extra dev, and is not there")
        pytest.skip(f"{module} is not installed: python -m pip install 'marotte[dev]', on Linux")
    command = [sys.executable, str(TOOLS / "read_signatures.py"), module, *map(str, libraries)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    read: dict[str, Any] = json.loads(done.stdout)
    return read["version"], read["signatures"]


def _differences(stub: dict[str, list[list[str]]], real: dict[str, list[list[str]]]) -> list[str]:
    wrong = []
    for name, overloads in stub.items():
        if name.endswith((".__buffer__", ".__members__")):
            continue
        if name not in real:
            wrong.append(f"{name} is not there")
        elif real[name]:  # an abstract method, and a constructor of an enumeration, say nothing of themselves
            wrong += [f"{name}{tuple(one)} is {real[name]}" for one in overloads if one not in real[name]]
    return wrong


def test_rtx_has_every_call_that_is_made() -> None:
    """Names and parameters, overload by overload."""
    _, real = _read("tensorrt_rtx_bindings")
    wrong = [line for line in _differences(_stub(11), real) if not any(word in line for word in NOT_OF_RTX)]
    assert wrong == []
    assert sum(bool(real.get(name)) for name in _stub(11)) > 30


def test_tensorrt_11_has_every_call_that_is_made(tmp_path: Path) -> None:
    """The data-centre bindings, over libraries that have their symbols and nothing else."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc): the bindings cannot be loaded without their libraries")
    for library in LIBRARIES:
        command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{library}", "-o", str(tmp_path / library)]
        subprocess.run([*command, str(TOOLS / "stand_in.c")], check=True)
    version, real = _read("tensorrt_bindings", tuple(tmp_path / library for library in LIBRARIES))
    assert version.startswith("11.")
    assert _differences(_stub(11), real) == []


def test_a_changed_signature_would_be_found() -> None:
    """The comparison can fail: a parameter of another name, an overload that is gone, a class that is gone."""
    real = {"A": [], "A.build": [["self", "network"]], "A.gone": [["self"]]}
    assert _differences({"A.build": [["self", "network"]]}, real) == []
    assert _differences({"A.build": [["self", "net"]]}, real)
    assert _differences({"A.build": [["self", "network"], ["self"]]}, real)
    assert _differences({"B": []}, real)


def test_the_two_majors_differ_where_they_are_handled_apart() -> None:
    """10 has the flags of loose types and may be told to be strict; 11 has none of them."""
    ten, eleven = _stub(10), _stub(11)
    assert {"BuilderFlag.FP16", "BuilderFlag.INT8", "BuilderFlag.BF16"} <= ten.keys()
    assert not {"BuilderFlag.FP16", "BuilderFlag.INT8", "BuilderFlag.BF16"} & eleven.keys()
    for name in ("NetworkDefinitionCreationFlag.STRONGLY_TYPED", "SerializationFlag.INCLUDE_REFIT"):
        assert name in ten
        assert name in eleven


@pytest.mark.full
@pytest.mark.parametrize("major", [10, 11])
def test_mypy_holds_the_calls_against_both_majors(major: int) -> None:
    """No call that one of them lacks: the builder, the refitter, and the engine's backend."""
    files = ["export/tensorrt", "engine/backends/tensorrt.py", "engine/backends/tensorrt_rows.py"]
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--follow-imports=silent"]
    command += [
        "--ignore-missing-imports",
        "--no-warn-unused-ignores",
        "--no-incremental",
        "--python-version=3.11",
        *files,
    ]
    environment = os.environ | {"MYPYPATH": str(STUBS / f"tensorrt{major}")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, env=environment, check=False)
    assert done.returncode == 0, done.stdout
