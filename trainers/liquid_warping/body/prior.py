"""The mixture of Gaussians that says how likely a body's pose is, from the user's gmm_08.pkl."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from trainers.errors import CheckpointError, DataError
from trainers.layouts.pickles import read_pickle

FIELDS = ("means", "covars", "weights")


class PosePrior(nn.Module):
    """-log of the likeliest Gaussian's share of a pose's density, up to a constant:

    min_k 1/2 (p - m_k)^T S_k^-1 (p - m_k) - log(w_k sqrt(min |S|) / ((2 pi)^(D/2) sqrt|S_k|))
    """

    means: Tensor
    precisions: Tensor
    offsets: Tensor

    def __init__(self, means: Tensor, covariances: Tensor, weights: Tensor) -> None:
        """means: (K, D). covariances: (K, D, D). weights: (K,). Worked out in float64, kept in float32."""
        super().__init__()
        covariances = covariances.double()
        size = means.shape[1]
        half = 0.5 * torch.linalg.slogdet(covariances).logabsdet
        shares = weights.double().log() - 0.5 * size * np.log(2 * np.pi) - (half - half.min())
        self.register_buffer("means", means.float(), persistent=False)
        self.register_buffer("precisions", torch.linalg.inv(covariances).float(), persistent=False)
        self.register_buffer("offsets", -shares.float(), persistent=False)

    def forward(self, pose: Tensor) -> Tensor:
        """pose: (B, D) rotation vectors of all joints but the root. Returns (B,)."""
        away = pose[:, None] - self.means
        distances = torch.einsum("bki,kij,bkj->bk", away, self.precisions, away)
        return (0.5 * distances + self.offsets).amin(dim=1)


def read_prior(path: Path) -> PosePrior:
    """The prior of a pickle of means (K, D), covars (K, D, D) and weights (K,), read without unpickling.

    Raises CheckpointError where the file is missing, damaged or another one.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: there is no pose prior; gmm_08.pkl comes with SMPLify (smplify.is.tue.mpg.de), is licensed for "
            "research that earns no money and never shipped"
        )
    try:
        stored = read_pickle(path)
    except DataError as error:
        raise CheckpointError(str(error)) from error
    missing = [name for name in FIELDS if not isinstance(stored, dict) or name not in stored]
    if missing:
        raise CheckpointError(
            f"{path}: has no {', '.join(missing)}; expected a pose prior such as gmm_08.pkl"
        )
    try:
        means, covariances, weights = (np.asarray(stored[name], np.float64) for name in FIELDS)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its fields are no arrays of numbers ({error})") from error
    count, size = means.shape if means.ndim == 2 else (0, 0)
    sound = covariances.shape == (count, size, size) and weights.reshape(-1).shape == (count,) and count > 0
    if not sound or not all(np.isfinite(one).all() for one in (means, covariances, weights)):
        raise CheckpointError(
            f"{path}: means {means.shape}, covars {covariances.shape} and weights {weights.shape} do not fit "
            "each other; expected (K, D), (K, D, D) and (K,), all finite"
        )
    if (weights <= 0).any() or (np.linalg.eigvalsh(covariances) <= 0).any():
        raise CheckpointError(f"{path}: a weight or a covariance of the pose prior is not positive")
    return PosePrior(*(torch.from_numpy(one) for one in (means, covariances, weights.reshape(-1))))
