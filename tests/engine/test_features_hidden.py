"""Which action units something hides."""

from __future__ import annotations

import numpy as np

from engine.features.hidden import covered_points, hidden_aus
from engine.types import AU_NAMES
from tests.engine.edit_scenes import HEIGHT, WIDTH, face_at

FACE = face_at(100, 80)


def hidden(mask: np.ndarray) -> set[str]:
    return {name for name, one in zip(AU_NAMES, hidden_aus(FACE.points, mask)) if one}


def test_a_hand_over_the_mouth_hides_the_mouth() -> None:
    """The mouth's units and not the brows', and the other way round for a hand over the forehead."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    assert hidden(mask) == set()
    mask[90:] = 255
    assert {"AU12", "AU15", "AU25", "AU26"} <= hidden(mask)
    assert not {"AU01", "AU02", "AU04", "AU45"} & hidden(mask)
    assert {"AU01", "AU02", "AU04"} <= hidden(255 - mask)
    assert not {"AU25", "AU26"} & hidden(255 - mask)


def test_one_covered_half_hides_every_unit() -> None:
    """Units are of both sides: with one of them covered neither is believed."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, :100] = 255
    assert {"AU01", "AU12", "AU45"} <= hidden(mask)


def test_points_beyond_the_picture_are_not_covered() -> None:
    """A face that leans out of the frame."""
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    seen = covered_points(face_at(0, 80).points, mask)
    assert 150 < seen.sum() < 320
