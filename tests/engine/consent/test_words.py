"""The lines that people write into a record of consent, and the folder that outlives a run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.consent.words import MOST_NAME, MOST_STATEMENT, checked_statement, shown_name
from engine.errors import ConfigError
from engine.state import state_folder


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
