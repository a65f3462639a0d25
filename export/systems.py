"""Which module exports, and which imports, a system's checkpoints."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Final

from engine.config import known
from export.checkpoints import Loaded
from export.plan import Plan

EXPORTERS: Final = {"ganimation": "export.ganimation", "geogan": "export.geogan"}
"""System to the module whose `plan(loaded)` says what its bundle holds. It is imported when it is asked for."""


def plan_of(loaded: Loaded) -> Plan:
    """The plan of a checkpoint's bundle. Raises ConfigError for a system that has no exporter."""
    name = known(loaded.system, EXPORTERS, "system")
    plan: Callable[[Loaded], Plan] = importlib.import_module(EXPORTERS[name]).plan
    return plan(loaded)
