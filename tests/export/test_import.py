"""Official files, and what replications made of them, become checkpoints; what is none does not."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from engine.errors import BundleError, ConfigError
from export.checkpoints import load
from export.commands import add
from export.imports import import_files
from export.official import Part
from export.systems import IMPORTERS, plan_of
from trainers.containers import Account
from trainers.errors import CheckpointError
from trainers.ganimation.networks import Discriminator, Generator
from trainers.geogan.networks import AttrMultiScalePatchDisc, FlowGenerator


def ganimation_file(folder: Path, name: str = "net_epoch_30_id_G.pth", **arguments: Any) -> Path:
    torch.manual_seed(5)
    network = Generator(**({"conv_dim": 4, "c_dim": 17, "repeat_num": 1} | arguments))
    torch.save(network.state_dict(), folder / name)
    return folder / name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_official_file_becomes_a_checkpoint(tmp_path: Path) -> None:
    """Of which a plan can be made; the account lies beside the weights, for people and for programs."""
    file = ganimation_file(tmp_path)
    imported = import_files("ganimation", [file], tmp_path / "out")
    assert names(tmp_path / "out") == ["checkpoint.json", "import.json", "import.txt", "weights.safetensors"]
    loaded = load(tmp_path / "out")
    assert loaded.arguments["generator"]["conv_dim"] == 4
    plan = plan_of(loaded)
    assert (plan.parameters.crop.rule, plan.parameters.crop.size) == ("box", 128)
    assert plan.parameters.extractor is not None
    assert plan.parameters.extractor.name == "openface"
    (account,) = json.loads((tmp_path / "out" / "import.json").read_text())
    assert account["file"] == "net_epoch_30_id_G.pth"
    assert len(account["matched"]) == len(torch.load(file, weights_only=True))
    assert not account["missing"] + account["unexpected"]
    assert imported.text() + "\n" == (tmp_path / "out" / "import.txt").read_text()


def test_both_networks_come_into_one_checkpoint(tmp_path: Path) -> None:
    """The critic's file beside the generator's; two of a kind are refused."""
    file = ganimation_file(tmp_path)
    critic = tmp_path / "net_epoch_30_id_D.pth"
    torch.save(Discriminator(32, 4, 17, 3).state_dict(), critic)
    import_files("ganimation", [file, critic], tmp_path / "out")
    assert load(tmp_path / "out").checkpoint.networks() == ("discriminator", "generator")
    with pytest.raises(ConfigError, match="is a generator, too"):
        import_files("ganimation", [file, file], tmp_path / "two")
    assert not (tmp_path / "two").exists()


def test_old_statistics_and_prefixes_are_told(tmp_path: Path) -> None:
    """Torch 0.3.1 wrote statistics that nothing reads, DataParallel a prefix: dropped, renamed, and said."""
    file = ganimation_file(tmp_path)
    state = torch.load(file, weights_only=True)
    old = {f"module.{name}": value for name, value in state.items()}
    old["module.main.1.running_mean"] = torch.zeros(4)
    torch.save(old, file)
    imported = import_files("ganimation", [file], tmp_path / "out")
    (account,) = imported.accounts
    assert list(account.dropped) == ["main.1.running_mean"]
    assert account.renamed["module.main.0.weight"] == "main.0.weight"
    assert "dropped     main.1.running_mean" in (tmp_path / "out" / "import.txt").read_text()
    stored = load(tmp_path / "out").checkpoint.weights("generator")
    assert all(torch.equal(stored[name], value) for name, value in state.items())


def test_a_replication_with_running_statistics_keeps_them(tmp_path: Path) -> None:
    """vipermu's norms use them in eval mode; the checkpoint's network says so by its norm."""
    torch.manual_seed(5)
    network = Generator(4, 17, 1, norm="instance_running")
    state = {
        name.replace("img_reg", "im_reg").replace("attetion_reg", "im_att"): value
        for name, value in network.state_dict().items()
    }
    torch.save(state, tmp_path / "G.pth")
    import_files("ganimation", [tmp_path / "G.pth"], tmp_path / "out")
    assert load(tmp_path / "out").arguments["generator"]["norm"] == "instance_running"


def test_geogan_reads_what_lies_beside_its_file(tmp_path: Path) -> None:
    """Side and refinement come of opt.txt and of the epoch in the name; dead decoders are dropped."""
    torch.manual_seed(5)
    network = FlowGenerator(32, 4, 1, 1, dead_decoders=True)
    torch.save(network.state_dict(), tmp_path / "epoch_12_iter_9_G.pth")
    options = "---- Options ----\nimg_size: 32\nres_weight: 0.15\nsel_attrs: ['Smiling']\n---- End ----\n"
    (tmp_path / "opt.txt").write_text(options)
    imported = import_files("geogan", [tmp_path / "epoch_12_iter_9_G.pth"], tmp_path / "out")
    assert any(name.startswith("flow_tail_Ax") for name in imported.accounts[0].dropped)
    parameters = plan_of(load(tmp_path / "out")).parameters
    assert (parameters.crop.rule, parameters.crop.size) == ("celeba", 32)
    assert parameters.facts == {"refinement_weight": 0.15, "attributes": ["Smiling"]}


def test_geogans_critic_has_its_own_name(tmp_path: Path) -> None:
    """As the training names it, so that a training can start from both."""
    torch.save(AttrMultiScalePatchDisc(4, 2, 1).state_dict(), tmp_path / "epoch_3_iter_9_D.pth")
    import_files("geogan", [tmp_path / "epoch_3_iter_9_D.pth"], tmp_path / "out", size=32)
    assert list(load(tmp_path / "out").arguments) == ["critic"]


class _Code:
    """Runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("PWNED",))


