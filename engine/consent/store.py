"""The records of this installation: one file each, and one list of those that were revoked.

    state/consent/<id>.json       written whole, never changed
    state/consent/<id>.revoked.json   that it was revoked, signed, written whole
    state/consent/revoked.jsonl   the same, one line each, only ever added to

Either of the two is enough. What is asked every second of a live session costs one look at each of these files, of
which the list is read again when it changed. In doubt a record does not hold: a file that was changed counts as none, a
line of the list, or a file, that names a record revokes it, whoever wrote it there, and a list that was there and is
not any more might have revoked anything.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from engine.consent.reading import (
    Exported,
    Revocation,
    countersign,
    parse,
    read_bytes,
    read_file,
    read_revocation,
    revocation,
    told_revocation,
    written,
)
from engine.consent.record import SCOPES, Kind, Record, attest, is_id
from engine.errors import ConfigError, ConsentError, StateError
from engine.media.wording import one_line
from engine.schema import strict_json
from engine.session_log import Event, note
from engine.signing import Signer, canonical, operator
from engine.state import append_line, state_folder, write_whole

FOLDER: Final = "consent"
REVOKED: Final = "revoked.jsonl"
MOST_REVOKED: Final = 16 << 20
_NAME: Final = re.compile(r"([0-9a-f]{32})\.json")
_OWN: Final = ".revoked.json"
_NAMED: Final = re.compile(rb'"revoked"\s*:\s*"([0-9a-f]{32})"')
_log = logging.getLogger("marotte.consent")

_Stamp = tuple[int, int, int]


class Store:
    """folder: of the state, in which `consent/` lies and this installation's key; None: as engine.state has it now. For
    any thread; other processes may write to the same folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.state = state_folder() if folder is None else folder
        self.folder = self.state / FOLDER
        self._lock = threading.Lock()
        self._files: dict[str, tuple[_Stamp, Exported | str]] = {}
        self._revoked: dict[str, Revocation | None] = {}
        self._revoked_stamp: _Stamp | None = None
        self._listing = threading.Lock()
        self._was_listed = False
        self._own: dict[str, Revocation | None] = {}
        self._remarks: tuple[str, ...] = ()

    # --- what stands there -------------------------------------------------------------------------

    def find(self, source: str) -> Record | None:
        """The newest record of a source (SHA-256, hex) that was not revoked, else the newest one, else None. Whether it
        holds is engine.consent.check's to say."""
        found = self.of(source)
        return next((one for one in found if self.revoked(one.id) is None), next(iter(found), None))

    def of(self, source: str) -> tuple[Record, ...]:
        """All records of a source that this installation signed or countersigned, the newest first."""
        return tuple(one for one in self.all() if source in one.sources)

    def get(self, record: str) -> Record | None:
        """By its id."""
        return next((one for one in self.all() if one.id == record), None)

    def all(self) -> tuple[Record, ...]:
        """The records that this installation signed or countersigned, the newest first."""
        held = (exported for exported in self._held().values() if not isinstance(exported, str))
        return tuple(sorted((one.record for one in held), key=lambda one: (one.made, one.id), reverse=True))

    def revoked(self, record: str) -> Revocation | None:
        """How a record was revoked, None where it was not: cheap enough to be asked every second."""
        with self._lock:
            found = self._read_own(record)
            if found is None:
                self._read_revoked()
                if record in self._revoked:
                    found = self._revoked[record]
                elif record not in self._own:
                    return None
            return found or Revocation(record, datetime.now(UTC), "not readable", "", "")

    def stamp(self) -> Hashable:
        """A value that is another one once a record or a revocation was added, by whichever process."""
        listed = _stamps(self.folder)
        with self._lock:
            return (tuple(sorted(listed.items())), self._list_stamp())

    def remarks(self) -> tuple[str, ...]:
        """What is wrong in the folder, a line each: files and lines that count as no record, or revoke unproven."""
        held = self._held()
        with self._lock:
            self._read_revoked()
            return tuple(why for why in held.values() if isinstance(why, str)) + self._remarks

    # --- what is added -----------------------------------------------------------------------------

    def attest(
        self,
        sources: Sequence[str],
        kind: Kind,
        *,
        shown: str,
        attested_by: str,
        statement: str,
        scope: Iterable[str] = SCOPES,
        expires: datetime | None = None,
        self_check: Mapping[str, Any] | None = None,
        now: datetime | None = None,
    ) -> Record:
        """A new record of this installation, kept; or the one that stands there and says the same. Blocks.

        Raises ConfigError for a field that cannot be, ConsentError for kind SAMPLE, StateError where it cannot be kept.
        """
        if kind is Kind.SAMPLE:
            raise ConsentError("kind: sample is what the project ships; name why this source may be used")
        now = now or datetime.now(UTC)
        record = attest(
            self._signer(), sources, kind, shown=shown, attested_by=attested_by, statement=statement, scope=scope,
            expires=expires, self_check=self_check, now=now,
        )  # fmt: skip
        for one in self.of(record.sources[0]):
            same = replace(one, made=record.made, signature="") == replace(record, signature="")
            if same and self.revoked(one.id) is None:
                return one
        return self.add(record)

    def add(self, record: Record) -> Record:
        """Keep a record that this installation signed. Blocks. Raises ConsentError for any other, StateError."""
        if record.key != self._signer().public or not record.sound:
            raise ConsentError(
                f"record {record.id}: it was not signed here; use marotte consent import for one from elsewhere"
            )
        self._keep(Exported(record))
        return record

    def take(self, path: Path) -> Record:
        """Import a record from a file: countersigned, so that it counts here. Blocks. What revokes it is taken too.

        Raises ConsentError for what is no sound record, or one that says that it was revoked, and StateError.
        """
        return self.take_parsed(read_file(path), one_line(path))

    def take_parsed(self, found: Exported, name: str) -> Record:
        """The same of what was read already."""
        record, signer = found.record, self._signer()
        if record.kind is Kind.SAMPLE:
            raise ConsentError(f"{name}: kind sample is what the project ships, and counts for nothing else")
        if found.revoked is not None:
            self.take_revocation(found, name)
            raise ConsentError(f"{name}: the record was revoked ({found.revoked.why}); ask for a new one")
        own = record.key == signer.public
        self._keep(Exported(record, None if own else countersign(record, signer, datetime.now(UTC))))
        return record

    def take_revocation(self, found: Exported, name: str) -> None:
        """End here what a file says was revoked. Blocks. Raises ConsentError for a stranger's word, StateError."""
        one, counter = found.revoked, found.countersigned
        if one is None or one.key not in (found.record.key, counter and counter.key):
            raise ConsentError(f"{name}: a stranger revoked it; ask who made the record for a file of theirs")
        self._list(one)

    def revoke(self, record: str, why: str, now: datetime | None = None) -> Revocation:
        """End a record, of whichever origin, for good: one that was ended before stays as it was. Blocks. Raises
        ConfigError, StateError."""
        if not is_id(record):
            raise ConfigError(f"record: got {one_line(record)}, expected the 32 hex digits of its id")
        revoked = revocation(record, why, self._signer(), now or datetime.now(UTC))
        before = self._list(revoked)
        if before is not None:
            return before
        _log.warning("consent: record %s is revoked", record)
        note(Event.CONSENT_REVOKED, consent=record)
        return revoked

    def exported(self, record: str) -> Exported:
        """A record as a file for elsewhere, with its revocation. Raises ConsentError where there is none."""
        held = self._held().get(record)
        if held is None or isinstance(held, str):
            raise ConsentError(f"record {record}: there is none here; marotte consent list shows them")
        revoked = self.revoked(record)
        return replace(held, revoked=revoked if revoked is not None and revoked.sound else None)

    def vouches(self, record: Record) -> bool:
        """Whether this installation signed it, or keeps it countersigned."""
        return self.folder.is_dir() and (record.key == self._signer().public or self.get(record.id) == record)

    # --- files ---------------------------------------------------------------------------------------

    def _signer(self) -> Signer:
        return operator(self.state)

    def _keep(self, one: Exported) -> None:
        try:
            self._make_folder()
            write_whole(self.folder / f"{one.record.id}.json", written(one))
            note(Event.CONSENT_ADDED, consent=one.record.id, kind=one.record.kind.value)
        except OSError as error:
            raise _not_kept(f"record {one.record.id}", self.folder, error) from error

    def _list(self, one: Revocation) -> Revocation | None:
        """Keep it, once, beside the record and in the list; the one that was there before."""
        with self._listing:
            before = self._proven(one.id)
            if before is not None:
                return before
            line, path = canonical(told_revocation(one)), self.folder / f"{one.id}{_OWN}"
            try:
                self._make_folder()
                write_whole(path, line + b"\n")
                self._append(line)
            except OSError as error:
                raise _not_kept(f"the revocation of {one.id}", path, error) from error
            return None

    def _proven(self, record: str) -> Revocation | None:
        try:
            found = self.revoked(record)
        except StateError:  # a list that cannot be read keeps nobody from ending a record
            return None
        return found if found is not None and found.sound else None

    def _append(self, line: bytes) -> None:
        path = self.folder / REVOKED
        size = path.stat().st_size if path.exists() else 0
        if size + len(line) + 2 > MOST_REVOKED:  # one more would have nobody shown
            _log.error("consent: %s is full, so a revocation stands beside its record alone", one_line(path))
            return
        append_line(path, line)
        with self._lock:
            self._was_listed, self._revoked_stamp = True, None

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _held(self) -> dict[str, Exported | str]:
        """By id what counts here, or why a file does not."""
        stamps = _stamps(self.folder)
        if not stamps:
            return {}
        public = self._signer().public
        with self._lock:
            self._files = {
                name: kept
                if (kept := self._files.get(name)) is not None and kept[0] == stamp
                else (stamp, _read(self.folder / f"{name}.json", name, public))
                for name, stamp in stamps.items()
            }
            return {name: exported for name, (_, exported) in self._files.items()}

    def _read_own(self, record: str) -> Revocation | None:
        """What stands beside it. Once seen it is remembered: nothing ends a revocation."""
        if record in self._own:
            return self._own[record]
        path = self.folder / f"{record}{_OWN}"
        if not is_id(record) or (_stamp(path) is None and not os.path.lexists(path)):
            return None
        try:
            one = read_revocation(strict_json(read_bytes(path).decode("utf-8")))
            self._own[record] = one if one.sound and one.id == record else None
        except (ConfigError, ConsentError, ValueError, RecursionError):
            self._own[record] = None
        return self._own[record]

    def _list_stamp(self) -> _Stamp | None:
        """None where there is no list yet. Raises StateError where one was."""
        path = self.folder / REVOKED
        stamp = _stamp(path)
        if stamp is None and (self._was_listed or os.path.lexists(path)):
            raise StateError(
                f"{one_line(path)}: the list of what was revoked is gone, so no source is used: put it back, or start "
                "anew where it was deleted on purpose"
            )
        self._was_listed = self._was_listed or stamp is not None
        return stamp

    def _read_revoked(self) -> None:
        """Raises StateError: what cannot be read might revoke anything."""
        path = self.folder / REVOKED
        stamp = self._list_stamp()
        if stamp is not None and stamp == self._revoked_stamp:
            return
        if stamp is None:
            self._revoked, self._remarks, self._revoked_stamp = {}, (), None
            return
        try:
            with path.open("rb") as file:
                data = file.read(MOST_REVOKED + 1)
        except OSError as error:
            raise StateError(
                f"{one_line(path)}: what was revoked cannot be read ({error.strerror}), so no source is used: repair it"
            ) from error
        if len(data) > MOST_REVOKED:
            raise StateError(f"{one_line(path)}: over {MOST_REVOKED} bytes, so no source is used: repair it")
        self._revoked, self._remarks = _revocations(data)
        if len(data) > MOST_REVOKED // 2:
            self._remarks += (f"{REVOKED}: it has {len(data)} bytes of at most {MOST_REVOKED}",)
        self._revoked_stamp = stamp


