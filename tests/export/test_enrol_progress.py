"""What an enrolment tells the program that started it, and how it ends with it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import marotte
from engine.annotate.alone import Alone
from export.enrol.progress import Stream

LEASHED = """
import io, sys, time
import marotte
from export.enrol.progress import end_with_input
with marotte._interrupted_by_signals():
    end_with_input(within_s={within_s})
    said = False
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if not said:
                said = True
                print("begun", flush=True)
            while time.monotonic() < until:
                time.sleep(0.05)
        except KeyboardInterrupt:
            if not {stubborn}:
                print("interrupted", flush=True)
                break
"""


def told(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def test_progress_tells_stage_steps_and_the_time_left() -> None:
    """From where it went on: steps of an earlier run are no measure of the speed; few lines a second."""
    out, now = io.StringIO(), iter((0.0, 0.1, 1.0, 2.0, 2.1, 9.0))
    stream = Stream(("invert", "tune"), out, lambda: next(now))
    for done in (5, 6, 7, 10):
        stream.tell("invert", done, 10)
    stream.tell("tune", 0, None)
    stream.tell("tune", 1, None)
    found = [line["progress"] for line in told(out.getvalue())]
    assert [line["done"] for line in found] == [5, 7, 10, 0, 1]
    assert [line["left_s"] for line in found] == [None, 1.5, 0.0, None, None]
    assert [(line["stage"], line["number"], line["stages"]) for line in found][-1] == ("tune", 2, 2)


@pytest.mark.parametrize(
    ("words", "kind"),
    [([], "ConfigError"), (["--check"], "CheckpointError")],
    ids=["no clip", "no checkpoint"],
)
def test_a_failure_is_told_by_its_kind(
    words: list[str], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    """So that whoever started it knows whether going on can help; for people it is the usual line."""
    monkeypatch.setattr("export.enrol.command.end_with_input", lambda: None)
    assert marotte.main(["enrol", "stit", "--weights", str(tmp_path), *words, "--progress-json"]) == 2
    heard = capsys.readouterr()
    (line,) = told(heard.out)
    assert line["failed"]["kind"] == kind
    assert heard.err == f"marotte: {line['failed']['message']}\n"


@pytest.mark.parametrize(
    ("stubborn", "status", "last"), [(False, 0, "interrupted"), (True, 130, "begun")], ids=["heeds", "hangs"]
)
def test_it_ends_with_its_input(stubborn: bool, status: int, last: str) -> None:
    """Whoever started it is gone, or closed it to cancel: interrupted as by a signal, and ended where it hangs."""
    code = LEASHED.format(stubborn=stubborn, within_s=0.3 if stubborn else 30.0)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.stdin.close()
        assert process.wait(30) == status
        assert (["begun", *process.stdout.read().split()])[-1] == last


def test_two_never_go_on_in_one_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is killed may be followed by one that goes on before the first one's process has ended."""
    ran: list[Path] = []
    monkeypatch.setattr("export.enrol.stit_command.enrol", lambda options, work, tell: ran.append(work))
    work = tmp_path / "work"
    words = [
        "enrol",
        "stit",
        "clip.mp4",
        "--weights",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
        "--work",
        str(work),
    ]
    work.mkdir()
    with closing(Alone(work)):
        assert marotte.main(words) == 2
    assert "another preparation writes into it" in capsys.readouterr().err
    assert ran == []
    assert marotte.main(words) == 130
    assert ran == [work]
    assert not work.exists()


@pytest.mark.full
@pytest.mark.parametrize("change", ["none", "edit", "network"])
def test_an_enrolment_is_checked_before_there_is_a_clip(
    stit: Callable[..., Path], change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights, edits and networks of the tuning, in one line."""
    weights = stit(widths=[8, 8, 8, 8])
    words = {
        "none": ["--set", "pivotal.perceptual=gradient"],
        "edit": ["--edit", "smile=-2:2"],
        "network": ["--set", "pivotal.perceptual=lpips"],
    }[change]
    status = marotte.main(["enrol", "stit", "--weights", str(weights), "--check", *words])
    said = capsys.readouterr().err
    assert status == (0 if change == "none" else 2)
    expected = {"none": "", "edit": "'smile' has no direction", "network": "lpips"}[change]
    assert expected in said