def _truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _changed(file: Path) -> None:
    """A byte of the archive's directory."""
    data = bytearray(file.read_bytes())
    data[-30] ^= 0xFF
    file.write_bytes(bytes(data))


def _code(file: Path) -> None:
    torch.save({"main.0.weight": torch.zeros(4, 20, 7, 7), "run": _Code()}, file)


def _bare_pickle(file: Path) -> None:
    file.write_bytes(pickle.dumps(_Code()))


def _code_in_archive(file: Path) -> None:
    """The archive of a good file, with another pickle in it."""
    made = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.infolist():
            data = pickle.dumps(_Code()) if entry.filename.endswith("data.pkl") else old.read(entry)
            new.writestr(entry.filename, data)
    file.write_bytes(made.getvalue())


def _picture(file: Path) -> None:
    file.write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 200)


def _optimiser(file: Path) -> None:
    torch.save({"state": {}, "param_groups": []}, file)


def _another_system(file: Path) -> None:
    torch.save(FlowGenerator(32, 4, 1, 1).state_dict(), file)


def _missing_key(file: Path) -> None:
    state = torch.load(file, weights_only=True)
    del state["main.3.weight"]
    torch.save(state, file)


def _further_key(file: Path) -> None:
    state = torch.load(file, weights_only=True)
    torch.save(state | {"main.99.weight": torch.zeros(3)}, file)


def _another_width(file: Path) -> None:
    state = torch.load(file, weights_only=True)
    state["main.3.weight"] = torch.zeros(9, 4, 4, 4)
    torch.save(state, file)


def _infinite(file: Path) -> None:
    state = torch.load(file, weights_only=True)
    state["main.3.weight"][0] = torch.inf
    torch.save(state, file)


def _numbered(file: Path) -> None:
    torch.save({1: torch.zeros(3)}, file)


