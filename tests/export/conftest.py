"""Small checkpoints, as a training leaves them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def ganimation(tmp_path: Path) -> Callable[..., Path]:
    """Writes a narrow GANimation's checkpoint; arguments replace those of the generator."""
    import torch

    from trainers import checkpoint
    from trainers.checkpoint import Checkpoint
    from trainers.ganimation.networks import Generator

    def make(facts: Any = None, data: Any = None, averaged: bool = False, **arguments: Any) -> Path:
        torch.manual_seed(7)
        arguments = {"conv_dim": 4, "c_dim": 17, "repeat_num": 1} | arguments
        weights = {"generator": Generator(**arguments).state_dict()}
        if averaged:
            weights["generator_ema"] = Generator(**arguments).state_dict()
        about = Checkpoint(
            "ganimation",
            {"generator": arguments},
            step=40,
            data={
                "extractor": {"name": "marotte-geometry", "version": 1, "mode": "static"},
                "crop": {"rule": "face", "size": 128},
                "size": 16,
                "pictures": {"train": 5, "validation": 1},
                "licences": ["CC0 1.0"],
            }
            | (data or {}),
            facts=facts or {},
        )
        checkpoint.write(tmp_path / "checkpoint", about, weights)
        return tmp_path / "checkpoint"

    return make


@pytest.fixture
def geogan(tmp_path: Path) -> Callable[..., Path]:
    """Writes a narrow GeoGAN's checkpoint, likewise."""
    import torch

    from trainers import checkpoint
    from trainers.checkpoint import Checkpoint
    from trainers.geogan.networks import FlowGenerator

    def make(facts: Any = None, **arguments: Any) -> Path:
        torch.manual_seed(7)
        arguments = {"size": 16, "width": 4, "downsamples": 1, "blocks": 1} | arguments
        about = Checkpoint(
            "geogan",
            {"generator": arguments},
            data={
                "extractor": None,
                "crop": {"rule": "celeba", "size": arguments["size"]},
                "attributes": ["smile"],
            },
            facts={"refinement_weight": 0.1} if facts is None else facts,
        )
        checkpoint.write(
            tmp_path / "checkpoint", about, {"generator": FlowGenerator(**arguments).state_dict()}
        )
        return tmp_path / "checkpoint"

    return make
