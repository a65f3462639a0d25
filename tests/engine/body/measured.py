"""How well a mesh lies on a person that the tracker sees, for tests and figures."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np

from engine.body import skeleton as s
from engine.body.fitter import BodyFit, BodyFitter
from engine.geometry import rotation_vector
from engine.types import U8, Body, Frame

CLOSE = 0.05
"""Of the body's height: how far joints may lie from their points, on the mean of a frame."""
JOINTS = np.array(sorted(s.OF_JOINT))
PICTURES = (".jpg", ".png")


def files(folder: Path, pictures: bool) -> list[Path]:
    """Of a folder, by name: its pictures, or everything else."""
    found = [path for path in sorted(folder.iterdir()) if path.is_file()]
    return [path for path in found if (path.suffix in PICTURES) == pictures]


def frames_of(path: Path, count: int) -> Iterator[Frame]:
    """The first ones of a clip."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for picture in islice(container.decode(stream), count):
            rgb = np.ascontiguousarray(picture.to_ndarray(format="rgb24"))
            assert picture.pts is not None
            yield Frame(rgb, picture.pts, stream.time_base or Fraction(1, 25), 0.0)


def away(fitter: BodyFitter, fit: BodyFit, body: Body, size: tuple[int, int]) -> float:
    """Mean distance of the mesh's joints from the tracker's points that are seen, as a share of the body's height."""
    flat, visible = body.points[JOINTS, :2], body.points[JOINTS, 3] >= 0.5
    inside = ((flat >= 0) & (flat < np.array(size))).all(axis=1)
    used = JOINTS[visible & inside]
    assert len(used) >= 4
    drawn = fit.camera.seen(fitter.landmarks.of(fitter.posed(fit)))
    height = fit.camera.scale * float(np.ptp(fitter.model.shaped(fit.betas).vertices[:, 1]))
    return float(np.linalg.norm(drawn[used] - body.points[used, :2], axis=1).mean()) / height


def cuts(rgb: U8, body: Body) -> dict[str, U8]:
    """The picture down to the thighs, to above the hips, and to the chest."""
    hips, knees, shoulders = (
        float(body.points[list(pair), 1].mean()) for pair in (s.POINT_HIPS, s.POINT_KNEES, s.POINT_SHOULDERS)
    )
    ends = {
        "thighs": (hips + knees) / 2,
        "waist": hips - 0.15 * (hips - shoulders),
        "chest": shoulders + 0.35 * (hips - shoulders),
    }
    return {name: np.ascontiguousarray(rgb[: int(end)]) for name, end in ends.items()}


def bends(fit: BodyFit) -> float:
    """Degrees by which the most bent joint of the legs differs from rest."""
    return max(float(np.degrees(np.linalg.norm(rotation_vector(fit.rotations[leg])))) for leg in s.LEGS)


def leans(fit: BodyFit) -> float:
    """Degrees by which the pelvis is off the picture's vertical."""
    up = fit.rotations[s.PELVIS][:, 1] @ np.array([0.0, -1.0, 0.0])
    return float(np.degrees(np.arccos(min(1.0, float(up)))))
