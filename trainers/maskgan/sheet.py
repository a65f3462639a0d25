"""Sample sheets: label maps in colours, and columns of pictures as pixels."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_TURN = 0.618034  # of the circle of hues, so that neighbouring classes differ


def coloured(planes: Tensor) -> Tensor:
    """One-hot planes (B, classes, S, S) as a picture (B, 3, S, S) in -1..1; the first class is black."""
    hues = [
        (0.0, 0.0, 0.0) if k == 0 else colorsys.hsv_to_rgb(k * _TURN % 1.0, 0.75, 0.6 + 0.4 * (k % 2))
        for k in range(planes.shape[1])
    ]
    table = 2 * torch.tensor(hues, device=planes.device) - 1
    return torch.einsum("bkhw,kc->bchw", planes.float(), table)


def pixels(columns: Sequence[Tensor]) -> npt.NDArray[np.uint8]:
    """Pictures (B, 3, S, S) in -1..1 as uint8 (B, columns, S, S, 3)."""
    stacked = torch.stack([column.float().clamp(-1, 1) for column in columns], dim=1)
    return ((stacked + 1) * 127.5).round().byte().permute(0, 1, 3, 4, 2).cpu().numpy()
