"""`marotte train`: its options, and what it says at the end. Imports nothing heavy until it is called."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from trainers.errors import TrainerError

LIBRARIES = frozenset({"torch", "lightning_fabric", "safetensors", "tensorboard"})


def add(commands: Any) -> None:
    """Add the command's parser."""
    text = "train a system by a recipe into a folder of checkpoints (extra train)"
    parser = commands.add_parser("train", help=text, description=text)
    parser.set_defaults(run=_train)
    parser.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="what to train: see configs/")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of this training")
    parser.add_argument("--resume", action="store_true", help="go on from the latest checkpoint in DIR")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="another value for one of the recipe's options, such as run.seed=1; may be given several times",
    )


def _train(options: argparse.Namespace) -> int:
    try:
        from trainers.config import load
        from trainers.loop import train

        outcome = train(load(options.recipe, options.overrides), options.out, resume=options.resume)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in LIBRARIES:
            raise
        raise TrainerError(f"train: {error.name} is not installed: pip install 'marotte[train]'") from error
    if outcome.interrupted:
        kept = outcome.checkpoint or "nothing"
        print(
            f"marotte: stopped by {outcome.interrupted} after step {outcome.step} of {outcome.steps}; "
            f"{kept} is kept, go on with --resume",
            file=sys.stderr,
        )
        return 130
    print(f"{outcome.checkpoint}: {outcome.steps} steps are made")
    return 0
