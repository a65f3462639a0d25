"""One step of either stage of the paper's recipe, at full width and 512 px, on a CPU; see published.py."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import PROJECT

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it"),
]

GENERATOR = 36_276_992
CRITIC = 6_962_625
"""Weights of one patch critic; there are three of pictures and one of scenes, which sees four channels and not six."""
SAVED = ["data.sources=8", "data.time_step=1", "generator.temporal=false", "generator.checkpointed=true"]


def stepped(capsys: pytest.CaptureFixture[str], stage: str, *changes: str) -> dict[str, Any]:
    """What published.py tells of a step; its figures are printed."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.trainers.liquid_warping.published", stage, *changes],
        capture_output=True, text=True, cwd=PROJECT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    # what is added to every source's score changes no softmax
    told["still"] = {
        name: [key for key in keys if not key.endswith(".fk.bias")] for name, keys in told["still"].items()
    }
    assert all(math.isfinite(value) for value in told["scalars"].values())
    assert told["weights"]["generator"] == GENERATOR
    with capsys.disabled():
        print(
            f"\n{stage} {' '.join(changes)}: {told['tflop']:.2f} TFLOP a picture, {told['gib']:.2f} GiB at most, "
            f"{told['seconds']:.0f} s of CPU",
            end="",
        )
    return told


def test_a_step_of_the_training(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    """Four sources, two target frames that see each other, scenes, all four critics: every weight moves."""
    told = stepped(capsys, "training")
    assert told["weights"]["critic"] > 3 * CRITIC
    assert told["still"] == {"generator": [], "critic": []}


def test_a_step_of_a_persons_tuning(capsys: pytest.CaptureFixture[str]) -> None:
    """The same network, with a critic of the whole picture alone; the best weights so far wait."""
    told = stepped(capsys, "personalising")
    assert told["weights"]["own_critic"] == CRITIC
    assert told["still"]["generator"] == told["still"]["own_critic"] == []


def test_a_persons_tuning_with_eight_pictures_fits(capsys: pytest.CaptureFixture[str]) -> None:
    """Into 14 GB, when what the blocks need for the backward pass is computed twice."""
    told = stepped(capsys, "personalising", *SAVED)
    assert told["still"]["generator"] == []
    assert told["gib"] * 2**30 <= 14e9
