"""The hands of SMPL-H: 15 joints each, posed by the mean hand or by a few components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.errors import ConfigError
from engine.types import F32


@dataclass(frozen=True, slots=True, eq=False)
class Hands:
    """mean: (2, N) rotation vectors, left hand first, flat. components: (2, C, N), principal directions of them."""

    mean: F32
    components: F32

    def with_mean(self, pose: F32) -> F32:
        """A body's rotation vectors (72,) with both mean hands in place of SMPL's two hand joints: (66 + 2 N,).

        A pose that has hands already comes back as it is.
        """
        body = self._body(pose)
        if pose.size == body + self.mean.size:
            return pose
        return np.concatenate([pose[:body], self.mean.reshape(-1)])

    def with_components(self, pose: F32) -> F32:
        """(66 + 2 c,) with c coefficients for each hand -> (66 + 2 N,). The mean hand is not added, as in the published
        code."""
        body = self._body(pose)
        given = pose[body:].reshape(2, -1)
        if given.shape[1] > self.components.shape[1]:
            raise ConfigError(
                f"hands: got {given.shape[1]} coefficients, expected up to {self.components.shape[1]}"
            )
        posed = [given[side] @ self.components[side, : given.shape[1]] for side in (0, 1)]
        return np.concatenate([pose[:body], *posed]).astype(np.float32)

    @staticmethod
    def _body(pose: F32) -> int:
        if pose.size < BODY or pose.size % 2:
            raise ConfigError(
                f"body pose: got {pose.size} rotation vectors' numbers, expected {BODY} and hands"
            )
        return BODY


BODY = 66
"""Numbers of the 22 joints that SMPL and SMPL-H share, as rotation vectors."""
