"""The files of a session log, and the end of the newest one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from engine.session_log.events import MOST_LINE
from engine.session_log.lines import START, Line, read
from engine.state import state_folder

FOLDER: Final = "session_log"
"""In the state's folder."""
_NAME: Final = re.compile(r"log-(\d{6,})\.jsonl")
_TAIL: Final = 4 * MOST_LINE


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the next line is joined on. file: the newest one, None before there is any. n, hash: of the last whole
    line, 0 and START before there is any. day: of it, "" where the file has no whole line. torn: what stands behind it
    and is no line. open_end: whether the file ends without a line's end."""

    file: Path | None = None
    size: int = 0
    n: int = 0
    hash: str = START
    day: str = ""
    torn: bytes = b""
    open_end: bool = False


def log_folder() -> Path:
    """Where this user's session log is, read now."""
    return state_folder() / FOLDER


def files_of(folder: Path) -> list[Path]:
    """In the order in which they were written."""
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def following(file: Path | None, folder: Path) -> Path:
    """The name of the file after this one."""
    match = None if file is None else _NAME.fullmatch(file.name)
    return folder / f"log-{1 + (int(match[1]) if match else 0):06}.jsonl"


def raw_lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Its lines without their ends, and whether each had one. One that is too long comes cut off, as what no writer of
    this log wrote."""
    with path.open("rb") as file:
        while line := file.readline(MOST_LINE):
            whole = line.endswith(b"\n")
            while not whole and (more := file.readline(MOST_LINE)):  # never all of it in memory
                whole = more.endswith(b"\n")
                line = line[:MOST_LINE]
            yield line.removesuffix(b"\n"), whole


def tail_of(folder: Path) -> Tail:
    """The end of the log as it lies there. Raises OSError."""
    files = files_of(folder)
    torn = Tail()
    for file in reversed(files):
        found = _tail_of_file(file)
        if file is files[-1]:
            torn = found
        if found.n:
            return Tail(
                torn.file, torn.size, found.n, found.hash, found.day if file is files[-1] else "",
                torn.torn, torn.open_end,
            )  # fmt: skip
    return torn


def _tail_of_file(path: Path) -> Tail:
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        data = file.read(_TAIL)
    open_end = bool(data) and not data.endswith(b"\n")
    pieces = data.split(b"\n")
    if not open_end:
        pieces.pop()
    torn: list[bytes] = []
    while pieces:
        line: Line | None = read(pieces[-1])
        if line is not None:
            return Tail(path, size, line.n, line.hash, line.day, b"\n".join(reversed(torn)), open_end)
        torn.append(pieces.pop())
    return Tail(path, size, torn=b"\n".join(reversed(torn)), open_end=open_end)


def append(path: Path, data: bytes) -> None:
    """Bytes at the end of a file of mode 0600, on the disk when it returns. Raises OSError; what a full disk took is
    left as it is, for nothing that stands there is ever changed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.open(path, flags, 0o600)
    try:
        if os.write(file, data) != len(data):
            raise OSError(28, "the disk took only a part of it")
        os.fsync(file)
    finally:
        os.close(file)
