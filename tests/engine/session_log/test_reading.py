"""Session logs of another hand: what is read of them, and what a terminal is shown."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.session_log import Event, verify
from engine.session_log.lines import START, read
from engine.session_log.reading import entries
from engine.signing import canonical

DOCS = Path(__file__).resolve().parents[3] / "docs" / "session_log.md"
SOME = settings(max_examples=40, deadline=None)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
wholes = st.fixed_dictionaries(
    {"n": values, "at": values, "before": values, "event": st.sampled_from([*Event]) | values},
    optional={"key": values, "signature": values, "ahead": values, "torn": values, "to_n": values},
)
lines = st.binary(max_size=60) | wholes.map(lambda whole: json.dumps(whole).encode())


@SOME
@given(
    st.lists(lines, max_size=6), st.binary(max_size=80) | wholes.map(lambda whole: json.dumps(whole).encode())
)
def test_whatever_stands_there_is_told_and_never_raises(raw: list[bytes], head: bytes) -> None:
    """Nonsense in lines and head is a fault with a place, in printable words."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "log-000001.jsonl").write_bytes(b"\n".join(raw))
        (folder / "head.json").write_bytes(head)
        found = verify(folder)
        assert found.sound or str(found.bad).isprintable()
        assert all(remark.isprintable() for remark in found.remarks)
        assert all(entry.told.isprintable() and entry.text.isprintable() for entry in entries(folder))


def test_no_line_of_another_hand_moves_the_terminal(tmp_path: Path) -> None:
    """Control characters of a line that is spelt as the log spells its own are written out."""
    line = {
        "n": 1,
        "at": "2026-11-20T00:00:00.000Z",
        "before": START,
        "event": "repaired",
        "ahead": "\x1b[2J",
    }
    data = canonical(line)
    assert read(data) is not None
    (tmp_path / "log-000001.jsonl").write_bytes(data + b"\n")
    assert all(remark.isprintable() for remark in verify(tmp_path).remarks)
    assert all(entry.told.isprintable() for entry in entries(tmp_path))


def test_every_event_stands_on_the_page() -> None:
    """With its fields, which docs/session_log.md is the table of."""
    page = DOCS.read_text("utf-8")
    assert [event.value for event in Event if f"`{event.value}`" not in page] == []
