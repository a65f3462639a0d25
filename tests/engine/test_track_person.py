"""The person mask: sizes, range and where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import InputError
from engine.track.person import SIZE, PersonSegmenter, grow, shrink
from engine.types import U8


@pytest.fixture(scope="module")
def segmenter(models: None) -> Iterator[PersonSegmenter]:
    one = PersonSegmenter()
    yield one
    one.close()


def _picture(path: Path) -> U8:
    bgr = cv2.imread(str(path))
    assert bgr is not None
    return np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8)


@pytest.fixture(scope="module")
def portrait(faces_root: Path) -> U8:
    return _picture(sorted((faces_root / "portraits").glob("*.jpg"))[0])


def test_the_model_sees_every_pixel_of_a_large_picture() -> None:
    """Fine stripes arrive as their mean and not as a pattern of their own."""
    stripes = np.zeros((1024, 2048, 3), np.uint8)
    stripes[:, ::2] = 255
    np.testing.assert_allclose(shrink(stripes), 0.5, atol=0.01)


def test_the_mask_has_the_size_of_the_picture_and_its_full_range() -> None:
    """0 and 1 become 0 and 255 at any size, and what is no probability is no person."""
    ramp = np.tile(np.linspace(0, 1, SIZE, dtype=np.float32), (SIZE, 1))
    mask = grow(ramp, 700, 33)
    assert mask.shape == (33, 700)
    assert mask.dtype == np.uint8
    assert (mask[:, 0] == 0).all()
    assert (mask[:, -1] == 255).all()
    assert not grow(np.full((SIZE, SIZE), np.nan, np.float32), 8, 8).any()


@pytest.mark.parametrize(
    "wrong", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused(segmenter: PersonSegmenter, wrong: U8) -> None:
    """The message says what was got and what is expected."""
    with pytest.raises(InputError, match=r"person mask: got .* expected uint8"):
        segmenter.mask(wrong)


def test_a_person_is_seen_and_the_corner_is_not(segmenter: PersonSegmenter, faces_root: Path) -> None:
    """On a portrait and on a full figure the middle is person, and some of the border is not."""
    for name in ("portraits/man_east_asian.jpg", "bodies/man_in_suit_standing.jpg"):
        mask = segmenter.mask(_picture(faces_root / name))
        assert mask[mask.shape[0] // 2, mask.shape[1] // 2] > 200
        assert (mask[0] < 50).any()


def test_a_mirrored_picture_gives_the_mirrored_mask(segmenter: PersonSegmenter, portrait: U8) -> None:
    """The mask is not shifted against the picture: half a cell would be two pixels here."""
    mask = segmenter.mask(portrait).astype(int)
    mirrored = segmenter.mask(np.ascontiguousarray(portrait[:, ::-1]))[:, ::-1].astype(int)
    error = [np.abs(np.roll(mirrored, shift, axis=1) - mask)[:, 8:-8].mean() for shift in (-2, 0, 2)]
    assert error[1] < error[0]
    assert error[1] < error[2]


def test_any_shape_of_picture_is_taken(segmenter: PersonSegmenter) -> None:
    """One pixel, a wide strip and a large picture all have a mask of their own size."""
    for height, width in ((1, 1), (10, 3000), (2500, 2000)):
        assert segmenter.mask(np.zeros((height, width, 3), np.uint8)).shape == (height, width)
