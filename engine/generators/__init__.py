"""The generators by name."""

from __future__ import annotations

import difflib

from engine.errors import ConfigError
from engine.plug import Generator, Runner

NAMES = ("mesh_flow",)


def open_generator(name: str) -> tuple[Generator, Runner]:
    """A generator and what executes it, compiled before the first frame. Raises ConfigError for a name that is not in NAMES."""
    if name == "mesh_flow":
        from engine.generators.mesh_flow import MeshFlow, MeshFlowRunner, warm_up

        warm_up()
        return MeshFlow(), MeshFlowRunner()
    nearest = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.0)
    raise ConfigError(
        f"generator: got {name!r}, expected one of {', '.join(NAMES)}; did you mean {nearest[0]!r}?"
    )
