"""The perceptual hash: what it survives, what it tells apart, and how near chance comes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine.denied import hashing
from engine.denied.hashing import BITS, BYTES, MOST_APART, MOST_HASHES, distance, hashes_of, mirrored
from engine.media import open_media
from engine.sample import sample_portrait
from engine.types import U8


@pytest.fixture(scope="module")
def picture() -> U8:
    with open_media(sample_portrait()) as media:
        return next(iter(media)).rgb


@pytest.fixture(scope="module")
def known(picture: U8) -> U8:
    return hashes_of(picture)


def drawn(seed: int, size: tuple[int, int] = (240, 180)) -> U8:
    """A picture of soft blobs that has nothing to do with another one."""
    small = np.random.default_rng(seed).integers(0, 255, (12, 10, 3), np.uint8)
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def scaled(rgb: U8, share: float) -> U8:
    size = round(rgb.shape[1] * share), round(rgb.shape[0] * share)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def coded(rgb: U8, quality: int) -> U8:
    done, data = cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def cut(rgb: U8, left: float, top: float, right: float, bottom: float) -> U8:
    height, width = rgb.shape[:2]
    rows = slice(round(top * height), height - round(bottom * height))
    return np.ascontiguousarray(rgb[rows, round(left * width) : width - round(right * width)])


def test_its_form(known: U8) -> None:
    """One hash for the whole picture and one for each cut, the whole one first."""
    assert (known.shape, known.dtype) == ((MOST_HASHES, BYTES), np.uint8)
    assert distance(known, known) == 0
    assert 0.4 < np.unpackbits(known[0]).mean() < 0.6  # by their median


@pytest.mark.parametrize("share", [0.2, 0.5, 1.5])
def test_scaling_changes_little(picture: U8, known: U8, share: float) -> None:
    """The size in which somebody keeps it does not matter."""
    assert distance(hashes_of(scaled(picture, share)), known) <= MOST_APART


@pytest.mark.parametrize("quality", [10, 40, 80])
def test_coding_changes_little(picture: U8, known: U8, quality: int) -> None:
    """Nor how it was coded anew."""
    assert distance(hashes_of(coded(picture, quality)), known) <= MOST_APART


def test_a_mirror_is_no_way_out(picture: U8, known: U8) -> None:
    """The commonest way to get past a list."""
    turned = hashes_of(np.ascontiguousarray(picture[:, ::-1]))
    assert distance(turned, known) <= MOST_APART
    assert distance(turned[:1], known[:1]) <= MOST_APART
    assert np.array_equal(mirrored(mirrored(known)), known)


@pytest.mark.parametrize(
    "edges",
    [
        (0.1, 0.0, 0.0, 0.0),
        (0.05, 0.05, 0.05, 0.05),
        (0.1, 0.1, 0.1, 0.1),
        (0.07, 0.04, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.12),
    ],
)
def test_a_slight_cut_changes_little(
    picture: U8, known: U8, edges: tuple[float, float, float, float]
) -> None:
    """Of each edge by itself; and the other way round, where the cut one is what was denied."""
    smaller = hashes_of(cut(picture, *edges))
    assert distance(smaller, known) <= MOST_APART
    assert distance(known, smaller) <= MOST_APART


def test_colour_and_light_change_little(picture: U8, known: U8) -> None:
    """It looks at grey, and at what is brighter than the rest."""
    grey = np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    dim = (255 * (picture / 255.0) ** 1.5).astype(np.uint8)
    for changed in (grey, dim):
        assert distance(hashes_of(changed), known) <= MOST_APART


def test_other_pictures_are_far_away() -> None:
    """Of drawn pictures none of 190 pairs comes near, though each is compared by all its cuts."""
    hashes = [hashes_of(drawn(seed)) for seed in range(20)]
    apart = [distance(one, other) for k, one in enumerate(hashes) for other in hashes[:k]]
    assert min(apart) > MOST_APART + 10


@pytest.mark.parametrize("level", [0, 90, 255])
def test_what_shows_nothing_has_no_hash(level: int) -> None:
    """A black, grey or white picture is like every other one: it is known by its bytes alone."""
    plain = np.full((120, 160, 3), level, np.uint8)
    assert len(hashes_of(plain)) == 0
    assert distance(hashes_of(plain), hashes_of(drawn(1))) == BITS


def test_tiny_and_thin_pictures_raise_nothing() -> None:
    """Whatever was decoded can be asked about."""
    for shape in ((1, 1, 3), (3, 500, 3), (16, 16, 3), (17, 4000, 3)):
        rgb = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
        assert hashes_of(rgb).shape[1] == BYTES


def test_the_transform_is_the_cosine_one() -> None:
    """Rows are orthonormal, and a cosine of frequency 3 has that coefficient alone."""
    basis = hashing._basis()
    assert np.allclose(basis @ basis.T, np.eye(16), atol=1e-12)
    x = np.arange(64)
    found = basis @ np.cos(np.pi * 3 * (2 * x + 1) / 128)
    assert np.argmax(np.abs(found)) == 2
    assert np.abs(np.delete(found, 2)).max() < 1e-12
    assert np.allclose(hashing._areas(0.03, 0.91).sum(1), 1.0)
