"""The deny-list of this installation: one file for each entry, one of settings, and the secret of its templates.

    state/denied/<id>.json        an entry, written whole
    state/denied/shapes.json      whether shapes are kept and for how long; absent: they are not
    state/denied/reports.jsonl    sources whose face is like a denied one's, for the operator to look at
    state/denied/salt             what templates are made with; deleting it makes an end of all of them

Whoever asks costs one look at the folder, which is read again when it changed. What cannot be read denies everything.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.denied import hashing, shapes
from engine.denied.entries import (
    MOST_FRAMES,
    MOST_PICTURES,
    MOST_SUMS,
    SUFFIX,
    Entry,
    checked_sum,
    checked_why,
    is_id,
    read_file,
    written,
)
from engine.errors import ConfigError, StateError
from engine.media.wording import one_line
from engine.schema import strict_json
from engine.state import append_line, state_folder, sync_folder, write_whole
from engine.types import U8, FaceShape

FOLDER: Final = "denied"
REFUSED: Final = (
    "it is not used on this installation, by a decision of its operator; next step: ask the operator, who can look at "
    "it with marotte deny list"
)
MOST_ENTRIES: Final = 2000
MOST_DAYS: Final = 365
MOST_REPORTS: Final = 1000

_SETTINGS: Final = "shapes.json"
_SALT: Final = "salt"
_REPORTS: Final = "reports.jsonl"
_SETTLED_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Match:
    """What of the list a source is like; for the operator alone. how: "file" (its bytes), "picture" or "shape".
    apart: bits of 256, or centimetres; 0 for a file."""

    entry: Entry
    how: str
    apart: float


@dataclass(frozen=True, slots=True)
class Report:
    """A source whose face is like a denied one's, by its shape. apart: centimetres."""

    time: datetime
    source: str
    entry: str
    apart: float

    def line(self) -> bytes:
        """As it stands in the list."""
        told = {
            "time": self.time.isoformat(),
            "source": self.source,
            "entry": self.entry,
            "apart": self.apart,
        }
        return json.dumps(told).encode()

    @classmethod
    def of(cls, line: bytes) -> Report | None:
        """Read back; None for what is none."""
        try:
            told: Any = strict_json(line.decode())
            apart = told["apart"]
            if type(apart) is not float and type(apart) is not int:
                return None
            return cls(
                shapes.utc(told["time"]), _word(told["source"], 64), _word(told["entry"], 12), float(apart)
            )
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None


