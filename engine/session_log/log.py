"""The writing of the session log: one line after another, each with the hash of the one before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from engine.errors import ConfigError, StateError
from engine.media.wording import one_line
from engine.session_log import head, lock
from engine.session_log.events import MOST_LINE, SIGNED, Event, checked, event_of
from engine.session_log.files import Tail, append, files_of, following, log_folder, raw_lines, tail_of
from engine.session_log.lines import Line, hash_of, read, written
from engine.signing import Signer, operator
from engine.state import state_folder, sync_folder

MOST_BYTES: Final = 4 << 20
"""Of one file; a new one is begun then, and with each day (UTC)."""
MOST_DAYS: Final = 3650
_WITHIN_S: Final = 10.0

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Pruned:
    """files, lines: how many were removed. to_n: the last of them, 0 where there was none."""

    files: int
    lines: int
    to_n: int


class SessionLog:
    """A log in a folder, made where there is none. Every method may be called from any thread, and other processes may
    write there too; all of them block, until the line is on the disk.

    folder: None is `session_log` in the state's folder. signer: None is this installation's key. Nothing is touched
    before the first line. All raise StateError where a line could not be kept, with the next step, and ConfigError for
    an event or a field that is never kept.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        signer: Signer | None = None,
        most_bytes: int = MOST_BYTES,
        now: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self.folder = log_folder() if folder is None else folder
        self._signer, self._most_bytes, self._now = signer, max(most_bytes, 4 * MOST_LINE), now
        self._lock = threading.Lock()
        self._last: tuple[int, str] | None = None  # by which a tail is missed that was cut off meanwhile

    def write(self, event: Event | str, **fields: Any) -> None:
        """Keep one line. fields: flat, texts and numbers, a tuple of texts; see engine.session_log.events."""
        kind = event_of(event)
        if kind in SIGNED:
            raise ConfigError(f"session log: {kind.value} is the log's own event")
        said = checked(fields)
        with self._alone():
            self._write([(kind, said)])

    def checkpoint(self, why: str) -> tuple[int, str]:
        """Keep a signed line, which vouches for all before it. Returns its number and its hash: whoever keeps these
        elsewhere can prove later what stood here."""
        with self._alone():
            return self._write([(Event.CHECKPOINT, checked({"why": why}))])

    def prune(self, days: int) -> Pruned:
        """Remove the files of days (UTC) that are longer ago than so many, and keep a signed note of what they were, by
        which the chain is still followed."""
        if not 1 <= days <= MOST_DAYS:
            raise ConfigError(f"days: got {days}, expected 1 .. {MOST_DAYS}")
        with self._alone():
            if not files_of(self.folder):
                return Pruned(0, 0, 0)
            tail = self._mended(tail_of(self.folder))
            return self._prune(tail, _day(self._now() - timedelta(days=days)))

    # --- under the lock -----------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._lock, lock.held(self.folder, _WITHIN_S):
                yield
        except OSError as error:
            why = getattr(error, "strerror", None) or error
            raise StateError(
                f"the session log in {one_line(self.folder)} could not be written ({why}): free some space, or name "
                "another folder with --log-folder or MAROTTE_STATE"
            ) from error

    @property
    def _key(self) -> Signer:
        if self._signer is None:
            self._signer = operator(state_folder())
        return self._signer

    def _write(self, events: list[tuple[Event, dict[str, Any]]]) -> tuple[int, str]:
        tail = tail_of(self.folder)
        if not tail.n and self._expected() is None:
            events = [(Event.CHECKPOINT, {"why": "begun"}), *events]
        tail = self._rotated(self._mended(tail), len(events) * MOST_LINE)
        for event, fields in events:
            tail = self._append(tail, event, fields)
        return tail.n, tail.hash

    def _append(self, tail: Tail, event: Event, fields: dict[str, Any]) -> Tail:
        now = self._now()
        signer = self._key if event in SIGNED else None
        line = written(event.value, fields, n=tail.n + 1, before=tail.hash, now=now, signer=signer)
        if len(line) >= MOST_LINE:
            raise ConfigError(f"session log: the line has {len(line)} bytes, expected under {MOST_LINE}")
        file = tail.file or following(None, self.folder)
        new = not file.exists()
        data = (b"\n" if tail.open_end else b"") + line + b"\n"
        append(file, data)
        if new:
            sync_folder(self.folder)
        n, hash_ = tail.n + 1, hash_of(line)
        self._last = (n, hash_)
        head.keep(self.folder, n, hash_, self._key)
        return Tail(file, tail.size + len(data), n, hash_, _day(now))

    def _rotated(self, tail: Tail, more: int) -> Tail:
        """Where the next line goes: a new file with each day, and before one becomes too long."""
        if tail.file is None or not tail.n:
            return tail
        today = _day(self._now())
        if tail.size + more <= self._most_bytes and tail.day in ("", today):
            return tail
        tail = self._append(tail, Event.CHECKPOINT, {"why": "rotated"})
        return Tail(following(tail.file, self.folder), 0, tail.n, tail.hash)

    def _expected(self) -> tuple[int, str] | None:
        """The last line by what this process remembers and by what this installation signed."""
        found = head.head_of(self.folder)
        signed = None if found is None or found.key != self._key.public else (found.n, found.hash)
        known = [one for one in (self._last, signed) if one is not None]
        return max(known) if known else None

    def _mended(self, tail: Tail) -> Tail:
        """The end as it is to be joined on: what is torn, cut off or unsigned gets a line that says so. Nothing that
        stands there is changed."""
        expected = self._expected()
        if expected is None and not tail.n and not tail.torn:
            return tail
        if expected is None and tail.n:
            return self._append(tail, Event.TAIL_MISSING, {"expected": 0, "found": tail.n})
        if expected is not None and not self._leads_to(expected, tail):
            lost = {"expected": expected[0], "found": tail.n}
            n, hash_ = max(expected, (tail.n, expected[1]))
            joined = Tail(tail.file, tail.size, n, hash_, tail.day, b"", tail.open_end)
            return self._append(joined, Event.TAIL_MISSING, lost)
        ahead = tail.n - (expected[0] if expected else 0)
        if not tail.torn and not ahead:
            return tail
        said: dict[str, Any] = {
            "torn_bytes": len(tail.torn),
            "torn": hash_of(tail.torn) if tail.torn else "",
            "ahead": ahead,
        }
        return self._append(tail, Event.REPAIRED, said)

    def _leads_to(self, expected: tuple[int, str], tail: Tail) -> bool:
        """Whether the line that was last still stands there, and those behind it follow."""
        if tail.n <= expected[0]:
            return (tail.n, tail.hash) == expected
        at: tuple[int, str] | None = None
        for line in _lines_from(self.folder, expected[0]):
            if at is None and (line.n, line.hash) != expected:
                return False
            if at is not None and (line.n, line.before) != (at[0] + 1, at[1]):
                return False
            at = (line.n, line.hash)
        return at == (tail.n, tail.hash)

    def _prune(self, tail: Tail, before: str) -> Pruned:
        leaving: list[Path] = []
        count, last = 0, None
        for file in files_of(self.folder):
            lines = [line for data, _ in raw_lines(file) if (line := read(data)) is not None]
            if not lines or lines[0].day >= before:  # a file is of one day, but for its last line
                break
            leaving, count, last = [*leaving, file], count + len(lines), lines[-1]
        if last is None:
            return Pruned(0, 0, 0)
        said = {"files": len(leaving), "lines": count, "to_n": last.n, "to_hash": last.hash, "to_at": last.at}
        if tail.file in leaving:
            tail = Tail(following(tail.file, self.folder), 0, tail.n, tail.hash)
        self._append(
            self._rotated(tail, MOST_LINE), Event.PRUNED, said
        )  # first, so that no end is left unsaid
        for file in leaving:
            file.unlink()
        sync_folder(self.folder)
        return Pruned(len(leaving), count, last.n)


def _day(at: datetime) -> str:
    return at.astimezone(UTC).date().isoformat()


def _lines_from(folder: Path, n: int) -> Iterator[Line]:
    """The sound lines from this number on."""
    for file in _files_from(folder, n):
        for data, _ in raw_lines(file):
            line = read(data)
            if line is not None and line.n >= n:
                yield line


def _files_from(folder: Path, n: int) -> list[Path]:
    """Those in which a line of this number or of a later one can stand."""
    found: list[Path] = []
    for file in reversed(files_of(folder)):
        found.insert(0, file)
        first = next((line for data, _ in raw_lines(file) if (line := read(data)) is not None), None)
        if first is not None and first.n <= n:
            break
    return found
