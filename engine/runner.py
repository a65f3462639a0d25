"""The runner of a generator without a graph: a plain function, entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.plug import Ports


class FunctionRunner:
    """Runs `render` on every entry of a batch in turn; an entry that fails does not touch the others."""

    concurrent = True

    def __init__(self, render: Callable[[Ports], Ports]) -> None:
        self._render = render

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        return [self._one(ports) for ports in batch]

    def _one(self, ports: Ports) -> Ports | Exception:
        try:
            return self._render(ports)
        except Exception as error:  # the frame loop decides; one session's fault must not reach another
            return error

    def close(self) -> None:
        """Nothing is held."""
