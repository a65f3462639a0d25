from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy", reason="scipy makes the canonical mesh: install the extra dev")

from engine import canonical
from engine.geometry import rotation_matrix
from export.canonical_mesh import (
    CONTOURS,
    aligned,
    mirrored,
    normalised,
    procrustes_mean,
    rigidity,
    triangulate,
)

RNG = np.random.default_rng(7)
FACE = canonical.VERTICES.astype(np.float64)


def _placed(shape: np.ndarray) -> np.ndarray:
    """A copy turned, scaled and shifted at random."""
    turn = rotation_matrix(RNG.normal(0, 0.2, 3))
    return RNG.uniform(5, 50) * shape @ turn.T + RNG.normal(0, 100, 3)


def _unsigned(triangles: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(sorted(t)) for t in np.asarray(triangles).tolist()}


def test_copies_of_one_face_have_it_as_their_mean() -> None:
    """The Procrustes mean forgets turn, size and place, and nothing else."""
    faces = np.array([_placed(FACE) for _ in range(12)])
    mean = procrustes_mean(faces)
    assert np.abs(aligned(mean[None], FACE, np.ones(478))[0] - FACE).max() < 1e-6
    assert np.linalg.norm(mean[33] - mean[263]) == pytest.approx(canonical.EYE_DISTANCE_CM)


def test_a_turned_face_finds_its_mirror_plane() -> None:
    """Whatever way the mean looks, its twin points are found and x = 0 becomes the plane between them."""
    turned = normalised(FACE) @ rotation_matrix(np.array([0.02, 0.08, 0.05])).T
    level, twin = mirrored(turned)
    assert np.array_equal(twin, canonical.MIRROR)
    assert np.abs(level - (level * [-1, 1, 1])[twin]).max() < 1e-3


def test_points_that_move_in_a_clip_weigh_less() -> None:
    """Rigidity is one over the measured variance: the moving chin weighs least, the irises nothing."""
    chin = np.linalg.norm(FACE - FACE[152], axis=1) < 3
    frames = np.repeat(FACE[None], 40, axis=0) + RNG.normal(0, 0.01, (40, 478, 3))
    frames[:, chin, 1] += RNG.normal(0, 0.5, (40, 1))
    weights = rigidity([np.array([_placed(f) for f in frames])], FACE, canonical.MIRROR)
    assert weights[468:].max() == 0
    assert weights[:468][chin[:468]].max() < 0.2 * np.median(weights[:468][~chin[:468]])


def test_contours_become_edges_of_the_triangulation() -> None:
    """An edge that plain Delaunay would not take is inserted, and every triangle turns the same way."""
    side = np.linspace(0, 1, 6)
    flat = np.array([[x, y] for x in side for y in side]) + RNG.normal(0, 0.02, (36, 2))
    outline = (0, 6, 12, 18, 24, 30, 31, 32, 33, 34, 35, 29, 23, 17, 11, 5, 4, 3, 2, 1)
    slanted = (7, 28, 27)
    triangles = np.array(triangulate(flat, (outline, slanted)))
    edges = {tuple(sorted((t[i], t[(i + 1) % 3]))) for t in triangles.tolist() for i in range(3)}
    for ring in (outline, slanted):
        assert {tuple(sorted(e)) for e in zip(ring, (*ring[1:], ring[0]))} <= edges
    a, b, c = (flat[triangles[:, k]] for k in range(3))
    assert (np.cross(np.pad(b - a, ((0, 0), (0, 1))), np.pad(c - a, ((0, 0), (0, 1))))[:, 2] > 0).all()


def test_the_shipped_mesh_keeps_its_promises() -> None:
    """Symmetric, closed over eyes and mouth, all contours in it, every mesh point used, units as stated."""
    triangles = canonical.TRIANGLES
    edges = {tuple(sorted((t[i], t[(i + 1) % 3]))) for t in triangles.tolist() for i in range(3)}
    for ring in CONTOURS:
        assert {tuple(sorted(e)) for e in zip(ring, (*ring[1:], ring[0]))} <= edges
    assert _unsigned(triangles) == _unsigned(canonical.MIRROR[triangles])
    assert set(triangles.ravel().tolist()) == set(range(468))
    inner = len(edges) * 2 - 3 * len(triangles)
    assert inner == len(canonical.FACE_OVAL), "every edge but those of the oval belongs to two triangles"
    assert np.linalg.norm(FACE[33] - FACE[263]) == pytest.approx(canonical.EYE_DISTANCE_CM, abs=1e-4)
    assert np.abs(FACE - (FACE * [-1, 1, 1])[canonical.MIRROR]).max() < 1e-5
    assert np.abs(FACE[:468].mean(0)).max() < 1e-4
