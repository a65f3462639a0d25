"""Which picture leads a turned head's texture."""

from __future__ import annotations

import numpy as np
import pytest

from engine import canonical
from engine.features.au_basis import deform
from engine.generators.liquid_warping.leading import Led, in_order, texture_at
from engine.generators.liquid_warping.prepared import led_by
from engine.geometry import pose_rotation
from engine.mesh.face.topology import FACES, PARTS, Part, layout
from engine.types import AU_NAMES, FaceShape, HeadPose


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
    assert [one.at for one in led] == [3.0]
    assert texture_at([Led(3.0, grey(0.1))], 30.0)[0, 0, 0] == np.float32(0.1)


def test_eyes_are_led_by_how_far_they_are_open() -> None:
    """Of a picture that looks ahead with open eyes and a turned one with shut eyes, a turned face with open eyes takes
    the eyes of the first; its cheek is the turned one's either way."""
    aus = np.zeros(len(AU_NAMES), np.float32)
    aus[AU_NAMES.index("AU45")] = 1.0
    opened, shut = canonical.VERTICES, deform(canonical.VERTICES.copy(), aus)

    def face(local: np.ndarray, yaw: float) -> FaceShape:
        turn = pose_rotation(HeadPose(yaw, 0, 0))
        return FaceShape(np.asarray(local, np.float32), turn, 4.0, np.zeros(3))

    drawn = layout().drawn(128)
    textures = [np.full((3, 128, 128), value, np.float32) for value in (0.1, 0.9)]
    leading = led_by([face(opened, 0.0), face(shut, 20.0)], textures, drawn)
    eyes, chin = np.isin(drawn.index, np.flatnonzero(PARTS == Part.EYES)), np.isin(drawn.index, _CHIN)
    for local, yaw, eye, cheek in ((opened, 20.0, 0.1, 0.9), (shut, 20.0, 0.9, 0.9), (shut, 0.0, 0.9, 0.1)):
        texture = leading.texture(face(local, yaw))[0]
        assert texture[eyes].mean() == pytest.approx(eye, abs=0.03)
        assert texture[chin].mean() == pytest.approx(cheek, abs=0.01)


_CHIN = np.flatnonzero((canonical.FACE_OVAL[18] == FACES).any(1))
