"""The files of a render: none is read and written at once, and what cannot be written is told before the work."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from engine.errors import ConfigError
from engine.media import MediaReader
from engine.media.picture import PICTURE_SUFFIXES
from engine.media.unfinished import Unfinished
from engine.media.video_writer import VIDEO_SUFFIXES
from engine.tally import Tally, counted
from engine.types import U8

_log = logging.getLogger("marotte.render")


_BESIDE: Final = ("report", "sheet")
"""What is written beside the result."""


def check_apart(paths: Mapping[str, Path | str | U8 | None]) -> None:
    """No file that is read may be written to, and no two outputs may be one."""
    files = {role: Path(path) for role, path in paths.items() if isinstance(path, (str, Path))}
    read = [role for role in files if role not in ("out", *_BESIDE)]
    for role, other in (*(("out", one) for one in read), *((role, one) for role in _BESIDE for one in files)):
        if role != other and role in files and other in files and _same(files[role], files[other]):
            raise ConfigError(f"{role}: {files[role]} is also the {other}; expected another file name")


def check_out(out: Path, media: MediaReader, tally: Tally) -> None:
    """Whether the result can be written, before a minute goes into making it."""
    suffix, still = out.suffix.lower(), media.still
    if not still and suffix in PICTURE_SUFFIXES:
        raise ConfigError(f"{out.name}: the driver is a clip; expected an output such as {out.stem}.mp4")
    if suffix not in (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES):
        expected = ", ".join((*VIDEO_SUFFIXES, *PICTURE_SUFFIXES) if still else VIDEO_SUFFIXES)
        raise ConfigError(f"out: got {out.name!r}, expected a name that ends in {expected}")
    if still and suffix not in PICTURE_SUFFIXES:
        tally.notes.append(f"{media.name} is a picture: the result is one frame; name a .png for a picture")
    Unfinished(out).discard()


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # one of them is not there yet
        return one.absolute() == other.absolute()


@contextmanager
def concluded(tally: Tally, out: Path, report: Path | None) -> Iterator[None]:
    """Write the report when the render ends or is interrupted, but not when it failed."""
    with ExitStack() as opened:
        # Opened first: that it cannot be written is told before an hour of rendering, not after it.
        file = None if report is None else opened.enter_context(Unfinished(report))
        try:
            yield
        except KeyboardInterrupt:
            if tally.frames:
                tally.interrupted = True
                _write(file, tally)
                if file is not None:
                    file.finish()
                _log.warning("%s holds the %s done until then", out, counted(tally.frames))
            raise
        _write(file, tally)


def _write(file: Unfinished | None, tally: Tally) -> None:
    if file is not None:
        file.write((json.dumps(tally.as_dict(), indent=2) + "\n").encode())
