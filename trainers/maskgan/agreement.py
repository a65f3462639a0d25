"""How well label maps agree with wanted ones: intersection over union, counted over a whole set.

    python -m trainers.maskgan.agreement CHECKPOINT FOLDER [--layout L] [--split S] [--json FILE]

measures a MaskVAE (maps through its vector and back) or a parser (pictures to maps) on held-back people.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainers import checkpoint
from trainers.classes import CELEBAMASK
from trainers.errors import CheckpointError, DataError, TrainerError
from trainers.faces import Faces
from trainers.maskgan.companions import companion
from trainers.maskgan.interpolation import reconstruct
from trainers.maskgan.mask_vae import MaskVAE
from trainers.maskgan.masks import Layout, open_masks
from trainers.maskgan.parser import ParsingUNet

FREQUENT = 0.5
"""A class is frequent where at least this share of the wanted maps shows it."""
_BATCH = 32
_LOOKED_AT = 512


@dataclass(frozen=True)
class Agreement:
    """pixels: int64 (C, C), wanted classes by given ones. shown: int64 (C,), wanted maps that show a class. maps: how
    many there are."""

    pixels: Tensor
    shown: Tensor
    maps: int

    @classmethod
    def of(cls, wanted: Tensor, given: Tensor, classes: int = len(CELEBAMASK)) -> Agreement:
        """Of label maps (B, H, W), both of integer types."""
        pairs = wanted.long() * classes + given.long()
        pixels = torch.bincount(pairs.flatten(), minlength=classes * classes).reshape(classes, classes)
        numbers = torch.arange(classes, device=wanted.device)
        shown = (wanted.flatten(1)[..., None] == numbers).any(1).sum(0)
        return cls(pixels.cpu(), shown.cpu(), len(wanted))

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.pixels + other.pixels, self.shown + other.shown, self.maps + other.maps)

    def iou(self) -> Tensor:
        """float64 (C,): pixels that are of a class in both over those in either; NaN for a class in neither."""
        both = self.pixels.diagonal().double()
        return both / (self.pixels.sum(0) + self.pixels.sum(1) - both)

    def frequent(self) -> Tensor:
        """bool (C,): shown by at least FREQUENT of the wanted maps."""
        return self.shown >= FREQUENT * max(1, self.maps)

    def mean_iou(self) -> float:
        """Mean over the frequent classes."""
        return float(self.iou()[self.frequent()].mean())

    def accuracy(self) -> float:
        """Share of the pixels that are right."""
        return float(self.pixels.diagonal().sum() / self.pixels.sum().clamp(min=1))

    def table(self, names: Sequence[str] = CELEBAMASK) -> dict[str, Any]:
        """As JSON: the means, and per class that occurs its IoU and the share of maps that show it."""
        iou, frequent = self.iou(), self.frequent()
        parts = {
            name: {
                "iou": round(float(iou[k]), 4),
                "shown": round(float(self.shown[k]) / max(1, self.maps), 4),
                "frequent": bool(frequent[k]),
            }
            for k, name in enumerate(names)
            if not torch.isnan(iou[k])
        }
        return {
            "maps": self.maps,
            "mean_iou": round(self.mean_iou(), 4),
            "accuracy": round(self.accuracy(), 4),
            "classes": parts,
        }


def measure(given: Callable[[Tensor, Sequence[int]], Tensor], faces: Faces) -> Agreement:
    """Over a whole split. given: wanted maps uint8 (B, S, S) and their indices to what is compared with them."""
    if not len(faces):
        raise DataError(
            "agreement: the split holds no picture; hold persons back when the folder is prepared"
        )
    total: Agreement | None = None
    for begin in range(0, len(faces), _BATCH):
        rows = range(begin, min(begin + _BATCH, len(faces)))
        wanted = torch.stack([faces.classes(row).to(torch.uint8) for row in rows])
        found = Agreement.of(wanted, given(wanted, rows))
        total = found if total is None else total + found
    assert total is not None
    return total


def usual(faces: Faces) -> Tensor:
    """The label map (S, S), uint8, that shows every pixel's most frequent class, of at most 512 maps spread over the
    split: what anything learnt has to beat."""
    votes = torch.zeros(len(CELEBAMASK), faces.size, faces.size, dtype=torch.int64)
    for index in range(0, len(faces), max(1, len(faces) // _LOOKED_AT)):
        votes.scatter_add_(
            0, faces.classes(index)[None], torch.ones(1, faces.size, faces.size, dtype=torch.int64)
        )
    return votes.argmax(0).to(torch.uint8)


def measure_checkpoint(
    folder: str, data: str, *, layout: Layout = "prepared", split: str = "validation"
) -> dict[str, Any]:
    """The table of a checkpoint's MaskVAE or parser on a split of `data`, at the size of its training, beside that of
    the usual map of the training split. Raises TrainerError."""
    about = checkpoint.read(folder)
    names = [name for name in ("mask_vae", "parser") if name in about.arguments]
    if len(names) != 1:
        raise CheckpointError(
            f"{folder}: holds {', '.join(about.arguments)}, expected one of mask_vae and parser"
        )
    size = about.data.get("size")
    if not isinstance(size, int):
        raise CheckpointError(f"{folder}: does not state the size of its masks")
    masks = open_masks(data, layout, size, cache_bytes=0)  # each is read once, and pictures only for a parser
    faces = masks.validation if split == "validation" else masks.train
    found = measure(_given(folder, names[0], faces), faces)
    common = usual(masks.train)
    plain = measure(lambda wanted, rows: common.expand_as(wanted), faces)
    return {
        "network": names[0],
        "step": about.step,
        "size": size,
        "split": split,
        "persons": len(faces.persons),
        **found.table(),
        "usual_map": {"mean_iou": round(plain.mean_iou(), 4), "accuracy": round(plain.accuracy(), 4)},
    }


def _given(folder: str, name: str, faces: Faces) -> Callable[[Tensor, Sequence[int]], Tensor]:
    if name == "mask_vae":
        vae, _ = companion(folder, name, MaskVAE)
        return lambda wanted, rows: reconstruct(vae, wanted)
    parser, _ = companion(folder, name, ParsingUNet)

    @torch.no_grad()
    def parsed(wanted: Tensor, rows: Sequence[int]) -> Tensor:
        logits: Tensor = parser(torch.stack([faces.image(row) for row in rows]))
        return logits.argmax(1)

    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m trainers.maskgan.agreement", description=__doc__)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint, or a training's folder")
    parser.add_argument("data", metavar="FOLDER", help="pictures with label maps")
    parser.add_argument("--layout", default="prepared", choices=("prepared", "celebamask", "maskgan"))
    parser.add_argument("--split", default="validation", choices=("train", "validation"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")
    options = parser.parse_args(arguments)
    try:
        table = measure_checkpoint(
            options.checkpoint, options.data, layout=options.layout, split=options.split
        )
    except TrainerError as error:
        print(f"agreement: {error}", file=sys.stderr)
        return 2
    text = json.dumps(table, indent=1)
    if options.json:
        checkpoint.write_text(options.json, text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
