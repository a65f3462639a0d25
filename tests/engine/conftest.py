"""What several test modules of the engine share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engine.puppet import Opening


@pytest.fixture(scope="module")
def opened_once(models: None) -> Iterator[None]:
    """Networks are opened once for all renders of a module: opening costs more than a short render."""
    kept: dict[tuple[str, Opening], Any] = {}

    def keep(kind: str, opens: Callable[[Opening], Any]) -> Callable[[Opening], Any]:
        def opened(opening: Opening) -> Any:
            if (kind, opening) not in kept:
                kept[kind, opening] = opens(opening)
                kept[kind, opening].free, kept[kind, opening].close = kept[kind, opening].close, lambda: None
            if kind in ("tracker", "occlusion"):
                kept[kind, opening].reset()
            return kept[kind, opening]

        return opened

    with pytest.MonkeyPatch.context() as patch:
        for kind in ("tracker", "detector", "segmenter", "occlusion"):
            patch.setattr(Opening, kind, keep(kind, getattr(Opening, kind)))
        yield
    for network in kept.values():
        network.free()
