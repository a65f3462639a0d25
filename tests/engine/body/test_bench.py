"""`marotte bench --body`."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from engine.bench import body
from engine.body.fitter import standing
from engine.errors import ConfigError, NoBodyError
from engine.media import open_writer
from engine.types import Body, Frame
from tests.engine.body.bodies import SIZE, points_of, seen


def test_a_body_is_measured_at_every_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skinning at three sizes and the fit: best, median and 95th percentile, on the screen and in a file."""
    monkeypatch.setattr(body, "VERTICES", 200)
    bench = body.run_body_bench(tmp_path, 25)
    rows = json.loads((tmp_path / body.RESULT).read_text())["rows"]
    assert len(rows) == 4
    assert all(0 < row["best_ms"] <= row["median_ms"] <= row["p95_ms"] for row in rows)
    assert all(row["what"] in str(bench) for row in rows)
    with pytest.raises(ConfigError):
        body.run_body_bench(tmp_path, 3)


class Standing:
    """A tracker that sees somebody stand; nobody in the first frames."""

    def __init__(self, *options: object, **named: object) -> None:
        self._looked = 0

    def track(self, frame: Frame) -> Body | None:
        self._looked += 1
        return seen(points_of(standing()), frame.time_s) if self._looked > 2 else None

    def close(self) -> None: ...


class Nobody(Standing):
    def track(self, frame: Frame) -> Body | None:
        return None


def test_tracker_and_fitter_are_measured_on_a_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Played again until there are frames enough; runs a second beside the live rate; nobody at all is an error."""
    for known in ("_skinning", "_fitting"):
        monkeypatch.setattr(body, known, lambda *given: [0.001, 0.002])
    clip = tmp_path / "clip.mp4"
    with open_writer(clip, SIZE, Fraction(1, 10), Fraction(10)) as writer:
        for number in range(9):
            writer.write(Frame(np.zeros((SIZE[1], SIZE[0], 3), np.uint8), number, Fraction(1, 10), 0.0))
    monkeypatch.setattr(body, "BodyTracker", Standing)
    told = str(body.run_body_bench(tmp_path, 25, clip))
    content = json.loads((tmp_path / body.RESULT).read_text())
    assert len(content["rows"]) == 6
    assert 0 < content["runs_a_second"] < 1e4
    assert "live asks 8" in told
    monkeypatch.setattr(body, "BodyTracker", Nobody)
    with pytest.raises(NoBodyError, match=r"clip\.mp4"):
        body.run_body_bench(tmp_path, 25, clip)
