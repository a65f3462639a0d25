"""How like a driver's face is to a portrait's, by the model that is shipped."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from engine import canonical
from engine.consent.record import Kind, attest
from engine.geometry import pose_rotation
from engine.self_check.likeness import ENOUGH, LEAST, MOST_YAW, Likeness, Model, shipped
from engine.self_check.result import Result
from engine.types import F64, FaceShape, HeadPose


def shape(local: F64, yaw: float = 0.0) -> FaceShape:
    rotation = pose_rotation(HeadPose(yaw, 0.0, 0.0))
    return FaceShape(local.astype(np.float32), rotation, 10.0, np.array([200.0, 200.0, 0.0]))


def someone(seed: int) -> F64:
    """A face as far from the mean as real ones are, in the directions in which they differ."""
    model = shipped()
    grown = np.random.default_rng(seed).normal(0.0, 0.03, len(model.basis)) @ model.basis
    local = canonical.VERTICES.astype(np.float64)
    local[:, :2] += 12.0 * grown.reshape(-1, 2)
    return local


def test_the_same_shape_is_one_person() -> None:
    """Clearly above the limit; and a score is as good either way round."""
    model = shipped()
    one, other = np.random.default_rng(1).normal(0.0, 0.05, (2, len(model.basis)))
    assert model.score(one, one) > LEAST
    assert model.score(one, other) == pytest.approx(model.score(other, one))


def test_the_further_apart_the_less_likely() -> None:
    """Along any direction from one face away."""
    model = shipped()
    one, way = np.random.default_rng(2).normal(0.0, 0.05, (2, len(model.basis)))
    scores = [model.score(one, one + share * way) for share in (0.0, 1.0, 2.0, 4.0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < LEAST


def test_the_mean_of_frontal_frames_counts() -> None:
    """Turned frames are passed over, noise of single frames averages out."""
    local, chance = someone(3), np.random.default_rng(4)
    found = Likeness(shape(local))
    assert found.see(shape(local, yaw=MOST_YAW + 5), 1) == 0.0
    assert found.looks == 0
    scores = [found.see(shape(local + chance.normal(0, 0.1, local.shape)), 1) for _ in range(2 * ENOUGH)]
    assert found.looks == 2 * ENOUGH
    still = Likeness(shape(local)).see(shape(local), 1)
    assert abs(scores[-1] - still) < abs(scores[0] - still)


def test_another_face_begins_anew() -> None:
    """What was seen of the one before counts for nobody."""
    found = Likeness(shape(someone(5)))
    for _ in range(5):
        found.see(shape(someone(5)), 1)
    stranger = found.see(shape(someone(6)), 2)
    assert found.looks == 1
    assert stranger == pytest.approx(Likeness(shape(someone(5))).see(shape(someone(6)), 2))


def test_a_model_is_the_formula_it_states() -> None:
    """Two numbers a person, by hand."""
    model = Model(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), -np.eye(4), 3.0)
    assert model.score(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(1.0)
    np.testing.assert_array_equal(model.code(np.array([4.0, 5.0])), [4.0, 5.0])


def test_what_is_recorded_tells_no_face() -> None:
    """The record takes it: a few plain numbers and words, and no list of them."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from engine.signing import Signer

    told = Result(True, True, True, 3.14159, 88).told(datetime(2026, 1, 2, tzinfo=UTC))
    assert all(isinstance(value, bool | int | float | str) for value in told.values())
    assert (told["passed"], told["likeness"], told["frames"]) == (True, 3.14, 88)
    assert 0 < told["false_accept"] < 1
    signer = Signer(Ed25519PrivateKey.generate())
    record = attest(
        signer,
        ["0" * 64],
        Kind.MYSELF,
        shown="Ann",
        attested_by="Ann",
        statement="It is me.",
        self_check=told,
    )
    assert record.sound
