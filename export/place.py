"""A folder that is written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import BundleError


def check_place(out: Path, mark: str, suffixes: frozenset[str]) -> None:
    """Nothing of a user's is replaced but a folder of the same kind: one that holds `mark` and else only files of these
    suffixes. Raises BundleError."""
    advice = "name a new folder with --out"
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise BundleError(f"{out} is no folder; {advice}")
    if not out.is_dir():
        return
    names = [path.name for path in out.iterdir()]
    if foreign := [name for name in names if name != mark and Path(name).suffix not in suffixes]:
        raise BundleError(f"{out} holds {foreign[0]!r}, which would be lost; {advice}")
    if names and mark not in names:
        raise BundleError(f"{out} is a folder without {mark}; {advice}")


@contextmanager
def placed(out: Path) -> Iterator[Path]:
    """A new folder beside `out`, to be filled; it takes the place of `out` when the block ends without an exception.

    What stood there before stays until then, also when this is interrupted. Raises BundleError when the disk takes
    nothing more, or the place cannot be written to.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
    except OSError as error:
        raise BundleError(
            f"{out} cannot be written ({error.strerror}); name another place with --out"
        ) from error
    try:
        new = work / out.name
        new.mkdir()
        yield new
        _exchange(new, out, work / "older")
    except OSError as error:
        raise BundleError(f"{out} cannot be written ({error.strerror}); free some space") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write(path: Path, data: bytes) -> None:
    """One file of it, on the disk and not only in its cache: a full one may say so only then."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _exchange(new: Path, out: Path, older: Path) -> None:
    """Whatever happens between the two renames, the old folder comes back."""
    if not out.exists():
        new.rename(out)
        return
    out.rename(older)
    try:
        new.rename(out)
    except BaseException:
        older.rename(out)
        raise
