from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from engine.errors import ConfigError
from engine.marks import LANGUAGES, PLACES, MarksConfig
from engine.marks.badge import STEPS, Badge
from engine.media.planes import i420_of
from engine.types import U8, Mode

SIZES = [(640, 480), (720, 720), (128, 128), (480, 854), (1280, 720), (130, 962)]
GROUNDS = [0, 40, 90, 128, 180, 220, 255]


def flat(size: tuple[int, int], level: int) -> U8:
    return i420_of(np.full((size[1], size[0], 3), level, np.uint8))


def luma(planes: U8) -> np.ndarray:
    return planes[: planes.shape[0] * 2 // 3].astype(np.int16)


def luminance(levels: np.ndarray) -> np.ndarray:
    """Relative luminance, 0 .. 1, of luma in limited range, as WCAG 2 takes it of greys."""
    shade = np.clip((levels - 16.0) / 219.0, 0.0, 1.0)
    return np.where(shade <= 0.04045, shade / 12.92, ((shade + 0.055) / 1.055) ** 2.4)


def contrast(one: float, other: float) -> float:
    lighter, darker = sorted((one, other), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("size", SIZES)
def test_the_badge_stands_in_its_corner_and_touches_nothing_else(size: tuple[int, int], place: str) -> None:
    """As high as it is asked for, at least 20 pixels, clear of the strip's rows, on even pixels."""
    planes = flat(size, 128)
    before = planes.copy()
    badge = Badge(size, MarksConfig(place=place))
    badge.compose(planes)
    x0, y0, x1, y1 = badge.box
    assert y1 - y0 == pytest.approx(max(20, 0.09 * min(size[1], 2 * size[0])), abs=2)
    assert all(side % 2 == 0 for side in badge.box)
    assert (x0 + x1 > size[0]) is place.endswith("right")
    assert (y0 + y1 > size[1]) is place.startswith("bottom")
    assert max(8, size[1] // 32) < y0 < y1 < size[1]
    assert 0 < x0 < x1 < size[0]
    changed = np.argwhere(luma(planes) != luma(before))
    assert (changed.min(axis=0) >= (y0, x0)).all()
    assert (changed.max(axis=0) < (y1, x1)).all()
    chroma = np.argwhere((planes != before)[size[1] :].reshape(2, size[1] // 2, -1).any(axis=0)) * 2
    assert (chroma.min(axis=0) >= (y0, x0)).all()
    assert (chroma.max(axis=0) < (y1, x1)).all()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("size", [(640, 480), (1280, 720), (720, 720), (854, 480)])
def test_a_square_tile_and_a_crop_by_a_tenth_keep_it(size: tuple[int, int], place: str) -> None:
    """What call apps cut away around a face leaves the badge whole."""
    x0, y0, x1, y1 = Badge(size, MarksConfig(place=place)).box
    side = min(size) * 0.9
    assert abs(x0 - size[0] / 2) <= side / 2
    assert abs(x1 - size[0] / 2) <= side / 2
    assert size[1] / 2 - side / 2 <= y0 < y1 <= size[1] / 2 + side / 2


@pytest.mark.parametrize("level", GROUNDS)
@pytest.mark.parametrize("size", [(640, 480), (128, 128), (1280, 720)])
def test_the_letters_are_legible_on_every_ground(size: tuple[int, int], level: int) -> None:
    """White on a dark plate: at least 7 to 1 by WCAG's measure, whose best grade asks for that, and the plate or its
    rim at least 3 to 1 against the ground."""
    planes = flat(size, level)
    ground = float(luminance(luma(planes)[0, 0]))
    badge = Badge(size)
    badge.compose(planes)
    x0, y0, x1, y1 = badge.box
    shown = luminance(luma(planes)[y0:y1, x0:x1])
    tall, wide = shown.shape
    plate = float(np.median(shown[tall // 4 : -tall // 4, 3 : max(4, wide // 7)]))
    letters = float(np.percentile(shown[tall // 4 : -tall // 4, wide // 5 : -wide // 5], 98))
    rim = float(np.median(shown[0, wide // 3 : -wide // 3]))
    assert contrast(letters, plate) >= 7.0
    assert max(contrast(plate, ground), contrast(rim, ground)) >= 3.0
    middle = shown[tall // 4 : -tall // 4, wide // 5 : -wide // 5]
    assert 0.15 < np.mean(middle > (letters + plate) / 2) < 0.6


def test_there_are_two_letters_an_a_and_an_i() -> None:
    """Across the middle the plate shows three strokes: the legs of the A, whose gap narrows upwards, and the I."""
    planes = flat((1280, 1280), 30)
    badge = Badge((1280, 1280))
    badge.compose(planes)
    x0, y0, x1, y1 = badge.box
    ink = luma(planes)[y0:y1, x0:x1] > 150
    ink[:, :6] = ink[:, -6:] = False  # the rim
    tall = y1 - y0

    def strokes(share: float) -> list[int]:
        row = np.flatnonzero(np.diff(ink[round(tall * share)].astype(np.int8), prepend=0, append=0))
        return [int(edge) for edge in row]

    low, high = strokes(0.73), strokes(0.45)
    assert len(low) == len(high) == 6
    assert low[2] - low[1] > high[2] - high[1] > 0
    assert low[4:] == high[4:]


@pytest.mark.parametrize("share", [1.0, 0.75, 0.5, 0.375])
def test_it_is_still_read_on_the_smallest_rung(share: float) -> None:
    """As few pixels as a narrow way leaves show the letters as the whole picture does."""
    whole, rgb = Badge((640, 480)), np.full((480, 640, 3), 128, np.uint8)
    whole.compose_rgb(rgb)
    size = round(640 * share), round(480 * share)
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    x0, y0, x1, y1 = (round(side * share) for side in whole.box)
    seen = cv2.resize(small[y0:y1, x0:x1, 1], (64, 42), interpolation=cv2.INTER_CUBIC).astype(float)
    there = rgb[whole.box[1] : whole.box[3], whole.box[0] : whole.box[2], 1].astype(float)
    assert np.corrcoef(seen.ravel(), there.ravel())[0, 1] > 0.85
    assert np.percentile(seen, 98) - np.percentile(seen, 40) > 90


def test_composing_and_mixing_may_change_places() -> None:
    """A fade between two pictures with badges keeps the badge whole: of one look it is linear in the picture."""
    bright, dark = flat((640, 480), 230), flat((640, 480), 150)
    mixed = ((bright.astype(int) + dark) // 2).astype(np.uint8)
    for planes in (bright, dark, mixed):
        Badge((640, 480)).compose(planes)
    assert np.abs(mixed.astype(int) - (bright.astype(int) + dark) // 2).max() <= 2


def test_a_fade_between_its_two_looks_can_be_read() -> None:
    """The letters are white and the plate is dark in both, so that no mixture hides them."""
    bright, dark = flat((640, 480), 255), flat((640, 480), 0)
    badges = Badge((640, 480)), Badge((640, 480))
    for badge, planes in zip(badges, (bright, dark)):
        badge.compose(planes)
    x0, y0, x1, y1 = badges[0].box
    for part in np.linspace(0.0, 1.0, 9):
        area = luminance((part * luma(bright) + (1 - part) * luma(dark))[y0:y1, x0:x1])
        plate = float(np.median(area[12:30, 3:9]))
        assert contrast(float(np.percentile(area[12:30, 14:-14], 98)), plate) >= 7.0


def test_it_follows_its_ground_slowly_and_evenly() -> None:
    """From dark to light in STEPS pictures at least, each alike to the one before, and then it rests."""
    badge, size = Badge((320, 240)), (320, 240)
    badge.compose(flat(size, 0))
    x0, y0, x1, y1 = badge.box
    shown = []
    for _ in range(4 * STEPS):
        planes = flat(size, 255)
        badge.compose(planes)
        shown.append(luma(planes)[y0:y1, x0:x1])
    steps = [int(np.abs(after - before).max()) for before, after in pairwise(shown)]
    assert max(steps) <= 6
    assert sum(step > 0 for step in steps) >= STEPS // 2
    assert not any(steps[-STEPS:])
    fresh = flat(size, 255)
    Badge(size).compose(fresh)
    assert np.array_equal(shown[-1], luma(fresh)[y0:y1, x0:x1])


@pytest.mark.parametrize("levels", [(0, 255), (60, 130), (104, 112)])
def test_a_ground_that_flickers_does_not_make_it_flicker(levels: tuple[int, int]) -> None:
    """Whatever goes on behind it, once it has chosen it looks the same from picture to picture."""
    badge, size = Badge((320, 240)), (320, 240)
    looks = []
    for number in range(8 * STEPS):
        badge.compose(flat(size, levels[number % 2]))
        looks.append(badge._step)
    assert len(set(looks[4 * STEPS :])) == 1
    assert sum(abs(after - before) for before, after in pairwise(looks)) <= STEPS


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_is_drawn_whole(language: str) -> None:
    """With the word beside it and without: ink in the plate alone, as much as its letters take, and no placeholder for
    what a typeface has not."""
    shown = {}
    for words, mode in ((False, None), (True, Mode.PUPPET), (True, Mode.EDIT)):
        rgb = np.zeros((240, 320, 3), np.uint8)
        badge = Badge((320, 240), MarksConfig(language=language, words=words), mode)
        badge.compose_rgb(rgb)
        x0, y0, x1, y1 = badge.box
        ink = rgb[y0 + 5 : y1 - 5, x0 + 3 : x1 - 3, 1] > 200
        assert 0.08 < ink.mean() < 0.6
        assert not ink[:, 0].any()
        assert not ink[:, -1].any()
        shown[words, mode] = x1 - x0
    assert shown[True, Mode.PUPPET] > shown[False, None]


def test_languages_differ() -> None:
    """German says KI, French IA, Chinese writes it out."""
    pictures = []
    for language in ("en", "de", "fr", "ru", "zh"):
        rgb = np.zeros((480, 640, 3), np.uint8)
        Badge((640, 480), MarksConfig(language=language)).compose_rgb(rgb)
        pictures.append(rgb.tobytes())
    assert len(set(pictures)) == 5


@pytest.mark.parametrize("level", [10, 128, 245])
def test_a_picture_in_rgb_gets_the_same_badge(level: int) -> None:
    """Odd sides too, and nothing beside it."""
    rgb = np.full((241, 321, 3), level, np.uint8)
    badge = Badge((321, 241))
    badge.compose_rgb(rgb)
    x0, y0, x1, y1 = badge.box
    assert (np.argwhere(rgb[..., 0] != level).min(axis=0) >= (y0, x0)).all()
    planes = flat((320, 240), level)
    Badge((320, 240)).compose(planes)
    other = cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420)[y0:y1, x0:x1].astype(int)
    assert np.abs(other - rgb[y0:y1, x0:x1]).mean() < 3.0


@pytest.mark.parametrize("size", [(16, 128), (128, 16), (16, 16), (1280, 40)])
@pytest.mark.parametrize("config", [MarksConfig(), MarksConfig(place="bottom-left", size=0.3, words=True)])
def test_the_smallest_pictures_carry_one_too(size: tuple[int, int], config: MarksConfig) -> None:
    """However narrow, there is a badge inside the picture."""
    planes = flat(size, 200)
    Badge(size, config).compose(planes)
    assert (planes != flat(size, 200)).any()


def test_another_size_is_refused() -> None:
    """A badge is never drawn somewhere else than it was made for."""
    with pytest.raises(ValueError, match="shape"):
        Badge((640, 480)).compose(flat((480, 640), 10))
    with pytest.raises(ValueError, match="shape"):
        Badge((640, 480)).compose_rgb(np.zeros((640, 480, 3), np.uint8))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"place": "top-rigth"}, "did you mean 'top-right'"),
        ({"language": "xx"}, "language"),
        ({"size": 0.5}, "0.06 .. 0.3"),
        ({"size": True}, "0.06 .. 0.3"),
        ({"size": float("nan")}, "0.06 .. 0.3"),
        ({"badge": "no"}, "true or false"),
        ({"watermark": 0}, "true or false"),
    ],
)
def test_what_cannot_be_is_refused_by_name(wrong: dict, told: str) -> None:
    """Before a picture leaves with something else than was asked for."""
    with pytest.raises(ConfigError, match=told):
        MarksConfig(**wrong)


def test_both_marks_are_on_unless_one_is_taken_off_by_name() -> None:
    """What is off can be told."""
    assert MarksConfig().lowered == ()
    assert MarksConfig(badge=False, watermark=False).lowered == ("badge", "watermark")
