"""What measures the driver beside the tracker: opened when a generator first needs it, kept for the next one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from typing import Any

from engine.errors import MarotteError
from engine.plug import Offered
from engine.puppet import Opening
from engine.types import F32, U8, Face, Frame, Signal
from engine.worker.tools import Closable, Tools


class Absent:
    """In place of what could not be opened: a session that asks it falls back, and says why."""

    main_id = None

    def __init__(self, error: Exception) -> None:
        self._words = str(error)

    def track(self, frame: Frame) -> tuple[Face, ...]:
        raise MarotteError(self._words)

    def mask(self, *seen: object) -> U8:
        raise MarotteError(self._words)

    def reset(self) -> None:
        """Nothing was learnt."""

    def measure(self, points: F32) -> Mapping[str, float]:
        raise MarotteError(self._words)


class Servers:
    """Those of one session. opened: closes them. failed: told what could not be opened."""

    def __init__(
        self, tools: Tools, opening: Opening, opened: ExitStack, failed: Callable[[Exception], None]
    ) -> None:
        self._opening, self._opened, self._failed = opening, opened, failed
        self._opens: dict[Signal, tuple[str, Callable[[Opening], Closable | None]]] = {
            Signal.BODY: ("body", tools.body),
            Signal.PARSING: ("segmenter", tools.segmenter),
            Signal.OCCLUSION: ("occlusion", tools.occlusion),
            Signal.AUS: ("expressions", tools.expressions),
        }
        self._servers: dict[Signal, Any] = {}

    def of(self, generator: Offered) -> dict[str, Any]:
        """What a Session with this generator is to be given, by the names of its arguments."""
        needed = [signal for signal in self._opens if signal in generator.needs]
        return {self._opens[signal][0]: self._server(signal) for signal in needed}

    def _server(self, signal: Signal) -> Any:
        if signal not in self._servers:
            self._servers[signal] = self._open(*self._opens[signal])
        return self._servers[signal]

    def _open(self, name: str, opens: Callable[[Opening], Closable | None]) -> Any:
        try:
            server = opens(self._opening)
        except MarotteError as error:
            self._failed(error)
            return Absent(error)
        return None if server is None else self._opened.enter_context(closing(server))
