from __future__ import annotations

import numpy as np
import pytest

from engine import canonical
from engine.features import au_measures
from engine.features.au_basis import basis
from engine.types import AU_NAMES


def test_region_means_are_means_of_both_sides():
    """A field that leaves the middle by 1 everywhere reads 1 outward in every region that has two sides, and a shift
    to one side reads 0."""
    outward = np.zeros((478, 3))
    outward[:, 0] = np.sign(np.round(canonical.VERTICES[:, 0], 3))
    outward[:, 1], outward[:, 2] = 0.25, -0.5
    means = au_measures.region_means(outward).reshape(-1, 3)
    names = list(au_measures.REGIONS)
    np.testing.assert_allclose(means[names.index("lip corner")], (1.0, 0.25, -0.5))
    np.testing.assert_allclose(means[:, 1:], np.tile((0.25, -0.5), (len(names), 1)))
    sideways = np.tile((1.0, 0.0, 0.0), (478, 1))
    np.testing.assert_allclose(au_measures.region_means(sideways), 0.0, atol=1e-12)


def test_measures_ignore_a_shift_of_the_face():
    """Moving the whole face down or back reads 0, since an error of the pose is no expression."""
    for shift in ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)):
        seen = au_measures.read(au_measures.region_means(np.tile(shift, (478, 1))))
        np.testing.assert_allclose(seen, 0.0, atol=1e-12)


def test_every_measure_has_regions_and_a_share():
    """The tables belong together: measures name known regions, and each has its reported share in 0..1."""
    for terms in au_measures.MEASURES.values():
        assert {region for region, _, _ in terms} <= set(au_measures.REGIONS)
    assert list(au_measures.REPORTED) == list(au_measures.MEASURES)
    assert all(0.0 < share <= 1.0 for share in au_measures.REPORTED.values())


@pytest.mark.parametrize("name", [name for name in AU_NAMES if name not in au_measures.UNSEEN])
def test_each_field_is_explained_by_its_own_au(name):
    """Of the basis' own motion most is ascribed to the AU that made it."""
    found, pucker = au_measures.explain(au_measures.region_means(basis()[AU_NAMES.index(name)]))
    assert found.argmax() == AU_NAMES.index(name)
    assert np.delete(found, AU_NAMES.index(name)).max() < 0.3
    assert pucker < 0.3


def test_no_motion_needs_no_au():
    """Stillness is explained by nothing."""
    found, pucker = au_measures.explain(np.zeros(3 * len(au_measures.REGIONS)))
    assert not found.any()
    assert pucker == 0.0


def test_bounded_minimum_meets_its_conditions():
    """Inside the bounds the slope is 0, at the lower bound it does not fall, at the upper it does not rise."""
    rng = np.random.default_rng(6)
    for _ in range(50):
        root = rng.normal(size=(12, 9))
        gram, wanted = root.T @ root + 0.1 * np.eye(9), 8.0 * rng.normal(size=9)
        found = au_measures._minimise(gram, wanted, 1.5)
        slope = gram @ found - wanted
        assert found.min() >= 0.0
        assert found.max() <= 1.5
        assert np.abs(slope[(found > 0.0) & (found < 1.5)]).max(initial=0.0) < 1e-6
        assert slope[found == 0.0].min(initial=0.0) > -1e-6
        assert slope[found == 1.5].max(initial=0.0) < 1e-6
