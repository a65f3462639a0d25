"""The mesh that a whole body is drawn with: the user's own SMPL with its official maps, or the body of our own.

Published weights know a body by its places in SMPL's texture; the synthetic body has another one, so it stands in for
tests, for flows and for weights that were trained with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.body import skeleton as s
from engine.body.files import read_body
from engine.body.model import BodyModel
from engine.body.synthetic import synthetic_body
from engine.config import file_path
from engine.errors import InputError
from engine.mesh.files import read_folder
from engine.mesh.layout import Layout, layout_of
from engine.types import F32

SYNTHETIC: Final = "synthetic"
"""The name of the body that needs no file."""

PARTS: Final[dict[str, tuple[int, ...]]] = {
    "head": (s.NECK, s.HEAD),
    "torso": (*s.SPINE_AND_ROOT, *s.COLLARS),
    "left_arm": (s.SHOULDERS[0], s.ELBOWS[0]),
    "right_arm": (s.SHOULDERS[1], s.ELBOWS[1]),
    "left_hand": (s.WRISTS[0], s.HANDS[0]),
    "right_hand": (s.WRISTS[1], s.HANDS[1]),
    "left_leg": (s.HIPS[0], s.KNEES[0]),
    "right_leg": (s.HIPS[1], s.KNEES[1]),
    "left_foot": (s.ANKLES[0], s.FEET[0]),
    "right_foot": (s.ANKLES[1], s.FEET[1]),
}
"""The joints that a part of the synthetic body follows; parts are named as the official files name them."""

_TILES: Final = np.array([4.0, 2.0])
"""Of the synthetic body's texture, across and down: one for each of its tubes."""


@dataclass(frozen=True, slots=True, eq=False)
class BodyMesh:
    """name: for messages. stand_in: it is the synthetic body."""

    name: str
    model: BodyModel
    layout: Layout
    stand_in: bool


def open_mesh(body: str | Path) -> BodyMesh:
    """SYNTHETIC, or a file of SMPL or SMPL-H that lies beside the official files of its maps.

    Raises ModelError or InputError that names what is missing or does not fit.
    """
    if body == SYNTHETIC:
        return BodyMesh(SYNTHETIC, synthetic_body(), synthetic_layout(), True)
    path = file_path("body", body)
    model = read_body(path)
    layout = read_folder(path.parent)
    highest = int(max(layout.faces.max(), layout.texture_faces.max()))
    if highest >= len(model.template):
        raise InputError(
            f"{path.name}: it has {len(model.template)} vertices, and the maps beside it name vertex {highest}; "
            "expected files of one body model"
        )
    return BodyMesh(path.name, model, layout, False)


@lru_cache(maxsize=1)
def synthetic_layout() -> Layout:
    """The synthetic body as flows know a mesh: PARTS, and of them `facial`, the front of the head; groups as in the
    official files."""
    model = synthetic_body()
    assert model.uv is not None  # it is made with it
    ahead, parts = _ahead(model), _parts(model)
    head = parts["head"]
    facial = head[ahead[head] > 0.5]
    groups = {"front": np.flatnonzero(ahead > 0.0), "head": head, "facial": facial}
    return layout_of(model.faces, _corners(model.uv), {**parts, "facial": facial}, groups=groups)


def _parts(model: BodyModel) -> dict[str, NDArray[np.int64]]:
    shares = model.weights[model.faces].sum(axis=1)
    per_part = np.stack([shares[:, list(joints)].sum(axis=1) for joints in PARTS.values()])
    owner = per_part.argmax(axis=0)
    return {name: np.flatnonzero(owner == number) for number, name in enumerate(PARTS)}


def _ahead(model: BodyModel) -> F32:
    """How far each face looks ahead at rest, -1..1."""
    a, b, c = (model.template[model.faces[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)
    return np.asarray(normals[:, 2] / np.maximum(np.linalg.norm(normals, axis=1), 1e-12), np.float32)


def _corners(uv: F32) -> F32:
    """Places of 0..1 as -1..1; a face that would run clockwise is mirrored within its tile, with all of its tube."""
    a, b = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    clockwise = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] > 0  # y runs down
    tile = np.floor(uv.mean(axis=1) * _TILES)[:, :1] / _TILES[0]
    mirrored = uv.copy()
    mirrored[..., 0] = 2.0 * tile + 1.0 / _TILES[0] - uv[..., 0]
    found = np.where(clockwise[:, None, None], mirrored, uv)
    return np.ascontiguousarray(2.0 * found - 1.0, np.float32)
