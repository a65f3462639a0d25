"""The parsing U-Net as a system that is trained: mean cross entropy per pixel, as the official trainer has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import nn

from trainers.maskgan.agreement import Agreement
from trainers.maskgan.label_training import LabelTraining
from trainers.maskgan.labels import CLASSES, one_hot
from trainers.maskgan.mask_recipes import ParserRecipe
from trainers.maskgan.parser import ParsingUNet, pixel_entropy
from trainers.maskgan.sheet import coloured, pixels
from trainers.system import Batch, Scalars, Turn

NETWORK = "parser"


class ParserTraining(LabelTraining):
    """One network, "parser"."""

    name: ClassVar[str] = "maskgan_parser"
    Recipe: ClassVar[type] = ParserRecipe
    network: ClassVar[str] = NETWORK
    shown: ClassVar[bool] = True

    def __init__(self, recipe: ParserRecipe) -> None:
        shape = recipe.parser
        arguments: dict[str, Any] = {
            "classes": CLASSES,
            "width": shape.width,
            "channels": 3,
            "norm": shape.norm,
        }
        self.parser = ParsingUNet(**arguments)
        super().__init__(recipe, self.parser, arguments)

    def step(self, batch: Batch, turn: Turn) -> Scalars:
        with turn.autocast():
            logits = self.parser(batch["image"]).float()
        loss = pixel_entropy(logits, batch["labels"])
        self.descend(loss, turn)
        right = (logits.detach().argmax(1) == batch["labels"]).float().mean()
        return {"entropy": loss.detach(), "accuracy": right}

    def sample(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> npt.NDArray[np.uint8]:
        found = networks[NETWORK](batch["image"]).argmax(1)
        maps = [coloured(one_hot(one)) for one in (batch["labels"], found)]
        return pixels([batch["image"], *maps])

    def validate(self, networks: Mapping[str, nn.Module], batch: Batch, turn: Turn) -> Scalars:
        """`mean_iou` is the mean over batches, to watch; agreement.py counts over the whole split."""
        logits = networks[NETWORK](batch["image"])
        found = Agreement.of(batch["labels"], logits.argmax(1))
        entropy = pixel_entropy(logits, batch["labels"])
        return {"entropy": entropy, "accuracy": found.accuracy(), "mean_iou": found.mean_iou()}
