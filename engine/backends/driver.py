"""NVIDIA's driver, asked before any GPU runtime is touched: some of them crash where there is none.

Only the driver's own two libraries are loaded here, by ctypes: libcuda, which every runtime needs, and NVML for the
driver's release. Nothing is allocated on a device.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from engine.errors import BackendError

Load = Callable[[str], Any]
"""A shared library by its name, as ctypes.CDLL; raises OSError where it is not there."""

_CUDA: Final = {"win32": "nvcuda.dll"}.get(sys.platform, "libcuda.so.1")
_NVML: Final = {"win32": "nvml.dll"}.get(sys.platform, "libnvidia-ml.so.1")
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_LONGEST_NAME: Final = 256
_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"

_FAULTS: Final = {
    34: "the driver's library is a stub for building; run: ldconfig, or take the stub off LD_LIBRARY_PATH",
    100: "it sees no GPU; run: nvidia-smi -L",
    101: f"a device in {_VISIBLE} is not there; run: nvidia-smi -L",
    802: "the GPUs' fabric is not up; run: sudo systemctl restart nvidia-fabricmanager",
    803: "its library and its kernel module are of two versions; run: sudo reboot",
    804: "its compatibility library does not fit this GPU; take it off LD_LIBRARY_PATH",
}
"""CUresult codes of cuInit that one command mends."""


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU that this process may use. capability: of its processor, (9, 0) say. memory_bytes: all that it has."""

    number: int
    name: str
    capability: tuple[int, int]
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Driver:
    """release: of the driver, "580.95.05" say. cuda: the newest that it runs, (13, 0) say. devices: never empty."""

    release: str
    cuda: tuple[int, int]
    devices: tuple[Device, ...]

    def __str__(self) -> str:
        return f"{self.devices[0].name} with driver {self.release}"


@cache
def driver() -> Driver:
    """What this process may use, asked once. Raises BackendError that says what is missing and what mends it."""
    return probe()


def probe(load: Load = ctypes.CDLL, inside: bool | None = None) -> Driver:
    """Asks the driver. inside: whether this is a container, found out when None. Raises as `driver` does."""
    try:
        library = load(_CUDA)
    except OSError as error:
        raise BackendError(f"there is no NVIDIA driver here ({_CUDA} is missing); {_mend(inside)}") from error
    try:
        _call(library, "cuInit", ctypes.c_uint(0))
        version = _number(library, "cuDriverGetVersion")
        devices = tuple(_device(library, number) for number in range(_number(library, "cuDeviceGetCount")))
    except AttributeError as error:
        raise BackendError(f"{_CUDA} is not NVIDIA's ({error}); {_mend(inside)}") from error
    if not devices:
        raise BackendError(f"the NVIDIA driver: {_FAULTS[100]}")
    cuda = version // 1000, version % 1000 // 10
    return Driver(_release(load) or f"for CUDA {cuda[0]}.{cuda[1]}", cuda, devices)


def _call(library: Any, name: str, *arguments: Any) -> None:
    code = getattr(library, name)(*arguments)
    if code == 0:
        return
    text = ctypes.c_char_p()
    known = library.cuGetErrorName(ctypes.c_int(code), ctypes.byref(text)) == 0 and text.value is not None
    word = text.value.decode() if known and text.value is not None else f"error {code}"
    hint = _FAULTS.get(code, "run: nvidia-smi")
    raise BackendError(f"the NVIDIA driver answers {word}: {hint}")


def _number(library: Any, name: str, *arguments: Any) -> int:
    value = ctypes.c_int()
    _call(library, name, ctypes.byref(value), *arguments)
    return value.value


def _device(library: Any, number: int) -> Device:
    handle = ctypes.c_int(_number(library, "cuDeviceGet", ctypes.c_int(number)))
    name = ctypes.create_string_buffer(_LONGEST_NAME)
    _call(library, "cuDeviceGetName", name, ctypes.c_int(_LONGEST_NAME), handle)
    memory = ctypes.c_size_t()
    _call(library, "cuDeviceTotalMem_v2", ctypes.byref(memory), handle)
    major, minor = (
        _number(library, "cuDeviceGetAttribute", ctypes.c_int(at), handle) for at in (_MAJOR, _MINOR)
    )
    return Device(number, name.value.decode(errors="replace"), (major, minor), memory.value)


def _release(load: Load) -> str:
    """The driver's release by NVML, "" where that is not there."""
    text = ctypes.create_string_buffer(_LONGEST_NAME)
    try:
        library = load(_NVML)
        if library.nvmlInit_v2() != 0:
            return ""
        try:
            if library.nvmlSystemGetDriverVersion(text, ctypes.c_uint(_LONGEST_NAME)) != 0:
                return ""
        finally:
            library.nvmlShutdown()
    except (OSError, AttributeError):
        return ""
    return text.value.decode(errors="replace")


def _mend(inside: bool | None) -> str:
    if sys.platform == "darwin":
        return "no Mac has one: leave --backend away"
    if sys.platform == "win32":
        return "install it from nvidia.com/drivers, or leave --backend away"
    if _in_container() if inside is None else inside:
        return "start the container with: --gpus all"
    return "run: sudo ubuntu-drivers install, or leave --backend away"


def _in_container() -> bool:
    marks = (Path("/.dockerenv"), Path("/run/.containerenv"))
    return any(mark.exists() for mark in marks) or "KUBERNETES_SERVICE_HOST" in os.environ
