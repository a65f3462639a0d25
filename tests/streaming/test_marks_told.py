"""A mark that the operator has taken off: where it is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.marks import MarksConfig
from engine.session_log import Event, verify
from tests.streaming.test_serve import QuickWorker, _get, _served, quick

__all__ = ["quick"]


def lowered(folder: Path) -> list[dict]:
    assert verify(folder).bad is None
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    return [one for one in map(json.loads, lines) if one["event"] == Event.PROTECTION_LOWERED.value]


def test_a_server_says_it_everywhere(
    quick: type[QuickWorker],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """In its own session log, in a warning at the start, and in a metric; the other mark is on."""
    marks, folder = MarksConfig(badge=False), tmp_path / "log"
    with (
        caplog.at_level("WARNING", "marotte"),
        _served(metrics_port=0, marks=marks, log_folder=folder) as served,
    ):
        (told,) = lowered(folder)
        assert (told["lowered"], told["where"]) == (["badge"], "serve")
        assert "no badge" in caplog.text
        assert served.metrics_url is not None
        metrics = _get(served.metrics_url)[1].decode()
        assert 'marotte_marks{mark="badge"} 0.0' in metrics
        assert 'marotte_marks{mark="watermark"} 1.0' in metrics


def test_by_itself_there_is_nothing_to_say(quick: type[QuickWorker], tmp_path: Path) -> None:
    """Both are on, and no line says otherwise."""
    with _served(metrics_port=0, log_folder=tmp_path / "log") as served:
        assert served.metrics_url is not None
        assert 'marotte_marks{mark="badge"} 1.0' in _get(served.metrics_url)[1].decode()
        assert lowered(tmp_path / "log") == []
