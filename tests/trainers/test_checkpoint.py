"""A checkpoint is whole or not there, opens without running code, and says what does not fit."""

from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from trainers import checkpoint
from trainers.checkpoint import Checkpoint, Training
from trainers.errors import CheckpointError, StorageError

ABOUT = Checkpoint(
    system="tiny",
    arguments={"generator": {"width": 4}},
    recipe={"system": "tiny"},
    step=5,
    data={"extractor": "none"},
    facts={"refinement_weight": 0.1},
)


def network(width: int = 4) -> nn.Module:
    torch.manual_seed(width)
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One whole checkpoint in a training's folder."""
    folder = tmp_path / "checkpoints" / checkpoint.step_name(5)
    checkpoint.write(
        folder, ABOUT, {"generator": network().state_dict()}, Training({"a": 1}, {"m": torch.ones(2)})
    )
    checkpoint.point(tmp_path, folder)
    return folder


def test_what_is_written_is_read(folder, tmp_path) -> None:
    """From its own folder and from the training's, every field and every weight, dtypes and empty shapes too."""
    for place in (folder, tmp_path, str(folder)):
        found = checkpoint.read(place)
        assert (found.folder, found.networks()) == (folder, ("generator",))
        fields = ("system", "arguments", "recipe", "step", "data", "facts")
        assert all(getattr(found, name) == getattr(ABOUT, name) for name in fields)
        for key, value in network().state_dict().items():
            assert torch.equal(found.weights("generator")[key], value)
            assert found.weights("generator")[key].dtype == value.dtype
    other = network(4)
    nn.init.zeros_(other[0].weight)
    checkpoint.read(folder).load("generator", other)
    assert torch.equal(other[0].weight, network()[0].weight)
    kept = checkpoint.read(folder).training()
    assert kept.state == {"a": 1}
    assert torch.equal(kept.tensors["m"], torch.ones(2))


def test_weights_alone_are_a_checkpoint(tmp_path) -> None:
    """As imported ones are; resuming them is refused with the way out."""
    checkpoint.write(tmp_path / "imported", ABOUT, {"generator": network().state_dict()})
    assert checkpoint.read(tmp_path / "imported").networks() == ("generator",)
    with pytest.raises(CheckpointError, match=r"cannot be resumed.*run\.weights"):
        checkpoint.read(tmp_path / "imported").training()


def test_tied_weights_are_written_under_both_names(tmp_path) -> None:
    """Two names of one memory are no fault."""
    weight = torch.ones(2, 3)
    checkpoint.write(tmp_path / "tied", ABOUT, {"generator": {"a": weight, "b": weight, "c": weight.T}})
    found = checkpoint.read(tmp_path / "tied").weights("generator")
    assert found["a"].equal(weight)
    assert found["b"].equal(weight)
    assert found["c"].shape == (3, 2)


def test_another_system_width_or_network_is_named(folder) -> None:
    """The line says what it has and what was expected."""
    found = checkpoint.read(folder)
    assert found.of_system("tiny") is found
    with pytest.raises(CheckpointError, match="is of system 'tiny', expected 'geogan'"):
        found.of_system("geogan")
    with pytest.raises(CheckpointError, match=r"0\.weight is \(4, 3, 3, 3\), expected \(8, 3, 3, 3\)"):
        found.load("generator", network(8))
    with pytest.raises(CheckpointError, match=r"missing: 2\.bias, 2\.weight;"):
        found.load("generator", nn.Sequential(*network(), nn.Linear(2, 2)))
    with pytest.raises(CheckpointError, match=r"not expected: 1\.bias.* and 2 more"):
        found.load("generator", nn.Sequential(network()[0]))
    with pytest.raises(CheckpointError, match="holds no network 'critic'; it has generator"):
        found.weights("critic")


