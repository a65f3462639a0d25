"""MaskVAE as a system that is trained: label maps to vectors and back, before MaskGAN itself.

The release has the network and neither losses nor loop. The paper's loss is the per-pixel cross entropy of the 19
classes and the Kullback-Leibler divergence at 1e-5; what it leaves open is in `mask_recipes.py`, with our choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.maskgan.agreement import Agreement
from trainers.maskgan.interpolation import interpolate
from trainers.maskgan.label_maps import shares
from trainers.maskgan.label_training import LabelTraining
from trainers.maskgan.labels import CLASSES, one_hot
from trainers.maskgan.mask_recipes import MaskVAERecipe, VAELosses
from trainers.maskgan.mask_vae import MaskVAE, divergence
from trainers.maskgan.masks import Masks
from trainers.maskgan.sheet import coloured, pixels
from trainers.system import Batch, Scalars, Turn

NETWORK = "mask_vae"
_RAREST = 1e-4


class MaskVAETraining(LabelTraining):
    """One network, "mask_vae"."""

    name: ClassVar[str] = "maskgan_vae"
    Recipe: ClassVar[type] = MaskVAERecipe
    network: ClassVar[str] = NETWORK

    def __init__(self, recipe: MaskVAERecipe) -> None:
        shape, self._losses = recipe.mask_vae, recipe.losses
        arguments = {
            "classes": CLASSES,
            "width": shape.width,
            "latent": shape.latent,
            "size": recipe.data.size,
        }
        self.vae = MaskVAE(**arguments)
        super().__init__(recipe, self.vae, arguments)
        self._weights: Tensor | None = None

    def opened(self, masks: Masks) -> None:
        if self._losses.balance:
            share = shares(masks.train, CLASSES).clamp(min=_RAREST)
            self._weights = share.pow(-self._losses.balance)

    def step(self, batch: Batch, turn: Turn) -> Scalars:
        labels = batch["labels"]
        noise = torch.randn(len(labels), self.vae.latent, device=turn.device, generator=turn.generator)
        with turn.autocast():
            logits, mean, log_variance, _ = self.vae(one_hot(labels), noise)
        terms = vae_terms(
            logits.float(), labels, mean.float(), log_variance.float(), self._losses, self._weights
        )
        self.descend(torch.stack(list(terms.values())).sum(), turn)
        right = (logits.detach().argmax(1) == labels).float().mean()
        return {**{name: term.detach() for name, term in terms.items()}, "accuracy": right}

    def sample(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> npt.NDArray[np.uint8]:
        vae = networks[NETWORK]
        assert isinstance(vae, MaskVAE)
        labels = batch["labels"]
        others = labels.roll(1, 0)
        shown = [labels, vae(one_hot(labels))[0].argmax(1), others]
        shown += [interpolate(vae, labels, others, sign=sign) for sign in ("inter", "outer")]
        return pixels([coloured(one_hot(one)) for one in shown])

    def validate(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> Scalars:
        """`mean_iou` is the mean over batches, to watch; agreement.py counts over the whole split."""
        labels = batch["labels"]
        logits, mean, log_variance, _ = networks[NETWORK](one_hot(labels))
        terms = vae_terms(logits, labels, mean, log_variance, self._losses, self._weights)
        found = Agreement.of(labels, logits.argmax(1))
        return {**terms, "accuracy": found.accuracy(), "mean_iou": found.mean_iou()}


def vae_terms(
    logits: Tensor,
    labels: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    losses: VAELosses,
    weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """entropy: mean over the pixels of the cross entropy, classes weighted by `weights` (C,). divergence: times its
    weight, mean over the batch, over the vector as the recipe says."""
    weights = None if weights is None else weights.to(logits.device)
    apart = divergence(mean, log_variance).mean()
    if losses.reduction == "mean":
        apart = apart / mean.shape[1]
    return {
        "entropy": functional.cross_entropy(logits, labels.long(), weight=weights),
        "divergence": losses.divergence * apart,
    }
