"""The driver that an external tracker follows: frames that hold nothing, and what it told in the tracker's place."""

from __future__ import annotations

import numpy as np

from engine.acting import Acting, acted_face, unpacked
from engine.types import U8, Face, Frame

NOBODY: U8 = np.zeros(1, np.uint8)
"""What is posted where the tracker sees nobody."""
NOBODY.setflags(write=False)


class Acted:
    """A tracker that sees in every frame the one face that was told of last, or nobody."""

    main_id = 1

    def __init__(self) -> None:
        self._acting: Acting | None = None

    def told(self, data: U8) -> None:
        """What came with the next frame: a packed acting; anything else is nobody."""
        self._acting = unpacked(data)

    def track(self, frame: Frame) -> tuple[Face, ...]:
        """The face, in a picture of the frame's size."""
        return () if self._acting is None else (acted_face(self._acting, frame.size),)
