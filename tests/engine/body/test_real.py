"""Bodies on real pictures and clips, with the engine's own tracker: joints lie on their points, legs do not squat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.body import skeleton as s
from engine.body.fitter import BodyFitter
from engine.body.synthetic import synthetic_body
from engine.errors import InputError
from engine.media.picture import read_picture
from engine.track.body import BodyTracker
from tests.engine.body.measured import CLOSE, away, bends, cuts, files, frames_of, leans


@pytest.fixture(scope="module")
def tracker(models: None) -> Iterator[BodyTracker]:
    one = BodyTracker(every_frame=True)
    yield one
    one.close()


def test_a_body_in_a_picture_lies_on_its_points(tracker: BodyTracker, faces_root: Path) -> None:
    """The fitted mesh's joints reproject within 5 % of the body's height, on every picture of a body."""
    fitter = BodyFitter(synthetic_body())
    found = {}
    for path in files(faces_root / "bodies", pictures=True):
        rgb = read_picture(path)
        body = tracker.picture(rgb)
        assert body is not None, path.name
        size = rgb.shape[1], rgb.shape[0]
        found[path.name] = away(fitter, fitter.picture(body, size), body, size)
    assert found
    assert max(found.values()) < CLOSE, found


@pytest.mark.full
def test_a_body_in_a_clip_lies_on_its_points(tracker: BodyTracker, faces_root: Path) -> None:
    """The same followed and filtered, frame by frame: on the mean of every clip, and of 19 frames of 20."""
    clips = files(faces_root / "bodies", pictures=False)
    assert clips
    for path in clips:
        fitter = BodyFitter(synthetic_body())
        tracker.reset()
        found = []
        for frame in frames_of(path, 70):
            body = tracker.track(frame)
            fit = None if body is None else fitter.follow(body, frame.size)
            if body is not None and fit is not None:
                found.append(away(fitter, fit, body, frame.size))
        assert len(found) > 20, path.name
        assert np.mean(found) < CLOSE, path.name
        assert np.quantile(found, 0.95) < CLOSE, path.name


def test_a_half_length_view_does_not_squat(tracker: BodyTracker, faces_root: Path) -> None:
    """Cut at thighs, waist or chest, where the tracker invents legs: they hang straight, the pelvis stands upright."""
    fitter = BodyFitter(synthetic_body())
    fitted = 0
    for path in files(faces_root / "bodies", pictures=True):
        rgb = read_picture(path)
        whole = tracker.picture(rgb)
        assert whole is not None
        for name, cut in cuts(rgb, whole).items():
            body = tracker.picture(cut)
            if body is None:
                continue
            try:
                fit = fitter.picture(body, (cut.shape[1], cut.shape[0]))
            except InputError:
                continue
            fitted += 1
            assert not fit.moving[list(s.LEGS)].any(), (path.name, name)
            assert bends(fit) < 1e-3, (path.name, name)
            assert leans(fit) < 15, (path.name, name)
    assert fitted >= 6
