"""Makes the pictures of the README and of docs/artefacts.md: python docs/pictures.py

Only the sample portrait is shown, moved by scripted motion: nobody's face.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from engine import canonical
from engine.features.au_basis import deform
from engine.geometry import pose_rotation
from engine.media import write_picture
from engine.pipeline import Session
from engine.puppet import load
from engine.sample import sample_portrait
from engine.sample.demo import DemoTracker, demo_frames
from engine.types import AU_NAMES, U8, Controls, Face, FaceShape, Frame, HeadPose

OUT = Path(__file__).parent / "pictures"
MOVING_SIDE, MOVING_RATE = 360, 15
TILE = 380

ARTEFACTS: dict[str, list[tuple[dict[str, float], HeadPose, tuple[float, float]]]] = {
    "turned_far": [({}, HeadPose(yaw, 0, 0), (0, 0)) for yaw in (-40.0, -20.0, 20.0, 40.0)],
    "nodding": [({}, HeadPose(0, pitch, 0), (0, 0)) for pitch in (-30.0, -15.0, 15.0, 30.0)],
    "drawn_mouth": [
        ({"AU25": 0.4, "AU26": 0.2}, HeadPose(0, 0, 0), (0, 0)),
        ({"AU25": 1.0, "AU26": 1.0}, HeadPose(0, 0, 0), (0, 0)),
        ({"AU12": 1.0, "AU25": 0.6}, HeadPose(0, 0, 0), (0, 0)),
        ({"AU12": -0.8, "AU23": 0.8}, HeadPose(0, 0, 0), (0, 0)),
    ],
    "closing_eyes": [({"AU45": shut}, HeadPose(0, 0, 0), (0, 0)) for shut in (0.3, 0.6, 0.85, 1.0)],
    "moved_aside": [({}, HeadPose(0, 0, 0), place) for place in ((-0.6, 0), (0.6, 0), (0, -0.5), (0, 0.5))],
    "tilted": [({}, HeadPose(0, 0, roll), (0, 0)) for roll in (-40.0, -20.0, 20.0, 40.0)],
}


class Posed:
    """A tracker that sees one posed face after the other, each long enough for the smoothing to arrive."""

    def __init__(self, poses: list[tuple[dict[str, float], HeadPose, tuple[float, float]]]) -> None:
        self._poses = poses
        self.main_id = 1
        self.hold = 20

    def track(self, frame: Frame) -> tuple[Face, ...]:
        step = frame.pts // self.hold
        if step == 0:
            return (_face({}, HeadPose(0, 0, 0), (0, 0)),)
        return (_face(*self._poses[step - 1]),)


def _face(aus: dict[str, float], pose: HeadPose, place: tuple[float, float]) -> Face:
    local = deform(canonical.VERTICES, np.array([aus.get(name, 0.0) for name in AU_NAMES], np.float32))
    scale = 15.0
    shift = np.array([256 + scale * 14 * place[0], 256 + scale * 14 * place[1], 0.0])
    points = FaceShape(local, pose_rotation(pose), scale, shift).points()
    box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)])
    return Face(box, points, 1.0, 1)


def artefact_strip(poses: list[tuple[dict[str, float], HeadPose, tuple[float, float]]]) -> U8:
    """The sample in each pose, side by side."""
    loaded = load(sample_portrait())
    tracker = Posed(poses)
    session = Session(tracker, loaded.generator, loaded.runner, loaded.sources, controls=Controls())
    blank = np.zeros((512, 512, 3), np.uint8)
    tiles = []
    for number in range((len(poses) + 1) * tracker.hold):
        result, _ = session.step(Frame(blank, number, Fraction(1, 30), number / 30))
        if number >= tracker.hold and number % tracker.hold == tracker.hold - 1:
            tiles.append(cv2.resize(result.rgb[150:850, 160:860], (TILE, TILE), interpolation=cv2.INTER_AREA))
    return np.hstack(tiles)


def moving_sample(path: Path) -> None:
    """One performance as an animated WebP."""
    loaded = load(sample_portrait())
    session = Session(DemoTracker(), loaded.generator, loaded.runner, loaded.sources)
    animation = cv2.Animation()
    frames = []
    for number, frame in enumerate(demo_frames(rate=2 * MOVING_RATE)):
        result, _ = session.step(frame)
        if number % 2 == 0:
            small = cv2.resize(result.rgb, (MOVING_SIDE, MOVING_SIDE), interpolation=cv2.INTER_AREA)
            frames.append(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    animation.frames = frames
    animation.durations = [1000 // MOVING_RATE] * len(frames)
    cv2.imwriteanimation(str(path), animation, [cv2.IMWRITE_WEBP_QUALITY, 60])


def main() -> None:
    """Every picture, over those that stand there."""
    OUT.mkdir(exist_ok=True)
    for name, poses in ARTEFACTS.items():
        write_picture(OUT / f"{name}.webp", artefact_strip(poses))
    moving_sample(OUT / "sample.webp")


if __name__ == "__main__":
    main()
