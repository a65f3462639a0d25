"""Official files of STIT: what is read, what is refused, and that nothing in them runs."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainers.errors import CheckpointError
from trainers.stit import containers
from trainers.stit.bisenet import BiSeNet
from trainers.stit.critic import Critic
from trainers.stit.e4e import Encoder4Editing, Inversion
from trainers.stit.generator import Generator
from trainers.stit.rosinality import RosinalityGenerator

WIDTHS = (6, 5, 4)


class _Called:
    """Pickles as a call of a function by its name."""

    def __init__(self, module: str, name: str, *arguments: Any) -> None:
        self.module, self.name, self.arguments = module, name, arguments


class _Writer(pickle._Pickler):  # the one in Python can be told what to write
    """Writes `_Called` as a reference and a call, whether or not such a module is there."""

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Called):
            self.save(obj.module)
            self.save(obj.name)
            self.write(pickle.STACK_GLOBAL)
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def _written(path: Path, value: Any) -> Path:
    buffer = io.BytesIO()
    _Writer(buffer, 4).dump(value)
    path.write_bytes(buffer.getvalue())
    return path


def _storage(value: Tensor) -> _Called:
    """All values of a tensor, as a file of torch within the file."""
    typed = torch.storage.TypedStorage(
        wrap_storage=value.clone().untyped_storage(), dtype=value.dtype, _internal=True
    )
    inner = io.BytesIO()
    torch.save(typed, inner, _use_new_zipfile_serialization=False)
    return _Called("torch.storage", "_load_from_bytes", inner.getvalue())


def _tensor(value: Tensor) -> _Called:
    whole = (_storage(value), 0, tuple(value.shape), value.stride(), False, OrderedDict())
    made = _Called("torch._utils", "_rebuild_tensor_v2", *whole)
    return _Called("torch._utils", "_rebuild_parameter", made, True, OrderedDict())


def _module(network: nn.Module, source: str, **state: Any) -> _Called:
    own = dict(network.named_parameters(recurse=False)) | dict(network.named_buffers(recurse=False))
    attributes = {
        "_parameters": {name: _tensor(value.detach().clone()) for name, value in own.items()},
        "_buffers": OrderedDict(),
        "_modules": {name: _module(child, source) for name, child in network.named_children()},
        **state,
    }
    meta = {
        "type": "class",
        "version": 6,
        "module_src": source,
        "class_name": type(network).__name__,
        "state": attributes,
    }
    return _Called("torch_utils.persistence", "_reconstruct_persistent_obj", meta)


def _generator() -> Generator:
    torch.manual_seed(3)
    return Generator(WIDTHS, z_dim=8, w_dim=7, mapping_layers=2)


def test_a_network_pickle_is_read_and_its_text_never_runs(tmp_path: Path) -> None:
    """The text that NVIDIA's reader would execute leaves no trace; widths, bound and weights come out exactly."""
    trace = tmp_path / "trace"
    source = f"open({str(trace)!r}, 'w').close()\nraise SystemExit('run')\n"
    network = _generator()
    kwargs = {"synthesis_kwargs": {"conv_clamp": 256}, "c_dim": 0}
    written = _module(network, source, _init_kwargs=kwargs, c_dim=0)
    cleaned = containers.read_generator(_written(tmp_path / "tiny.pkl", {"G_ema": written}))
    assert tuple(cleaned.arguments["widths"]) == WIDTHS
    assert (cleaned.arguments["z_dim"], cleaned.arguments["w_dim"]) == (8, 7)
    for name, value in network.state_dict().items():
        assert torch.equal(cleaned.weights[name], value)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("torch._utils", "_rebuild_device_tensor")],
)
def test_a_pickle_that_names_anything_else_is_refused(module: str, name: str, tmp_path: Path) -> None:
    """By that name, and nothing of it was run."""
    trace = tmp_path / "trace"
    call = _Called(module, name, f"touch {trace}")
    path = _written(tmp_path / "bad.pkl", {"G_ema": call})
    with pytest.raises(CheckpointError, match=f"{module}.{name}, expected networks"):
        containers.read_generator(path)
    assert not trace.exists()


def test_a_tensor_beyond_its_values_is_refused(tmp_path: Path) -> None:
    """A small file cannot ask for a large or a foreign piece of memory."""
    inner = _storage(torch.zeros(4))
    for size, stride, offset in (((5,), (1,), 0), ((2,), (1,), 3), ((1 << 20, 1 << 20), (0, 0), 0)):
        tensor = _Called("torch._utils", "_rebuild_tensor_v2", inner, offset, size, stride, False, {})
        with pytest.raises(CheckpointError, match="beyond the end"):
            containers.read_generator(_written(tmp_path / "far.pkl", {"G_ema": tensor}))


