"""SPIN: a body's pose, shape and camera from one picture. ResNet-50, and a regressor that corrects itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

JOINTS: Final = 24
SHAPES: Final = 10
SIDE: Final = 224
MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
"""ImageNet's, of colours in 0..1: what the network's input is normalised by."""

_EXPANSION: Final = 4


class Bottleneck(nn.Module):
    """ResNet's block of three convolutions, the stride in the middle one."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * _EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + kept)


class Body(NamedTuple):
    """Of B pictures. camera: (B, 3), s, tx, ty of the weak perspective camera of the crop. pose: (B, 72), 24 rotation
    vectors. shape: (B, 10). feature: (B, 2048), what they were read from."""

    camera: Tensor
    pose: Tensor
    shape: Tensor
    feature: Tensor

    @property
    def theta(self) -> Tensor:
        """(B, 85) in the official order."""
        return torch.cat((self.camera, self.pose, self.shape), 1)


class SPIN(nn.Module):
    """forward: (B, 3, 224, 224), RGB normalised by MEAN and DEVIATION, to a Body. layers: blocks of every stage.

    The means that the regressor starts from are buffers, and belong to the weights.
    """

    init_pose: Tensor
    init_shape: Tensor
    init_cam: Tensor

    def __init__(self, layers: Sequence[int] = (3, 4, 6, 3), iterations: int = 3) -> None:
        super().__init__()
        self.iterations = iterations
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for stage, blocks in enumerate(layers):
            width = 64 * 2**stage
            made = []
            for place in range(blocks):
                made.append(Bottleneck(inputs, width, 2 if stage and not place else 1))
                inputs = width * _EXPANSION
            self.add_module(f"layer{stage + 1}", nn.Sequential(*made))
        self.stages = len(layers)
        known = 6 * JOINTS + SHAPES + 3
        self.fc1 = nn.Linear(inputs + known, 1024)
        self.drop1 = nn.Dropout()
        self.fc2 = nn.Linear(1024, 1024)
        self.drop2 = nn.Dropout()
        self.decpose = nn.Linear(1024, 6 * JOINTS)
        self.decshape = nn.Linear(1024, SHAPES)
        self.deccam = nn.Linear(1024, 3)
        self.register_buffer("init_pose", torch.zeros(1, 6 * JOINTS))
        self.register_buffer("init_shape", torch.zeros(1, SHAPES))
        self.register_buffer("init_cam", torch.zeros(1, 3))

    def forward(self, x: Tensor) -> Body:
        x = functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        for stage in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        feature = functional.avg_pool2d(x, 7, stride=1).flatten(1)
        guess = [one.expand(len(feature), -1) for one in (self.init_pose, self.init_shape, self.init_cam)]
        for _ in range(self.iterations):
            hidden = self.drop1(self.fc1(torch.cat((feature, *guess), 1)))
            hidden = self.drop2(self.fc2(hidden))
            parts = (self.decpose, self.decshape, self.deccam)
            guess = [part(hidden) + one for part, one in zip(parts, guess)]
        pose, shape, camera = guess
        vectors = rotation_vectors(rotations(pose.reshape(-1, 6))).reshape(-1, 3 * JOINTS)
        return Body(camera, vectors, shape, feature)


def rotations(six: Tensor) -> Tensor:
    """(N, 6), the first two columns of a matrix side by side in each row, to rotation matrices (N, 3, 3): the first
    made a unit vector, the second orthogonal to it, the third their cross product."""
    first, second = six.reshape(-1, 3, 2).unbind(-1)
    x = functional.normalize(first, dim=1)
    y = functional.normalize(second - (x * second).sum(1, keepdim=True) * x, dim=1)
    return torch.stack((x, y, torch.linalg.cross(x, y, dim=1)), dim=-1)


def rotation_vectors(matrices: Tensor) -> Tensor:
    """(N, 3, 3) to axis times angle (N, 3), the angle in -pi..pi, by way of a quaternion of the largest component; 0
    where a matrix is none (NaN)."""
    rows = [[matrices[:, row, column] for column in range(3)] for row in range(3)]
    (a, b, c), (d, e, f), (g, h, i) = rows
    candidates = torch.stack(
        (
            torch.stack((1 + a + e + i, h - f, c - g, d - b), 1),
            torch.stack((h - f, 1 + a - e - i, b + d, c + g), 1),
            torch.stack((c - g, b + d, 1 - a + e - i, f + h), 1),
            torch.stack((d - b, c + g, f + h, 1 - a - e + i), 1),
        ),
        1,
    )
    largest = torch.stack((a + e + i, a - e - i, e - a - i, i - a - e), 1).argmax(1)
    quaternion = candidates[torch.arange(len(matrices), device=matrices.device), largest]
    quaternion = functional.normalize(quaternion, dim=1)
    quaternion = quaternion * torch.where(quaternion[:, :1] < 0, -1.0, 1.0)
    sine = quaternion[:, 1:].norm(dim=1, keepdim=True)
    angle = 2 * torch.atan2(sine, quaternion[:, :1])
    factor = torch.where(sine > 0, angle / sine.clamp(min=1e-30), 2.0)
    return torch.nan_to_num(quaternion[:, 1:] * factor, nan=0.0)
