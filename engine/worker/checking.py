"""What a self check reads of a session's frames, while it was asked for."""

from __future__ import annotations

from engine.features import openness
from engine.features.shape import fit_shape
from engine.geometry import head_pose
from engine.pipeline import Work
from engine.self_check.likeness import Likeness
from engine.self_check.signs import Signs
from engine.staged import Underway
from engine.types import Face
from engine.worker.interface import DriverKind, SessionSpec
from engine.worker.sources import Ready


class Checking:
    """Of one session, in the thread that observes. What was seen of a face is forgotten with the check, with another
    one that takes its place, with another source and with another face."""

    def __init__(self) -> None:
        self._likeness: Likeness | None = None
        self._portrait: Face | None = None
        self._attempt = 0

    def read(self, spec: SessionSpec, source: Ready, work: Underway) -> Signs | None:
        """Of a frame that was measured; None where no check runs, and where no face of a camera's was seen."""
        if not spec.self_check or spec.driver is not DriverKind.CAMERA:
            self._likeness = None
            return None
        if not isinstance(work, Work) or not work.drives:
            return None
        portrait, face = source.faces[0].face, work.drives[0][1].face
        if self._likeness is None or portrait is not self._portrait or spec.self_checks != self._attempt:
            self._likeness, self._portrait = Likeness(fit_shape(portrait.points)), portrait
            self._attempt = spec.self_checks
        shape = fit_shape(face.points)
        score, pose = self._likeness.see(shape, face.track_id), head_pose(shape.rotation)
        mouth = openness.measure(shape).mouth
        return Signs(pose.yaw, pose.pitch, mouth, face.track_id, score, self._likeness.looks)
