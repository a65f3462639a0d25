"""What runs here, for reports and for people who ask what is wrong."""

from __future__ import annotations

import platform
from importlib import metadata

_PACKAGES = ("marotte", "numpy", "opencv-python-headless", "numba", "av", "openvino", "onnxruntime")


def versions() -> dict[str, str]:
    """Python's and the packages' versions by name; what is not installed is left out."""
    found = {name: _version(name) for name in _PACKAGES}
    return {"python": platform.python_version()} | {name: text for name, text in found.items() if text}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