@pytest.mark.parametrize("name", ["weights.safetensors", "training.safetensors", "training.json"])
def test_a_truncated_file_is_named_before_anything_is_loaded(folder, name) -> None:
    """By its size, so also where the cut would not be noticed by the format."""
    path = folder / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CheckpointError, match=rf"{name}: is truncated: \d+ bytes, expected \d+"):
        checkpoint.read(folder)


def test_a_missing_file_is_named(folder) -> None:
    """Not a traceback, and not a training that begins anew."""
    (folder / "weights.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"weights\.safetensors: cannot be read \(No such file"):
        checkpoint.read(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"checkpoint\.json: is truncated or no JSON"),
        ('{"format": ' + "[" * 100_000, r"checkpoint\.json: is truncated or no JSON"),
        ("[]", r"holds no JSON object"),
        ('{"format": 2}', r"is of format 2, expected 1"),
        ('{"format": 1, "system": "tiny"}', r"checkpoint\.json is incomplete"),
        ("data", r"another type than expected"),
        ("arguments", r"another type than expected"),
    ],
)
def test_a_damaged_description_is_named(folder, text, message) -> None:
    """Whatever stands in checkpoint.json."""
    path = folder / "checkpoint.json"
    about = json.loads(path.read_text())
    path.write_text(
        json.dumps(about | {text: 3 if text == "data" else {"generator": 3}}) if text in about else text
    )
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read(folder)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_in_its_place_is_refused_unopened(folder, tmp_path, monkeypatch, kind) -> None:
    """Opening a checkpoint runs no code."""
    monkeypatch.chdir(tmp_path)
    path = folder / "weights.safetensors"
    path.write_bytes(pickle.dumps(Bomb())) if kind == "pickle" else torch.save(Bomb(), path)
    about = json.loads((folder / "checkpoint.json").read_text())
    about["files"]["weights.safetensors"] = path.stat().st_size
    (folder / "checkpoint.json").write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match=r"is a pickle, which is never opened.*marotte import"):
        checkpoint.read(folder)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("length", [0x80, 0x4B50])
def test_a_header_whose_length_looks_like_a_pickle_is_none(tmp_path, length) -> None:
    """Safetensors begins with its header's length, whose first byte may be any."""
    header = '{"g/":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    checkpoint.write(tmp_path / "one", ABOUT, {"g": {"k" * (length - len(header)): torch.zeros(1)}})
    start = (tmp_path / "one/weights.safetensors").read_bytes()[:2]
    assert int.from_bytes(start, "little") == length
    assert checkpoint.read(tmp_path / "one").networks() == ("g",)


@pytest.mark.parametrize("text", ["{", '{"checkpoint": "../../etc"}', '{"checkpoint": 3}', "{}"])
def test_a_damaged_pointer_is_named(folder, tmp_path, text) -> None:
    """latest.json leads nowhere but into its own checkpoints/."""
    (tmp_path / "latest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"latest\.json"):
        checkpoint.read(tmp_path)


def test_a_folder_without_checkpoint_is_named(tmp_path) -> None:
    """With what was expected."""
    with pytest.raises(CheckpointError, match="expected the folder of a checkpoint or of a training"):
        checkpoint.read(tmp_path / "none")
    (tmp_path / "net_epoch_30_id_G.pth").write_bytes(b"PK")
    with pytest.raises(CheckpointError, match=r"is a file, expected a folder; .* marotte import"):
        checkpoint.read(tmp_path / "net_epoch_30_id_G.pth")


def test_a_full_disk_leaves_the_older_checkpoint_and_nothing_half(folder, monkeypatch) -> None:
    """The one of the same name, too, is replaced only by a whole one."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\); free some space"):
        checkpoint.write(folder, ABOUT, {"generator": network(8).state_dict()})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_checkpoint_is_replaced_whole(folder) -> None:
    """Writing under a name that is there leaves the new one only."""
    checkpoint.write(folder, ABOUT, {"generator": network(8).state_dict()})
    assert checkpoint.read(folder).weights("generator")["0.weight"].shape[0] == 8
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
