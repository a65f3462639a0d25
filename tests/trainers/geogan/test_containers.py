"""Official files: shapes to arguments, every key accounted for, no code run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainers.errors import CheckpointError
from trainers.geogan.containers import clean, read, read_options
from trainers.geogan.networks import AttrMultiScalePatchDisc, FlowGenerator

OPTIONS = """------------ Options -------------
img_size: 16
load_path: None
name: goatee: second try, 12:30
max_dataset_size: inf
res_weight: 0.35
sel_attrs: ['Goatee', 'Smiling']
train: True
which_epoch: __import__('os').abort()
-------------- End ----------------
"""


@pytest.mark.parametrize("norm", ["instance", "batch", "layer"])
def test_arguments_follow_from_the_shapes(norm: str) -> None:
    """Width, depth, blocks and norm of both networks; nothing has to be told but the size."""
    generator = FlowGenerator(24, 5, 3, 2, norm=norm, dead_decoders=True)
    cleaned = clean(generator.state_dict(), size=24)
    expected = {"size": 24, "width": 5, "downsamples": 3, "blocks": 2, "norm": norm, "only_residual": False}
    assert expected.items() <= dict(cleaned.arguments).items()
    assert all("nothing calls" in reason for reason in cleaned.account.dropped.values())
    assert len(cleaned.account.matched) + len(cleaned.account.dropped) == len(generator.state_dict())
    critic = AttrMultiScalePatchDisc(6, 2, 2, attributes=3, norm=norm)
    expected = {"width": 6, "layers": 2, "scales": 2, "attributes": 3, "norm": norm, "inputs": 3}
    assert clean(critic.state_dict()).arguments == expected


def test_the_ablation_is_recognised() -> None:
    """By its own decoder."""
    weights = FlowGenerator(16, 3, 2, 1, only_residual=True).state_dict()
    assert clean(weights, size=16).arguments["only_residual"] is True


def test_data_parallel_and_old_statistics_are_seen_through() -> None:
    """`module.` is stripped and told; statistics that an instance norm never reads are dropped and told."""
    weights = FlowGenerator(16, 3, 2, 1).state_dict()
    worn = {f"module.{name}": value for name, value in weights.items()}
    worn["module.flow_head.layers.2.running_mean"] = torch.zeros(3)
    cleaned = clean(worn, size=16)
    assert cleaned.arguments["norm"] == "instance"
    assert list(cleaned.account.dropped) == ["flow_head.layers.2.running_mean"]
    assert len(cleaned.account.renamed) == len(worn)
    assert all(torch.equal(cleaned.weights[name], value) for name, value in weights.items())


def test_a_file_is_read_with_its_name_and_its_options(tmp_path: Path) -> None:
    """The epoch stands in the name, size and refinement's weight in opt.txt; both make w an argument."""
    (tmp_path / "opt.txt").write_text(OPTIONS)
    path = tmp_path / "epoch_12_iter_7_G.pth"
    torch.save(FlowGenerator(16, 3, 2, 1).state_dict(), path, _use_new_zipfile_serialization=False)
    cleaned = read(path)
    assert cleaned.arguments["size"] == 16
    assert cleaned.arguments["refinement_weight"] == pytest.approx(0.2)
    assert cleaned.facts["attributes"] == ["Goatee", "Smiling"]
    built = cleaned.build()
    assert isinstance(built, FlowGenerator)
    assert built.refinement_weight == pytest.approx(0.2)
    assert not built.training


def test_without_options_the_defaults_are_told(tmp_path: Path) -> None:
    """128 is the official size; the facts say that it is a guess."""
    torch.save(FlowGenerator(16, 3, 2, 1).state_dict(), tmp_path / "weights.pth")
    cleaned = read(tmp_path / "weights.pth")
    assert (cleaned.arguments["size"], cleaned.facts["size_from"]) == (128, "default")
    assert cleaned.arguments["refinement_weight"] == pytest.approx(0.1)


def test_options_are_read_and_not_run(tmp_path: Path) -> None:
    """Values may hold colons; what is no literal stays text; `inf` is a number."""
    (tmp_path / "opt.txt").write_text(OPTIONS)
    options = read_options(tmp_path / "opt.txt")
    assert options["name"] == "goatee: second try, 12:30"
    assert options["max_dataset_size"] == float("inf")
    assert options["which_epoch"] == "__import__('os').abort()"
    assert (options["train"], options["load_path"]) == (True, None)


@pytest.mark.parametrize("text", ["no colon here\n", ": nothing before it\n"])
def test_a_line_that_is_no_option_is_told(tmp_path: Path, text: str) -> None:
    """With its number."""
    (tmp_path / "opt.txt").write_text("a: 1\n" + text)
    with pytest.raises(CheckpointError, match="line 2"):
        read_options(tmp_path / "opt.txt")


def test_what_does_not_fit_is_named() -> None:
    """Missing, unexpected, of another shape, not finite."""
    weights = dict(FlowGenerator(16, 3, 2, 1).state_dict())
    del weights["flow_head.layers.4.bias"]
    weights["flow_head.layers.1.bias"] = torch.zeros(7)
    weights["flow_block.0.bias"] = torch.full_like(weights["flow_block.0.bias"], float("nan"))
    weights["extra.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError) as error:
        clean(weights, size=16)
    message = str(error.value)
    assert "1 missing, 1 unexpected, 2 of another shape" in message
    assert "flow_head.layers.4.bias is missing" in message
    assert "\n" not in message


def test_another_network_is_refused() -> None:
    """It says what was looked for."""
    with pytest.raises(CheckpointError, match="no GeoGAN network"):
        clean({"main.0.weight": torch.zeros(1)})


def test_a_pickled_module_is_refused_and_not_run(tmp_path: Path) -> None:
    """The official loader takes a whole pickled module; that is code."""
    # posix.mkdir of a folder, as a pickle of protocol 2
    length = len(str(tmp_path / "ran")).to_bytes(4, "little")
    code = b"\x80\x02cposix\nmkdir\nX" + length + str(tmp_path / "ran").encode() + b"\x85R."
    (tmp_path / "bad.pth").write_bytes(code)
    with pytest.raises(CheckpointError, match="never loaded"):
        read(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_cut_short_is_told(tmp_path: Path) -> None:
    """One line, nothing half read."""
    whole = tmp_path / "whole.pth"
    torch.save(FlowGenerator(16, 3, 2, 1).state_dict(), whole)
    (tmp_path / "part.pth").write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(CheckpointError, match="damaged, cut short"):
        read(tmp_path / "part.pth")
