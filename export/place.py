"""A folder that is written whole or not at all."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from engine.annotate.alone import Alone
from engine.bundle import MANIFEST, RECORD
from engine.errors import BundleError, ConfigError

_PART: Final = ".part"
_OLDER: Final = ".older"
"""In the work folder, what stood in the place; no name that an `out` can have there, for that is the new one's."""


def check_place(out: Path, mark: str, suffixes: frozenset[str], names: frozenset[str] = frozenset()) -> None:
    """Nothing of a user's is replaced but a folder of the same kind: one that holds `mark` and else only files of these
    suffixes, or of these names. Raises BundleError, also for a place that cannot be written to: before long work, not
    after it.

    Before it looks, it clears up after one that was killed: what that had moved aside comes back.
    """
    _mend(out)
    advice = "name a new folder with --out"
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise BundleError(f"{out} is no folder; {advice}")
    _check_writable(out)
    if not out.is_dir():
        return
    found = [path.name for path in out.iterdir()]
    own = names | {mark}
    if foreign := [name for name in found if name not in own and Path(name).suffix not in suffixes]:
        raise BundleError(f"{out} holds {foreign[0]!r}, which would be lost; {advice}")
    if found and mark not in found:
        raise BundleError(f"{out} is a folder without {mark}; {advice}")


def check_bundle_place(out: Path) -> None:
    """The same of a bundle. Raises as `check_place`."""
    check_place(out, MANIFEST, frozenset({".onnx"}), frozenset({RECORD}))


def _check_writable(out: Path) -> None:
    """By writing: what stands in a folder's mode says little of what a file system takes."""
    there = next(folder for folder in out.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=_PART, dir=there):
            pass
    except OSError as error:
        raise _unwritable(out, error) from error


def _unwritable(out: Path, error: OSError) -> BundleError:
    return BundleError(f"{out} cannot be written ({error.strerror}); name another place with --out")


@contextmanager
def placed(out: Path) -> Iterator[Path]:
    """A new folder beside `out`, to be filled; it takes the place of `out` when the block ends without an exception.

    What stood there before stays until then, also when this is interrupted; when it is killed, the next `check_place`
    of the same place clears up. Raises BundleError when the disk takes nothing more, or the place cannot be written
    to.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=_PART, dir=out.parent))
        alive = Alone(work)
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        new = work / out.name
        new.mkdir()
        yield new
        if out.exists():
            out.rename(work / _OLDER)
        new.rename(out)
    except OSError as error:
        raise BundleError(f"{out} cannot be written ({error.strerror}); free some space") from error
    finally:
        alive.close()
        _clear(work, out)


def write(path: Path, data: bytes) -> None:
    """One file of it, on the disk and not only in its cache: a full one may say so only then."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _mend(out: Path) -> None:
    """Clear what processes left that are no more; those at work hold theirs."""
    for work in out.parent.glob(f".{glob.escape(out.name)}.*{_PART}"):
        with suppress(ConfigError, OSError):
            Alone(work).close()
            _clear(work, out)


def _clear(work: Path, out: Path) -> None:
    """Nothing stays of a work folder; what was moved aside into it comes back where nothing took its place."""
    older = work / _OLDER
    if older.exists() and not out.exists():
        older.rename(out)
    shutil.rmtree(work, ignore_errors=True)
