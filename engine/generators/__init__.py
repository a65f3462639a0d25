"""The generators by name."""

from __future__ import annotations

from collections.abc import Callable

from engine.config import known
from engine.plug import Generator, Runner


def open_generator(
    bundle: str, *, backend: str = "auto", accept: frozenset[str] = frozenset()
) -> tuple[Generator, Runner]:
    """A generator and what executes it, compiled before the first frame.

    bundle: a built-in name. backend: what runs its graphs, as in engine.backends. accept: the names of terms that the
    user has accepted. Raises ConfigError for an unknown name.
    """
    return _OPENERS[known(bundle, _OPENERS, "bundle")]()


def _mesh_flow() -> tuple[Generator, Runner]:
    from engine.generators.mesh_flow import MeshFlow, MeshFlowRunner, warm_up

    warm_up()
    return MeshFlow(), MeshFlowRunner()


_OPENERS: dict[str, Callable[[], tuple[Generator, Runner]]] = {"mesh_flow": _mesh_flow}
NAMES = tuple(_OPENERS)
