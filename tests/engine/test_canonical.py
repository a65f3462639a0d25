from __future__ import annotations

import numpy as np
import pytest

from engine import canonical

RINGS = {
    name: getattr(canonical, name)
    for name in ("FACE_OVAL", "LIPS_OUTER", "LIPS_INNER", "RIGHT_EYE", "LEFT_EYE")
}


def test_scale_and_origin_are_as_stated():
    """Outer eye corners 8.89 cm apart, origin at the mean of the mesh points."""
    outer = canonical.VERTICES[list(canonical.OUTER_EYE_CORNERS)]
    assert np.linalg.norm(outer[0] - outer[1]) == pytest.approx(canonical.EYE_DISTANCE_CM, abs=1e-2)
    np.testing.assert_allclose(canonical.VERTICES[: canonical.MESH_POINTS].mean(0), 0.0, atol=1e-2)


def test_axes_are_those_of_the_picture():
    """The right eye stands left, the chin low, the nose tip near."""
    place = canonical.VERTICES
    assert place[33, 0] < 0 < place[263, 0]
    assert place[152, 1] > place[10, 1]
    assert place[1, 2] < place[234, 2]


def test_face_is_its_own_mirror_image():
    """MIRROR is its own inverse and names the point at the mirrored place."""
    np.testing.assert_array_equal(canonical.MIRROR[canonical.MIRROR], np.arange(478))
    np.testing.assert_allclose(
        canonical.VERTICES[canonical.MIRROR], canonical.VERTICES * (-1.0, 1.0, 1.0), atol=1e-5
    )
    assert canonical.MIRROR[33] == 263
    assert canonical.MIRROR[61] == 291
    assert canonical.MIRROR[468] == 473


def test_triangles_cover_every_mesh_point_once_and_agree_in_orientation():
    """Every mesh point is used, no edge is walked twice in one direction, no triangle is degenerate or repeated."""
    triangles = canonical.TRIANGLES
    assert set(np.unique(triangles)) == set(range(canonical.MESH_POINTS))
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    assert len({tuple(edge) for edge in edges.tolist()}) == len(edges)
    assert (edges[:, 0] != edges[:, 1]).all()


@pytest.mark.parametrize("name", RINGS)
def test_rings_are_edges_of_the_mesh(name):
    """Each contour, closed, consists of edges of the triangulation, so that lids and lips cut along it."""
    triangles = canonical.TRIANGLES
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    known = {frozenset(edge) for edge in edges.tolist()}
    ring = RINGS[name]
    assert len(set(ring)) == len(ring)
    assert all(frozenset((a, b)) in known for a, b in zip(ring, ring[1:] + ring[:1]))


def test_weights_of_the_upper_face_end_at_the_nose():
    """The weights of the pose fit lie in 0..1, are 0 on jaw, mouth and irises, and the same on both sides."""
    weights = canonical.UPPER_FACE
    assert weights.min() >= 0.0
    assert weights.max() <= 1.0
    low = canonical.VERTICES[:, 1] > canonical.VERTICES[1, 1]
    assert not weights[low].any()
    assert not weights[canonical.MESH_POINTS :].any()
    np.testing.assert_allclose(weights[canonical.MIRROR], weights, rtol=1e-6)
    assert (weights > 0).sum() > 50


@pytest.mark.parametrize("name", ["VERTICES", "TRIANGLES", "MIRROR", "RIGIDITY", "UPPER_FACE"])
def test_shared_arrays_cannot_be_written(name):
    """One session cannot change the face of all."""
    assert not getattr(canonical, name).flags.writeable
