"""The doctor of a GPU's runtimes: what is missing or does not fit is named, with the one command that mends it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine import backends
from engine.backends.driver import Device, Driver
from engine.doctor_gpu import RELEASES, Examined, cuda_of, examine_gpu, installed
from engine.errors import BackendError
from engine.findings import Finding

NEW = Driver("580.95.05", (13, 0), (Device(0, "NVIDIA L4", (8, 9), 24 << 30),))
OLD = Driver("550.54.15", (12, 4), NEW.devices)
SOUND = {
    "tensorrt": "11.4.0.106",
    "tensorrt-cu13": "11.4.0.106",
    "tensorrt-cu13-libs": "11.4.0.106",
    "tensorrt-cu13-bindings": "11.4.0.106",
    "onnxruntime-gpu": "1.31.1",
    "cuda-bindings": "13.4.4",
    "nvidia-cudnn-cu13": "9.28.0.42",
}


def no_driver() -> Driver:
    raise BackendError(
        "there is no NVIDIA driver here (libcuda.so.1 is missing); start the container with: --gpus all"
    )


def seen(
    packages: dict[str, str],
    driver: Driver | Callable[[], Driver] = NEW,
    faults: dict[str, str] | None = None,
    backend: str = "auto",
) -> list[Finding]:
    """What is found; nothing but what stands in `faults` is unusable. Without a driver no runtime may be touched."""

    def unusable(name: str) -> str:
        assert driver is not no_driver
        return (faults or {}).get(name, "")

    find = (lambda: driver) if isinstance(driver, Driver) else driver
    return examine_gpu(backend, Examined(find, unusable, packages))


def bad(findings: list[Finding]) -> Finding:
    (finding,) = [one for one in findings if not one.ok]
    assert "\n" not in str(finding)
    return finding


def test_a_machine_without_a_gpu_is_sound() -> None:
    """It is told in one line, and no runtime is touched."""
    (finding,) = seen({}, no_driver)
    assert finding.ok
    assert "there is no NVIDIA driver here" in finding.detail
    assert "everything runs on the CPU" in finding.detail
    assert not finding.fix


@pytest.mark.parametrize(("packages", "backend"), [(SOUND, "auto"), ({}, "tensorrt")])
def test_a_missing_driver_is_named_where_it_is_needed(packages: dict[str, str], backend: str) -> None:
    """Where runtimes of a GPU are installed, or one was asked for by name."""
    finding = bad(seen(packages, no_driver, backend=backend))
    assert finding.piece == "gpu driver"
    assert "tensorrt" in finding.detail
    assert finding.fix == "start the container with: --gpus all"


def test_a_sound_gpu_box_is_sound() -> None:
    """Driver, packages, and each runtime that is installed, a line each; one that is not installed is not missed."""
    findings = seen(SOUND)
    assert all(finding.ok and not finding.fix for finding in findings)
    assert [finding.piece for finding in findings] == [
        "gpu driver", "gpu packages", "tensorrt", "onnxruntime_cuda",
    ]  # fmt: skip
    assert "NVIDIA L4 with driver 580.95.05, runs CUDA up to 13.0" in findings[0].detail


def test_a_gpu_without_runtimes_says_what_would_use_it() -> None:
    """Nothing is broken, and the command stands there."""
    *_, finding = seen({})
    assert finding.ok
    assert finding.fix == "run: python -m pip install 'marotte[gpu]'"


def test_a_driver_that_is_too_old_is_named() -> None:
    """With what it runs, what needs more, and from which release on it does."""
    finding = bad(seen(SOUND, OLD))
    assert finding.piece == "gpu driver"
    assert "runs CUDA up to 12.4" in finding.detail
    assert "onnxruntime-gpu" in finding.detail
    assert "needs 13" in finding.detail
    assert RELEASES[13] in finding.fix


@pytest.mark.parametrize(
    ("changed", "detail", "fix"),
    [
        (
            {"nvidia-cudnn-cu12": "9.1"},
            "nvidia-cudnn-cu12 is not for CUDA 13",
            "pip uninstall --yes nvidia-cudnn-cu12",
        ),
        (
            {"onnxruntime-gpu": "1.22.0"},
            "onnxruntime-gpu is not for CUDA 13",
            "'onnxruntime-gpu[cuda,cudnn]>=1.31'",
        ),
        ({"cuda-bindings": "12.9.4"}, "cuda-bindings is not for CUDA 13", "'cuda-bindings>=13'"),
        (
            {"tensorrt-cu13-libs": "11.3.0.99"},
            "tensorrt-cu13-libs 11.3.0.99",
            "pip install --force-reinstall tensorrt-cu13==11.4.0.106",
        ),
        (
            dict.fromkeys(("tensorrt-cu13", "tensorrt-cu13-libs", "tensorrt-cu13-bindings"), "12.1"),
            "TensorRT 12 is not known here, expected 10 or 11",
            "'tensorrt>=10,<12'",
        ),
    ],
)
def test_packages_that_do_not_fit_are_named(changed: dict[str, str], detail: str, fix: str) -> None:
    """By what pip knows of them, before any is loaded; one command mends it."""
    finding = bad(seen(SOUND | changed))
    assert finding.piece == "gpu packages"
    assert detail in finding.detail
    assert fix in finding.fix
    assert finding.fix.startswith("run: ")


def test_the_cuda_of_a_package_is_told() -> None:
    """By its name, or by the version from which on it was built for another."""
    packages = {
        "onnxruntime-gpu": "1.26.0",
        "tensorrt-cu12": "10.9",
        "cuda-bindings": "13.0.3",
        "tensorrt": "11.4",
    }
    assert cuda_of(packages) == {"onnxruntime-gpu": 12, "tensorrt-cu12": 12, "cuda-bindings": 13}
    assert cuda_of({"onnxruntime-gpu": "1.27.0"}) == {"onnxruntime-gpu": 13}


def test_a_runtime_that_does_not_run_is_named() -> None:
    """What its own trial says, split into the fault and what mends it."""
    told = "backend onnxruntime_cuda: libcudnn.so.9 cannot be loaded; run: python -m pip install it"
    finding = bad(seen(SOUND, faults={"onnxruntime_cuda": told}))
    assert finding == Finding(
        "onnxruntime_cuda", False, "libcudnn.so.9 cannot be loaded", "run: python -m pip install it"
    )


def test_this_machine_is_examined() -> None:
    """The real driver and packages: whatever is here, each finding is a line, and a bad one has its command."""
    assert all(isinstance(version, str) for version in installed().values())
    for finding in examine_gpu():
        assert "\n" not in str(finding)
        assert finding.ok or finding.fix
    assert set(backends.GPU_BACKENDS) == {"tensorrt", "tensorrt_rtx", "onnxruntime_cuda"}
