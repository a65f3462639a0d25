"""Tells the pixels of a person from the background."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from engine.backends import open_graph
from engine.errors import InputError
from engine.models import locate
from engine.types import F32, U8

SIZE = 256
"""Side of the model's input and answer in pixels."""


def shrink(rgb: U8) -> F32:
    """The whole picture, whatever its shape, on the model's square: float32 (256, 256, 3) in 0..1.

    Each pixel is the mean of those it covers, so that the texture of a large picture does not alias.
    """
    small = cv2.resize(rgb, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255.0)


def grow(probability: F32, width: int, height: int) -> U8:
    """The model's answer, (256, 256) in 0..1, on the whole picture: uint8 (height, width), 255 = person."""
    safe = np.nan_to_num(probability, nan=0.0, posinf=1.0, neginf=0.0)
    full = cv2.resize(
        np.clip(safe, 0.0, 1.0) * np.float32(255.0), (width, height), interpolation=cv2.INTER_LINEAR
    )
    return np.rint(full).astype(np.uint8)


class PersonSegmenter:
    """MediaPipe's selfie segmentation, 256 x 256. Not for several threads at once.

    The answer lies exactly on the picture: a mirrored picture gives the mirrored mask. Costs about 3 CPU ms
    on one thread for 640 x 480, and 4 more for each further megapixel.

    backend: "auto" or the name of a backend. cache: folder of the models, None for the default one.
    Raises ModelError when the model is not there and BackendError when the runtime is not.
    """

    def __init__(self, backend: str = "auto", cache: Path | None = None, threads: int = 1) -> None:
        self._graph = open_graph(locate("selfie_segmentation", cache), backend, threads)

    def mask(self, rgb: U8) -> U8:
        """Who is person: uint8 (H, W), 255 = person, for a picture uint8 (H, W, 3).

        Raises InputError for any other array.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
            raise InputError(
                f"person mask: got {rgb.dtype} {rgb.shape}, expected uint8 (H, W, 3); convert to RGB"
            )
        answer = self._graph.run({"input_1": shrink(rgb)[None]})["activation_10"]
        return grow(answer.reshape(SIZE, SIZE), rgb.shape[1], rgb.shape[0])

    def close(self) -> None:
        """Let go of the model."""
        self._graph.close()
