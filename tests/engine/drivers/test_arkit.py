"""Live Link Face packets: what they say, and what is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.acting import acted_face
from engine.drivers.arkit import MOST_BYTES, NAMES, read
from engine.errors import InputError
from engine.features.shape import fit_shape
from engine.geometry import head_pose
from engine.types import AU_NAMES


def packet(scores: dict[str, float] | None = None, head=(0.0, 0.0, 0.0), *, version=6, count=61) -> bytes:
    """As the app sends it; without scores where nobody is seen."""
    told = struct.pack("!B", version)
    for text in (b"6E1C0F5E-device", b"iPhone"):
        told += struct.pack("!i", len(text)) + text
    if scores is None:
        return told
    values = [scores.get(name, 0.0) for name in NAMES] + [*head] + [0.0] * 6
    return told + struct.pack("!ifiiB", 1200, 0.25, 60, 1, count) + struct.pack("!61f", *values)


def _unit(units: np.ndarray, name: str) -> float:
    return float(units[AU_NAMES.index(name)])


def test_one_eye_blinks():
    """Left and right are the person's own, and a blink of one eye is no blink of the other."""
    acting = read(packet({"eyeBlinkLeft": 1.0, "jawOpen": 0.5, "mouthSmileRight": 0.4}))
    assert (_unit(acting.left, "AU45"), _unit(acting.right, "AU45")) == (1.0, 0.0)
    assert (_unit(acting.left, "AU26"), _unit(acting.right, "AU26")) == (0.5, 0.5)
    assert (_unit(acting.left, "AU12"), _unit(acting.right, "AU12")) == pytest.approx((0.0, 0.4))


def test_the_head_turns():
    """Angles are radians; a turned head is turned in the face."""
    acting = read(packet({}, (np.radians(20.0), np.radians(10.0), np.radians(-15.0))))
    pose = head_pose(fit_shape(acted_face(acting, (640, 480)).points).rotation)
    assert np.allclose([pose.yaw, pose.pitch, pose.roll], [20.0, 10.0, 15.0], atol=1.0)


def test_eyes_look_where_they_look():
    """Inwards is towards the nose: to the picture's right with the right eye, to its left with the left one."""
    gaze = read(packet({"eyeLookInRight": 1.0, "eyeLookOutLeft": 1.0, "eyeLookDownLeft": 0.5})).gaze
    assert min(gaze.right_x, gaze.left_x) > 0.5
    assert (gaze.left_y, gaze.right_y) == pytest.approx((0.3, 0.0))


def test_nobody_is_seen():
    """A packet without scores says that there is no face: none is made up."""
    assert read(packet()) is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (b"", "ends"),
        (packet({})[:-1], "ends"),
        (packet({}) + b"\0", "more"),
        (packet({}, version=7), "version"),
        (packet({}, count=52), "scores"),
        (packet({"jawOpen": float("nan")}), "finite"),
        (packet({}, (float("inf"), 0.0, 0.0)), "finite"),
        (b"\x06" + struct.pack("!i", -5) + bytes(100), "text"),
        (b"\x06" + struct.pack("!i", 1 << 30) + bytes(100), "text"),
        (bytes(MOST_BYTES + 1), "at most"),
    ],
)
def test_others_are_refused(wrong, says):
    """What is no such packet is refused with what is wrong."""
    with pytest.raises(InputError, match=says):
        read(wrong)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 300))
def test_no_bytes_do_harm(noise, at):
    """Whatever comes over the network is read or refused, and nothing else happens."""
    whole = packet({"jawOpen": 0.3})
    for one in (noise, whole[:at] + noise + whole[at + len(noise) :]):
        try:
            acting = read(one)
        except InputError:
            continue
        assert acting is None or np.isfinite(acted_face(acting, (64, 64)).points).all()
