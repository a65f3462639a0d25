"""Makes engine/data/canonical_face.npz from tracked faces: a mean, its mirror map, triangles and rigidity.

    python -m export.canonical_mesh --pictures DIR --clips DIR --out engine/data/canonical_face.npz

Pictures of many people give the shape, clips of speaking and grimacing people tell which points keep still. The
triangulation is a Delaunay triangulation of the unrolled face with the mouth a little open, into which the contours
of oval, lips and eyes are inserted by edge flips, so that no triangle crosses from lip to lip or from lid to skin.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial import Delaunay, cKDTree

from engine import canonical
from engine.errors import InputError, MarotteError
from engine.geometry import fit_similarity_3d, head_pose, rotation_matrix, rotation_vector
from engine.media import open_media
from engine.track.face import FaceTracker
from engine.types import F64

CONTOURS = (
    canonical.FACE_OVAL,
    canonical.LIPS_OUTER,
    canonical.LIPS_INNER,
    canonical.RIGHT_EYE,
    canonical.LEFT_EYE,
)
_MESH = canonical.MESH_POINTS
_FLIP_X = np.array([-1.0, 1.0, 1.0])
_CLOSED_MOUTH, _OPEN_MOUTH = 0.015, 0.05  # inner-lip gap over eye distance
_FRONTAL_DEG = 15.0

Edge = tuple[int, int]
Triangle = tuple[int, int, int]


def normalised(points: F64) -> F64:
    """Centred on the mesh, with the outer eye corners EYE_DISTANCE_CM apart."""
    centred = points - points[:_MESH].mean(0)
    return np.asarray(centred * (canonical.EYE_DISTANCE_CM / np.linalg.norm(centred[33] - centred[263])))


def aligned(faces: F64, target: F64, weights: F64) -> F64:
    """Each of faces (N, 478, 3) brought onto `target` by its weighted similarity."""
    moved = []
    for face in faces:
        rotation, scale, shift = fit_similarity_3d(face, target, weights)
        moved.append(scale * face @ rotation.T + shift)
    return np.array(moved)


def procrustes_mean(faces: F64, rounds: int = 20) -> F64:
    """The generalised Procrustes median of faces (N, 478, 3), normalised."""
    weights = _mesh_weights()
    mean = normalised(faces[0])
    for _ in range(rounds):
        mean = normalised(np.median(aligned(faces, mean, weights), axis=0))
    return mean


def mirrored(mean: F64, rounds: int = 30) -> tuple[F64, np.ndarray]:
    """The mean turned so that x = 0 is its plane of symmetry, and for each point the number of its mirror image."""
    for _ in range(rounds):
        reflected = mean * _FLIP_X
        twin = cKDTree(reflected).query(mean)[1]
        rotation, _, shift = fit_similarity_3d(reflected[twin], mean, np.ones(len(mean)))
        half = rotation_matrix(-0.5 * rotation_vector(rotation))
        mean = (mean - 0.5 * shift) @ half.T
    if not np.array_equal(twin[twin], np.arange(len(twin))):
        raise InputError("pictures: the mean face is not symmetric enough; expected more frontal faces")
    return mean, twin


def rigidity(clips: Sequence[F64], mean: F64, twin: np.ndarray, rounds: int = 6) -> F64:
    """Per point 1 / (variance under expression + a floor), largest = 1, irises 0. clips: (frames, 478, 3) each."""
    weights = _mesh_weights()
    for _ in range(rounds):
        spread = [aligned(frames, mean, weights).var(axis=0).sum(axis=1) for frames in clips]
        variance = np.median(spread, axis=0)
        variance = 0.5 * (variance + variance[twin])
        weights = _mesh_weights() / (variance + 0.3 * np.median(variance))
    return np.asarray(weights / weights.max())


def triangulate(flat: F64, contours: Sequence[Sequence[int]]) -> list[Triangle]:
    """A Delaunay triangulation of flat (N, 2) inside the first contour, with every contour's edges in it."""
    triangles: list[Triangle] = [(int(a), int(b), int(c)) for a, b, c in Delaunay(flat).simplices]
    for ring in contours:
        for edge in zip(ring, (*ring[1:], ring[0])):
            triangles = _with_edge(triangles, flat, edge)
    outline = flat[list(contours[0])].astype(np.float32)
    kept = [t for t in triangles if cv2.pointPolygonTest(outline, flat[list(t)].mean(0).tolist(), False) > 0]
    return [t if _turn(*flat[list(t)]) > 0 else (t[0], t[2], t[1]) for t in kept]


def _with_edge(triangles: list[Triangle], flat: F64, edge: Edge) -> list[Triangle]:
    """Flip the edges that cross `edge` until it is one of the triangulation's (Sloan 1993)."""
    while tuple(sorted(edge)) not in _edges(triangles):
        for p, q in sorted(e for e in _edges(triangles) if _cross(flat, edge, e)):
            pair = [t for t in triangles if p in t and q in t]
            (r,), (s,) = (set(t) - {p, q} for t in pair)
            if _cross(flat, (p, q), (r, s)):
                triangles = [t for t in triangles if t not in pair] + [(p, r, s), (q, r, s)]
                break
        else:
            raise InputError(
                f"pictures: contour edge {edge} cannot be triangulated; expected more open mouths"
            )
    return triangles


