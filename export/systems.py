"""Which module exports, and which imports, a system's checkpoints. Nothing heavy is imported with it."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final, cast

from engine.config import known

if TYPE_CHECKING:
    from export.checkpoints import Loaded
    from export.official import Importer
    from export.plan import Plan

EXPORTERS: Final = {
    "ganimation": "export.ganimation",
    "geogan": "export.geogan",
    "liquid_warping": "export.liquid_warping",
    "maskgan": "export.maskgan",
    "stit": "export.stit",
}
"""System to the module whose `plan(loaded)` says what its bundle holds. It is imported when it is asked for."""

IMPORTERS: Final = {
    "ganimation": "export.official.ganimation",
    "geogan": "export.official.geogan",
    "liquid_warping": "export.official.liquid_warping",
    "maskgan": "export.official.maskgan",
    "stit": "export.official.stit",
}
"""System to the module that reads its files from elsewhere: an export.official.Importer. Imported likewise."""


def plan_of(loaded: Loaded) -> Plan:
    """The plan of a checkpoint's bundle. Raises ConfigError for a system that has no exporter."""
    name = known(loaded.system, EXPORTERS, "system")
    plan: Plan = importlib.import_module(EXPORTERS[name]).plan(loaded)
    return plan


def importer_of(system: str) -> Importer:
    """What reads a system's files. Raises ConfigError for a system that has none."""
    name = known(system, IMPORTERS, "system")
    return cast("Importer", importlib.import_module(IMPORTERS[name]))