def test_modules_that_hold_each_other_again_and_again_are_refused(tmp_path: Path) -> None:
    """Thirty of them, each twice within the next, are a thousand million; they are never gone through."""
    module: Any = _module(nn.Linear(2, 2), "")
    for _ in range(30):
        state = {"_modules": {"a": module, "b": module}}
        module = _Called(
            "torch_utils.persistence",
            "_reconstruct_persistent_obj",
            {"type": "class", "class_name": "Twice", "state": state},
        )
    path = _written(tmp_path / "twice.pkl", {"G_ema": module})
    assert path.stat().st_size < 1 << 16
    with pytest.raises(CheckpointError, match="more than 4096 modules"):
        containers.read_generator(path)


@pytest.mark.parametrize("kept", [0, 1, 100, -20])
def test_a_damaged_pickle_is_told(kept: int, tmp_path: Path) -> None:
    """In one line with the file's name, wherever it was cut."""
    path = _written(tmp_path / "cut.pkl", {"G_ema": _module(_generator(), "")})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"cut\.pkl"):
        containers.read_generator(path)


def test_a_missing_network_is_told_with_what_is_there(tmp_path: Path) -> None:
    """A pickle without G_ema, or one of classes."""
    path = _written(tmp_path / "other.pkl", {"G": _module(_generator(), "", c_dim=10)})
    with pytest.raises(CheckpointError, match="no network 'G_ema', only G"):
        containers.read_generator(path)
    with pytest.raises(CheckpointError, match="10 classes"):
        containers.read_generator(path, "G")


def test_a_tuned_file_that_is_compressed_is_refused(tmp_path: Path) -> None:
    """torch never compresses; a small archive that unpacks to much is no such file."""
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run/data.pkl", b"\0" * (1 << 20))
    with pytest.raises(CheckpointError, match="compressed"):
        containers.read_tuned(path)


def test_a_critic_says_its_widths(tmp_path: Path) -> None:
    """The D of the same file, for going on with a training."""
    critic = Critic(WIDTHS)
    path = _written(tmp_path / "tiny.pkl", {"D": _module(critic, "")})
    assert tuple(containers.read_generator(path, "D").arguments["widths"]) == WIDTHS


# --- e4e and the parser ----------------------------------------------------------------------------


def _encoder_file(path: Path, **changes: Any) -> Path:
    torch.manual_seed(4)
    inversion = Inversion(6, 8, size=32, widths=(4, 5, 6, 7), blocks=(1, 2, 1, 1))
    decoder = RosinalityGenerator(16, style_dim=8, n_mlp=1)
    state = {name: value for name, value in inversion.state_dict().items() if name != "latent_avg"}
    state |= {f"decoder.{name}": value for name, value in decoder.state_dict().items()}
    content = {
        "state_dict": state,
        "latent_avg": torch.ones(6, 8),
        "opts": {"stylegan_size": 16, "encoder_type": "Encoder4Editing", "device": "cuda:0"},
    }
    torch.save(content | changes, path)
    return path


def test_an_encoder_file_says_its_shape(tmp_path: Path) -> None:
    """Rows, sizes, widths and blocks from the shapes; the GPU that it names is of no account; decoder checked, too."""
    opened = containers.read_encoder(_encoder_file(tmp_path / "e4e.pt"))
    assert opened.encoder.arguments == {
        "rows": 6, "style_dim": 8, "size": 32, "widths": [4, 5, 6, 7], "blocks": [1, 2, 1, 1],
    }  # fmt: skip
    inversion = opened.encoder.build()
    assert inversion(torch.zeros(1, 3, 32, 32)).shape == (1, 6, 8)
    assert opened.decoder.arguments["size"] == 16


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"opts": {"encoder_type": "GradualStyleEncoder"}}, "GradualStyleEncoder"),
        ({"opts": None}, "opts a table"),
        ({"latent_avg": None}, "no latent_avg"),
        ({"latent_avg": torch.ones(5, 8)}, "latent_avg"),
        ({"state_dict": {"encoder.x": torch.ones(1)}}, "no e4e encoder"),
    ],
)
def test_an_encoder_file_that_is_not_whole_is_told(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    """What is missing or foreign is named; nothing is loaded in part."""
    with pytest.raises(CheckpointError, match=told):
        containers.read_encoder(_encoder_file(tmp_path / "e4e.pt", **changes))


def test_a_parser_is_read_with_and_without_counters(tmp_path: Path) -> None:
    """Old files lack num_batches_tracked, which nothing reads."""
    parser = BiSeNet(7, width=4)
    bare = {name: value for name, value in parser.state_dict().items() if "num_batches" not in name}
    torch.save(bare, tmp_path / "parser.pth")
    cleaned = containers.read_parser(tmp_path / "parser.pth")
    assert cleaned.arguments == {"n_classes": 7, "width": 4}
    bare.pop("ffm.conv1.weight")
    torch.save(bare, tmp_path / "parser.pth")
    with pytest.raises(CheckpointError, match=r"ffm\.conv1\.weight is missing"):
        containers.read_parser(tmp_path / "parser.pth")


# --- hostile files ---------------------------------------------------------------------------------


def _clamped(bound: Any) -> _Called:
    """A generator whose first layer states this bound."""
    network = _module(_generator(), "")
    layer = network
    for name in ("synthesis", "b4", "conv1"):
        layer = layer.arguments[0]["state"]["_modules"][name]
    layer.arguments[0]["state"]["conv_clamp"] = bound
    return network


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (lambda: _module(_generator(), "", c_dim=10**400), "c_dim, which is not finite or beyond"),
        (lambda: _module(_generator(), "", c_dim=float("nan")), "c_dim, which is not finite"),
        (lambda: _module(_generator(), "", c_dim=[1]), "c_dim, which is list and no number"),
        (lambda: _clamped(float("inf")), "conv_clamp, which is not finite"),
        (lambda: _clamped(-1.0), "a bound on its layers of -1, expected above 0"),
    ],
)
def test_attributes_that_no_network_has_are_refused(
    network: Callable[[], _Called], told: str, tmp_path: Path
) -> None:
    """Numbers that could not be written down, or that would make every picture of nothing."""
    with pytest.raises(CheckpointError, match=told):
        containers.read_generator(_written(tmp_path / "odd.pkl", {"G_ema": network()}))


