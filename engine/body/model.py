"""A body model: a mesh that shape coefficients stretch and joint rotations bend (SMPL and SMPL-H, Loper et al. 2015).

    shaped = template + shapes . betas + offsets          J = regressor . shaped
    posed  = shaped + pose_shapes . (R_1.. - I)           vertex = sum_j w_j A_j posed
    A_j    = A_parent [R_j | J_j - J_parent],  less A_j J_j

Units are metres; axes are the model's own (SMPL's file: x to the person's left, y up, z out of the chest). Rotations
are local, (joints, 3, 3), each in its parent's frame. Everything is float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.body.hands import Hands
from engine.errors import ConfigError
from engine.mesh import rotations as forms
from engine.types import F32

I32 = NDArray[np.int32]

FLIPPED = np.diag(np.array([1.0, -1.0, -1.0], np.float32))
"""From the model's axes to a camera's (y down, z away), and back: half a turn about x."""


@dataclass(frozen=True, slots=True, eq=False)
class BodyModel:
    """What a file of SMPL's kind holds, laid out for use.

    template: (V, 3). shapes: (V, 3, S). pose_shapes: (9 (J - 1), 3 V). regressor: (J, V). weights: (V, J). parents:
    (J,), -1 for the root, which is first; a parent stands before its children. faces: int32 (F, 3). joints19: (19, V),
    the cocoplus regressor of the posed vertices, or None where the file has none. hands: of SMPL-H. uv: (F, 3, 2) in
    0..1, of the corners of each face, or None.
    """

    template: F32
    shapes: F32
    pose_shapes: F32
    regressor: F32
    weights: F32
    parents: tuple[int, ...]
    faces: I32
    joints19: F32 | None = None
    hands: Hands | None = None
    uv: F32 | None = None

    def shaped(self, betas: F32 | None = None, offsets: F32 | None = None) -> Shaped:
        """The body at rest. betas: up to S coefficients, missing ones 0. offsets: (V, 3), added before the joints are
        read."""
        vertices = self.template
        if betas is not None:
            known = min(len(betas), self.shapes.shape[2])
            vertices = vertices + self.shapes[:, :, :known] @ np.asarray(betas[:known], np.float32)
        if offsets is not None:
            vertices = vertices + offsets
        return Shaped(self, vertices, self.regressor @ vertices)


@dataclass(frozen=True, slots=True, eq=False)
class Posed:
    """vertices: (V, 3). joints: (J, 3), where the skeleton's joints came to lie. rotations: (J, 3, 3), local ones."""

    vertices: F32
    joints: F32
    rotations: F32


@dataclass(frozen=True, slots=True, eq=False)
class Shaped:
    """One person's body at rest. vertices: (V, 3). joints: (J, 3)."""

    model: BodyModel
    vertices: F32
    joints: F32

    def posed(
        self, rotations: F32, links: I32 | NDArray[np.int64] | None = None, turned: bool = False
    ) -> Posed:
        """The body under local rotations (J, 3, 3).

        links: (L, 2) of (from, to), or (V, 3) of (from, to, whether): the vertex `from` takes the posed place of `to`.
        turned: the root's rotation is multiplied from the right by FLIPPED.
        """
        model = self.model
        count = len(model.parents)
        if rotations.shape != (count, 3, 3):
            raise ConfigError(
                f"body pose: got rotations of shape {rotations.shape}, expected ({count}, 3, 3) for this body model"
            )
        placed = self.vertices + _bent(rotations[1:], model.pose_shapes).reshape(-1, 3)
        root = rotations[:1] @ FLIPPED if turned else rotations[:1]
        turns, joints = chained(np.concatenate([root, rotations[1:]]), self.joints, model.parents)
        shifts = joints - (turns @ self.joints[..., None])[..., 0]
        moves = model.weights @ np.concatenate([turns.reshape(count, 9), shifts], axis=1)
        vertices = (moves[:, :9].reshape(-1, 3, 3) @ placed[..., None])[..., 0] + moves[:, 9:]
        if links is not None:
            chosen = links if links.shape[1] == 2 else links[links[:, 2] > 0]
            vertices[chosen[:, 0]] = vertices[chosen[:, 1]]
        return Posed(vertices, joints, rotations)


def chained(
    rotations: forms.Real, rest: forms.Real, parents: tuple[int, ...]
) -> tuple[forms.Real, forms.Real]:
    """Rotations from the model's axes (J, 3, 3), and where the joints lie (J, 3), of local rotations (J, 3, 3).

    rest: joints of the body at rest (J, 3).
    """
    turns, places = np.empty_like(rotations), np.empty_like(rest)
    for joint, parent in enumerate(parents):
        if parent < 0:
            turns[joint], places[joint] = rotations[joint], rest[joint]
        else:
            turns[joint] = turns[parent] @ rotations[joint]
            places[joint] = places[parent] + turns[parent] @ (rest[joint] - rest[parent])
    return turns, places


def read_pose(numbers: F32, joints: int) -> F32:
    """Local rotations (joints, 3, 3) out of any of the encodings in use, told apart by how many numbers there are.

    numbers: rotation vectors (3 a joint), quaternions x, y, z, w (4), 6-D (6) or matrices (9). Raises ConfigError.
    """
    each: dict[int, Callable[[F32], F32]] = {
        3: forms.from_vectors,
        4: forms.from_xyzw,
        6: forms.from_6d,
        9: lambda values: values,
    }
    size, rest = divmod(numbers.size, joints)
    if rest or size not in each:
        raise ConfigError(
            f"body pose: got {numbers.size} numbers, expected 3, 4, 6 or 9 for each of {joints} joints"
        )
    return each[size](np.asarray(numbers, np.float32).reshape(joints, size)).reshape(joints, 3, 3)


def _bent(rotations: F32, pose_shapes: F32) -> F32:
    """What the rotations (J - 1, 3, 3) do to the surface, flat (3 V). Joints at rest do nothing and are left out: most
    of the time goes into reading pose_shapes."""
    features = (rotations - np.eye(3, dtype=np.float32)).reshape(-1, 9)
    edges = np.flatnonzero(np.diff(features.any(axis=1), prepend=False, append=False))
    total = np.zeros(pose_shapes.shape[1], np.float32)
    for start, stop in edges.reshape(-1, 2):
        total += features[start:stop].reshape(-1) @ pose_shapes[9 * start : 9 * stop]
    return total
