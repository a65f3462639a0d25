"""`marotte train` at the command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import marotte
from tests.trainers.tiny import write_recipe

PROJECT = Path(__file__).resolve().parents[2]


def test_the_help_of_train_loads_no_torch() -> None:
    """It costs what every help costs."""
    code = (
        "import sys, contextlib, io, marotte\n"
        "with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):\n"
        "    marotte.main(['train', '--help'])\n"
        "assert '--resume' in text.getvalue()\n"
        "print(sorted({'torch', 'numpy', 'cv2', 'safetensors', 'lightning_fabric'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_training_ends_with_0_and_says_where_it_is(tmp_path, capsys) -> None:
    """--set takes effect, and stands in the recipe beside the training."""
    recipe = write_recipe(tmp_path / "recipe.toml")
    arguments = ["train", str(recipe), "--out", str(tmp_path / "out"), "--set", "run.seed=9"]
    assert marotte.main([*arguments, "--set", 'stages=[{name="warm",steps=2,batch=2}]']) == 0
    assert capsys.readouterr().out == f"{tmp_path}/out/checkpoints/step_00000002: 2 steps are made\n"
    assert "seed = 9" in (tmp_path / "out/recipe.toml").read_text()


def test_an_interrupted_training_ends_with_130(tmp_path, capsys) -> None:
    """And says what is kept."""
    recipe = write_recipe(tmp_path / "recipe.toml")
    arguments = ["train", str(recipe), "--out", str(tmp_path / "out"), "--set", "kill_at=1"]
    assert marotte.main(arguments) == 130
    assert "stopped by SIGTERM after step 2 of 12; " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [("run.sede=1", "did you mean 'seed'?"), ("lost_at=0", "content is nan"), ("data.count=0", "no picture")],
)
def test_a_fault_is_one_line_and_2(tmp_path, capsys, override, message) -> None:
    """Whatever room it comes from."""
    recipe = write_recipe(tmp_path / "recipe.toml")
    assert marotte.main(["train", str(recipe), "--out", str(tmp_path / "out"), "--set", override]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("marotte: ")
    assert message in said[0]


def test_a_folder_that_cannot_be_made_is_one_line_and_2(tmp_path, capsys) -> None:
    """Before the first step, not at the first save."""
    (tmp_path / "file").write_text("")
    recipe = write_recipe(tmp_path / "recipe.toml")
    assert marotte.main(["train", str(recipe), "--out", str(tmp_path / "file" / "out")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_missing_library_names_the_extra(tmp_path, capsys, monkeypatch) -> None:
    """The plain install trains nothing, and says what to install."""
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    for name in [
        name for name in sys.modules if name in ("trainers.loop", "trainers.devices", "trainers.looks")
    ]:
        monkeypatch.delitem(sys.modules, name)
    recipe = write_recipe(tmp_path / "recipe.toml")
    assert marotte.main(["train", str(recipe), "--out", str(tmp_path / "out")]) == 2
    assert "pip install 'marotte[train]'" in capsys.readouterr().err
