"""Liquid Warping GAN: official files to a checkpoint, a checkpoint to graphs that give the paper's numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.backends import BACKENDS
from engine.errors import BundleError
from engine.types import Mode
from export.checkpoints import load
from export.imports import import_files
from export.onnx import write_graph
from export.parity import measure
from export.systems import plan_of
from trainers.errors import CheckpointError
from trainers.liquid_warping.generator import LiquidWarpingGenerator
from trainers.liquid_warping.spin import SPIN

Make = Callable[..., Path]


def official_file(folder: Path, name: str = "AttLWB-SPADE_id_G_2020-05-18.pth", **arguments: Any) -> Path:
    torch.manual_seed(5)
    narrow = {"widths": [4, 6], "residual_blocks": 1, "background_widths": [4, 6], "background_blocks": 1}
    state = LiquidWarpingGenerator(**(narrow | arguments)).state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()}, folder / name)
    return folder / name


def test_an_official_file_becomes_a_checkpoint_with_an_account(tmp_path: Path) -> None:
    """Every key is accounted for; a plan of two sources and SMPL's mesh can be made, and a tuning can start from it."""
    import_files("liquid_warping", [official_file(tmp_path)], tmp_path / "out", size=64)
    loaded = load(tmp_path / "out")
    (account,) = json.loads((tmp_path / "out" / "import.json").read_text())
    assert len(account["renamed"]) == len(account["matched"]) > 20
    assert not account["missing"] + account["unexpected"]
    assert set(loaded.arguments["generator"]) == {
        "block", "widths", "residual_blocks", "background_widths", "background_blocks",
    }  # fmt: skip
    plan = plan_of(loaded)
    assert plan.parameters.facts["mesh"] == "smpl"
    assert plan.parameters.facts["sources"] == 2
    assert plan.parameters.modes == {Mode.PUPPET}


def test_a_wrong_file_is_told_by_its_keys(tmp_path: Path) -> None:
    """And nothing is written."""
    file = official_file(tmp_path)
    state = torch.load(file, weights_only=True)
    del state["module.res_attlwbs.0.spade.mlp_gamma.weight"]
    torch.save(state, file)
    with pytest.raises(CheckpointError, match=r"AttLWB.*res_attlwbs\.0\.spade\.mlp_gamma\.weight is missing"):
        import_files("liquid_warping", [file], tmp_path / "out")
    with pytest.raises(CheckpointError, match="size: got 30, expected a multiple of 4"):
        import_files("liquid_warping", [official_file(tmp_path)], tmp_path / "out", size=30)
    assert not (tmp_path / "out").exists()


def test_spin_comes_beside_it(tmp_path: Path) -> None:
    """Under its own name, with its starting means."""
    with torch.device("meta"):
        shapes = SPIN((1, 1, 1, 1)).state_dict()
    state = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in shapes.items()}
    torch.save({"model": state}, tmp_path / "spin_ckpt.pth")
    files = [official_file(tmp_path), tmp_path / "spin_ckpt.pth"]
    import_files("liquid_warping", files, tmp_path / "out")
    assert load(tmp_path / "out").checkpoint.networks() == ("generator", "spin")


@pytest.mark.parametrize("sources", [1, pytest.param(2, marks=pytest.mark.full)])
def test_the_graphs_give_the_papers_numbers(sources: int, liquid_warping: Make) -> None:
    """Of narrow networks on both runtimes, for one frame and for several at once; one source has no keys."""
    plan = plan_of(load(liquid_warping(sources=sources, widths=[4, 6])))
    files = {graph.name: write_graph(graph) for graph in plan.graphs}
    report = measure(plan.graphs, files, gate=1e-4)
    assert set(report.runtimes) == set(BACKENDS) & {"openvino", "onnxruntime"}
    (frame,) = [graph for graph in plan.graphs if graph.batched]
    names = [port.name for port in frame.inputs]
    assert ("keys_0" in names) == (sources > 1)
    assert "values_2" in names
    assert [port.name for port in plan.graphs[0].outputs] == names[2:]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sources": 3}, "states 3 sources, expected one of 1, 2, 4, 8"),
        ({"data": {"mesh": "hand"}}, "states the mesh 'hand'"),
        ({"background": False}, "no background network"),
        ({"block": "sum"}, "cannot run live"),
    ],
)
def test_what_cannot_run_live_is_refused(changes: dict[str, Any], told: str, liquid_warping: Make) -> None:
    """In one line."""
    with pytest.raises(BundleError, match=told):
        plan_of(load(liquid_warping(**changes)))