def _enormous(file: Path) -> None:
    state = torch.load(file, weights_only=True)
    state["main.3.weight"] = torch.zeros(1).expand(1 << 20, 1 << 20)
    torch.save(state, file)


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def _gone(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_truncated, "damaged"),
        (_empty, "damaged"),
        (_changed, "damaged"),
        (_code, "never loaded"),
        (_bare_pickle, "never loaded"),
        (_code_in_archive, "never loaded"),
        (_picture, "damaged"),
        (_optimiser, "expected tensors only"),
        (_another_system, "no GANimation network"),
        (_missing_key, "main.3.weight is missing"),
        (_further_key, "main.99.weight is unexpected"),
        (_another_width, r"main.3.weight: \(9, 4, 4, 4\), expected \(8, 4, 4, 4\)"),
        (_infinite, "main.3.weight: holds values that are not finite"),
        (_numbered, "not named by text"),
        (_enormous, "main.3.weight declares more values than the file holds"),
        (_folder, "is no file"),
        (_gone, "no such file"),
    ],
)
def test_what_is_no_whole_file_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None], told: str
) -> None:
    """One line that begins with the file's name and says what is wrong; no code in it runs."""
    file = ganimation_file(tmp_path)
    damage(file)
    with pytest.raises(CheckpointError, match=told) as caught:
        import_files("ganimation", [file], tmp_path / "out")
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)
    assert "PWNED" not in capsys.readouterr().out
    assert [name for name in names(tmp_path) if name != file.name] == []


def test_an_import_never_replaces_what_is_no_checkpoint(tmp_path: Path) -> None:
    """A checkpoint is replaced by a whole one, a folder with other things is left alone."""
    file = ganimation_file(tmp_path)
    out = tmp_path / "out"
    import_files("ganimation", [file], out)
    import_files("ganimation", [ganimation_file(tmp_path, "second.pth")], out)
    assert json.loads((out / "import.json").read_text())[0]["file"] == "second.pth"
    (out / "holiday.jpg").write_text("x")
    with pytest.raises(BundleError, match=r"holds 'holiday\.jpg'"):
        import_files("ganimation", [file], out)


def test_a_wrong_word_is_told_before_a_file_is_read(tmp_path: Path) -> None:
    """The system, the crop rule, the size."""
    with pytest.raises(ConfigError, match="did you mean 'ganimation'"):
        import_files("ganimotion", [tmp_path / "none"], tmp_path / "out")
    with pytest.raises(ConfigError, match="did you mean 'face'"):
        import_files("ganimation", [tmp_path / "none"], tmp_path / "out", crop="fase")
    with pytest.raises(ConfigError, match=r"in 16 \.\. 4096"):
        import_files("ganimation", [tmp_path / "none"], tmp_path / "out", size=0)


def test_the_commands_say_what_they_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a file to a checkpoint; then a licence is asked for, and faults are one line with status 2."""
    import marotte

    file = ganimation_file(tmp_path)
    out = tmp_path / "out"
    assert marotte.main(["import", "ganimation", str(file), "--out", str(out), "--size", "64"]) == 0
    assert "generator of the official layout" in capsys.readouterr().out
    assert load(out).data["size"] == 64
    assert marotte.main(["export", str(out), "--out", str(tmp_path / "bundle")]) == 2
    told = capsys.readouterr().err
    assert "made elsewhere" in told
    assert told.count("\n") == 1
    shutil.rmtree(out)
    assert marotte.main(["export", str(out), "--out", str(tmp_path / "bundle")]) == 2
    assert "there is no checkpoint.json" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_a_further_system_joins_by_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What reads its files and what they were fed with is its own; the command's help names it."""
    module = ModuleType("third")
    weights = {"weight": torch.ones(2)}
    module.read = lambda file, size: Part(
        "painter", {"width": 2}, weights, Account("own", "painter"), {"a": 1}
    )  # type: ignore[attr-defined]
    module.data = lambda parts, size: {"crop": {"rule": "face", "size": size}, "parts": sorted(parts)}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "third", module)
    monkeypatch.setitem(IMPORTERS, "third", "third")
    (tmp_path / "file.pth").write_bytes(b"any")
    import_files("third", [tmp_path / "file.pth"], tmp_path / "out", size=32, crop="box")
    loaded = load(tmp_path / "out")
    assert (loaded.system, loaded.arguments) == ("third", {"painter": {"width": 2}})
    assert loaded.data == {"crop": {"rule": "box", "size": 32}, "parts": ["painter"]}
    assert loaded.facts == {"a": 1, "imported": ["file.pth (own layout)"]}
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["import", "--help"])
    told = " ".join(capsys.readouterr().out.split())  # however it was broken into lines
    assert f"one of {', '.join(IMPORTERS)}" in told
