"""Sample sheets: label maps in colours, and columns of pictures as pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.classes import CELEBAMASK, COLOURS

_TABLE = torch.tensor([COLOURS[name] for name in CELEBAMASK], dtype=torch.float32) / 127.5 - 1


def coloured(planes: Tensor) -> Tensor:
    """One-hot planes (B, 19, S, S) of CelebAMask-HQ's classes as a picture (B, 3, S, S) in -1..1, in that data set's
    own colours."""
    return torch.einsum("bkhw,kc->bchw", planes.float(), _TABLE.to(planes.device))


def pixels(columns: Sequence[Tensor]) -> npt.NDArray[np.uint8]:
    """Pictures (B, 3, S, S) in -1..1 as uint8 (B, columns, S, S, 3)."""
    stacked = torch.stack([column.float().clamp(-1, 1) for column in columns], dim=1)
    return ((stacked + 1) * 127.5).round().byte().permute(0, 1, 3, 4, 2).cpu().numpy()
