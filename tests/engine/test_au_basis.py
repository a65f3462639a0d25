from __future__ import annotations

import numpy as np
import pytest

from engine import canonical
from engine.features import au_basis
from engine.features.au_table import FIELDS
from engine.types import AU_NAMES

LOCAL = [name for name in AU_NAMES if name not in ("AU26", "AU45")]


def only(name, intensity=1.0):
    aus = np.zeros(len(AU_NAMES), np.float32)
    aus[AU_NAMES.index(name)] = intensity
    return aus


@pytest.mark.parametrize("name", AU_NAMES)
def test_fields_are_symmetric_and_leave_the_irises(name):
    """Every AU moves both sides alike and never an iris."""
    moved = au_basis.displacement(only(name))
    assert moved.shape == (478, 3)
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved[canonical.MIRROR], moved * (-1.0, 1.0, 1.0), atol=1e-5)
    assert not moved[canonical.MESH_POINTS :].any()
    assert np.abs(moved).max() > 0.1


@pytest.mark.parametrize("name", LOCAL)
def test_named_points_travel_as_stated(name):
    """A field is exact at the points of its table, and its pins rest."""
    field, moved = FIELDS[name], au_basis.basis()[AU_NAMES.index(name)]
    for point, (outward, down, back) in field.moves.items():
        side = -1.0 if canonical.VERTICES[point, 0] < -1e-3 else 0.0
        np.testing.assert_allclose(moved[point], (side * outward, down, back), atol=2e-3)
    rests = [pin for pin in field.pins if pin not in field.moves]
    assert np.abs(moved[rests]).max() < 2e-3


@pytest.mark.parametrize("name", AU_NAMES)
def test_fields_never_exceed_their_table(name):
    """Between its points a field does not overshoot: no skin travels much further than the furthest named point."""
    moved = np.linalg.norm(au_basis.basis()[AU_NAMES.index(name)], axis=1)
    named = [*FIELDS[name].moves, *(au_basis.LIDS_RIGHT[0] if name == "AU45" else ())]
    limit = 2.2 if name == "AU26" else 1.2 * moved[named].max()
    assert moved.max() <= limit


@pytest.mark.parametrize("name", [name for name in AU_NAMES if name != "AU45"])
def test_intensity_is_linear(name):
    """Half the intensity is half the motion."""
    half, full = au_basis.displacement(only(name, 0.5)), au_basis.displacement(only(name))
    np.testing.assert_allclose(half, 0.5 * full, atol=1e-5)


def test_aus_of_different_regions_add_up():
    """Fields add: brows and mouth together are the sum of both."""
    both = only("AU02", 0.7) + only("AU12", 0.4)
    expected = au_basis.displacement(only("AU02", 0.7)) + au_basis.displacement(only("AU12", 0.4))
    np.testing.assert_allclose(au_basis.displacement(both), expected, atol=1e-5)


@pytest.mark.parametrize("others", [{}, {"AU05": 1.0}, {"AU04": 1.0, "AU07": 0.5, "AU12": 1.0}])
def test_au45_closes_the_eye_exactly(others):
    """At AU45 = 1 each upper lid point lies on its lower one, on any face and whatever else moves; beyond 1 too."""
    face = canonical.VERTICES + np.random.default_rng(5).normal(0, 0.05, (478, 3)).astype(np.float32)
    for closure in (1.0, 1.5):
        aus = only("AU45", closure) + sum(
            (only(name, value) for name, value in others.items()), only("AU45", 0.0)
        )
        moved = au_basis.deform(face, aus)
        for upper, lower in (au_basis.LIDS_RIGHT, au_basis.LIDS_LEFT):
            np.testing.assert_allclose(moved[list(upper)], moved[list(lower)], atol=1e-5)


def test_lower_lids_rest_while_the_eye_closes():
    """The upper lid travels to the lower one, which stays."""
    moved = au_basis.displacement(only("AU45"))
    assert np.abs(moved[list(au_basis.LIDS_RIGHT[1])]).max() < 1e-3


def test_lips_never_cross():
    """Lips that are pushed through each other meet half-way."""
    moved = canonical.VERTICES + au_basis.displacement(only("AU25", -1.0))
    assert (moved[list(au_basis.LIPS[1]), 1] - moved[list(au_basis.LIPS[0]), 1]).min() > -2e-2


@pytest.mark.parametrize("name", ["AU12", "AU14", "AU15", "AU17", "AU20", "AU23"])
def test_closed_mouth_stays_closed(name):
    """AUs that do not part the lips move both lips' edges as one."""
    moved = canonical.VERTICES + au_basis.displacement(only(name))
    before = canonical.VERTICES[list(au_basis.LIPS[1]), 1] - canonical.VERTICES[list(au_basis.LIPS[0]), 1]
    after = moved[list(au_basis.LIPS[1]), 1] - moved[list(au_basis.LIPS[0]), 1]
    np.testing.assert_allclose(after, before, atol=0.03)


def test_directions_follow_facs():
    """The signs that a viewer reads: brows up or down, corners up or down, lips apart, chin down."""
    field = {name: au_basis.basis()[i] for i, name in enumerate(AU_NAMES)}
    assert field["AU01"][107, 1] < -0.3 < 0.2 < field["AU04"][107, 1]
    assert field["AU02"][70, 1] < -0.3
    assert field["AU12"][291, 0] > 0.5
    assert field["AU12"][291, 1] < -0.4
    assert field["AU15"][291, 1] > 0.4
    assert field["AU25"][14, 1] - field["AU25"][13, 1] > 0.7
    assert 1.0 < field["AU26"][152, 1] < 1.6
    assert field["AU26"][10].any() == 0


def test_basis_cannot_be_written():
    """The shared fields stay as they are."""
    assert not au_basis.basis().flags.writeable
