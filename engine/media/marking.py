"""What may be put on every picture that is written, last of all."""

from __future__ import annotations

from typing import Protocol

from engine.types import U8


class Marking(Protocol):
    """As engine.marks.Marks, of pictures of one size."""

    def compose(self, planes: U8) -> None:
        """In place on I420 planes, uint8 (H * 3 / 2, W)."""
        ...

    def compose_rgb(self, rgb: U8) -> U8:
        """A copy of uint8 (H, W, 3) with them on."""
        ...
