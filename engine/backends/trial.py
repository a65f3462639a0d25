"""The smallest network that tells whether a backend computes: one convolution, so that its library is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import BackendError

INPUT: Final = "x"
OUTPUT: Final = "y"
_NINE: Final = 9.0

TRIAL: Final = bytes.fromhex(
    "080812003a83010a0f0a01780a01771201792204436f6e761201742a330801080108030803100122240000803f000080"
    "3f0000803f0000803f0000803f0000803f0000803f0000803f0000803f4201775a1b0a017812160a14080112100a0208"
    "010a0208010a0208030a020803621b0a017912160a14080112100a0208010a0208010a0208010a02080142040a001011"
)
"""ONNX, opset 17: y = conv(x, ones 3 x 3) of x float32 (1, 1, 3, 3), so that ones give the one number 9."""


def check_trial(found: Mapping[str, NDArray[Any]], backend: str) -> None:
    """Raises BackendError unless ones gave 9."""
    got = np.asarray(found[OUTPUT], np.float64).ravel()
    if got.shape != (1,) or abs(float(got[0]) - _NINE) > 1e-2:
        raise BackendError(f"{backend} computes {got.tolist()} where 9 is right; run: marotte doctor")
