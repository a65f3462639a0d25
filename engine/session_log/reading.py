"""The session log as people and other programs read it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import InputError
from engine.media.wording import one_line
from engine.session_log import head, lock
from engine.session_log.files import files_of, raw_lines
from engine.session_log.lines import Line, read

_WITHIN_S = 30.0
_MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """line: None where the bytes are no line of this log. text: as it stands there, nothing of it that a terminal acts
    on."""

    line: Line | None
    text: str

    @property
    def told(self) -> str:
        """For people."""
        if self.line is None:
            return f"?  {self.text[:_MOST_SHOWN]}"
        said = {name: value for name, value in self.line.fields.items() if name not in ("key", "signature")}
        words = " ".join(f"{name}={_word(value)}" for name, value in said.items())
        return one_line(f"{self.line.n:>6}  {self.line.at}  {self.line.event}  {words}".rstrip())


def entries(folder: Path) -> Iterator[Entry]:
    """All lines, the oldest first, also of a log that is not in order. Raises InputError where there is none."""
    _check(folder)
    for file in files_of(folder):
        for data, _ in raw_lines(file):
            yield Entry(read(data), one_line(data.decode(errors="backslashreplace")))


def export(folder: Path, out: Path) -> int:
    """Copy the log as it stands into a new folder. Returns how many files. Raises InputError where there is no log, or
    something where it is to go."""
    _check(folder)
    if out.exists():
        raise InputError(f"{one_line(out)} is there already; name a new folder")
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700, parents=True)
    with lock.held(folder, _WITHIN_S):
        files = [*files_of(folder), *(one for one in [folder / head.FILE] if one.exists())]
        for file in files:
            shutil.copyfile(file, part / file.name)
    part.rename(out)
    return len(files)


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{one_line(folder)}: expected the folder of a session log, and there is none")


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    return text if text and " " not in text else repr(text)
