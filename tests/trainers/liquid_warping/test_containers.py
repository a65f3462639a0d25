"""Official files become the networks that their shapes give; what is damaged is told by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainers.errors import CheckpointError
from trainers.liquid_warping.containers import clean, read
from trainers.liquid_warping.discriminators import PartsDiscriminator
from trainers.liquid_warping.face_loss import face_distance
from trainers.liquid_warping.generator import LiquidWarpingGenerator
from trainers.liquid_warping.spin import SPIN
from trainers.liquid_warping.variants import InputConcatGenerator, TextureWarpingGenerator

NARROW: dict[str, Any] = {"background_widths": [4, 6], "background_blocks": 2}


def generator(**arguments: Any) -> LiquidWarpingGenerator:
    torch.manual_seed(1)
    return LiquidWarpingGenerator(**{"widths": [4, 6, 8], "residual_blocks": 1, **NARROW, **arguments})


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        (generator(), "generator"),
        (generator(source_widths=[5, 6, 7], transfer_inputs=9), "generator"),
        (generator(block="gated_sum", widths=[4]), "generator"),
        (generator(block="attention_adain", background=False), "generator"),
        (InputConcatGenerator(3, [4, 6], 1, **NARROW), "concat_generator"),
        (TextureWarpingGenerator([4, 6], 1, **NARROW), "texture_generator"),
        (PartsDiscriminator(("global",), width=4, layers=2, widest=2), "critic"),
        (PartsDiscriminator(("global", "body", "head"), True, width=4, layers=2, norm="batch"), "critic"),
    ],
)
def test_the_shapes_give_the_arguments(network: nn.Module, kind: str) -> None:
    """Built again from what was found: the same names and values, whether "module." stands before them or not."""
    state = network.state_dict()
    cleaned = clean({f"module.{name}": value for name, value in state.items()})
    assert cleaned.account.network == kind
    assert len(cleaned.account.renamed) == len(state)
    built = cleaned.build().state_dict()
    assert list(built) == list(state)
    assert all(torch.equal(built[name], value) for name, value in state.items())


def test_spin_lies_one_level_deeper(tmp_path: Path) -> None:
    """As in spin_ckpt.pth; its starting means are weights like any other."""
    with torch.device("meta"):
        layers = SPIN((1, 1, 1, 1)).state_dict()
    state = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in layers.items()}
    state["init_cam"] += 0.5
    torch.save({"epoch": 3, "model": state}, tmp_path / "spin_ckpt.pth")
    cleaned = read(tmp_path / "spin_ckpt.pth")
    assert cleaned.arguments == {"layers": [1, 1, 1, 1]}
    assert cleaned.weights["init_cam"].tolist() == [[0.5] * 3]


def _lost(state: dict[str, Tensor]) -> None:
    del state["enc_attlwbs.1.fq.weight"]


def _extra(state: dict[str, Tensor]) -> None:
    state["tsf_net_enc.layers.0.0.bias"] = torch.zeros(4)


def _narrower(state: dict[str, Tensor]) -> None:
    state["res_blocks.0.main.2.weight"] = torch.zeros(8, 8, 1, 1)


def _nan(state: dict[str, Tensor]) -> None:
    state["tsf_img_reg.0.weight"][0, 0, 0, 0] = torch.nan


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_lost, "enc_attlwbs.1.fq.weight is missing"),
        (_extra, "tsf_net_enc.layers.0.0.bias is unexpected"),
        (_narrower, r"res_blocks.0.main.2.weight: \(8, 8, 1, 1\), expected \(8, 8, 3, 3\)"),
        (_nan, "tsf_img_reg.0.weight: holds values that are not finite"),
    ],
)
def test_what_does_not_fit_is_named(damage: Any, told: str) -> None:
    """The official loader passes over such keys without a word."""
    state = {name: value.clone() for name, value in generator().state_dict().items()}
    damage(state)
    with pytest.raises(CheckpointError, match=told):
        clean(state)


def test_something_else_is_none(tmp_path: Path) -> None:
    """The message says what was looked for."""
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"no Liquid Warping network: .* only weight"):
        read(tmp_path / "other.pth")


def test_the_face_loss_says_which_file_it_needs() -> None:
    """By its name and its keys."""
    with pytest.raises(Exception, match=r"sphere20a_20171020.pth by losses.sphereface \(keys conv1_1.weight"):
        face_distance("", "losses.sphereface")
