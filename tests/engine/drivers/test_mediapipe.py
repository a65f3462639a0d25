"""MediaPipe's scores and matrix from a page: what they say, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.acting import acted_face
from engine.drivers.mediapipe import read
from engine.errors import InputError
from engine.features.shape import fit_shape
from engine.geometry import head_pose


def _matrix(degrees: float, shift=(0.0, 0.0, -45.0)) -> list[float]:
    """A turn about MediaPipe's vertical axis, which points up: its nose, towards the camera, goes to the right."""
    angle = np.radians(degrees)
    matrix = np.eye(4)
    matrix[0, 0] = matrix[2, 2] = np.cos(angle)
    matrix[0, 2], matrix[2, 0] = np.sin(angle), -np.sin(angle)
    matrix[:3, 3] = shift
    return matrix.T.ravel().tolist()


def test_the_matrix_turns_the_head():
    """Its axes are brought to ours: a turn about the axis that points up moves the nose to the picture's right."""
    acting = read({"blendshapes": {}, "matrix": _matrix(25.0)})
    pose = head_pose(fit_shape(acted_face(acting, (640, 480)).points).rotation)
    assert np.allclose([pose.yaw, pose.pitch, pose.roll], [25.0, 0.0, 0.0], atol=1.0)


def test_the_matrix_moves_the_head():
    """Up is up, and nearer is larger."""
    acting = read({"blendshapes": {}, "matrix": _matrix(0.0, (5.0, 5.0, -30.0))})
    assert acting.shift[0] > 0 > acting.shift[1]
    assert acting.lean == pytest.approx(1.5)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {"blendshapes": {"jawOpened": 1.0}},
        {"blendshapes": {"jawOpen": "1"}},
        {"blendshapes": {"jawOpen": True}},
        {"blendshapes": {"jawOpen": float("nan")}},
        {"blendshapes": {}, "matrix": [0.0] * 16},
        {"blendshapes": {}, "matrix": [1.0] * 15},
        {"blendshapes": {}, "matrix": [float("inf")] * 16},
        {"blendshapes": {}, "matrix": np.diag([1.0, 1.0, -1.0, 1.0]).ravel().tolist()},  # a mirror
        {"blendshapes": {}, "more": 1},
    ],
)
def test_others_are_refused(wrong):
    """What is no such message is refused."""
    with pytest.raises(InputError):
        read(wrong)


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=17) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
        max_leaves=20,
    )
)
def test_no_message_does_harm(told):
    """Whatever JSON comes over the channel is read or refused, and nothing else happens."""
    for one in (told, {"blendshapes": told}, {"blendshapes": {}, "matrix": told}):
        one = json.loads(json.dumps(one))
        try:
            acting = read(one)
        except InputError:
            continue
        assert np.isfinite(acted_face(acting, (64, 64)).points).all()
