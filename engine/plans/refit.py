"""Other weights for a plan that is there: from another bundle of the same graph, in place of a build.

Of a personalised generator only the weights differ. The builder exchanges them; here it is decided whether that may be
tried, and whether what came of it may be shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REFITTED: Final = ("fp32", "fp16", "bf16")
"""Precisions whose plans can be refitted; the scales of the others belong to the weights they were measured with."""

NO_REFIT: Final[Mapping[tuple[int, ...], str]] = {
    (
        11,
        3,
    ): "a plan built for refit loses the bias of a matrix product, also when it is never refitted, and the bias "
    "cannot be given again (its own notes on refitting say so)",
}
"""Versions of TensorRT whose refit gives wrong pictures, by their first numbers, with the reason."""


def no_refit(version: str) -> str:
    """Why a version of TensorRT, "11.3.0.12" say, is not to refit, "" where nothing is known against it."""
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    return next((reason for bad, reason in NO_REFIT.items() if numbers[: len(bad)] == bad), "")
