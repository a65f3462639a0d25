"""What is known of TensorRT's versions."""

from __future__ import annotations

from typing import Final

from engine.errors import PlanError
from engine.plans.refit import no_refit
from export.tensorrt.api import Toolkit

_KEEPS_REFIT: Final = (10, 14)
"""From here on a plan that was refitted can be written so that it can be refitted again."""


def check_refit(toolkit: Toolkit) -> None:
    """Raises PlanError, naming the reason, where this version is known to refit wrongly."""
    if toolkit.flavour != "tensorrt":
        return
    if reason := no_refit(toolkit.version):
        raise PlanError(
            f"{toolkit.name} cannot be trusted to refit: {reason}; install another version, or build "
            "without --refit"
        )


def keeps_refit(toolkit: Toolkit) -> bool:
    """Whether a refitted plan can be stored as one that can be refitted again."""
    return toolkit.flavour == "rtx" or toolkit.numbers[:2] >= _KEEPS_REFIT


def recorded(toolkit: Toolkit) -> dict[str, str]:
    """What goes into a plan's header of what built it."""
    return {"flavour": toolkit.flavour, "tensorrt": toolkit.version}
