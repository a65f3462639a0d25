"""The record of who allowed what."""

from __future__ import annotations

import json
import os
import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.errors import ConfigError, StateError
from engine.state import state_folder
from streaming.attest import (
    FILE,
    MOST_NAME,
    MOST_STATEMENT,
    Attestation,
    checked_statement,
    record,
    shown_name,
)

ONE = Attestation("ab" * 32, "a portrait.jpg", "It shows me, and I allow it. – Zoë", "page")


def test_a_line_says_when_what_and_by_whom(tmp_path: Path) -> None:
    """One JSON object a line, older ones stay, nobody else may read it."""
    folder = tmp_path / "state" / "marotte"
    record(ONE, folder)
    record(Attestation("cd" * 32, "clip.mp4", "Licence: CC0", "operator"), folder)
    first, second = map(json.loads, (folder / FILE).read_text(encoding="utf-8").splitlines())
    assert datetime.now(UTC) - datetime.fromisoformat(first.pop("time")) < timedelta(minutes=1)
    assert first == {"sha256": ONE.source, "name": ONE.name, "statement": ONE.statement, "who": "page"}
    assert second["who"] == "operator"
    if os.name == "posix":
        assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(os.name != "posix", reason="permissions and links are POSIX's here")
def test_an_older_record_is_closed_to_others_and_no_link_is_followed(tmp_path: Path) -> None:
    """Nobody reads along, and a planted link does not lead the line elsewhere."""
    (tmp_path / FILE).write_text("")
    (tmp_path / FILE).chmod(0o644)
    record(ONE, tmp_path)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    (tmp_path / FILE).rename(tmp_path / "elsewhere")
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    before = (tmp_path / "elsewhere").read_bytes()
    with pytest.raises(StateError):
        record(ONE, tmp_path)
    assert (tmp_path / "elsewhere").read_bytes() == before


def test_a_torn_line_costs_no_other(tmp_path: Path) -> None:
    """After a crash in the midst of a write the next line stands by itself."""
    (tmp_path / FILE).write_text('{"time": "2026', encoding="utf-8")
    record(ONE, tmp_path)
    assert json.loads((tmp_path / FILE).read_text(encoding="utf-8").splitlines()[1])["sha256"] == ONE.source


@pytest.mark.parametrize("obstacle", ["file for folder", "folder for file", "pipe"])
def test_what_cannot_be_written_is_an_error(obstacle: str, tmp_path: Path) -> None:
    """One line with the way out; a pipe does not make it wait for a reader."""
    folder = tmp_path / "state"
    if obstacle == "file for folder":
        folder.write_text("")
    elif obstacle == "folder for file":
        (folder / FILE).mkdir(parents=True)
    elif hasattr(os, "mkfifo"):
        folder.mkdir()
        os.mkfifo(folder / FILE)
    else:
        pytest.skip("there are no named pipes here")
    with pytest.raises(StateError, match="MAROTTE_STATE") as raised:
        record(ONE, folder)
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not kept does not count as kept."""
    monkeypatch.setattr("engine.state.os.fsync", _full)
    with pytest.raises(StateError, match="No space left"):
        record(ONE, tmp_path)


def _full(_: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "wrong", [None, "", "  ", "two\nlines", "a\tb", "a\x1b[2Jb", "a\u2028b", "a\u202eb", "\ud800"]
)
def test_a_statement_is_one_plain_line(wrong: str | None) -> None:
    """Nothing that a terminal would act on, or that would look like two records."""
    with pytest.raises(ConfigError, match="statement: "):
        checked_statement(wrong)


@pytest.mark.parametrize(
    "joined",
    ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "me \U0001f469\u200d\U0001f680", "❤️\u200d🔥 mine"],
)
def test_what_joins_letters_is_no_control_character(joined: str) -> None:
    """Persian is written with it, and so are many emoji."""
    assert checked_statement(joined) == joined
    assert shown_name(f"{joined}.jpg") == f"{joined}.jpg"


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("\u200dme", "U+200D"),
        ("me\u200c", "U+200C"),
        ("a\u200c\u200db", "U+200C"),
        ("a\u2066b", "U+2066"),
        ("a\nb", "U+000A"),
    ],
)
def test_what_is_not_seen_is_named(wrong: str, named: str) -> None:
    """A joiner that joins nothing, and what turns the direction of text: which one it is stands in the message."""
    with pytest.raises(ConfigError, match=re.escape(named)) as raised:
        checked_statement(wrong)
    assert str(raised.value).isprintable()


def test_a_statement_is_short() -> None:
    """The longest passes, one more does not; spaces around it do not count."""
    assert checked_statement(f" {'x' * MOST_STATEMENT} ") == "x" * MOST_STATEMENT
    with pytest.raises(ConfigError, match="at most"):
        checked_statement("x" * (MOST_STATEMENT + 1))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("me.jpg", "me.jpg"), ("../../etc/passwd", "passwd"), ("C:\\me\\a.png", "a.png"), ("a\nb.jpg", "a?b.jpg"),
        ("", "picture"), (None, "picture"), ("/", "picture"), ("x" * 500, "x" * MOST_NAME), 
        ("zoë 木.jpg", "zoë 木.jpg"), ("\ud800.jpg", "?.jpg"), ("a\u202egpj.exe", "a?gpj.exe"),
        ("\u200da.jpg", "?a.jpg"),
    ],
)  # fmt: skip
def test_a_name_is_a_files_own(given: str | None, shown: str) -> None:
    """No folders, nothing that breaks a line."""
    assert shown_name(given) == shown


@pytest.mark.parametrize(
    ("environment", "platform", "folder"),
    [
        ({"MAROTTE_STATE": "here"}, "linux", "here"),
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "linux", "/s/marotte"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "linux", "/h/.local/state/marotte"),
        ({"HOME": "/h"}, "darwin", "/h/Library/Application Support/marotte"),
        ({"LOCALAPPDATA": "/l"}, "win32", "/l/marotte/state"),
    ],
)
def test_the_folder_is_the_platforms(environment: dict[str, str], platform: str, folder: str) -> None:
    """Where programs keep what outlives a run, unless MAROTTE_STATE names another."""
    assert state_folder(environment, platform) == Path(folder)