def test_options_of_another_kind_are_passed_over(tmp_path: Path) -> None:
    """What is no table of options states none."""
    written = _module(_generator(), "", _init_kwargs={"synthesis_kwargs": [1]})
    cleaned = containers.read_generator(_written(tmp_path / "tiny.pkl", {"G_ema": written}))
    assert tuple(cleaned.arguments["widths"]) == WIDTHS


def test_parts_that_are_copied_again_and_again_are_refused(tmp_path: Path) -> None:
    """A quarter of a megabyte, named three hundred times, is never made as often."""
    dtype, data = _Called("numpy", "dtype", "f4", False, True), b"\0" * (1 << 18)
    arrays = [_Called("numpy.core.numeric", "_frombuffer", data, dtype, (1 << 16,), "C") for _ in range(300)]
    path = _written(tmp_path / "again.pkl", {"G_ema": arrays})
    assert path.stat().st_size < 1 << 19
    with pytest.raises(CheckpointError, match="copies the same parts again and again"):
        containers.read_generator(path)


@pytest.mark.parametrize("part", ["data.pkl", "data/0"])
def test_archives_that_unpack_to_more_than_they_are_are_refused(part: str, tmp_path: Path) -> None:
    """Whichever part of it: before anything is unpacked."""
    whole, path = tmp_path / "whole.pth", tmp_path / "packed.pth"
    torch.save({"a": torch.zeros(4)}, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            packed = entry.filename.endswith(part)
            data = b"\0" * (1 << 20) if packed else old.read(entry)
            new.writestr(entry.filename, data, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    with pytest.raises(CheckpointError, match="compressed, or larger than the file"):
        containers.read(path)


def test_a_storage_that_is_an_archive_is_refused(tmp_path: Path) -> None:
    """Files of NVIDIA's hold none, and one may be packed."""
    inner = _Called("torch.storage", "_load_from_bytes", b"PK\3\4")
    tensor = _Called("torch._utils", "_rebuild_tensor_v2", inner, 0, (1,), (1,), False, {})
    with pytest.raises(CheckpointError, match="no plain file of torch"):
        containers.read_generator(_written(tmp_path / "packed.pkl", {"G_ema": tensor}))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("synthesis.b" + "9" * 5000 + ".conv1.weight", "longer than 500"),
        ("synthesis.b" + "9" * 50 + ".conv1.weight", "a layer of that number"),
        ("line\nbreak", "cannot be shown"),
    ],
)
def test_names_that_no_network_has_are_refused(name: str, told: str, tmp_path: Path) -> None:
    """In one short line."""
    torch.save(_generator().state_dict() | {name: torch.zeros(1, 1, 3, 3)}, tmp_path / "named.pt")
    with pytest.raises(CheckpointError, match=told) as caught:
        containers.read(tmp_path / "named.pt")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with a name are POSIX's")
def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    """A pipe in the place of a file would be waited for."""
    os.mkfifo(tmp_path / "pipe.pt")
    for read in (containers.read, containers.read_tuned, containers.read_parser):
        with pytest.raises(CheckpointError, match="is no file"):
            read(tmp_path / "pipe.pt")


@pytest.mark.parametrize(
    ("latent", "told"),
    [
        (torch.tensor(1.0), "expected 6 rows"),
        (torch.zeros(6, 0), "expected 6 rows"),
        (torch.zeros(6, 8).to_sparse(), "expected 6 rows"),
        (torch.zeros(1).expand(1 << 20, 1 << 20), "expected 6 rows"),
    ],
)
def test_a_mean_latent_of_another_make_is_refused(latent: Tensor, told: str) -> None:
    """Before anything is reckoned with it."""
    theirs = {
        f"encoder.{name}": value
        for name, value in Encoder4Editing(6, 8, 32, (4, 5, 6, 7), (1, 2, 1, 1)).state_dict().items()
    }
    with pytest.raises(CheckpointError, match=told):
        containers.clean_encoder(theirs, latent, {})
