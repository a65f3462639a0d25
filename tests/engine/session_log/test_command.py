"""`marotte log`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from engine.commands import log as command
from engine.errors import ConfigError, InputError
from engine.session_log import SessionLog
from engine.signing import operator


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.cache_clear()
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))


def _run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    options = parser.parse_args(["log", *words])
    return int(options.run(options) or 0)


def _some() -> SessionLog:
    log = SessionLog()
    for number in range(4):
        log.write("session-started", session=f"{number:016x}", bundle="mesh_flow", sources=("ab", "cd"))
    return log


def test_verify_names_the_place_by_its_status_too(capsys: pytest.CaptureFixture[str]) -> None:
    """0 and the last line's number and hash, 1 and the file and line that is at fault."""
    log = _some()
    assert _run("verify") == 0
    told = capsys.readouterr().out
    assert told.startswith("5 lines are in order, signed by ")
    mark = told.rsplit(" ", 1)[1].strip()
    assert _run("verify", "--known", mark) == 0
    assert _run("verify", "--known", f"5:{'0' * 64}") == 1
    capsys.readouterr()
    file = log.folder / "log-000001.jsonl"
    file.write_bytes(file.read_bytes().replace(b"0000000000000002", b"0000000000000007"))
    assert _run("verify") == 1
    assert capsys.readouterr().out.startswith("log-000001.jsonl, line 4 (number 4): it was changed")


def test_a_log_that_another_key_signed_is_at_fault_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a word this installation's own key has to have signed; a copy elsewhere says whose it goes by."""
    log = _some()
    assert _run("verify", "--folder", str(log.folder)) == 0
    assert "compare it" in capsys.readouterr().out
    (log.folder.parent / "operator.pem").unlink()
    operator.cache_clear()
    assert _run("verify") == 1
    assert "another key" in capsys.readouterr().out


def test_show_picks_lines_and_tells_them_shortly(capsys: pytest.CaptureFixture[str]) -> None:
    """By event, by session, the last ones; as they stand, or for people."""
    _some()
    _run("show", "--session", "0000000000000003")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[0] == "5"
    assert line.endswith("bundle=mesh_flow session=0000000000000003 sources=ab,cd")
    _run("show", "--event", "checkpoint", "--json")
    assert json.loads(capsys.readouterr().out)["why"] == "begun"
    _run("show", "--last", "2")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["4", "5"]
    with pytest.raises(ConfigError, match="did you mean"):
        _run("show", "--event", "checkpont")


def test_a_copy_is_verified_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All files, with the head, into a new folder and over none."""
    log = _some()
    out = tmp_path / "copy"
    _run("export", str(out))
    assert {path.name for path in out.iterdir()} == {"log-000001.jsonl", "head.json"}
    key = operator(log.folder.parent).public
    assert _run("verify", "--folder", str(out), "--key", key) == 0
    with pytest.raises(InputError, match="is there already"):
        _run("export", str(out))


def test_prune_says_what_it_removed(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of today, and no log where there is none."""
    with pytest.raises(InputError, match="there is none"):
        _run("prune", "--days", "1")
    _some()
    _run("prune", "--days", "1")
    assert "no file of more than 1 days" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", ["", "5", "5:ab", f"x:{'0' * 64}"])
def test_a_known_line_is_a_number_and_a_hash(wrong: str) -> None:
    """What serve prints."""
    _some()
    with pytest.raises(ConfigError, match="known: got"):
        _run("verify", "--known", wrong)
