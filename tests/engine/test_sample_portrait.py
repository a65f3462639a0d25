"""The drawn portrait: the same on every call, held to the shipped file, and found by the tracker."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import InputError
from engine.sample import sample_portrait, skin
from engine.sample.canvas import ORIGIN, UNIT
from engine.sample.eyes import IRIS_CENTRE, IRIS_RADIUS, UPPER_LID
from engine.sample.portrait import draw_portrait, write_portrait

_UNIT, _ORIGIN = UNIT * 1024, np.array(ORIGIN) * 1024
_DRAWN = (
    (IRIS_CENTRE, 468, 473),
    (UPPER_LID[0], 133, 362),
    (UPPER_LID[-1], 33, 263),
    (skin.MOUTH_LINE[-1], 61, 291),
    (skin.UPPER_EDGE[-1], 0, 0),
    (skin.LOWER_EDGE[-1], 17, 17),
    ((0.0, skin.OUTLINE[:, 1].max()), 152, 152),
)
"""Where features were drawn at x > 0, and the tracked points, right and left, that should lie there."""


@pytest.fixture(scope="module")
def portrait():
    return draw_portrait()


def _shipped():
    return cv2.cvtColor(cv2.imread(str(sample_portrait())), cv2.COLOR_BGR2RGB)


def _psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


def test_drawing_is_deterministic():
    """Two calls give the same bytes, so a source's key does not change between runs."""
    assert np.array_equal(draw_portrait(256), draw_portrait(256))


def test_shape_and_range(portrait):
    """The portrait is RGB uint8 and uses the range without clipping large parts of it."""
    assert portrait.shape == (1024, 1024, 3)
    assert portrait.dtype == np.uint8
    assert portrait.flags.c_contiguous
    assert (portrait == 255).all(2).mean() < 0.005
    assert np.percentile(portrait, 99) > 200
    assert np.percentile(portrait, 1) < 60


def test_shipped_file_is_what_the_code_draws(portrait):
    """The file in the package is made by the code: nothing but its compression stands between them."""
    shipped = _shipped()
    assert shipped.shape == portrait.shape
    assert _psnr(shipped, portrait) > 36


def test_sizes_show_the_same_picture(portrait):
    """Everything is measured in head units: a smaller drawing is the same picture with fewer pixels."""
    small = draw_portrait(512)
    assert _psnr(cv2.resize(portrait, (512, 512), interpolation=cv2.INTER_AREA), small) > 26


@pytest.mark.parametrize("size", [0, 127, 4097])
def test_odd_sizes_are_refused(size):
    """A size outside the stated range is the caller's mistake and says so."""
    with pytest.raises(InputError, match=f"got {size}, expected 128 to 4096"):
        draw_portrait(size)


def test_writing_leaves_no_half_file(tmp_path: Path):
    """The file appears whole under its name, and nothing else stays."""
    write_portrait(tmp_path / "face.webp", 128)
    assert [entry.name for entry in tmp_path.iterdir()] == ["face.webp"]
    assert cv2.imread(str(tmp_path / "face.webp")).shape == (128, 128, 3)


def test_tracker_finds_the_drawn_features(models):
    """The tracker sees one face at once, and eyes, lips and chin where they were drawn."""
    from contextlib import closing

    from engine.track.face import FaceTracker

    with closing(FaceTracker(max_faces=2)) as tracker:
        faces = tracker.detect(_shipped())
    assert len(faces) == 1
    assert faces[0].score > 0.9
    points = (faces[0].points[:, :2] - _ORIGIN) / _UNIT
    for drawn, right, left in _DRAWN:
        mirrored = np.array([-drawn[0], drawn[1]])
        assert np.abs(points[left] - drawn).max() < 0.035
        assert np.abs(points[right] - mirrored).max() < 0.035
    radius = np.linalg.norm(points[[474, 475, 476, 477]] - points[473], axis=1)
    assert radius.mean() == pytest.approx(IRIS_RADIUS, rel=0.2)
