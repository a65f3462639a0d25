"""OpenSeeFace packets: the face behind their landmarks, and what is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.acting import Acting, acted_face
from engine.canonical import LEFT_IRIS, RIGHT_IRIS
from engine.drivers.openseeface import SIZES, read
from engine.errors import InputError
from engine.features.landmarks68 import from_points
from engine.geometry import head_pose, pose_rotation
from engine.types import AU_NAMES, Gaze, HeadPose

_SIZE = (640, 480)


def packet(places: np.ndarray, *, number=0, certainty=0.9, opened=(1.0, 1.0), size=SIZES[0]) -> bytes:
    """As facetracker sends it. places: (68, 2)."""
    told = struct.pack("<di4fB", 12.5, number, *_SIZE, *opened, 1) + struct.pack("<11f", *[0.5] * 11)
    told += struct.pack("<68f", *[certainty] * 68) + places.astype("<f4").tobytes()
    return told + bytes(size - len(told))


def landmarks(acting: Acting) -> np.ndarray:
    """Those that OpenSeeFace would see: without the lips' outer corners, with the pupils."""
    points = acted_face(acting, _SIZE).points
    known = from_points(points)
    outer_corners = [48, 54]
    return np.concatenate([np.delete(known, outer_corners, 0), points[[RIGHT_IRIS[0], LEFT_IRIS[0]], :2]])


def _units(**units: float) -> np.ndarray:
    return np.array([units.get(name, 0.0) for name in AU_NAMES], np.float32)


@pytest.mark.parametrize("pose", [HeadPose(0, 0, 0), HeadPose(25, 0, 0), HeadPose(-15, 12, 10)])
def test_the_pose_is_found(pose):
    """The head that was seen is turned as the one that was shown."""
    acting = read(packet(landmarks(Acting(rotation=pose_rotation(pose)))))
    found = head_pose(acting.rotation)
    assert np.allclose([found.yaw, found.pitch, found.roll], [pose.yaw, pose.pitch, pose.roll], atol=2.0)


@pytest.mark.parametrize("unit", ["AU26", "AU12", "AU02", "AU20"])
def test_the_expression_is_found(unit):
    """The face that is made of the landmarks moves as the one that was seen, by most of its motion."""
    shown, rest = Acting(_units(**{unit: 0.8}), _units(**{unit: 0.8})), Acting()
    moved, still = (read(packet(landmarks(one))) for one in (shown, rest))
    wanted = landmarks(shown)[17:66] - landmarks(rest)[17:66]
    found = (landmarks(moved) - landmarks(still))[17:66] / still.lean
    eyes = slice(36 - 17, 48 - 17)  # are told by themselves
    wanted[eyes] = found[eyes] = 0.0
    assert np.linalg.norm(found - wanted) < 0.4 * np.linalg.norm(wanted)


def test_one_eye_is_shut_and_the_other_looks():
    """Right and left are the person's own."""
    shown = landmarks(Acting(gaze=Gaze(0.3, 0.0, 0.3, 0.0)))
    acting = read(packet(shown, opened=(0.0, 1.0)))
    closure = AU_NAMES.index("AU45")
    assert (acting.right[closure], acting.left[closure]) == (1.0, 0.0)
    assert acting.gaze.left_x == pytest.approx(0.3, abs=0.1)


def test_the_first_of_several_faces_is_followed():
    """Of several faces it is the one with the lowest id, wherever it stands in the packet."""
    here, there = landmarks(Acting(shift=(0.2, 0.0))), landmarks(Acting(shift=(-0.2, 0.0)))
    assert read(packet(there, number=3) + packet(here, number=1)).shift[0] > 0.1


def test_an_uncertain_face_is_none():
    """A face that the tracker does not believe in itself is none; none is made up."""
    assert read(packet(landmarks(Acting()), certainty=0.05)) is None


def test_older_packets_are_read():
    """Without the features at their end too."""
    assert read(packet(landmarks(Acting()), size=SIZES[1])) is not None


@pytest.mark.parametrize(
    "wrong",
    [b"", bytes(100), bytes(SIZES[0]), packet(landmarks(Acting())) * 9, packet(np.full((68, 2), np.nan))],
)
def test_others_are_refused(wrong):
    """What is no such packet is refused."""
    with pytest.raises(InputError, match="OpenSeeFace"):
        read(wrong)


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=64), st.integers(0, SIZES[0]))
def test_no_bytes_do_harm(noise, at):
    """Whatever comes over the network is read or refused, and nothing else happens."""
    whole = packet(landmarks(Acting()))
    at = min(at, len(whole) - len(noise))
    try:
        acting = read(whole[:at] + noise + whole[at + len(noise) :])
    except InputError:
        return
    assert acting is None or np.isfinite(acted_face(acting, (64, 64)).points).all()
