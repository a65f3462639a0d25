"""The blind detector: what it finds again, and how sure it may be."""

from __future__ import annotations

import math
from datetime import date

import cv2
import numpy as np
import pytest

from engine.errors import InputError
from engine.types import U8
from engine.watermark import Found, Payload, open_detector, open_embedder
from engine.watermark.detector import Pilot, folded, whitened
from engine.watermark.found import LEAST_CHANCE
from engine.watermark.pattern import CHIPS_ACROSS, PUBLIC_KEY, drawn
from tests.engine.watermark.pictures import planes

SIZE = (640, 480)
PAYLOAD = Payload.of("a session", date(2026, 11, 22))


@pytest.fixture(scope="module")
def marked() -> U8:
    """Luma."""
    picture = planes(SIZE)
    open_embedder(SIZE, PAYLOAD).embed(picture)
    return picture[: SIZE[1]]


def read(luma: U8, key: bytes = PUBLIC_KEY) -> Found:
    detector = open_detector(key)
    detector.add(np.ascontiguousarray(luma))
    return detector.result()


def resized(luma: U8, share: float, interpolation: int = cv2.INTER_AREA) -> U8:
    return np.asarray(cv2.resize(luma, None, fx=share, fy=share, interpolation=interpolation), np.uint8)


def test_scale_place_and_mirroring_are_found(marked: U8) -> None:
    """Nothing is told to the detector: pictures that were scaled, cropped off the grid, or mirrored are read, with the
    pixels that a chip has now."""
    chip = SIZE[1] / CHIPS_ACROSS
    cases = {
        "whole": (marked, chip),
        "0.75": (resized(marked, 0.75), chip * 0.75),
        "larger": (resized(marked, 1.37, cv2.INTER_LINEAR), chip * 1.37),
        "cut": (marked[31:463, 17:593], chip),
        "cut to a face": (resized(marked[60:360, 240:540], 1.2, cv2.INTER_LINEAR), chip * 1.2),
        "mirrored": (marked[:, ::-1], chip),
    }
    for name, (luma, scale) in cases.items():
        found = read(luma)
        assert found.payload == PAYLOAD, name
        assert found.scale == pytest.approx(scale, rel=0.004), name
        assert found.mirrored == (name == "mirrored")
        assert found.probability_of_chance < 1e-20


def test_sides_scaled_apart_are_found(marked: U8) -> None:
    """A picture that was fitted to even sides is a little wider than it was high."""
    luma = cv2.resize(marked, (484, 358), interpolation=cv2.INTER_AREA)
    assert read(np.asarray(luma, np.uint8)).payload == PAYLOAD


def test_frames_add_up() -> None:
    """What one noisy frame does not tell, many do: the mark stays in its place, noise does not."""
    random = np.random.default_rng(4)
    picture = planes((320, 240))
    open_embedder((320, 240), PAYLOAD).embed(picture)
    luma = picture[:240].astype(np.float32)
    detector = open_detector()
    sure = []
    for count in range(1, 25):
        noisy = luma + random.normal(0.0, 40.0, luma.shape)
        detector.add(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))
        if count in (1, 24):
            sure.append(detector.result())
    assert sure[0].payload is None
    assert sure[1].payload == PAYLOAD
    assert sure[1].frames == 24


def test_another_key_finds_nothing(marked: U8) -> None:
    """A key reads its own mark alone, and what it reads instead is never given out."""
    found = read(marked[:240, :320], b"another key")
    assert not found.present
    assert found.payload is None


def test_an_unmarked_picture_is_no_finding() -> None:
    """Also where it repeats, is flat, or is noise: the signs are the key's, and no picture knows them."""
    repeated = np.tile(planes((66, 66), 3)[:66, :66], (4, 5))[:240, :320]
    flat = np.full((120, 160), 90, np.uint8)
    noise = np.random.default_rng(8).integers(0, 256, (120, 160)).astype(np.uint8)
    for luma in (repeated, flat, noise):
        found = read(luma)
        assert not found.present
        assert found.probability_of_chance > LEAST_CHANCE


def test_chance_is_bounded_as_stated() -> None:
    """z of keys that a picture was never marked with exceeds t at most with exp(-t^2 / 2), Hoeffding's bound."""
    luma = planes((320, 240))[:240]
    chip = 240 / CHIPS_ACROSS
    tile = folded(whitened(luma), chip, chip, luma.shape)
    z = np.stack([Pilot(drawn(b"%d" % number)).scores(tile) for number in range(60)])
    assert 0.9 < z.std() < 1.1
    for level in (2.0, 3.0, 4.0):
        assert np.mean(z > level) <= math.exp(-level * level / 2)


def test_frames_that_do_not_fit_are_refused() -> None:
    """One detector reads one size, of pictures that have room for a chip."""
    detector = open_detector()
    with pytest.raises(InputError, match="no frame"):
        detector.result()
    detector.add(planes((64, 48))[:48])
    with pytest.raises(InputError, match="one detector per size"):
        detector.add(planes((64, 64))[:64])
    with pytest.raises(InputError, match="expected 16"):
        open_detector().add(np.zeros((8, 64), np.uint8))
    with pytest.raises(InputError, match="uint8"):
        open_detector().add(np.zeros((64, 64, 3), np.uint8))
