"""GeoGAN's frames as one graph: a donor brought by `frame`, or an attribute taken away by `frame_removal`.

What the generator keeps of a face between its frames (maps and light over time) goes in and out by ports here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.backends.carried import Carried
from engine.generators.frame_limits import ANEW, DONOR_SIDE
from engine.generators.frame_runner import Shot, resident
from engine.generators.geogan.generator import FaceState, Geogan, squares_of
from engine.plug import Ports
from engine.types import U8, Drive


class Kept:
    """One face. about: track and wish of the last frame. time_s: when it was, None where nothing of it counts.
    constants, reference: what stays with the donor. square: (1, DONOR_SIDE, DONOR_SIDE, 3), the
    donor's pixels, of which `side` a side are in use."""

    def __init__(self, size: int) -> None:
        self.about: tuple[int | None, bool] = (None, False)
        self.time_s: float | None = None
        self.next_s = 0.0
        self.maps = {
            removing: Carried((1, planes, size, size)) for removing, planes in ((False, 18), (True, 9))
        }
        self.light = Carried((1, 4))
        self.constants: Mapping[str, NDArray[Any]] | None = None
        self.reference: U8 | None = None
        self.square: U8 | None = None
        self.side = 0


class GeoganFrame:
    """The ports of both graphs beside those of the picture."""

    def __init__(self, generator: Geogan, size: int) -> None:
        self._generator, self._size = generator, size

    def begin(self) -> Kept:
        return Kept(self._size)

    def shot(self, state: FaceState, kept: Kept, drive: Drive) -> Shot | None:
        """See engine.generators.frame_runner.System. Several donors act one after the other, and not in one graph."""
        removing = drive.controls.remove
        if not removing and len(state.donors) > 1:
            return None
        crop = self._generator.follow(state, drive)
        if kept.about != (state.track_id, removing):
            kept.about, kept.time_s = (state.track_id, removing), None
        kept.next_s = drive.frame.time_s
        passed = ANEW if kept.time_s is None else kept.next_s - kept.time_s
        ports: dict[str, NDArray[Any]] = {"dt": np.array([passed], np.float32), "steady": kept.maps[removing]}
        if removing:
            self._generator.check_removal()
            ports |= self._reference(state, kept)
        else:
            self._generator.check_donors(state)
            ports |= self._donor(state, kept, squares_of(state, crop)[0]) | {"light": kept.light}
        return Shot(crop, ports, drive.features.occlusion)

    def passed_by(self, state: FaceState, kept: Kept) -> None:
        """What either has seen is old to the other."""
        if kept.time_s is not None:
            state.start_anew()
            kept.time_s = None

    def shown(self, kept: Kept, outputs: Ports) -> None:
        """The state that comes out is that of the next frame."""
        kept.time_s = kept.next_s
        kept.maps[kept.about[1]].settle(outputs.get("steady_out"))
        if not kept.about[1]:
            kept.light.settle(outputs.get("light_out"))

    def _reference(self, state: FaceState, kept: Kept) -> dict[str, NDArray[Any]]:
        """A face without the attribute; the face itself where there is none."""
        picture = state.donors[0].picture if state.donors else None
        if kept.reference is None:
            blank = np.zeros((1, self._size, self._size, 3), np.uint8)
            kept.reference = resident(blank if picture is None else picture)
        return {"reference": kept.reference, "own_reference": np.array([picture is None], np.float32)}

    def _donor(self, state: FaceState, kept: Kept, square: U8) -> dict[str, NDArray[Any]]:
        if kept.constants is None:
            kept.constants = {
                name.removesuffix("@0"): resident(array) for name, array in state.constants.items()
            }
        if kept.square is None or kept.side != len(square):
            kept.side = len(square)
            held = np.zeros((1, DONOR_SIDE, DONOR_SIDE, 3), np.uint8)
            held[0, : kept.side, : kept.side] = square
            kept.square = resident(held)
        side = np.array([kept.side], np.float32)
        return {**kept.constants, "square": kept.square, "square_side": side}
