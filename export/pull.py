"""``marotte models pull``: from the pinned wheel, or a file that the user names, to graphs that the engine
finds.

Every step can be taken again: a model that is converted stays, the wheel stays until all of them are, and
every file is renamed into place when it is whole. Two pulls at once do the same work twice and harm nothing.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bars

from engine.errors import ModelError
from engine.models import PULLED, REGISTRY, Model, Row, cache_folder, inspect, model
from export import wheel as wheels
from export.store import is_stored, store
from export.wheel import REQUIREMENT, Progress, check_plain, fetch, opened, read_member

_ATTEMPTS = 3
_LEFT_S = 3600.0  # a download that has stood for longer was killed
_WHEEL = f"the {REQUIREMENT} wheel"
_TASK = "MediaPipe's face_landmarker.task"


def pull(
    names: Sequence[str] | None = None,
    cache: Path | None = None,
    wheel: Path | None = None,
    progress: Progress | None = None,
) -> list[Row]:
    """Makes models ready for use and says how they stand.

    names: from the registry, all that can be pulled when None. cache: the cache's root, the environment's
    when None. wheel: a MediaPipe wheel on this machine, for use off-line; one for another platform serves as
    well, because each model in it has its own pinned hash. progress: told of every step. Raises ModelError
    naming what failed and the fix.
    """
    entries = _entries(names)
    report = progress or _silent
    if wheel is not None:
        _check_there(wheel)
    _sweep(cache)
    for attempt in range(_ATTEMPTS):
        missing = [entry for entry in entries if not is_stored(entry, cache)]
        if not missing:
            break
        try:
            wanted = [(entry, entry.file) for entry in missing]
            _store_members(wheel or _fetched(cache, report), wanted, _WHEEL, cache, report)
        except FileNotFoundError as error:
            # Another pull has finished meanwhile and tidied the wheel away: look again at what is missing.
            if wheel is not None or attempt == _ATTEMPTS - 1:
                raise ModelError(
                    f"{error.filename} is not there; name the wheel's path with --wheel FILE"
                ) from error
    if wheel is None:
        _tidy(cache)
    return [inspect(entry, cache, full=True) for entry in entries]


def _check_there(wheel: Path) -> None:
    """Also when nothing is wanted of it, a path that cannot serve is told."""
    try:
        check_plain(wheel)
    except FileNotFoundError as error:
        raise ModelError(f"{wheel} is not there; name the wheel's path with --wheel FILE") from error


def _entries(names: Sequence[str] | None) -> tuple[Model, ...]:
    entries = PULLED if names is None else tuple(model(name) for name in names)
    for entry in entries:
        if entry.sha256 is None:
            way = "name its file: marotte models pull --task FILE"
            raise ModelError(f"model {entry.name} is not in the wheel; {way}")
    return entries


def _downloads(cache: Path | None) -> Path:
    return cache_folder(cache) / "downloads"


def _fetched(cache: Path | None, progress: Progress) -> Path:
    folder = _downloads(cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = f"{folder} cannot be made ({error.strerror})"
        raise ModelError(f"{reason}; name a writable folder with --cache or MAROTTE_CACHE") from error
    try:
        return fetch(folder, progress)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = f"cannot write {error.filename} ({error.strerror})"
        raise ModelError(f"{reason}; name a writable folder with --cache") from error


def _sweep(cache: Path | None) -> None:
    """Removes what killed pulls have left; where that fails, it is in nobody's way."""
    before = time.time() - _LEFT_S
    for folder in _downloads(cache).glob(".fetch-*"):
        try:
            old = folder.stat(follow_symlinks=False).st_mtime < before
        except OSError:
            continue
        if old:
            shutil.rmtree(folder, ignore_errors=True)


def _tidy(cache: Path | None) -> None:
    """Removes the wheel. Where another process reads it, that one removes it."""
    try:
        (_downloads(cache) / wheels.FILE).unlink(missing_ok=True)
        _downloads(cache).rmdir()
    except OSError:
        return


def _store_members(
    path: Path, wanted: Sequence[tuple[Model, str]], origin: str, cache: Path | None, progress: Progress
) -> None:
    with opened(path) as archive:
        for done, (entry, member) in enumerate(wanted):
            progress(f"converting {entry.name}", done, len(wanted))
            store(entry, read_member(archive, member, origin), cache)
        progress("converted", len(wanted), len(wanted))


def add_task(path: Path, cache: Path | None = None, progress: Progress | None = None) -> list[Row]:
    """Takes the models of MediaPipe's face_landmarker.task, which the user has and names.

    Afterwards ``locate`` finds task_face_detector, task_face_landmarks and task_face_blendshapes. Raises
    ModelError when the file is not such an archive or a network in it does not convert.
    """
    brought = [entry for entry in REGISTRY.values() if entry.sha256 is None]
    try:
        wanted = [(entry, entry.file) for entry in brought]
        _store_members(path, wanted, _TASK, cache, progress or _silent)
    except FileNotFoundError as error:
        raise ModelError(f"{path} is not there; name a face_landmarker.task file") from error
    return [inspect(entry, cache, full=True) for entry in brought]


def _silent(title: str, done: int, total: int) -> None:
    """Reports to nobody."""


@contextmanager
def bar() -> Iterator[Progress]:
    """A progress bar on standard error, for ``pull`` and ``add_task``."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _drawn(bars, bars.add_task("looking", total=None))


def _drawn(bars: Bars, task: TaskID) -> Callable[[str, int, int], None]:
    def draw(title: str, done: int, total: int) -> None:
        bars.update(task, description=title, completed=done, total=total or None)

    return draw
