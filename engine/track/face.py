"""Follows faces through a video, and finds them in single pictures: detector, region, mesh, next region."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.backends import open_graph
from engine.errors import ConfigError, InputError
from engine.models import locate
from engine.track.detector import Detection, FaceDetector
from engine.track.identity import Roster, Track, distinct, prominence
from engine.track.mesh import FaceMesh, Reading
from engine.track.region import Region, whole
from engine.track.scene import Scene, is_cut
from engine.track.search import half_turned, views
from engine.types import F32, U8, Face, Frame

MIN_PRESENCE = 0.5
"""Probability of a face below which it counts as lost."""

MIN_SIDE = 32.0
"""Long side, in pixels, of the box around the mesh below which a face has too few pixels to be measured."""

DETECT_EVERY_S = 0.2
"""While a face is followed and there is room for another, the detector runs no more often than this."""

_SAME_ASPECT = 0.02
_SURE, _SURER = 0.75, 0.15  # detector scores of heads the right way up are above; on their heads .2 below


class FaceTracker:
    """Detector and mesh as one tracker. Not for several threads at once.

    max_faces: with 1 it does what MediaPipe's FaceMesh does, number for number: the detector runs on frames
    that follow one without a face, its best score is taken, and that face is followed until its presence is
    below MIN_PRESENCE. With more, the detector also looks for further faces while there is room, and of those
    that appear together the most prominent (side times centredness) comes first.

    The main face, first in what track gives, is the one followed longest. When it is lost, its seat is held
    for HOLD_S (engine/track/identity.py): a face found at its place is taken for the same one, and no other
    face becomes the main one. A hard cut ends every track at once.

    backend: as in engine.backends. threads: cores that one inference may use. cache: root of the models'
    cache. Raises ModelError or BackendError, naming the fix, when the models cannot be opened.
    """

    def __init__(
        self, *, backend: str = "auto", max_faces: int = 1, threads: int = 1, cache: Path | None = None
    ) -> None:
        if max_faces < 1:
            raise ConfigError(f"max_faces: expected 1 or more, got {max_faces}")
        names = ("face_detection", "face_mesh_attention")
        self._graphs = [open_graph(locate(name, cache), backend, threads) for name in names]
        self._detector, self._mesh = FaceDetector(self._graphs[0]), FaceMesh(self._graphs[1])
        self._max_faces = max_faces
        self._roster, self._scene = Roster(), Scene()
        self._last: dict[int, Reading] = {}
        self._size: tuple[int, int] | None = None
        self._looked_s: float | None = None

    @property
    def backend(self) -> str:
        """The backend that runs the models."""
        return self._graphs[0].backend

    @property
    def main_id(self) -> int | None:
        """The main face's id, also while it is not seen but its seat is held. None when nobody has it."""
        return self._roster.main_id

    def track(self, frame: Frame) -> tuple[Face, ...]:
        """The faces of the next frame of a video, main face first; empty when nobody is there.

        Raises InputError when frame.rgb is no uint8 (H, W, 3) picture.
        """
        rgb, now_s = _checked(frame.rgb), frame.time_s
        self._fit_to(frame.size)
        followed = self._roster.present
        readings = [self._read(rgb, track.region) for track in followed]
        if self._is_cut(rgb, followed, readings):
            self._roster.clear()
            followed, readings = [], []
        self._last = {}
        for track, reading in zip(followed, readings, strict=True):
            self._follow(track, reading, now_s)
        self._roster.forget(now_s)
        if self._has_to_look(len(followed), now_s):
            self._look(rgb, now_s)
        return tuple(_face(self._last[one.track_id], one.track_id) for one in self._roster.present)

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]:
        """The faces of one picture, best detector score first, with track ids 0, 1, ... Touches no state.

        rgb: uint8 (H, W, 3). thorough: MediaPipe looks at the whole picture once; where that shows nobody, look
        at it turned by quarters and at parts of it, and where the detector is unsure, upside down. passes: how
        often the mesh is measured, each time in the region that follows from the last; MediaPipe's static mode
        does it once, a video settles after about three. Raises InputError when it is no such picture, ConfigError
        for fewer than one pass.
        """
        if passes < 1:
            raise ConfigError(f"passes: expected 1 or more, got {passes}")
        rgb = _checked(rgb)
        height, width = rgb.shape[:2]
        detections = self._detector.find(rgb, whole(width, height))
        if thorough:
            detections = self._upside_down(rgb, detections) or detections
        found = self._measured(rgb, detections, passes)
        for extra in views(width, height) if thorough else ():
            found = found or self._measured(
                rgb, [d for view in extra for d in self._detector.find(rgb, view)], passes
            )
        return tuple(_face(reading, index) for index, reading in enumerate(found))

    def reset(self) -> None:
        """Forgets every face, as for another video. Track ids go on counting."""
        self._roster.clear()
        self._scene.forget()
        self._last, self._size, self._looked_s = {}, None, None

    def close(self) -> None:
        """Frees the models. The tracker cannot be used afterwards; closing twice is harmless."""
        for graph in self._graphs:
            graph.close()

    def _read(self, rgb: U8, region: Region) -> Reading | None:
        """The face in a region; None when there is none, or too small a one."""
        reading = self._mesh.read(rgb, region)
        if reading is None or reading.presence < MIN_PRESENCE:
            return None
        x0, y0, x1, y1 = reading.box()
        return reading if max(x1 - x0, y1 - y0) >= MIN_SIDE else None

    def _is_cut(self, rgb: U8, followed: list[Track], readings: list[Reading | None]) -> bool:
        same = self._scene.changed(rgb)
        if same is None:
            return False
        pairs: list[tuple[F32, F32 | None]] = [
            (self._last[track.track_id].points, None if reading is None else reading.points)
            for track, reading in zip(followed, readings, strict=True)
        ]
        return is_cut(same, pairs)

    def _follow(self, track: Track, reading: Reading | None, now_s: float) -> None:
        if reading is None:
            self._roster.lose(track)
            return
        region = reading.region()
        if not distinct([region], [one.region for one in self._roster.present if one.track_id in self._last]):
            self._roster.drop(track)
            return
        self._roster.follow(track, region, now_s)
        self._last[track.track_id] = reading

    def _has_to_look(self, followed: int, now_s: float) -> bool:
        if followed == 0:
            return True
        if len(self._roster.present) >= self._max_faces or self._max_faces == 1:
            return False
        due = self._looked_s is None or abs(now_s - self._looked_s) >= DETECT_EVERY_S
        return due or self._roster.missing

    def _look(self, rgb: U8, now_s: float) -> None:
        """Takes up faces that the detector finds, while there is room."""
        self._looked_s = now_s
        height, width = rgb.shape[:2]
        regions = [one.region for one in self._detector.find(rgb, whole(width, height))]
        if self._max_faces == 1:
            regions = [region for region in regions if self._roster.at_seat(region)]
        else:
            regions.sort(key=lambda region: -prominence(region, width, height))
        for region in regions:
            taken = [track.region for track in self._roster.present]
            if len(taken) >= self._max_faces:
                return
            reading = self._read(rgb, region) if distinct([region], taken) else None
            if reading is not None and distinct([reading.region()], taken):
                self._last[self._roster.admit(reading.region(), now_s).track_id] = reading

    def _upside_down(self, rgb: U8, detections: list[Detection]) -> list[Detection]:
        """What the picture shows when stood on its head, where that is a face much surer than those upright."""
        best = detections[0].score if detections else 1.0
        if best >= _SURE:
            return []
        height, width = rgb.shape[:2]
        turned = self._detector.find(rgb, half_turned(width, height))
        return turned if turned and turned[0].score > best + _SURER else []

    def _measured(self, rgb: U8, detections: list[Detection], passes: int) -> list[Reading]:
        """Up to max_faces different faces, best detector score first."""
        readings: list[Reading] = []
        for detection in sorted(detections, key=lambda one: -one.score):
            reading = self._read(rgb, detection.region)
            for _ in range(passes - 1):
                reading = reading and self._read(rgb, reading.region())
            taken = [one.region() for one in readings]
            if reading is not None and distinct([reading.region()], taken):
                readings.append(reading)
            if len(readings) == self._max_faces:
                break
        return readings

    def _fit_to(self, size: tuple[int, int]) -> None:
        """Carries the regions along when a stream changes its picture size; forgets them with its aspect."""
        old, self._size = self._size, size
        if old is None or old == size:
            return
        across, down = size[0] / old[0], size[1] / old[1]
        if abs(across / down - 1) > _SAME_ASPECT:
            self._roster.clear()
        self._roster.move(lambda r: Region(r.x * across, r.y * down, r.side * across, r.angle))


def _face(reading: Reading, track_id: int) -> Face:
    return Face(reading.box(), reading.points, reading.presence, track_id)


def _checked(rgb: NDArray[np.uint8]) -> U8:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise InputError(f"picture: expected uint8 (height, width, 3), got {rgb.dtype} {rgb.shape}")
    return np.ascontiguousarray(rgb)
