"""Small checkpoints, as a training leaves them; and what torch's exporter reads once for all graphs."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session", autouse=True)
def translations_kept() -> Iterator[None]:
    """torch's exporter parses the source of its five hundred translations anew for every graph: a third of what a
    narrow one takes. Here they are parsed once in a process."""
    if "torch" not in sys.modules:  # nothing is exported then
        yield
        return
    import torch

    export = torch.onnx.export
    with pytest.MonkeyPatch.context() as patch:

        @functools.cache
        def keep() -> None:
            from torch.onnx._internal.exporter._registration import ONNXRegistry

            patch.setattr(
                ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib))
            )

        def exported(*given: Any, **options: Any) -> Any:
            keep()
            return export(*given, **options)

        patch.setattr(torch.onnx, "export", exported)
        yield


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


@pytest.fixture
def liquid_warping(tmp_path: Path) -> Callable[..., Path]:
    """Writes a narrow Liquid Warping GAN's checkpoint, likewise, of the face's mesh; `size` is the pictures' side,
    `sources` how many photographs its bundle takes."""
    import torch

    from trainers import checkpoint
    from trainers.checkpoint import Checkpoint
    from trainers.liquid_warping.generator import LiquidWarpingGenerator

    def make(data: Any = None, size: int = 32, sources: int = 2, **arguments: Any) -> Path:
        torch.manual_seed(7)
        narrow = {"widths": [4], "residual_blocks": 1, "background_widths": [4], "background_blocks": 1}
        given = narrow | arguments
        crop = {"rule": "bust", "size": size}
        about = Checkpoint(
            "liquid_warping",
            {"generator": given},
            data={"extractor": None, "crop": crop, "size": size, "mesh": "face", "texture": size}
            | (data or {}),
            facts={"sources": sources, "background_erosion": 3},
        )
        checkpoint.write(
            tmp_path / "checkpoint", about, {"generator": LiquidWarpingGenerator(**given).state_dict()}
        )
        return tmp_path / "checkpoint"

    return make


@pytest.fixture
def maskgan(tmp_path: Path) -> Callable[..., Path]:
    """Writes a narrow MaskGAN's checkpoint, likewise, with a MaskVAE and a parser; arguments replace the generator's,
    but for `size`, the side of the pictures, and `companions`, the arguments of the other two."""
    import torch

    from trainers import checkpoint
    from trainers.checkpoint import Checkpoint
    from trainers.maskgan.containers import KINDS
    from trainers.maskgan.networks import DenseMappingNetwork, start

    def make(data: Any = None, size: int = 64, companions: Any = None, **arguments: Any) -> Path:
        torch.manual_seed(7)
        networks = {"generator": {"width": 4, "downsamples": 2, "blocks": 1} | arguments}
        networks |= {"mask_vae": {"width": 2, "latent": 8, "size": 64}, "parser": {"width": 2}}
        for name, replaced in (companions or {}).items():
            networks[name] |= replaced
        made = {name: KINDS[name](**given) for name, given in networks.items()}
        generator = made["generator"]
        assert isinstance(generator, DenseMappingNetwork)
        start(generator)
        stated = {
            "extractor": None,
            "crop": {"rule": "celeba-hq", "size": size},
            "size": size,
            "classes": "celebamask",
        }
        about = Checkpoint("maskgan", networks, data=stated | (data or {}))
        checkpoint.write(
            tmp_path / "checkpoint", about, {name: one.state_dict() for name, one in made.items()}
        )
        return tmp_path / "checkpoint"

    return make


@pytest.fixture
def stit(tmp_path: Path) -> Callable[..., Path]:
    """Writes a narrow STIT's checkpoint, likewise, with an encoder and a parser; arguments replace the generator's."""
    import torch

    from trainers import checkpoint
    from trainers.checkpoint import Checkpoint
    from trainers.stit.containers import KINDS

    def make(facts: Any = None, companions: Any = None, **arguments: Any) -> Path:
        torch.manual_seed(7)
        shape = {"widths": [8, 8, 8, 8], "z_dim": 8, "w_dim": 8, "mapping_layers": 2}
        networks: dict[str, Any] = {"generator": shape | arguments}
        rows, width = 2 * len(networks["generator"]["widths"]), networks["generator"]["w_dim"]
        narrow = {
            "rows": rows,
            "style_dim": width,
            "size": 32,
            "widths": [4, 4, 8, 8],
            "blocks": [1, 1, 1, 1],
        }
        networks |= {"encoder": narrow, "parser": {"width": 4}}
        for name, replaced in (companions or {}).items():
            networks[name] |= replaced
        made = {name: KINDS[name](**given) for name, given in networks.items()}
        side = 4 * 2 ** (len(networks["generator"]["widths"]) - 1)
        stated = {"extractor": None, "crop": {"rule": "celeba-hq", "size": side}, "size": side}
        about = Checkpoint("stit", networks, data=stated, facts=facts or {})
        checkpoint.write(
            tmp_path / "checkpoint", about, {name: one.state_dict() for name, one in made.items()}
        )
        return tmp_path / "checkpoint"

    return make
