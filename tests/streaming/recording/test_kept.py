"""The folder of recordings as a start finds it: what is ours is read, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from streaming.recording.kept import READY, Folder

ID = "20261122-100000-00000000"


def test_only_files_of_our_own_names_are_cleared_away(tmp_path: Path) -> None:
    """What an earlier run had begun goes; the hidden files of whoever has the folder stay."""
    ours = [f".{ID}.json.partial", f".{ID}.0badbeef.mp4"]
    theirs = [".holiday.mp4", ".notes.partial", f".{ID}x.0badbeef.mp4"]
    for name in ours + theirs:
        (tmp_path / name).write_text("x")
    folder = Folder(tmp_path)
    assert folder.read() == []
    assert not [name for name in ours if (tmp_path / name).exists()]
    assert [name for name in theirs if not (tmp_path / name).exists()] == []
    folder.close()


@pytest.mark.parametrize("size", ["[1e999,1]", "[1]", "7", "[" * 2000])
def test_a_damaged_entry_is_left_out_with_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, size: str
) -> None:
    """A server starts whatever one of its entries says; the others are listed."""
    folder = Folder(tmp_path)
    one = folder.turned(folder.new("a session", "show"), state=READY)
    folder.whole(one.id).write_bytes(b"x")
    entry = (
        f'{{"id":"{ID}","session":"s","stream":"x","begun":"","state":"ready","size":{size},"statements":[]}}'
    )
    (tmp_path / f"{ID}.json").write_text(entry)
    folder.whole(ID).write_bytes(b"x")
    assert [each.id for each in folder.read()] == [one.id]
    assert f"{ID}.json is damaged" in caplog.text
    folder.close()
