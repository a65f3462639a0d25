"""Several processes train as one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.trainers.conftest import kept, rows
from tests.trainers.tiny import write_recipe
from trainers import checkpoint

PROJECT = Path(__file__).resolve().parents[2]


def torchrun(recipe: Path, out: Path, *options: str, processes: int = 2) -> list[str]:
    """As docs/training.md says it, on one machine's CPU."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    train = ["-m", "tests.trainers.tiny", str(recipe), "--out", str(out)]
    return [sys.executable, *launch, *train, *(part for option in options for part in ("--set", option))]


@pytest.mark.full
def test_two_processes_train_what_one_trains(tiny, tmp_path) -> None:
    """The same batches, gradients averaged: the same weights up to rounding, one folder, and resuming bit for bit."""
    recipe = write_recipe(tmp_path / "recipe.toml", "still = true")
    two, part = tmp_path / "two", tmp_path / "part"
    subprocess.run(torchrun(recipe, two), cwd=PROJECT, check=True, timeout=240)
    tiny("one", "still=true")
    ours, theirs = checkpoint.read(two), checkpoint.read(tmp_path / "one")
    assert ours.networks() == theirs.networks()
    for network in theirs.networks():
        for key, value in theirs.weights(network).items():
            torch.testing.assert_close(ours.weights(network)[key], value, rtol=1e-3, atol=1e-5)
    subprocess.run(torchrun(recipe, part, "run.keep=9"), cwd=PROJECT, check=True, timeout=240)
    (part / "latest.json").write_text('{"checkpoint": "step_00000006"}')
    subprocess.run([*torchrun(recipe, part), "--resume"], cwd=PROJECT, check=True, timeout=240)
    assert kept(part / "checkpoints/step_00000012") == kept(two / "checkpoints/step_00000012")
    assert rows(part) == rows(two)


@pytest.mark.full
def test_a_signal_to_one_process_stops_all_after_the_same_step(tmp_path) -> None:
    """None waits for one that is gone, and the checkpoint is whole."""
    recipe = write_recipe(tmp_path / "recipe.toml")
    out = tmp_path / "out"
    stages = 'stages=[{name="warm",steps=400,batch=4}]'
    started = subprocess.Popen(
        torchrun(recipe, out, stages, "pause=0.05"), cwd=PROJECT, stderr=subprocess.PIPE, text=True
    )
    try:
        while started.poll() is None and not (out / "latest.json").exists():
            time.sleep(0.05)
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        _, said = started.communicate(timeout=120)
    finally:
        started.kill()
    assert "stopped by SIGTERM after step" in said or "stopped by a signal after step" in said
    assert checkpoint.read(out).training().state["place"]["step"] == checkpoint.read(out).step


def test_a_batch_that_does_not_divide_is_refused() -> None:
    """Before anything is read."""
    from tests.trainers.tiny import Tiny, TinyRecipe
    from trainers.errors import RecipeError
    from trainers.plan import planned

    with pytest.raises(RecipeError, match="a batch of 4 does not divide among 3 processes"):
        planned(Tiny(TinyRecipe()), 3)
