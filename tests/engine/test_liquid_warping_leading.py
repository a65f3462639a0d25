"""Which picture leads a turned head's texture."""

from __future__ import annotations

import numpy as np
import pytest

from engine.generators.liquid_warping.leading import Led, in_order, texture_at


def grey(value: float) -> np.ndarray:
    return np.full((3, 4, 4), value, np.float32)


LED = in_order([0.0, 20.0, -10.0], [grey(0.1), grey(0.5), grey(-0.3)])


@pytest.mark.parametrize(
    ("yaw", "value"), [(-40, -0.3), (-10, -0.3), (-5, -0.1), (0, 0.1), (5, 0.2), (20, 0.5), (33, 0.5)]
)
def test_the_pictures_around_a_yaw_share_its_texture(yaw: float, value: float) -> None:
    """Beyond the outermost it is theirs alone, between two it goes over evenly: nothing jumps when a head turns."""
    assert texture_at(LED, yaw)[0, 0, 0] == pytest.approx(value, abs=1e-6)


def test_pictures_that_look_alike_are_led_by_the_first() -> None:
    """Nothing is divided by next to nothing; one picture is all there is."""
    led = in_order([3.0, 3.1], [grey(0.1), grey(0.9)])
    assert [one.yaw for one in led] == [3.0]
    assert texture_at([Led(3.0, grey(0.1))], 30.0)[0, 0, 0] == np.float32(0.1)
