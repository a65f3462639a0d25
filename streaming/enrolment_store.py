"""Enrolments on disk: what was sent, what is resumed, and the bundles that came of it; for this user alone.

FOLDER/<id>/job.json     what it is and how it stands, written whole
           input/        what was sent: gone when the enrolment needs it no more, unless it was asked to be kept
           work/         what `marotte enrol` goes on from; gone with it
           enrolled-<id>/    the bundle
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from engine.annotate.alone import Alone
from engine.bundle import MANIFEST
from engine.errors import ConfigError, StateError
from engine.media.wording import one_line

NEEDS_BYTES: Final = 2 << 30
"""Free on the disk, or an enrolment is not begun: checkpoints of a generator, crops and the bundle."""
LEAST_BYTES: Final = 256 << 20
"""Free on the disk, or a running one is stopped."""
EXPIRES: Final = timedelta(hours=24)
"""After which what was stopped and not gone on with is thrown away."""

RUNNING, STOPPED, FAILED, OPENING, DONE = "running", "stopped", "failed", "opening", "done"
_STATES = frozenset({RUNNING, STOPPED, FAILED, OPENING, DONE})
_JOB = "job.json"
_ID = re.compile("[0-9a-f]{12}")
_MOST_NAME = 60


@dataclass(frozen=True, slots=True)
class Job:
    """One enrolment. files: below `input`. accept: names of acceptances that were given with them. state: running;
    stopped (it can be gone on with); failed (it cannot); opening (the bundle is there and not offered yet); done.
    reason: for people, why it stopped or failed. lines: what was measured. ended: ISO 8601, when it came to this
    state."""

    id: str
    system: str
    name: str
    files: tuple[str, ...]
    keep: bool
    state: str = RUNNING
    reason: str = ""
    lines: tuple[str, ...] = ()
    ended: str = ""
    accept: tuple[str, ...] = ()

    @property
    def bundle(self) -> str:
        """The name that it is offered by."""
        return f"enrolled-{self.id}"

    def expires(self) -> str:
        """ISO 8601; empty where it does not."""
        if self.state != STOPPED or not self.ended:
            return ""
        return (datetime.fromisoformat(self.ended) + EXPIRES).isoformat(timespec="seconds")


class Store:
    """The folder, held for this server alone. Every call blocks."""

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError where another server has it, StateError where it cannot be written to."""
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._alone = Alone(folder)
        except ConfigError as error:
            raise ConfigError(
                f"enrolments: {one_line(folder)} is another server's; name another folder with --enrolments"
            ) from error
        except OSError as error:
            raise _unwritable(folder, error) from error

    def close(self) -> None:
        self._alone.close()

    def place(self, job: Job) -> Path:
        return self.folder / job.id

    def inputs(self, job: Job) -> list[Path]:
        return [self.place(job) / "input" / name for name in job.files]

    def work(self, job: Job) -> Path:
        return self.place(job) / "work"

    def out(self, job: Job) -> Path:
        """The bundle's folder."""
        return self.place(job) / job.bundle

    def new(self, system: str, name: str, keep: bool, accept: Sequence[str] = ()) -> Job:
        """One without files and without a job.json: what is left of it after a crash is thrown away."""
        job = Job(secrets.token_hex(6), system, name, (), keep, accept=tuple(accept))
        try:
            (self.place(job) / "input").mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from error
        return job

    def write(self, job: Job) -> Job:
        """Raises StateError."""
        path = self.place(job) / _JOB
        partial = path.with_name(f".{_JOB}.partial")
        try:
            partial.write_text(json.dumps(dataclasses.asdict(job)) + "\n", encoding="utf-8")
            os.replace(partial, path)
        except OSError as error:
            raise _unwritable(path, error) from error
        return job

    def turned(self, job: Job, state: str, reason: str = "", lines: Sequence[str] = ()) -> Job:
        """The job in another state, written down as far as the disk takes it."""
        ended = "" if state == RUNNING else datetime.now(UTC).isoformat(timespec="seconds")
        job = dataclasses.replace(
            job, state=state, reason=reason, lines=tuple(lines) or job.lines, ended=ended
        )
        with suppress(StateError):  # a disk that is full: in memory it stands so all the same
            self.write(job)
        return job

    def read(self) -> list[Job]:
        """Those of earlier runs, the oldest first. What was running is stopped; halves and what expired are removed."""
        found = []
        for path in sorted(self.folder.iterdir(), key=lambda path: path.lstat().st_mtime):
            if _ID.fullmatch(path.name) is None or not path.is_dir():
                continue
            job = _read(path)
            if job is None or self.expired(job):
                shutil.rmtree(path, ignore_errors=True)
                continue
            if (self.out(job) / MANIFEST).is_file():
                job = job if job.state == DONE else self.turned(job, DONE)
            elif job.state != FAILED:
                reason = job.reason or "the server ended"
                job = job if job.state == STOPPED else self.turned(job, STOPPED, reason)
            found.append(job)
        return found

    def expired(self, job: Job) -> bool:
        return bool(job.expires()) and datetime.fromisoformat(job.expires()) <= datetime.now(UTC)

    def spend(self, job: Job) -> None:
        """Remove what the job needs no more."""
        shutil.rmtree(self.work(job), ignore_errors=True)
        if not job.keep:
            shutil.rmtree(self.place(job) / "input", ignore_errors=True)

    def remove(self, job: Job) -> None:
        """All of it. Raises StateError where something stays."""
        place = self.place(job)
        shutil.rmtree(place, ignore_errors=True)
        if place.exists():
            raise StateError(f"{one_line(place)} could not be removed; remove it by hand")

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free


def file_name(number: int, given: str) -> str:
    """How a file that was sent is called on this disk: told apart by its number, and by no folder of its sender's."""
    plain = re.sub(r"[^\w.-]+", "-", given.replace("\\", "/").rsplit("/", 1)[-1]).strip(".-")
    return f"{number}-{plain[-_MOST_NAME:] or 'file'}"


def _read(place: Path) -> Job | None:
    try:
        found: Any = json.loads((place / _JOB).read_text(encoding="utf-8"))
        found.pop("statement", None)  # of before records of consent said it
        lists = {name: tuple(found.get(name, ())) for name in ("files", "lines", "accept")}
        job = Job(**found | lists)
        sound = job.id == place.name and all(Path(name).name == name for name in job.files)
        sound = sound and job.state in _STATES and all(isinstance(one, str) for one in _texts(job))
        sound = sound and (not job.ended or datetime.fromisoformat(job.ended).tzinfo is not None)
        job.expires()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    return job if sound else None


def _texts(job: Job) -> tuple[object, ...]:
    return (job.system, job.name, job.reason, job.ended, *job.lines)


def _unwritable(path: Path, error: OSError) -> StateError:
    return StateError(
        f"{one_line(path)} cannot be written to ({error.strerror or error}); name another folder with --enrolments"
    )
