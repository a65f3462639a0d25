"""What of a GPU's runtimes is missing on this machine, or of another version than the rest, and what mends it.

Versions are compared by what pip knows; then each runtime that is installed is loaded, and has to run a small network.
Where there is no driver nothing of theirs is touched, and nothing is wrong: everything runs on the CPU.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Final

from engine import backends
from engine.backends.driver import Driver, driver
from engine.errors import BackendError
from engine.findings import Finding, parted

CUDA: Final = 13
"""Major version of CUDA that Marotte's extras install for."""
RELEASES: Final = {12: "525", 13: "580"}
"""The driver's first release for a major version of CUDA, on Linux."""
TENSORRT: Final = (10, 11)
"""Major versions that plans are built for."""

_RUNTIMES: Final = {
    "tensorrt": ("tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
    "tensorrt_rtx": ("onnxruntime-ep-nv-tensorrt-rtx-cu12", "onnxruntime-ep-nv-tensorrt-rtx-cu13"),
    "onnxruntime_cuda": ("onnxruntime-gpu",),
}
"""Packages, any of which brings the runtime of a GPU backend."""
_PARTS: Final = ("-libs", "-bindings")
_OF_CUDA_13: Final = (1, 27)
"""From this version on onnxruntime-gpu is built for CUDA 13."""
_FURTHER: Final = ("cuda-bindings", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13")
_PACKAGES: Final = (
    *(name for names in _RUNTIMES.values() for name in names),
    *(f"tensorrt-{cuda}{part}" for cuda in ("cu12", "cu13") for part in _PARTS),
    *_FURTHER,
)


def installed() -> dict[str, str]:
    """Versions of the packages that belong to a GPU's runtimes, by name; those that are there."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class Examined:
    """Where this looks; the machine itself unless a test says otherwise."""

    driver: Callable[[], Driver] = driver
    unusable: Callable[[str], str] = field(default_factory=lambda: backends.unusable)
    packages: Mapping[str, str] = field(default_factory=installed)


def examine_gpu(backend: str = "auto", examined: Examined | None = None) -> list[Finding]:
    """backend: what was asked for; a GPU's is looked at even where none of its packages is installed."""
    examined = examined or Examined()
    there = [name for name, brings in _RUNTIMES.items() if any(one in examined.packages for one in brings)]
    wanted = [name for name in backends.GPU_BACKENDS if name in there or name == backend]
    try:
        found = examined.driver()
    except BackendError as error:
        if not wanted:
            return [Finding("gpu", True, f"{parted(str(error))[0]}: everything runs on the CPU")]
        fault, fix = parted(str(error))
        return [Finding("gpu driver", False, f"{fault}, and {', '.join(wanted)} needs it", fix)]
    findings = [_driver(found, examined.packages), *_versions(examined.packages)]
    if not wanted:
        detail = "no runtime for it is installed: everything runs on the CPU"
        return [*findings, Finding("gpu runtimes", True, detail, "run: python -m pip install 'marotte[gpu]'")]
    return [*findings, *(_runtime(name, examined) for name in wanted)]


def _driver(found: Driver, packages: Mapping[str, str]) -> Finding:
    needed = max(cuda_of(packages).values(), default=0)
    runs = ".".join(str(part) for part in found.cuda)
    if found.cuda[0] >= needed:
        return Finding("gpu driver", True, f"{found}, runs CUDA up to {runs}")
    newest = [name for name, major in cuda_of(packages).items() if major == needed]
    detail = f"{found} runs CUDA up to {runs}, and {', '.join(newest)} needs {needed}"
    if sys.platform == "win32":
        fix = f"install release {RELEASES[needed]} or newer from nvidia.com/drivers"
    else:
        fix = f"run: sudo ubuntu-drivers install (release {RELEASES[needed]} or newer; of the host in a container)"
    return Finding("gpu driver", False, detail, fix)


def cuda_of(packages: Mapping[str, str]) -> dict[str, int]:
    """The major version of CUDA that each package is built for, where its name or version tells."""
    found = {}
    for name, version in packages.items():
        if told := re.search(r"-cu(\d+)", name):
            found[name] = int(told[1])
        elif name == "cuda-bindings":
            found[name] = int(version.split(".")[0])
        elif name == "onnxruntime-gpu":
            found[name] = 13 if _numbers(version)[:2] >= _OF_CUDA_13 else 12
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _versions(packages: Mapping[str, str]) -> list[Finding]:
    """What does not fit together, one finding each."""
    found = []
    built_for = cuda_of(packages)
    if len(set(built_for.values())) > 1:
        odd = sorted(name for name, major in built_for.items() if major != CUDA)
        rest = sorted(name for name, major in built_for.items() if major == CUDA)
        detail = f"{', '.join(odd)} is not for CUDA {CUDA}, as {', '.join(rest)} is"
        found.append(Finding("gpu packages", False, detail, _without(odd)))
    found += _tensorrt(packages)
    if found or not packages:
        return found
    told = ", ".join(f"{name} {version}" for name, version in packages.items())
    return [Finding("gpu packages", True, told)]


def _without(odd: list[str]) -> str:
    """One line that leaves those packages away, and takes what can be had for the right CUDA."""
    anew = {
        "onnxruntime-gpu": "'onnxruntime-gpu[cuda,cudnn]>=1.31'",
        "cuda-bindings": f"'cuda-bindings>={CUDA}'",
    }
    renewed = [anew[name] for name in odd if name in anew]
    if renewed:
        return f"run: python -m pip install --force-reinstall {' '.join(renewed)}"
    return f"run: python -m pip uninstall --yes {' '.join(odd)}"


def _tensorrt(packages: Mapping[str, str]) -> list[Finding]:
    found = []
    for cuda in ("cu12", "cu13"):
        parts = {name: packages[name] for name in packages if name.startswith(f"tensorrt-{cuda}")}
        if len(set(parts.values())) > 1:
            told = ", ".join(f"{name} {version}" for name, version in parts.items())
            whole = f"tensorrt-{cuda}"
            pinned = f"{whole}=={parts.get(whole, max(parts.values(), key=_numbers))}"
            fix = f"run: python -m pip install --force-reinstall {pinned}"
            found.append(Finding("gpu packages", False, f"TensorRT in parts that do not fit: {told}", fix))
        major = _numbers(next(iter(parts.values()), str(TENSORRT[-1])))[0]
        if major not in TENSORRT:
            detail = f"TensorRT {major} is not known here, expected {' or '.join(map(str, TENSORRT))}"
            fix = f"run: python -m pip install 'tensorrt>={TENSORRT[0]},<{TENSORRT[-1] + 1}'"
            found.append(Finding("gpu packages", False, detail, fix))
    return found


def _runtime(name: str, examined: Examined) -> Finding:
    """Loaded, and asked to run a network."""
    fault = examined.unusable(name)
    if fault:
        detail, fix = parted(fault.removeprefix(f"backend {name}: "))
        return Finding(name, False, detail, fix)
    return Finding(name, True, "it runs a small network on the GPU")
