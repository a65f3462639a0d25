"""Label maps as networks take them: whole numbers until the last moment, never scaled floats.

The released demo builds its labels by ToTensor, Normalize(0, 1/255) and .long(): in float32 classes 7, 13, 14 and 15
come out as 6, 12, 13 and 14. A map here is of an integer type from the file to the one-hot planes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.classes import CELEBAMASK

CLASSES = len(CELEBAMASK)
"""Of CelebAMask-HQ."""

EYES = [CELEBAMASK.index(name) for name in ("l_eye", "r_eye")]
MOVING = EYES + [CELEBAMASK.index(name) for name in ("l_brow", "r_brow", "mouth", "u_lip", "l_lip")]
"""What an expression moves."""
HAIR = CELEBAMASK.index("hair")


def one_hot(labels: Tensor, classes: int = CLASSES, dtype: torch.dtype = torch.float32) -> Tensor:
    """(B, H, W) of an integer type to (B, classes, H, W) of 0 and 1. A label beyond the classes gives 0 everywhere.

    Raises TypeError for labels that are floats.
    """
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"labels are {labels.dtype}, expected whole numbers of an integer type")
    planes = torch.arange(classes, device=labels.device).view(1, -1, 1, 1)
    return (labels[:, None].long() == planes).to(dtype)
