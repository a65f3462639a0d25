"""The watermark's bench: what it measures and what it writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import marotte
from engine.bench import watermark


def test_figures_are_written_beside_their_limits(tmp_path: Path):
    """watermark.json holds the CPU time and the error of each size, beside what a live session may spend."""
    bench = watermark.run_watermark_bench(tmp_path, 25)
    content = json.loads((tmp_path / watermark.RESULT).read_text())
    assert content == bench.content
    assert [row["size"] for row in content["sizes"]] == ["640x480", "1280x720"]
    for row, limit in zip(content["sizes"], watermark.LIMITS_MS):
        assert 0 < row["best_ms"] <= row["median_ms"] <= row["p95_ms"]
        assert row["limit_ms"] == limit
        assert row["floor_ms"] > 0
        assert row["psnr_db"] >= 42
    assert "1280x720" in str(bench)


def test_too_few_frames_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The command's line for too few frames is one, and its status 2."""
    assert marotte.main(["bench", "--watermark", "--frames", "3", "--out", str(tmp_path)]) == 2
    assert "frames: got 3" in capsys.readouterr().err
