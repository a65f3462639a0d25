"""Where a finished file goes, and what is never replaced."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from engine.errors import ConfigError
from engine.media.unfinished import Unfinished

posix = pytest.mark.skipif(sys.platform == "win32", reason="modes, links and pipes are POSIX")


@posix
def test_a_pipe_is_never_replaced(tmp_path: Path):
    """A name that stands for a pipe is refused, also through a link, and stays."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(ConfigError, match="no plain file"):
            Unfinished(tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link", "pipe"]


@posix
def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path):
    """Writing to a link writes the file that it names, present or not; a link in a circle is refused."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(Path("real") / "out.png")
    for data in (b"first", b"second"):
        with Unfinished(tmp_path / "link") as file:
            file.write(data)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real" / "out.png").read_bytes() == data
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(ConfigError, match="cannot be written"):
        Unfinished(tmp_path / "circle")


@posix
def test_a_replaced_file_keeps_its_mode(tmp_path: Path):
    """The permissions of an older file pass to the new one."""
    (tmp_path / "out").write_bytes(b"older")
    (tmp_path / "out").chmod(0o640)
    with Unfinished(tmp_path / "out") as file:
        file.write(b"newer")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o640


def test_space_is_asked_for_only_when_it_is_missing(tmp_path: Path):
    """The way out fits the cause: space for a full disk, nothing of it for another failure."""
    file = Unfinished(tmp_path / "out")
    assert "free some space" in str(file.failed(OSError(errno.ENOSPC, "No space left")))
    assert "free some space" in str(file.failed(OSError(errno.EFBIG, "File too large")))
    other = str(file.failed(ValueError("odd picture")))
    assert "odd picture" in other
    assert "space" not in other
    file.discard()
