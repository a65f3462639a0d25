"""Tunings beside each other: what is read of their folders, and what is told and drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.trainers.liquid_warping.folder import recipe_table, write_folder
from trainers.config import from_table
from trainers.liquid_warping.tunings import Tuned, main, report
from trainers.loop import train


def test_the_table_says_when_half_a_decibel_below_the_best_is_reached() -> None:
    """By step and by seconds of its own; what never gets there says so."""
    looks = np.array([(10, 22.0), (20, 26.0), (30, 25.6)])
    table = report([Tuned("a", "all", 20.0, looks, 0.5), Tuned("b", "spade", 20.0, looks - (0, 3), 0.1)])
    assert "| a | all | 20.00 | 26.00 | +6.00 | 500 | 20, 10 |" in table
    assert "| b | spade | 20.00 | 23.00 | +3.00 | 100 | not reached |" in table


def test_two_tunings_are_told_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From real folders, with steps timed anew; a training of many is refused in one line."""
    others = write_folder(tmp_path / "others", a=3, b=3)
    train(from_table(recipe_table(others, steps=1)), tmp_path / "base")
    person, runs = write_folder(tmp_path / "person", p=8), []
    for what in ("all", "low_rank"):
        table = recipe_table(
            person,
            "personalising",
            run={"weights": str(tmp_path / "base")},
            data={"held": 0.25},
            personalising={"check_every": 1, "adapted": what},
        )
        train(from_table(table), tmp_path / what)
        runs.append(str(tmp_path / what))
    drawn = tmp_path / "curves.png"
    assert main([*runs, "--out", str(drawn), "--cost", str(person)]) == 0
    told = capsys.readouterr().out
    assert "| all | all |" in told
    assert "| low_rank | low_rank |" in told
    assert cv2.imread(str(drawn)) is not None
    assert main([str(tmp_path / "base")]) == 2
    assert "is no tuning that held views back" in capsys.readouterr().err
