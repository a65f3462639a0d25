"""Pictures sampled, masks grown and shrunk, pictures continued beyond an outline."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import ConfigError, InputError
from engine.mesh import masks
from engine.mesh.fill import continued, nearest
from engine.mesh.sampling import sampled


def grid(height: int, width: int) -> np.ndarray:
    x = (2 * np.arange(width) + 1 - width) / width
    y = (2 * np.arange(height) + 1 - height) / height
    return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)


def test_a_picture_at_its_own_places_is_itself():
    """Pixel centres are (2 i + 1 - n) / n in both directions, and nothing is mixed there."""
    picture = np.random.default_rng(0).normal(size=(2, 5, 7)).astype(np.float32)
    np.testing.assert_allclose(sampled(picture, grid(5, 7)), picture, atol=1e-6)


def test_between_pixels_it_is_mixed_and_outside_it_fades_to_zero():
    """Half way between two pixels is their mean; at the very edge half of the pixel; beyond, and absent, nothing."""
    picture = np.array([[[1.0, 3.0], [1.0, 3.0]]], np.float32)
    places = np.array([[[0.0, 0.0], [-1.0, 0.0], [1.5, 0.0], [-2.0, -2.0], [np.nan, 0.0]]], np.float32)
    out = np.empty((1, 1, 5), np.float32)
    assert sampled(picture, places, out) is out
    np.testing.assert_allclose(out[0, 0], [2.0, 0.5, 0.0, 0.0, 0.0])


def test_arrays_that_cannot_be_sampled_are_refused():
    """A grid or memory of another shape is one clear line."""
    picture = np.zeros((1, 4, 4), np.float32)
    with pytest.raises(InputError, match="sampling: expected a picture"):
        sampled(picture, np.zeros((4, 4), np.float32))
    with pytest.raises(InputError, match="memory: expected"):
        sampled(picture, grid(4, 4), np.empty((4, 4), np.float32))


def test_masks_shrink_and_grow_by_their_box():
    """A full picture stays full, a hole grows by the box, a dot grows to it, and half a box is half a box."""
    full = np.ones((9, 9), np.float32)
    assert masks.eroded(full, 5).all()
    hole, dot = full.copy(), np.zeros((9, 9), np.float32)
    hole[4, 4], dot[4, 4] = 0, 1
    assert (masks.eroded(hole, 5) == 0).sum() == 25
    assert masks.dilated(dot, 3).sum() == 9
    half = np.zeros((9, 9), np.float32)
    half[:, :4] = 1
    np.testing.assert_array_equal(masks.soft_dilated(half, 3)[4], [1, 1, 1, 1, 0, 0, 0, 0, 0])


def test_what_left_the_box_leaves_no_rounding_behind():
    """A sum of exactly one is one, whatever stood in the boxes before: comparisons are not decided by leftovers."""
    mask = np.full((3, 40), 0.1, np.float32)
    mask[:, 20:] = 0
    mask[1, 30] = 1
    assert masks.dilated(mask, 3)[1, 29:32].tolist() == [1, 1, 1]


def test_a_box_without_a_middle_is_refused():
    """Boxes are odd."""
    with pytest.raises(ConfigError, match="expected an odd number of pixels, got 4"):
        masks.eroded(np.ones((4, 4), np.float32), 4)


@pytest.mark.parametrize("share", [0.3, 0.05, 0.01])
def test_the_nearest_is_the_nearest_and_ties_go_up_then_left(share):
    """Every pixel's nearest known one, against all distances; of equals the first in reading order."""
    known = np.random.default_rng(1).random((23, 31)) < share
    known[4, 5] = True
    places = np.argwhere(known)
    rows, columns = np.mgrid[:23, :31]
    squares = (rows[..., None] - places[:, 0]) ** 2 + (columns[..., None] - places[:, 1]) ** 2
    np.testing.assert_array_equal(nearest(known), places[squares.argmin(-1)])


def test_where_nothing_is_known_nothing_is_nearest():
    """An empty mask has no nearest pixel, and fills nothing."""
    nothing = np.zeros((4, 4), np.float32)
    assert (nearest(nothing > 0) == -1).all()
    assert (continued(np.ones((3, 4, 4), np.float32), nothing, nothing + 1) == 0).all()


def test_a_picture_is_continued_from_the_nearest_trusted_pixels():
    """Trusted pixels stay, the ring takes the mean of the trusted ones about the nearest, the rest is black."""
    picture = np.arange(36, dtype=np.float32).reshape(1, 6, 6)
    trusted, wanted = np.zeros((6, 6), np.float32), np.ones((6, 6), np.float32)
    trusted[2:4, 1:3] = 1
    wanted[5] = 0
    filled = continued(picture, trusted, wanted)
    np.testing.assert_array_equal(filled[0, 2:4, 1:3], picture[0, 2:4, 1:3])
    assert filled[0, 0, 0] == picture[0, 2:4, 1:3].mean()
    assert (filled[0, 5] == 0).all()
    rolled = np.ascontiguousarray(picture.transpose(1, 2, 0)).transpose(2, 0, 1)
    np.testing.assert_array_equal(continued(rolled, trusted, wanted), filled)


def test_masks_of_another_size_are_refused():
    """Masks that are not the picture's are one clear line."""
    with pytest.raises(InputError, match="fill: expected masks"):
        continued(np.zeros((3, 4, 4), np.float32), np.zeros((5, 5), np.float32), np.zeros((4, 4), np.float32))