def _edges(triangles: Iterable[Triangle]) -> set[Edge]:
    corners = ((0, 1), (1, 2), (2, 0))
    return {(min(t[i], t[j]), max(t[i], t[j])) for t in triangles for i, j in corners}


def _turn(origin: F64, a: F64, b: F64) -> float:
    return float((a[0] - origin[0]) * (b[1] - origin[1]) - (a[1] - origin[1]) * (b[0] - origin[0]))


def _cross(flat: F64, one: Edge, other: Edge) -> bool:
    if set(one) & set(other):
        return False
    p, q, a, b = flat[one[0]], flat[one[1]], flat[other[0]], flat[other[1]]
    return _turn(p, q, a) * _turn(p, q, b) < 0 and _turn(a, b, p) * _turn(a, b, q) < 0


def unrolled(shape: F64, depth_of: F64) -> F64:
    """Cylinder coordinates about an axis behind the head, so that the cheeks do not fold over."""
    axis_z = depth_of[:, 2].max() + 1.0
    return np.column_stack([np.arctan2(shape[:, 0], axis_z - shape[:, 2]) * 8.0, shape[:, 1]])


def _mesh_weights() -> F64:
    return np.where(np.arange(478) < _MESH, 1.0, 0.0)


def build(pictures: F64, clips: Sequence[F64]) -> dict[str, np.ndarray]:
    """The arrays of canonical_face.npz from pictures (N, 478, 3) of many people and clips of (frames, 478, 3)."""
    mean, twin = mirrored(procrustes_mean(pictures))
    rigid = rigidity(clips, mean, twin)
    poses = [fit_similarity_3d(mean, face, rigid)[0] for face in pictures]
    yaw, pitch = np.array([(head_pose(r).yaw, head_pose(r).pitch) for r in poses]).T
    faces = aligned(pictures, mean, rigid)
    gap = np.linalg.norm(faces[:, 13] - faces[:, 14], axis=1) / canonical.EYE_DISTANCE_CM
    width = np.linalg.norm(faces[:, 61] - faces[:, 291], axis=1)
    frontal = np.abs(yaw) < _FRONTAL_DEG
    neutral = faces[frontal & (gap < _CLOSED_MOUTH) & (width < np.quantile(width, 0.6))].mean(0)
    speaking = faces[frontal & (gap > _OPEN_MOUTH)].mean(0)
    level = rotation_matrix(
        np.array([-np.radians(np.median(pitch)), 0.0, 0.0])
    )  # the median portrait looks ahead
    centre = neutral[:_MESH].mean(0)
    size = canonical.EYE_DISTANCE_CM / np.linalg.norm(neutral[33] - neutral[263])
    neutral, speaking = (_symmetric((s - centre) * size @ level.T, twin) for s in (neutral, speaking))
    triangles = triangulate(unrolled(speaking, neutral)[:_MESH], CONTOURS)
    return {
        "vertices": neutral.astype(np.float32),
        "triangles": np.array(triangles, np.int16),
        "mirror": twin.astype(np.int16),
        "rigidity": rigid.astype(np.float32),
    }


def _symmetric(shape: F64, twin: np.ndarray) -> F64:
    return np.asarray(0.5 * (shape + (shape * _FLIP_X)[twin]))


def _tracked(path: Path, tracker: FaceTracker, step: int) -> F64:
    """Normalised faces of a picture (one) or of every step-th frame of a clip's first 360."""
    found = []
    with open_media(path) as media:
        tracker.reset()
        for number, frame in enumerate(media):
            faces = tracker.detect(frame.rgb) if media.still else tracker.track(frame)
            if faces and number % step == 0:
                found.append(normalised(faces[0].points.astype(np.float64)))
            if number >= 359:
                break
    return np.array(found)


def main() -> None:
    """Track, build and write; pictures and clips that cannot be read are named and left out."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=Path, required=True, nargs="+")
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tracker = FaceTracker()
    stills: list[F64] = []
    clips: list[F64] = []
    files = [path for folder in options.pictures for path in sorted(folder.iterdir())]
    for path in [*files, *sorted(options.clips.iterdir())]:
        try:
            faces = _tracked(path, tracker, 4)
        except MarotteError as error:
            print(f"left out: {error}")
            continue
        (clips if path.parent == options.clips else stills).append(faces)
    arrays = build(np.concatenate([s for s in stills if len(s)]), [c for c in clips if len(c) >= 5])
    part = options.out.with_name(options.out.name + ".part")
    with part.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    os.replace(part, options.out)
    print(
        f"{options.out}: {len(arrays['triangles'])} triangles from {len(stills)} pictures and {len(clips)} clips"
    )


if __name__ == "__main__":
    main()
