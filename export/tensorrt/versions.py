"""What is known of TensorRT's versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.errors import PlanError
from export.tensorrt.api import Toolkit

NO_REFIT: Final[Mapping[tuple[int, ...], str]] = {
    (
        11,
        3,
    ): "a plan built for refit loses the bias of a matrix product, also when it is never refitted, and the bias "
    "cannot be given again (its own notes on refitting say so)",
}
"""Versions of TensorRT whose refit gives wrong pictures, by their first numbers, with the reason."""

_KEEPS_REFIT: Final = (10, 14)
"""From here on a plan that was refitted can be written so that it can be refitted again."""


def check_refit(toolkit: Toolkit) -> None:
    """Raises PlanError, naming the reason, where this version is known to refit wrongly."""
    if toolkit.flavour != "tensorrt":
        return
    for numbers, reason in NO_REFIT.items():
        if toolkit.numbers[: len(numbers)] == numbers:
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
