"""The embedder: how much it changes, where, and at what cost."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.types import U8
from engine.watermark import Payload, open_embedder
from engine.watermark.pattern import PUBLIC_KEY, drawn, pattern
from engine.watermark.payload import encode
from engine.watermark.spread import LEAST, MOST, SpreadEmbedder
from tests.engine.watermark.pictures import planes

PAYLOAD = Payload(1, 2, 3)


def change(picture: U8, size: tuple[int, int], strength: float = 1.0) -> np.ndarray:
    """What was added to luma, levels."""
    marked = picture.copy()
    open_embedder(size, PAYLOAD, strength=strength).embed(marked)
    assert np.array_equal(marked[size[1] :], picture[size[1] :])
    return marked[: size[1]].astype(int) - picture[: size[1]]


@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (480, 640), (854, 480), (160, 120)])
def test_a_mark_stays_below_42_db_of_error(size: tuple[int, int]) -> None:
    """Whatever the picture: also where all of it is noise that would hide more."""
    noise = np.random.default_rng(1).integers(16, 235, (size[1] * 3 // 2, size[0])).astype(np.uint8)
    for picture in (planes(size), noise):
        assert 10 * np.log10(255**2 / np.mean(change(picture, size) ** 2.0)) >= 42.0


def test_texture_takes_more_than_skin_and_light_more_than_dark() -> None:
    """Strength follows local contrast and lightness; a flat place beside an edge is still flat."""
    picture = np.full((360, 320), 128, np.uint8)
    picture[:240, 160:] = np.random.default_rng(2).integers(60, 200, (240, 160))
    picture[:240, :80] = 20
    added = change(picture, (320, 240))
    dark, flat, beside, rough = (added[:, part].std() for part in np.s_[:64, 96:136, 140:159, 200:])
    assert dark < 0.8 * flat
    assert rough > 1.5 * flat
    assert beside < 1.2 * flat
    assert flat < LEAST + 0.3
    assert rough < MOST


def test_black_and_white_stay_within_a_byte() -> None:
    """Nothing wraps around at the ends of the levels."""
    for level in (0, 255):
        added = change(np.full((360, 320), level, np.uint8), (320, 240), 2.0)
        assert np.abs(added).max() <= 2 * MOST * 4


def test_the_same_pattern_at_every_size() -> None:
    """A picture of twice the side carries the pattern of a smaller one, twice as large: a copy is nothing new."""
    chips = drawn(PUBLIC_KEY).chips(encode(PAYLOAD.bits()))
    small, large = (pattern(size, chips).astype(float) for size in ((320, 240), (640, 480)))
    halved = large.reshape(240, 2, 320, 2).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), halved.ravel())[0, 1] > 0.97


def test_nothing_is_allocated_for_a_picture() -> None:
    """Marking a frame takes no memory that grows with it."""
    picture = planes((640, 480))
    embedder = open_embedder((640, 480), PAYLOAD)
    embedder.embed(picture)
    tracemalloc.start()
    for _ in range(3):
        embedder.embed(picture)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000


def test_marking_is_the_same_every_time() -> None:
    """The same picture and payload give the same bytes, and another payload others."""
    once, again = (change(planes((320, 240)), (320, 240)) for _ in range(2))
    assert np.array_equal(once, again)
    other = planes((320, 240))
    SpreadEmbedder((320, 240), Payload(1, 2, 4), 1.0, PUBLIC_KEY).embed(other)
    assert not np.array_equal(other, planes((320, 240)) + 0)
    assert not np.array_equal(other[:240].astype(int) - planes((320, 240))[:240], once)


@pytest.mark.parametrize(
    ("size", "strength", "words"),
    [((6, 64), 1.0, "6x64"), ((33, 64), 1.0, "33x64"), ((64, 64), 2.1, "strength 2.1")],
)
def test_what_cannot_be_marked_is_refused(size: tuple[int, int], strength: float, words: str) -> None:
    """Sizes without room, odd ones, strengths beyond the range."""
    with pytest.raises(ConfigError, match=words):
        open_embedder(size, PAYLOAD, strength=strength)


def test_planes_of_another_size_are_refused() -> None:
    """A programming error, told as one."""
    with pytest.raises(ValueError, match="planes"):
        open_embedder((64, 48), PAYLOAD).embed(np.zeros((48, 64), np.uint8))
