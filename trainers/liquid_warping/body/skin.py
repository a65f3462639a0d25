"""A body model's joints and vertices with gradients to pose and shape (SMPL, Loper et al. 2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

FIELDS = ("template", "shapes", "pose_shapes", "regressor", "weights")


class Skin(nn.Module):
    """Linear blend skinning. Buffers are those of the engine's body model, under its names; none is trained.

    arrays: template (V, 3), shapes (V, 3, S), pose_shapes (9 (J - 1), 3 V), regressor (J, V), weights (V, J). parents:
    (J,), -1 for the root, which is first. points: (N, V), what is regressed from the posed vertices and seen instead of
    the skeleton's joints, or None.
    """

    template: Tensor
    shapes: Tensor
    pose_shapes: Tensor
    regressor: Tensor
    weights: Tensor
    points: Tensor | None

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray[Any, np.dtype[np.float32]]],
        parents: Sequence[int],
        points: Tensor | None = None,
    ) -> None:
        super().__init__()
        for name in FIELDS:
            self.register_buffer(name, torch.from_numpy(np.array(arrays[name], np.float32)), persistent=False)
        self.register_buffer("points", points, persistent=False)
        self.parents = tuple(parents)

    def forward(self, pose: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """pose: (B, 3 J) rotation vectors. betas: (B, S). Returns vertices (B, V, 3) and joints (B, J, 3)."""
        turned, shaped, rest = self._shaped(pose, betas)
        turns, joints = self._chained(turned, rest)
        bent = (turned[:, 1:] - torch.eye(3, dtype=pose.dtype, device=pose.device)).reshape(len(pose), -1)
        shaped = shaped + (bent @ self.pose_shapes).reshape(shaped.shape)
        shifts = joints - torch.einsum("bjrc,bjc->bjr", turns, rest)
        moves = torch.einsum("vj,bjrc->bvrc", self.weights, torch.cat([turns, shifts[..., None]], dim=3))
        return (moves[..., :3] @ shaped[..., None])[..., 0] + moves[..., 3], joints

    def seen(self, pose: Tensor, betas: Tensor) -> Tensor:
        """What is held against a picture (B, N, 3): the regressed points, or the joints, which need no vertices."""
        if self.points is not None:
            return torch.einsum("nv,bvc->bnc", self.points, self(pose, betas)[0])
        turned, _, rest = self._shaped(pose, betas)
        return self._chained(turned, rest)[1]

    def _shaped(self, pose: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Local rotations (B, J, 3, 3), vertices (B, V, 3) and joints (B, J, 3) of the body at rest."""
        turned = rotations(pose.reshape(-1, 3)).reshape(len(pose), len(self.parents), 3, 3)
        shaped = self.template + torch.einsum("vcs,bs->bvc", self.shapes[..., : betas.shape[1]], betas)
        return turned, shaped, torch.einsum("jv,bvc->bjc", self.regressor, shaped)

    def _chained(self, turned: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        turns, places = [turned[:, 0]], [rest[:, 0]]
        for joint, parent in enumerate(self.parents[1:], start=1):
            bone = (rest[:, joint] - rest[:, parent])[..., None]
            places.append(places[parent] + (turns[parent] @ bone)[..., 0])
            turns.append(turns[parent] @ turned[:, joint])
        return torch.stack(turns, dim=1), torch.stack(places, dim=1)


def rotations(vectors: Tensor) -> Tensor:
    """Rodrigues, (N, 3) -> (N, 3, 3), with angle = |v + 1e-8|: it has a gradient at rest, too."""
    angle = torch.linalg.vector_norm(vectors + 1e-8, dim=1, keepdim=True)
    x, y, z = (vectors / angle).unbind(dim=1)
    none = torch.zeros_like(x)
    skew = torch.stack([none, -z, y, z, none, -x, -y, x, none], dim=1).reshape(-1, 3, 3)
    eye = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    sine, cosine = angle.sin()[..., None], angle.cos()[..., None]
    turned: Tensor = eye + sine * skew + (1 - cosine) * (skew @ skew)
    return turned