class Denied:
    """For any thread; other processes may write to the same folder. folder: of the state; None: as engine.state has it
    now."""

    def __init__(self, folder: Path | None = None) -> None:
        self.state = state_folder() if folder is None else folder
        self.folder = self.state / FOLDER
        self._lock = threading.Lock()
        self._stamp: tuple[object, ...] | None = None
        self._entries: tuple[Entry, ...] = ()

    # --- what is asked of it ---------------------------------------------------------------------------

    def why(
        self, picture: U8 | None, shape: FaceShape | None = None, *, sums: Iterable[str] = ()
    ) -> str | None:
        """Why a source is not to be used, as the end of a sentence that tells nothing of the list; None where it may
        be. picture: uint8 (H, W, 3). sums: SHA-256 of its bytes, of each picture it was made of. A shape alone denies
        nothing: see `like`. Raises StateError where the list cannot be read."""
        return None if self.match(picture, sums=sums) is None else REFUSED

    def match(self, picture: U8 | None, *, sums: Iterable[str] = ()) -> Match | None:
        """The entry by which a source is denied, by its bytes or by a picture; None where it is not."""
        entries = self.all()
        if not entries:
            return None
        found = _by_file(entries, sums)
        if found is not None or picture is None:
            return found
        return _nearest(entries, hashing.hashes_of(picture))

    def known(self, hashes: U8, *, sums: Iterable[str] = ()) -> Match | None:
        """The same of a picture whose hashes are known."""
        entries = self.all()
        return _by_file(entries, sums) or _nearest(entries, hashes)

    def like(self, shape: FaceShape, now: datetime | None = None) -> Match | None:
        """The entry whose face has a shape most like this one, where shapes are kept and one is near enough. It is a
        reason to look, and none to refuse: docs/stop.md has how often it is a stranger's."""
        now = now or datetime.now(UTC)
        salt = self._salt()
        if salt is None:
            return None
        name, values, found = shapes.name_of(salt), shapes.projected(shape, salt), None
        for entry in self.all():
            template = entry.template
            if template is None or template.salt != name or template.until <= now:
                continue
            apart = shapes.distance(template, values)
            if apart <= shapes.MOST_APART_CM and (found is None or apart < found.apart):
                found = Match(entry, "shape", apart)
        return found

    def all(self) -> tuple[Entry, ...]:
        """Every entry, the oldest first. Raises StateError where one cannot be read."""
        with self._lock:
            stamp = self._look()
            if stamp != self._stamp:
                self._entries = self._read()
                self._stamp = stamp
            return self._entries

    # --- what is changed -------------------------------------------------------------------------------

    def add(
        self,
        why: str,
        *,
        pictures: Sequence[U8] = (),
        frames: U8 | None = None,
        sums: Sequence[str] = (),
        shape: FaceShape | None = None,
        now: datetime | None = None,
    ) -> Entry:
        """Deny what has these bytes (SHA-256), or shows what one of these pictures or frames shows. frames: the first
        hash of each, (N, 32). shape: of the main face, of which a template is kept only where the operator has
        turned that on. Blocks until it is on the disk. Raises ConfigError where it says nothing, or what it says cannot
        be known again; StateError where it cannot be kept."""
        now = now or datetime.now(UTC)
        hashes = tuple(one for one in map(hashing.hashes_of, pictures[:MOST_PICTURES]) if len(one))
        known_by = tuple(dict.fromkeys(map(checked_sum, sums)))
        if len(known_by) > MOST_SUMS:  # a photo that was left out here would be shown
            raise ConfigError(
                f"deny: got {len(known_by)} sha256, expected at most {MOST_SUMS} at once; deny them in several entries"
            )
        film = np.zeros((0, hashing.BYTES), np.uint8) if frames is None else frames[:MOST_FRAMES]
        if not hashes and not len(film) and not known_by:
            raise ConfigError("deny: nothing to know it by; give a file, a source or a sha256")
        day = now.replace(microsecond=0)
        entry = Entry(secrets.token_hex(6), day, checked_why(why), known_by, hashes, film)
        days = self.keeps_shapes()
        if shape is not None and days:
            until = (now + timedelta(days=days)).replace(microsecond=0)
            entry = replace(entry, template=shapes.template_of(shape, self._made_salt(), until))
        if len(self.all()) >= MOST_ENTRIES:
            raise ConfigError(f"deny: the list has {MOST_ENTRIES} entries already; remove some")
        self._write(entry)
        return entry

    def remove(self, entry: str) -> bool:
        """Take one out, by its id, also one that cannot be read; whether it was there."""
        if not is_id(entry):
            raise ConfigError(
                f"deny: got {entry[:40]!r}, expected the id of an entry, 12 hex digits; marotte deny list"
            )
        try:
            (self.folder / f"{entry}{SUFFIX}").unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unkept(error) from error
        self._sync()
        return True

    def prune(self, now: datetime | None = None) -> int:
        """Delete the templates whose time is over; what they belong to stays denied by its bytes and pictures. How many
        there were."""
        now = now or datetime.now(UTC)
        kept = [one for one in self.reports() if one.time + timedelta(days=self.keeps_shapes()) > now]
        if len(kept) < len(self.reports()):
            self._keep(_REPORTS, b"".join(one.line() + b"\n" for one in kept))
        return self._drop(lambda template: template.until <= now)

    # --- faces that are like a denied one ----------------------------------------------------------------

    def report(self, source: str, shape: FaceShape, now: datetime | None = None) -> Match | None:
        """Look whether a source's face has the shape of a denied one, where shapes are kept, and put it down for the
        operator to look at: it is used all the same. source: what it is called. Blocks. Raises StateError."""
        now = now or datetime.now(UTC)
        match = self.like(shape, now)
        if match is not None and len(self.reports()) < MOST_REPORTS:
            report = Report(now.replace(microsecond=0), source, match.entry.id, round(match.apart, 4))
            try:
                append_line(self.folder / _REPORTS, report.line())
            except OSError as error:
                raise self._unkept(error) from error
        return match

    def reports(self) -> tuple[Report, ...]:
        """What was put down, the oldest first; lines that cannot be read are passed over."""
        try:
            lines = (self.folder / _REPORTS).read_bytes().splitlines()
        except OSError:
            return ()
        return tuple(one for line in lines[: 2 * MOST_REPORTS] if (one := Report.of(line)) is not None)

    def keeps_shapes(self) -> int:
        """For how many days templates are kept; 0: none is made."""
        try:
            told: Any = json.loads((self.folder / _SETTINGS).read_bytes()[:4096])
            days = told["days"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return 0
        return days if type(days) is int and 1 <= days <= MOST_DAYS else 0

    def keep_shapes(self, days: int) -> int:
        """Make templates from now on, each kept for so many days; 0: make none, and delete those that are there with
        the salt. How many were deleted. Raises ConfigError or StateError."""
        if not 0 <= days <= MOST_DAYS:
            raise ConfigError(f"shapes: got {days} days, expected 1 .. {MOST_DAYS}, or 0 for none")
        if days:
            self._keep(_SETTINGS, json.dumps({"days": days}).encode())
            return 0
        for name in (_SETTINGS, _SALT, _REPORTS):
            try:
                (self.folder / name).unlink(missing_ok=True)
            except OSError as error:
                raise self._unkept(error) from error
        return self._drop(lambda template: True)

    # --- on the disk -----------------------------------------------------------------------------------

    def _drop(self, wanted: Any) -> int:
        dropped = [entry for entry in self.all() if entry.template is not None and wanted(entry.template)]
        for entry in dropped:
            self._write(replace(entry, template=None))
        return len(dropped)

    def _look(self) -> tuple[object, ...]:
        try:
            told = self.folder.stat()
        except FileNotFoundError as error:
            if os.path.lexists(self.folder):  # a link that leads nowhere, as to a disk that is not there
                raise self._unread(error) from error
            return ()
        except OSError as error:
            raise self._unread(error) from error
        # Two changes within one tick of the file system's clock are one to it.
        settled = time.time() - told.st_mtime > _SETTLED_S
        return (told.st_ino, told.st_mtime_ns, None if settled else time.monotonic_ns())

    def _read(self) -> tuple[Entry, ...]:
        found = []
        for path in self._files():
            try:
                found.append(read_file(path))
            except FileNotFoundError as error:
                if os.path.lexists(path):
                    raise self._unread(error) from error
        return tuple(sorted(found, key=lambda entry: (entry.added, entry.id)))

    def _files(self) -> list[Path]:
        """Of the entries. Not by glob, to which a folder that may not be read is an empty one."""
        try:
            with os.scandir(self.folder) as listed:
                names = sorted(one.name for one in listed)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unread(error) from error
        ours = (name for name in names if name.endswith(SUFFIX) and name != _SETTINGS and name[0] != ".")
        return [self.folder / name for name in ours]

    def _write(self, entry: Entry) -> None:
        self._keep(f"{entry.id}{SUFFIX}", written(entry))

    def _keep(self, name: str, data: bytes) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self.folder / name, data)
        except OSError as error:
            raise self._unkept(error) from error

    def _sync(self) -> None:
        with suppress(OSError):
            sync_folder(self.folder)

    def _salt(self) -> bytes | None:
        try:
            salt = (self.folder / _SALT).read_bytes()
        except OSError:
            return None
        return salt if len(salt) == shapes.SALT_BYTES else None

    def _made_salt(self) -> bytes:
        salt = self._salt()
        if salt is None:
            salt = secrets.token_bytes(shapes.SALT_BYTES)
            self._keep(_SALT, salt)
        return salt

    def _unread(self, error: OSError) -> StateError:
        return StateError(
            f"the deny-list cannot be read, so no source is used: {one_line(self.folder)} "
            f"({error.strerror or error}); make it readable for this user"
        )

    def _unkept(self, error: OSError) -> StateError:
        return StateError(
            f"the deny-list could not be changed: {one_line(self.folder)} ({error.strerror or error}); name a folder "
            "that can be written to in MAROTTE_STATE, or free some space"
        )


def _word(told: object, most: int) -> str:
    return one_line(str(told)[:most])[:most]


def _by_file(entries: Iterable[Entry], sums: Iterable[str]) -> Match | None:
    given = frozenset(sums)
    return next((Match(one, "file", 0.0) for one in entries if given.intersection(one.sha256s)), None)


def _nearest(entries: Iterable[Entry], hashes: U8) -> Match | None:
    found = None
    for entry in entries:
        known = (*entry.hashes, *entry.frames[:, None])
        apart = min((hashing.distance(hashes, one) for one in known), default=hashing.BITS)
        if apart <= hashing.MOST_APART and (found is None or apart < found.apart):
            found = Match(entry, "picture", apart)
    return found
