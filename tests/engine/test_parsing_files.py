"""Label pictures: numbers or colours, and a clear word about everything else."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from engine.errors import DecodeError, InputError, TooLargeError
from engine.parsing.classes import CELEBAMASK, Part
from engine.parsing.files import LIMITS, decode_labels, fitted_labels, painting_of
from engine.parsing.runs import MOST_RUNS, decode


def png(picture: Any, suffix: str = ".png") -> bytes:
    """RGB or grey, as a file."""
    stored = picture if picture.ndim == 2 else np.ascontiguousarray(picture[..., ::-1])
    done, data = cv2.imencode(suffix, stored)
    assert done
    return data.tobytes()


@pytest.fixture
def labels() -> np.ndarray:
    """Every class, in stripes."""
    return np.repeat((np.arange(64, dtype=np.uint8) % len(Part))[None], 64, 0).copy()


def test_numbers_and_colours_give_the_same_labels(labels: np.ndarray) -> None:
    """Grey, grey in three channels, and the colours of CelebAMask-HQ; opaque alpha does not matter."""
    coloured = CELEBAMASK.palette[labels]
    for picture in (labels, np.repeat(labels[..., None], 3, 2), coloured):
        assert (decode_labels(png(picture), "a.png") == labels).all()
    opaque = np.dstack([coloured[..., ::-1], np.full((64, 64), 255, np.uint8)])
    assert (decode_labels(cv2.imencode(".png", opaque)[1].tobytes(), "a.png") == labels).all()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda one: png(np.where(one == 3, 19, one).astype(np.uint8)), "got 19 at x=3, y=0"),
        (lambda one: png((one > 9).astype(np.uint8) * 255), "class numbers 0 .. 18"),
        (lambda one: png(one.astype(np.uint16)), "16 bits"),
        (lambda one: png(CELEBAMASK.palette[one] // 2 + 1), r"the colour \(1, 1, 1\) at \(0, 0\)"),
        (lambda one: cv2.imencode(".png", np.dstack([one] * 4))[1].tobytes(), "transparent"),
    ],
)
def test_what_is_no_class_is_told_with_its_place(labels: np.ndarray, spoil: Any, told: str) -> None:
    """A number past the last class, a black and white mask, smoothed colours, another depth."""
    with pytest.raises(InputError, match=told):
        decode_labels(spoil(labels), "a.png")


def test_only_whole_png_files_are_labels(labels: np.ndarray) -> None:
    """A JPEG changes numbers; half a file and none at all are no labels either, and neither is a huge one."""
    photo = np.dstack([labels * 9] * 3)
    for data, told in ((png(photo, ".jpg"), "save it as PNG"), (png(labels)[:60], "labels"), (b"", "labels")):
        with pytest.raises(DecodeError, match=told):
            decode_labels(data, "a\nname.png")
    with pytest.raises(TooLargeError):
        decode_labels(b"x" * (LIMITS.file_bytes + 1), "a.png")


def test_labels_take_their_pictures_size_or_are_anothers(labels: np.ndarray) -> None:
    """Half the side and twice it, by whole pixels; another shape is refused."""
    assert (fitted_labels(labels, 128, 128, "a")[::2, ::2] == labels).all()
    assert fitted_labels(labels, 64, 64, "a") is labels
    with pytest.raises(InputError, match="64 x 64 pixels, expected the picture's shape, 96 x 64"):
        fitted_labels(labels, 96, 64, "a")


def test_a_file_becomes_a_painting(labels: np.ndarray) -> None:
    """A large one at the side that a brush may have; one of noise at a side with few enough runs; only squares."""
    assert (decode(painting_of(labels, "a")) == labels).all()
    large = cv2.resize(labels.T, (1024, 1024), interpolation=cv2.INTER_NEAREST)
    assert decode(painting_of(large, "a")).shape == (512, 512)
    noise = np.random.default_rng(0).integers(0, 19, (512, 512), np.uint8)
    runs = painting_of(noise, "a")
    assert len(runs) <= MOST_RUNS
    assert decode(runs).shape == (128, 128)
    with pytest.raises(InputError, match="expected a square"):
        painting_of(labels[:32], "a")
