"""bench.json of earlier runs, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from engine.bench.session import STAGES
from engine.errors import ConfigError
from engine.evaluate.soundness import is_number

RESULT: Final = "bench.json"
"""The file of a run, in its folder."""
_LATER: Final = ("occlusion",)
"""Stages that older files do not have: nothing was spent on them."""


def compare(a: Path, b: Path) -> str:
    """Two bench.json, or the folders that hold them, side by side: scaled medians and the ratio B / A per stage.

    Raises ConfigError.
    """
    first, second = _load(a), _load(b)
    lines = [f"{'scaled CPU ms':<14}{'A':>9}{'B':>9}{'B / A':>9}"]
    for stage in STAGES:
        one, other = first[stage], second[stage]
        ratio = f"{other / one:>9.3f}" if one > 0 else f"{'-':>9}"
        lines.append(f"{stage:<14}{one:>9.2f}{other:>9.2f}{ratio}")
    return "\n".join(lines)


def _load(path: Path) -> dict[str, float]:
    """The scaled median per stage."""
    path = path / RESULT if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        stages = {stage: {"median_scaled_ms": 0.0} for stage in _LATER} | content["stages"]
        medians = {stage: stages[stage]["median_scaled_ms"] for stage in STAGES}
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        medians = {}
    if not medians or not all(is_number(value) and value >= 0 for value in medians.values()):
        raise ConfigError(
            f"{path}: no bench.json of this version; expected a file that `marotte bench` wrote"
        )
    return medians
