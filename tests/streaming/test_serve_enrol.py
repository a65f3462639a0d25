"""A server that enrols: what its start looks at, what its command line means, what its end ends."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import marotte
from engine.errors import ConfigError
from streaming import serve as serving
from streaming.enrolment_kinds import COMMAND
from tests.streaming.enrolling import FAKE, FakeOffering, write_weights
from tests.streaming.test_serve import QuickWorker, _served


class EnrollingWorker(QuickWorker, FakeOffering):
    """Ready at once; opens what is enrolled."""

    def __init__(self, config: Any, tools: Any = None) -> None:
        QuickWorker.__init__(self, config, tools)
        FakeOffering.__init__(self)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Before a server whose engine is none."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(serving, "worker_of", EnrollingWorker)
    monkeypatch.setattr(EnrollingWorker, "made", [])
    return write_weights(tmp_path / "weights")


def test_a_server_takes_up_what_it_had_and_ends_what_runs(weights: Path, tmp_path: Path) -> None:
    """The command is asked at the start; a job that runs when the server ends is stopped with it, and found again."""
    options: dict[str, Any] = {"enrol": {"stit": weights}, "enrol_command": FAKE}
    job = {
        "id": "0123456789ab", "system": "stit", "name": "Ann", "files": [], "keep": False,
        "state": "running", "reason": "", "lines": [], "ended": "",
    }  # fmt: skip
    place = tmp_path / "state" / "enrolments" / job["id"]
    place.mkdir(parents=True)
    (place / "job.json").write_text(json.dumps(job))
    with _served(**options) as served:
        headers = {"Authorization": f"Bearer {served.token}"}

        def ask(method: str, path: str) -> Any:
            request = urllib.request.Request(
                f"http://127.0.0.1:{served.port}{path}", method=method, headers=headers
            )
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)

        assert ask("GET", "/api/v1/info")["enrol"]["systems"][0]["system"] == "stit"
        (one,) = ask("GET", "/api/v1/enrolments")["enrolments"]
        assert (one["state"], one["reason"]) == ("stopped", "the server ended")
        (weights / "steps").write_text("100000")
        ask("POST", f"/api/v1/enrolments/{job['id']}/resume")
        end_s = time.monotonic() + 60
        while ask("GET", f"/api/v1/enrolments/{job['id']}")["progress"] is None:
            assert time.monotonic() < end_s
    assert json.loads((place / "job.json").read_text())["state"] == "stopped"
    assert EnrollingWorker.made[0].closed


def test_what_cannot_enrol_ends_the_start(weights: Path) -> None:
    """In one line, and nothing is left running."""
    (weights / "refuse check").touch()
    with (
        pytest.raises(ConfigError, match="enrol stit: the fake was told to refuse"),
        _served(enrol={"stit": weights}, enrol_command=FAKE),
    ):
        pass
    assert EnrollingWorker.made[0].closed


def test_the_command_line_names_checkpoints_and_words(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By system; words as a shell splits them."""
    given: list[Any] = []
    monkeypatch.setattr("streaming.serve.serve", lambda config, **more: given.append(config))
    words = "stit=--directions 'my folder' --edit smile=-4:4"
    line = ["serve", "--enrol", f"stit={weights}", "--enrol-options", words, "--enrolments", "there"]
    assert marotte.main(line) == 0
    (config,) = given
    assert config.enrol == {"stit": weights}
    assert config.enrol_options == {"stit": ("--directions", "my folder", "--edit", "smile=-4:4")}
    assert (config.enrolments, config.enrol_command) == (Path("there"), COMMAND)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--enrol", "stit"], "expected SYSTEM=VALUE"),
        (["--enrol", "stit=nowhere"], "no folder"),
        (["--enrol", "geogan=."], "expected one of liquid_warping, stit"),
        (["--enrol-options", "stit='"], "quote each word"),
    ],
)
def test_a_wrong_word_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 2."""
    assert marotte.main(["serve", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
