"""A small MaskVAE's checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def mask_vae(tmp_path: Path) -> Path:
    """Of 32 pixels a side, with weights by chance."""
    import torch

    from trainers import checkpoint
    from trainers.checkpoint import Checkpoint
    from trainers.maskgan.mask_vae import MaskVAE

    torch.manual_seed(3)
    arguments = {"classes": 19, "width": 2, "latent": 8, "size": 32}
    about = Checkpoint("maskgan", {"mask_vae": arguments})
    checkpoint.write(tmp_path / "vae", about, {"mask_vae": MaskVAE(**arguments).state_dict()})
    return tmp_path / "vae"
