"""Bodies on real pictures and clips, with the engine's own tracker: joints lie on their points, legs do not squat."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from engine.body import skeleton as s
from engine.body.fitter import BodyFit, BodyFitter
from engine.body.synthetic import synthetic_body
from engine.errors import InputError
from engine.geometry import rotation_vector
from engine.media.picture import read_picture
from engine.track.body import BodyTracker
from engine.types import U8, Body, Frame

CLOSE = 0.05
"""Of the body's height: how far joints may lie from their points, on the mean of a frame."""
JOINTS = np.array(sorted(s.OF_JOINT))
PICTURES = (".jpg", ".png")


@pytest.fixture(scope="module")
def tracker(models: None) -> Iterator[BodyTracker]:
    one = BodyTracker(every_frame=True)
    yield one
    one.close()


def _files(faces_root: Path, pictures: bool) -> list[Path]:
    found = [path for path in sorted((faces_root / "bodies").iterdir()) if path.is_file()]
    return [path for path in found if (path.suffix in PICTURES) == pictures]


def _frames(path: Path, count: int) -> Iterator[Frame]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for picture in islice(container.decode(stream), count):
            rgb = np.ascontiguousarray(picture.to_ndarray(format="rgb24"))
            assert picture.pts is not None
            yield Frame(rgb, picture.pts, stream.time_base or Fraction(1, 25), 0.0)


def _away(fitter: BodyFitter, fit: BodyFit, body: Body, size: tuple[int, int]) -> float:
    """Mean distance of the mesh's joints from the tracker's points that are seen, as a share of the body's height."""
    flat, visible = body.points[JOINTS, :2], body.points[JOINTS, 3] >= 0.5
    inside = ((flat >= 0) & (flat < np.array(size))).all(axis=1)
    used = JOINTS[visible & inside]
    assert len(used) >= 4
    drawn = fit.camera.seen(fitter.landmarks.of(fitter.posed(fit)))
    height = fit.camera.scale * float(np.ptp(fitter.model.shaped(fit.betas).vertices[:, 1]))
    return float(np.linalg.norm(drawn[used] - body.points[used, :2], axis=1).mean()) / height


def test_a_body_in_a_picture_lies_on_its_points(tracker: BodyTracker, faces_root: Path) -> None:
    """The fitted mesh's joints reproject within 5 % of the body's height, on every picture of a body."""
    fitter = BodyFitter(synthetic_body())
    away = {}
    for path in _files(faces_root, pictures=True):
        rgb = read_picture(path)
        body = tracker.picture(rgb)
        assert body is not None, path.name
        size = rgb.shape[1], rgb.shape[0]
        away[path.name] = _away(fitter, fitter.picture(body, size), body, size)
    assert away
    assert max(away.values()) < CLOSE, away


@pytest.mark.full
def test_a_body_in_a_clip_lies_on_its_points(tracker: BodyTracker, faces_root: Path) -> None:
    """The same followed and filtered, frame by frame: on the mean of every clip, and of 19 frames of 20."""
    clips = _files(faces_root, pictures=False)
    assert clips
    for path in clips:
        fitter = BodyFitter(synthetic_body())
        tracker.reset()
        away = []
        for frame in _frames(path, 70):
            body = tracker.track(frame)
            fit = None if body is None else fitter.follow(body, frame.size)
            if body is not None and fit is not None:
                away.append(_away(fitter, fit, body, frame.size))
        assert len(away) > 20, path.name
        assert np.mean(away) < CLOSE, path.name
        assert np.quantile(away, 0.95) < CLOSE, path.name


def _cuts(rgb: U8, body: Body) -> dict[str, U8]:
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


def test_a_half_length_view_does_not_squat(tracker: BodyTracker, faces_root: Path) -> None:
    """Cut at thighs, waist or chest, where the tracker invents legs: they hang straight, the pelvis stands upright."""
    fitter = BodyFitter(synthetic_body())
    fitted = 0
    for path in _files(faces_root, pictures=True):
        rgb = read_picture(path)
        whole = tracker.picture(rgb)
        assert whole is not None
        for name, cut in _cuts(rgb, whole).items():
            body = tracker.picture(cut)
            if body is None:
                continue
            try:
                fit = fitter.picture(body, (cut.shape[1], cut.shape[0]))
            except InputError:
                continue
            fitted += 1
            assert not fit.moving[list(s.LEGS)].any(), (path.name, name)
            bends = [np.degrees(np.linalg.norm(rotation_vector(fit.rotations[leg]))) for leg in s.LEGS]
            assert max(bends) < 1e-3, (path.name, name)
            up = fit.rotations[s.PELVIS][:, 1] @ np.array([0.0, -1.0, 0.0])
            assert np.degrees(np.arccos(min(1.0, float(up)))) < 15, (path.name, name)
    assert fitted >= 6
