"""The watch on the attention mask: the most common failure of this system is a mask of 1 everywhere, output = input.

Its authors' advice is to raise the mask's weight alone, and a little; too much gives a mask of 0. That is what happens
here by itself, within limits, and past them the training stops and says what is usually wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trainers.ganimation.recipe import Guard
from trainers.system import Adjusted, CarryOn, Stop, Verdict

_CAUSES = (
    "usual causes: action units that do not fit the pictures (another extractor or mode, wrong columns), too few or "
    "too similar pictures, a batch other than the conditioning's weight is meant for"
)


class MaskWatch:
    """Follows the mean attention over the face. factor: what the mask's weight is multiplied by."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.factor = 1.0
        self._sum, self._looks, self._raised, self._lowered = 0.0, 0, 0, 0

    def see(self, attention: float) -> Verdict:
        """One step of the generator, with its mean attention over the face."""
        self._sum += attention
        self._looks += 1
        if self._looks < self._guard.patience:
            return CarryOn()
        mean, self._sum, self._looks = self._sum / self._looks, 0.0, 0
        if mean > self._guard.high:
            return self._raise(mean)
        if mean < self._guard.low:
            return self._lower(mean)
        self._raised = self._lowered = 0
        return CarryOn()

    def _raise(self, mean: float) -> Verdict:
        self._raised, self._lowered = self._raised + 1, 0
        if self._raised > self._guard.most:
            return Stop(
                f"the attention mask is saturated: mean {mean:.3f} over the face, above {self._guard.high:g} after "
                f"{self._guard.most} raises of its weight, so that the output is the input; {_CAUSES}"
            )
        return self._change(mean, self._guard.factor, f"above {self._guard.high:g}")

    def _lower(self, mean: float) -> Verdict:
        self._lowered, self._raised = self._lowered + 1, 0
        if self._lowered > self._guard.most:
            return Stop(
                f"the attention mask is empty: mean {mean:.3f} over the face, below {self._guard.low:g} after "
                f"{self._guard.most} cuts of its weight, so that nothing of the source is kept; lower losses.mask, or "
                "raise losses.cycle"
            )
        return self._change(mean, 1.0 / self._guard.factor, f"below {self._guard.low:g}")

    def _change(self, mean: float, by: float, why: str) -> Verdict:
        before, self.factor = self.factor, self.factor * by
        return Adjusted(
            f"mean attention over the face is {mean:.3f}, {why}: the mask's weight goes from {before:.3g} to "
            f"{self.factor:.3g} times the recipe's"
        )

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "factor": self.factor,
            "sum": self._sum,
            "looks": self._looks,
            "raised": self._raised,
            "lowered": self._lowered,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        self.factor, self._sum = float(state["factor"]), float(state["sum"])
        self._looks, self._raised, self._lowered = (
            int(state["looks"]),
            int(state["raised"]),
            int(state["lowered"]),
        )
