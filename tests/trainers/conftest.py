"""Trainings of the tiny system."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Any]:
    """What trains the tiny system into tmp_path / name, with overrides."""
    from tests.trainers.tiny import write_recipe
    from trainers.config import load
    from trainers.loop import train

    recipe = write_recipe(tmp_path / "recipe.toml")

    def run(name: str, *overrides: str, resume: bool = False) -> Any:
        return train(load(recipe, overrides), tmp_path / name, resume=resume)

    return run


def kept(folder: Path) -> dict[str, Any]:
    """Everything that a checkpoint holds, but for the recipe and the clock."""
    state = json.loads((folder / "training.json").read_text())
    state.pop("seconds")
    about = json.loads((folder / "checkpoint.json").read_text())
    about.pop("recipe")
    about["files"].pop("training.json")
    tensors = {name: (folder / name).read_bytes() for name in ("weights.safetensors", "training.safetensors")}
    return {"state": state, "about": about, **tensors}


def rows(out: Path) -> list[list[str]]:
    """The rows of scalars.csv without the clock."""
    lines = (out / "scalars.csv").read_text().splitlines()
    at = lines[0].split(",").index("seconds")
    return [[cell for i, cell in enumerate(line.split(",")) if i != at] for line in lines]
