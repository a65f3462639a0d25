"""A training that was cut off goes on as if it had not been."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.trainers.conftest import kept, rows
from tests.trainers.tiny import write_recipe

PROJECT = Path(__file__).resolve().parents[2]
LAST = "checkpoints/step_00000012"


@pytest.mark.parametrize("step", [2, 3, 4, 6, 10])
def test_a_resumed_training_equals_an_uninterrupted_one_bit_for_bit(tiny, tmp_path, step) -> None:
    """Weights, averages, moments, guard, scalars and samples: in the first stage, at its end, in mid-epoch."""
    whole = tiny("whole")
    part = tiny("part", f"kill_at={step}")
    assert (part.step, part.interrupted) == (step + 1, "SIGTERM")
    assert part.checkpoint.name == f"step_{step + 1:08d}"
    rest = tiny("part", resume=True)
    assert (whole.step, rest.step, rest.interrupted) == (12, 12, "")
    assert kept(tmp_path / "part" / LAST) == kept(tmp_path / "whole" / LAST)
    assert rows(tmp_path / "part") == rows(tmp_path / "whole")
    sheets = {path.name: path.read_bytes() for path in (tmp_path / "whole" / "samples").iterdir()}
    assert sheets == {path.name: path.read_bytes() for path in (tmp_path / "part" / "samples").iterdir()}


def test_a_training_killed_without_a_word_goes_on_from_its_last_save(tiny, tmp_path) -> None:
    """What was recorded after the last checkpoint is made anew, not twice."""
    tiny("whole")
    assert tiny("part", "kill_at=10").step == 11
    (tmp_path / "part" / "latest.json").write_text('{"checkpoint": "step_00000009"}')
    tiny("part", resume=True)
    assert kept(tmp_path / "part" / LAST) == kept(tmp_path / "whole" / LAST)
    assert rows(tmp_path / "part") == rows(tmp_path / "whole")


@pytest.mark.full
def test_worker_processes_change_nothing(tiny, tmp_path) -> None:
    """Random numbers belong to a sample's place, not to the process that draws them."""
    tiny("whole")
    tiny("part", "run.workers=2", "kill_at=7")
    tiny("part", "run.workers=1", resume=True)
    assert kept(tmp_path / "part" / LAST) == kept(tmp_path / "whole" / LAST)


def test_sigterm_in_mid_epoch_loses_nothing(tiny, tmp_path) -> None:
    """The command saves after the step that is being made, says so, and ends with 130."""
    recipe = write_recipe(tmp_path / "recipe.toml")
    stages = 'stages=[{name="warm",steps=4,batch=4},{name="adversarial",steps=56,batch=4}]'
    out = tmp_path / "part"
    command = [sys.executable, "-m", "tests.trainers.tiny", str(recipe), "--out", str(out)]
    started = subprocess.Popen(
        [*command, "--set", stages, "--set", "pause=0.05"], cwd=PROJECT, stderr=subprocess.PIPE, text=True
    )
    try:
        while started.poll() is None and not (out / "latest.json").exists():
            time.sleep(0.02)
        started.send_signal(signal.SIGTERM)
        _, said = started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode == 130, said
    assert "stopped by SIGTERM after step" in said
    assert "--resume" in said
    tiny("part", stages, resume=True)
    tiny("whole", stages)
    assert kept(out / "checkpoints/step_00000060") == kept(tmp_path / "whole/checkpoints/step_00000060")


def test_a_folder_that_holds_a_training_is_not_begun_anew(tiny) -> None:
    """Nothing that was made is lost by a forgotten option."""
    from trainers.errors import RecipeError

    tiny("whole", "kill_at=1")
    with pytest.raises(RecipeError, match="--resume"):
        tiny("whole")


def test_resuming_where_nothing_is_begins(tiny) -> None:
    """So one command line serves a queue that restarts its jobs."""
    assert tiny("whole", resume=True).step == 12


def test_other_data_cannot_be_resumed_on(tiny) -> None:
    """The order of the samples would not be the same, so it is said, with the way out."""
    from trainers.errors import CheckpointError

    tiny("whole", "kill_at=5")
    with pytest.raises(
        CheckpointError, match=r"10 pictures in stage 'adversarial', the data now has 9.*run\.weights"
    ):
        tiny("whole", "data.count=9", resume=True)


def test_a_changed_option_is_told(tiny, tmp_path) -> None:
    """A resumed training may go on otherwise, but not in silence."""
    tiny("whole", "kill_at=5")
    tiny("whole", "losses.cycle=2", resume=True)
    assert "losses.cycle is 2.0 from here on, it was 1.0" in (tmp_path / "whole" / "notes.txt").read_text()


def test_a_training_starts_from_given_weights(tiny, tmp_path) -> None:
    """Fine-tuning: weights are taken, optimisers and steps begin; another width is refused by name."""
    from trainers import checkpoint
    from trainers.errors import CheckpointError

    tiny("old")
    old = checkpoint.read(tmp_path / "old")
    tiny("new", f"run.weights={tmp_path / 'old'}", "kill_at=0", 'stages=[{name="warm",steps=2,batch=4}]')
    new = checkpoint.read(tmp_path / "new")
    assert new.step == 1
    key = "head.weight"
    moved = (new.weights("generator")[key] - old.weights("generator")[key]).abs().max()
    assert 0 < moved <= 0.0101, "one step of Adam at most"
    assert all((new.weights("critic")[k] == v).all() for k, v in old.weights("critic").items())
    with pytest.raises(CheckpointError, match="width 4, expected 5"):
        tiny("wide", f"run.weights={tmp_path / 'old'}", "width=5")
