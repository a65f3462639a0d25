"""The 52 expression scores of MediaPipe's blendshape network, from the mesh; the network comes from a user's
file.

It sees what points alone say badly, among it action units 6 and 7.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from engine.backends import open_graph
from engine.errors import ModelError
from engine.models import locate
from engine.types import F32

MODEL: Final = "task_face_blendshapes"
"""Its name in the registry: ``marotte models pull --task FILE`` puts it there."""


def _both(*names: str) -> tuple[str, ...]:
    return tuple(name + side for name in names for side in ("Left", "Right"))


NAMES: Final = (
    "_neutral",
    *_both("browDown"),
    "browInnerUp",
    *_both("browOuterUp"),
    "cheekPuff",
    *_both("cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp"),
    *_both("eyeSquint", "eyeWide"),
    "jawForward",
    "jawLeft",
    "jawOpen",
    "jawRight",
    "mouthClose",
    *_both("mouthDimple", "mouthFrown"),
    "mouthFunnel",
    "mouthLeft",
    *_both("mouthLowerDown", "mouthPress"),
    "mouthPucker",
    "mouthRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    *_both("mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer"),
)
"""The scores in the order of the network's output; left and right are the person's own."""

POINTS: Final = (
    0, 1, *range(4, 9), 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, *range(52, 56), 58, 61, 63, *range(65, 68), 70,
    78, *range(80, 83), 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, *range(144, 147),
    *range(148, 151), *range(152, 156), *range(157, 164), 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234,
    246, 249, 251, 263, 267, 269, 270, 276, *range(282, 286), 288, 291, 293, *range(295, 298), 300, 308,
    *range(310, 313), 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, *range(373, 376),
    *range(377, 383), *range(384, 391), 397, 398, 400, 402, 405, 409, 415, 454, 466, *range(468, 478),
)  # fmt: skip
"""The 146 points of the mesh that the network was made for, in its order."""


class Blendshapes:
    """The network, opened. One thread at a time may use it.

    backend, threads: as in open_graph. cache: root of the models' cache. Raises ModelError naming the fix
    when no task file has been added, or when its network is of another shape.
    """

    def __init__(self, *, backend: str = "auto", threads: int = 1, cache: Path | None = None) -> None:
        self._graph = open_graph(locate(MODEL, cache), backend, threads)
        inputs, outputs = self._graph.inputs, self._graph.outputs
        if [port.shape for port in inputs] != [(1, len(POINTS), 2)]:
            found = [port.shape for port in inputs]
            raise ModelError(
                f"model {MODEL} takes {found}, expected one (1, {len(POINTS)}, 2); name another file"
            )
        self._input, self._output = inputs[0].name, outputs[0].name

    def measure(self, points: F32) -> dict[str, float]:
        """The scores by name, each about 0 .. 1. points: float32 (478, 3), in pixels of the whole picture."""
        chosen = np.ascontiguousarray(points[list(POINTS), :2][None], np.float32)
        scores = self._graph.run({self._input: chosen})[self._output].ravel()
        if len(scores) != len(NAMES):
            raise ModelError(
                f"model {MODEL} gives {len(scores)} scores, expected {len(NAMES)}; name another file"
            )
        return dict(zip(NAMES, scores.tolist(), strict=True))

    def close(self) -> None:
        """Frees the network."""
        self._graph.close()
