"""MaskVAE as a system that is trained: label maps to vectors and back, before MaskGAN itself.

The release has the network and neither losses nor loop. The paper's loss is the per-pixel cross entropy of the 19
classes and the Kullback-Leibler divergence at 1e-5; what it leaves open is in `mask_recipes.py`, with our choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from trainers.maskgan.agreement import Agreement
from trainers.maskgan.interpolation import interpolate
from trainers.maskgan.label_maps import LabelMaps, shares
from trainers.maskgan.labels import CLASSES, one_hot
from trainers.maskgan.mask_recipes import Adam, MaskVAERecipe, VAELosses
from trainers.maskgan.mask_vae import MaskVAE, divergence
from trainers.maskgan.masks import Masks, open_masks
from trainers.maskgan.sheet import coloured, pixels
from trainers.system import Batch, Pictures, Scalars, Split, Stage, System, Turn

NETWORK = "mask_vae"
_SLOWEST = 0.02
_RAREST = 1e-4


class MaskVAETraining(System):
    """One network, "mask_vae"."""

    name: ClassVar[str] = "maskgan_vae"
    Recipe: ClassVar[type] = MaskVAERecipe

    def __init__(self, recipe: MaskVAERecipe) -> None:
        self.recipe = recipe
        shape = recipe.mask_vae
        self.arguments: Mapping[str, Mapping[str, Any]] = {
            NETWORK: {
                "classes": CLASSES,
                "width": shape.width,
                "latent": shape.latent,
                "size": recipe.data.size,
            }
        }
        self.vae = MaskVAE(**self.arguments[NETWORK])
        self.vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
        self.networks: Mapping[str, nn.Module] = {NETWORK: self.vae}
        self._masks: Masks | None = None
        self._weights: Tensor | None = None

    def stages(self) -> Sequence[Stage]:
        return self.recipe.stages

    def pictures(self, split: Split, stage: str) -> Pictures:
        data = self.recipe.data
        if self._masks is None:
            self._masks = open_masks(data.folder, data.layout, data.size, mode=data.mode, crop=data.crop)
            if self.recipe.losses.balance:
                share = shares(self._masks.train, CLASSES).clamp(min=_RAREST)
                self._weights = share.pow(-self.recipe.losses.balance)
        faces = self._masks.train if split == "train" else self._masks.validation
        return LabelMaps(faces, data, moved=split == "train")

    def optimisers(self) -> Mapping[str, Optimizer]:
        return {NETWORK: adam(self.vae, self.recipe.optimiser)}

    def rate(self, optimiser: str, turn: Turn) -> float:
        return rate_of(self.recipe.optimiser, turn)

    def averages(self) -> Mapping[str, float]:
        return {NETWORK: self.recipe.optimiser.average} if self.recipe.optimiser.average else {}

    def step(self, batch: Batch, turn: Turn) -> Scalars:
        labels = batch["labels"]
        noise = torch.randn(len(labels), self.vae.latent, device=turn.device, generator=turn.generator)
        with turn.autocast():
            logits, mean, log_variance, _ = self.vae(one_hot(labels), noise)
        terms = vae_terms(
            logits.float(), labels, mean.float(), log_variance.float(), self.recipe.losses, self._weights
        )
        turn.descend(
            torch.stack(list(terms.values())).sum(), NETWORK, clip=self.recipe.optimiser.clip or None
        )
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
        terms = vae_terms(logits, labels, mean, log_variance, self.recipe.losses, self._weights)
        found = Agreement.of(labels, logits.argmax(1))
        return {**terms, "accuracy": found.accuracy(), "mean_iou": found.mean_iou()}

    def about_data(self) -> Mapping[str, Any]:
        return {} if self._masks is None else dict(self._masks.about)


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


def adam(network: nn.Module, how: Adam) -> torch.optim.Adam:
    """Of all parameters of one network."""
    return torch.optim.Adam(network.parameters(), lr=how.rate, betas=(how.beta1, how.beta2))


def rate_of(how: Adam, turn: Turn) -> float:
    """The factor on the learning rate at this turn."""
    if how.schedule == "constant":
        return 1.0
    share = turn.stage_step / max(1, turn.stage_steps)
    return _SLOWEST + (1.0 - _SLOWEST) * 0.5 * (1.0 + math.cos(math.pi * share))
