"""`marotte bench --body`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.bench import body
from engine.errors import ConfigError


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