def _read(path: Path, name: str, public: str) -> Exported | str:
    try:
        found = parse(read_bytes(path), path.name)
    except ConsentError as error:
        return str(error)
    if found.record.id != name:
        return f"{path.name}: it holds record {found.record.id}; give it that name"
    countersigned = found.countersigned is not None and found.countersigned.key == public
    if found.record.kind is Kind.SAMPLE or (found.record.key != public and not countersigned):
        return f"{path.name}: another installation signed it; marotte consent import countersigns it"
    return replace(found, revoked=None)


def _revocations(data: bytes) -> tuple[dict[str, Revocation | None], tuple[str, ...]]:
    """By record; None where a line names one and proves nothing. And what is wrong."""
    found: dict[str, Revocation | None] = {}
    remarks = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            one = read_revocation(strict_json(line.decode("utf-8")))
        except (ConfigError, ValueError, RecursionError):
            one = None
        if one is not None and one.sound:
            found[one.id] = one
            continue
        named = [match.decode() for match in _NAMED.findall(line)]
        for name in named:
            found.setdefault(name, None)
        if line.strip():
            does = "it revokes all the same" if named else "it names no record"
            remarks.append(f"{REVOKED}: line {number} was changed or broke off; {does}")
    return found, tuple(remarks)


def _stamps(folder: Path) -> dict[str, _Stamp]:
    """Of the records' files, by id."""
    try:
        with os.scandir(folder) as entries:
            names = [match[1] for entry in entries if (match := _NAME.fullmatch(entry.name))]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StateError(f"{one_line(folder)}: it cannot be read ({error.strerror}): repair it") from error
    found = {name: _stamp(folder / f"{name}.json") for name in names}
    return {name: stamp for name, stamp in found.items() if stamp is not None}


def _stamp(path: Path) -> _Stamp | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{one_line(path)}: it cannot be read ({error.strerror}): repair it") from error
    return status.st_mtime_ns, status.st_size, status.st_ino


def _not_kept(what: str, path: Path, error: OSError) -> StateError:
    return StateError(
        f"{what} could not be kept in {one_line(path)} ({error.strerror or error}): name a folder that can be written "
        "to in MAROTTE_STATE"
    )
