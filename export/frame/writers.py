"""Which module writes a system's frame graphs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Final

from engine.bundle import GraphInfo, Parameters
from export.frame.graph import Written

WRITERS: Final = {"ganimation": "export.frame.ganimation", "geogan": "export.frame.geogan"}
"""System to the module whose `write(infos, files, parameters)` gives its frame graphs by name."""

WITHOUT: Final = {
    "maskgan": "its layouts are changed by the engine between two networks; none is written yet",
    "liquid_warping": "its mesh is drawn, and its flows are made, before the network; none is written yet",
    "stit": "its pictures are pasted by the seams that its tuning settled; none is written yet",
}
"""Systems whose bundles have none, and why: one that exports stands here or above."""


def write_frames(
    system: str, infos: Mapping[str, GraphInfo], files: Mapping[str, bytes], parameters: Parameters
) -> dict[str, Written]:
    """The frame graphs of a bundle's graphs; none where the system has no writer. Raises BundleError."""
    if system not in WRITERS:
        return {}
    write: Callable[..., dict[str, Written]] = importlib.import_module(WRITERS[system]).write
    return write(infos, files, parameters)
