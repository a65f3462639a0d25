"""A folder is written whole or not at all, also by a process that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import BundleError
from export.place import check_place, placed

SUFFIXES = frozenset({".onnx"})
_KILLED = """
import os, signal, sys
from pathlib import Path
from export.place import placed
rename, at = Path.rename, sys.argv[2]

def killing(path, to):
    if at == "before" or (at == "between" and path.name == "bundle" and path.parent.suffix == ".part"):
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, to)

Path.rename = killing
with placed(Path(sys.argv[1])) as folder:
    (folder / "manifest.json").write_text("new")
    if at == "writing":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def filled(out: Path, text: str) -> None:
    with placed(out) as folder:
        (folder / "manifest.json").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("at", ["writing", "before", "between"])
def test_a_killed_write_loses_nothing_and_leaves_nothing_for_long(tmp_path: Path, at: str) -> None:
    """In a file, before both renames, between them: the next one finds the old folder, and nothing beside it."""
    out = tmp_path / "bundle"
    filled(out, "old")
    line = [sys.executable, "-c", _KILLED, str(out), at]
    assert subprocess.run(line, env=os.environ | {"PYTHONPATH": os.getcwd()}, check=False).returncode == -9
    assert len(names(tmp_path)) == (1 if at == "between" else 2)
    check_place(out, "manifest.json", SUFFIXES)
    assert names(tmp_path) == ["bundle"]
    assert (out / "manifest.json").read_text() == "old"
    filled(out, "new")
    assert (out / "manifest.json").read_text() == "new"


def test_an_interruption_between_the_renames_brings_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that comes right after the old folder was moved."""
    out = tmp_path / "bundle"
    filled(out, "old")
    rename = Path.rename

    def interrupted(path: Path, to: Path) -> Path:
        moved = rename(path, to)
        if path == out:
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        filled(out, "new")
    assert names(tmp_path) == ["bundle"]
    assert (out / "manifest.json").read_text() == "old"


def test_who_is_at_work_is_left_alone(tmp_path: Path) -> None:
    """A second one for the same place neither takes nor removes what the first is writing; the last one counts."""
    out = tmp_path / "bundle"
    with placed(out) as folder:
        check_place(out, "manifest.json", SUFFIXES)
        (folder / "manifest.json").write_text("first")
        filled(out, "second")
    assert (out / "manifest.json").read_text() == "first"
    assert names(tmp_path) == ["bundle"]


def test_a_folder_that_is_called_as_the_rests_are_is_no_rest_of_another(tmp_path: Path) -> None:
    """Letters that a pattern would read are those of a name."""
    (tmp_path / ".bundle.x.part").mkdir()
    check_place(tmp_path / "b*", "manifest.json", SUFFIXES)
    assert names(tmp_path) == [".bundle.x.part"]
    (tmp_path / "bundle").write_text("a file")
    with pytest.raises(BundleError, match="is no folder"):
        check_place(tmp_path / "bundle", "manifest.json", SUFFIXES)
    assert names(tmp_path) == ["bundle"]


def test_a_place_that_cannot_be_written_to_is_told_before_the_work(tmp_path: Path) -> None:
    """Also where only a folder above it is there; what is tried leaves nothing behind, and makes no folder."""
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "out", tmp_path / "file" / "deep" / "out"):
        with pytest.raises(BundleError, match="cannot be written"):
            check_place(place, "mark", frozenset())
    check_place(tmp_path / "new" / "deep" / "out", "mark", frozenset())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
