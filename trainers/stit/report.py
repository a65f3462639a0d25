"""How well e4e inverts held-back faces, against what the mean latent shows of them.

    python -m trainers.stit.report CHECKPOINT FOLDER [--mode M] [--crop RULE] [--layout L] [--json FILE]

FOLDER: as of a recipe's data. Both are compared at the encoder's size; decibels are means over the pictures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch.nn import functional

from trainers import checkpoint
from trainers.errors import CheckpointError, DataError, TrainerError
from trainers.faces import Faces
from trainers.stit.e4e import Inversion, resized
from trainers.stit.e4e_training import decibels
from trainers.stit.generator import Generator
from trainers.stit.portraits import open_portraits
from trainers.stit.recipe import Data

_BATCH = 32


@torch.no_grad()
def measure(generator: Generator, inversion: Inversion, faces: Faces) -> dict[str, Any]:
    """Mean decibels over the faces: of e4e, of the mean latent's picture, and the share in which e4e is nearer."""
    if not len(faces):
        raise DataError("report: the split holds no picture; hold persons back when the folder is prepared")
    size = inversion.encoder.size
    mean = generator.synthesis(inversion.latent_avg[None])
    found: list[torch.Tensor] = []
    for begin in range(0, len(faces), _BATCH):
        rows = range(begin, min(begin + _BATCH, len(faces)))
        seen = resized(torch.stack([faces.image(row) for row in rows]), size)
        made = generator.synthesis(inversion(seen))
        pair = [functional.adaptive_avg_pool2d(one, size) for one in (made, mean.expand_as(made))]
        found += [
            torch.stack([decibels(one[k : k + 1], seen[k : k + 1]) for one in pair]) for k in range(len(rows))
        ]
    both = torch.stack(found)
    ours, means = both.mean(0).tolist()
    return {
        "pictures": len(faces),
        "e4e_db": round(ours, 3),
        "mean_latent_db": round(means, 3),
        "gain_db": round(ours - means, 3),
        "share_nearer": round(float((both[:, 0] > both[:, 1]).float().mean()), 4),
    }


def measure_checkpoint(folder: str, data: Data, split: str = "validation") -> dict[str, Any]:
    """The table of a checkpoint's generator and encoder. data: at the generator's size. Raises TrainerError."""
    about = checkpoint.read(folder).of_system("stit")
    networks = {}
    for name, kind in (("generator", Generator), ("encoder", Inversion)):
        if name not in about.arguments:
            raise CheckpointError(
                f"{folder}: holds no {name}, only {', '.join(about.arguments)}; expected one after e4e"
            )
        networks[name] = kind(**about.arguments[name])
        about.load(name, networks[name])
        networks[name].eval().requires_grad_(False)
    opened = open_portraits(data)
    faces = opened.validation if split == "validation" else opened.train
    found = measure(cast(Generator, networks["generator"]), cast(Inversion, networks["encoder"]), faces)
    return {"step": about.step, "size": data.size, "split": split, "persons": len(faces.persons), **found}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m trainers.stit.report", description=__doc__)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint, or a training's folder")
    parser.add_argument("data", metavar="FOLDER", help="aligned faces, as of a recipe's data.folder")
    parser.add_argument("--layout", default="prepared", choices=("prepared", "pictures"))
    parser.add_argument("--mode", choices=("static", "dynamic"), help="of a prepared folder (the training's)")
    parser.add_argument("--crop", metavar="RULE", help="of a prepared folder (the training's)")
    parser.add_argument("--held-back", type=int, default=0, metavar="N", help="of plain pictures")
    parser.add_argument("--split", default="validation", choices=("train", "validation"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")
    options = parser.parse_args(arguments)
    try:
        table = measure_checkpoint(options.checkpoint, _data(options), options.split)
    except TrainerError as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    text = json.dumps(table, indent=1)
    if options.json:
        checkpoint.write_text(options.json, text + "\n")
    print(text)
    return 0


def _data(options: argparse.Namespace) -> Data:
    """As the training had it, where nothing else is said."""
    stated = checkpoint.read(options.checkpoint).data
    crop = stated.get("crop")
    rule = crop.get("rule") if isinstance(crop, dict) else None
    size = stated.get("size")
    if not isinstance(size, int):
        raise CheckpointError(f"{options.checkpoint}: does not state the size of its pictures")
    mode: Literal["static", "dynamic"] = (
        "dynamic" if (options.mode or stated.get("mode")) == "dynamic" else "static"
    )
    return Data(
        options.data,
        options.layout,
        options.held_back,
        mode=mode,
        crop=options.crop or str(rule or "celeba-hq"),
        size=size,
    )


if __name__ == "__main__":
    sys.exit(main())
