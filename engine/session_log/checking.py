"""Whether a session log is as it was written, and where it is not.

Each line holds the hash of the one before, and the signed head that of the last; so one line that was changed breaks
the step behind it and no other, one that was removed leaves a gap in the numbers, and behind one that was inserted
stands a line that follows the one before it. Who rewrote all lines behind a change as well breaks the next signature.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from engine.errors import InputError
from engine.media.wording import one_line
from engine.session_log import head, lock
from engine.session_log.events import Event
from engine.session_log.files import files_of, raw_lines
from engine.session_log.lines import START, Line, hash_of, read

_MOST_INSERTED: Final = 4096
_WITHIN_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Position:
    """file: its name. line: in this file, from 1 on. n: the number that the line says of itself, or that is missing."""

    file: str
    line: int
    n: int | None

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}" + ("" if self.n is None else f" (number {self.n})")


@dataclass(frozen=True, slots=True)
class Verified:
    """lines: how many were read before the first fault. bad, why: the first fault, None where there is none.
    vouched: the number of the last line that a right signature vouches for. last: number and hash of the last line
    read. key: the public key (hex) that signed. remarks: what is no fault, and to be known."""

    lines: int
    bad: Position | None = None
    why: str | None = None
    vouched: int = 0
    last: tuple[int, str] = (0, START)
    key: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        return self.bad is None


@dataclass(frozen=True, slots=True)
class _Read:
    """A line as it stands somewhere; parsed: None where it is none of this log's."""

    at: Position
    data: bytes
    parsed: Line | None


class _FaultError(Exception):
    def __init__(self, at: Position, why: str) -> None:
        super().__init__(why)
        self.at, self.why = at, why


def verify(folder: Path, *, key: str = "", known: tuple[int, str] | None = None) -> Verified:
    """Read the whole log. key: the public key (hex) that has to have signed; empty takes the one that signed the head,
    which the reader then has to know by other means. known: number and hash of a line, kept elsewhere.

    Raises InputError where no log is, and OSError.
    """
    if not folder.is_dir():
        raise InputError(f"{one_line(folder)}: expected the folder of a session log, and there is none")
    try:
        with lock.held(folder, _WITHIN_S):
            return _Check(folder, key, known).run()
    except PermissionError:  # a copy that is only read; nobody writes there
        return _Check(folder, key, known).run()


@dataclass
class _Check:
    folder: Path
    key: str
    known: tuple[int, str] | None
    recent: deque[_Read] = field(default_factory=lambda: deque(maxlen=_MOST_INSERTED))
    torn: list[_Read] = field(default_factory=list)
    pruned_to: tuple[int, str] = (0, START)
    remarks: list[str] = field(default_factory=list)
    lines: int = 0
    vouched: int = 0

    def run(self) -> Verified:
        self.files = files_of(self.folder)
        self.head = head.head_of(self.folder)
        self.key = self.key or (self.head.key if self.head else "")
        self.note = self._last_note()
        fault = None
        try:
            for one in self._all():
                self._take(one)
            self._finish()
        except _FaultError as found:
            fault = found
        last = self._last
        result = Verified(
            self.lines, None, None, self.vouched, (last.n, last.hash) if last else (0, START), self.key,
            tuple(self.remarks),
        )  # fmt: skip
        if fault is None:
            return result
        return replace(result, lines=self._before(fault.at), bad=fault.at, why=fault.why)

    def _before(self, bad: Position) -> int:
        """How many lines were read before this one, which may be among those that were."""
        places = [(one.at.file, one.at.line) for one in self.recent]
        at = (bad.file, bad.line)
        return self.lines - (len(places) - places.index(at) if at in places else 0)

    @property
    def _last(self) -> Line | None:
        return self.recent[-1].parsed if self.recent else None

    def _all(self, after: Position | None = None) -> Iterator[_Read]:
        """From the first line on, or from the one behind this."""
        begun = after is None
        for file in self.files:
            if not begun and after is not None and file.name != after.file:
                continue
            for number, (data, _) in enumerate(raw_lines(file), 1):
                if not begun and after is not None and number <= after.line:
                    continue
                parsed = read(data)
                yield _Read(Position(file.name, number, parsed.n if parsed else None), data, parsed)
            begun = True

    def _last_note(self) -> Line | None:
        """The last rightly signed word about lines that were removed by age."""
        found = None
        for one in self._all():
            line = one.parsed
            if (
                line is not None
                and line.event == Event.PRUNED
                and line.key == self.key
                and line.signed_rightly()
            ):
                found = line
        return found

    # --- one line ---------------------------------------------------------------------------------

    def _take(self, one: _Read) -> None:
        if one.parsed is None:
            self.torn.append(one)
            return
        line, last = one.parsed, self._last
        if self.torn:
            self._check_torn(one, line)
        if last is None:
            self._check_start(one, line)
        elif (line.n, line.before) != (last.n + 1, last.hash):
            raise self._broken(self.recent[-1], last, one, line)
        if line.signed:
            self._check_signature(one, line)
        if line.event == Event.TAIL_MISSING:
            raise _FaultError(
                one.at, "the log was found cut off, or changed at its end, when this line was written"
            )
        if line.event == Event.REPAIRED and line.fields.get("ahead") not in (None, 0):
            self.remarks.append(
                f"{one.at}: {line.fields['ahead']!a} lines before it were not signed for when it was written: the "
                "process had ended in the midst of them, or another hand added them"
            )
        self.recent.append(one)
        self.lines += 1

    def _check_torn(self, one: _Read, line: Line) -> None:
        """What is no line is excused by the one behind it alone, which names its hash."""
        data = b"\n".join(torn.data for torn in self.torn)
        if line.event != Event.REPAIRED or line.fields.get("torn") != hash_of(data):
            raise _FaultError(
                self.torn[0].at, "this is no line that was written here: it was changed or inserted"
            )
        self.remarks.append(f"{self.torn[0].at}: a line was torn by the end of its process, and repaired")
        self.torn.clear()

    def _check_start(self, one: _Read, line: Line) -> None:
        if line.n == 1:
            if line.before != START:
                raise _FaultError(one.at, "the first line was changed: nothing stood before it")
            return
        note = self.note
        if note is None or int(note.fields.get("to_n", 0)) < line.n - 1:
            raise _FaultError(
                replace(one.at, n=line.n - 1),
                f"the lines before number {line.n} were removed without a signed note",
            )
        if note.fields["to_n"] == line.n - 1 and note.fields.get("to_hash") != line.before:
            raise _FaultError(one.at, "it does not follow the lines that were removed by age: it was changed")
        self.remarks.append(f"lines up to number {line.n - 1} were removed by age, as a signed note says")

    def _check_signature(self, one: _Read, line: Line) -> None:
        if self.key and line.key != self.key:
            raise _FaultError(one.at, "it is signed by another key: it was changed, or the key was")
        if not line.signed_rightly():
            raise _FaultError(
                one.at,
                f"its signature is wrong: it, or a line between number {self.vouched} and it, was changed",
            )
        self.vouched = line.n

    # --- which line is to blame -------------------------------------------------------------------

    def _broken(self, before: _Read, last: Line, one: _Read, line: Line) -> _FaultError:
        """The step from `before` to `one` is broken."""
        if self._comes_later(last, one):
            return _FaultError(one.at, "it was inserted, or moved here")
        if inserted := self._inserted_before(line):
            return inserted
        behind = next(self._all(one.at), None)
        stands = self._vouched_by(line, behind)
        if line.n > last.n + 1 and stands:
            missing = f"{last.n + 1}" + (f" to {line.n - 1}" if line.n > last.n + 2 else "")
            return _FaultError(replace(one.at, n=last.n + 1), f"removed before it: number {missing}")
        if stands and line.event == Event.TAIL_MISSING:
            return self._signed_otherwise(before, line)
        if stands:
            return _FaultError(before.at, "it was changed: the line behind it has another hash of it")
        return _FaultError(one.at, "it was changed: it does not follow the line before it")

    def _signed_otherwise(self, before: _Read, line: Line) -> _FaultError:
        """From which line on another stands than the head had when this word about it was written."""
        since = (one for one in self.recent if one.at.n == line.fields.get("expected"))
        return _FaultError(
            next(since, before).at,
            "it is not the line that was signed for: it, or one before it, was changed",
        )

    def _inserted_before(self, line: Line) -> _FaultError | None:
        """Where `line` follows an older one than the last, what stands between was inserted."""
        read_ = list(self.recent)
        for older, newer in zip(reversed(read_[:-1]), reversed(read_[1:])):
            if older.parsed is not None and line.before == older.parsed.hash:
                return _FaultError(newer.at, "it was inserted: the line behind it follows the one before it")
        first = read_[0].parsed
        if first is not None and (line.n, line.before) == (first.n, first.before):
            return _FaultError(read_[0].at, "it was inserted: the line behind it is the first")
        return None

    def _comes_later(self, last: Line, one: _Read) -> bool:
        """Whether what follows `last` stands further behind, or nothing ever followed it."""
        if self.head is not None and (self.head.n, self.head.hash, self.head.key) == (
            last.n,
            last.hash,
            self.key,
        ):
            return True
        later = (read_.parsed for read_ in self._all(one.at))
        following = (line for line, _ in zip(later, range(_MOST_INSERTED)) if line is not None)
        return any((line.n, line.before) == (last.n + 1, last.hash) for line in following)

    def _vouched_by(self, line: Line, behind: _Read | None) -> bool:
        """Whether a line is as the next one, or the head, has it."""
        if behind is not None:
            return behind.parsed is not None and behind.parsed.before == line.hash
        return self.head is not None and self.head.key == self.key and self.head.hash == line.hash

    # --- the end ----------------------------------------------------------------------------------

    def _finish(self) -> None:
        last, end = self._last, self._end()
        if self.known is not None and not self._stands(*self.known):
            raise _FaultError(end, f"number {self.known[0]} is not there as it was kept elsewhere")
        if self.head is None:
            if last is not None or self.torn:
                raise _FaultError(
                    end, f"{head.FILE} is missing or wrong: whether lines were cut off is not known"
                )
            return
        if self.head.key != self.key:
            raise _FaultError(end, f"{head.FILE} is signed by another key: lines may have been cut off")
        found = last.n if last else 0
        if self.head.n > found:
            at = self.torn[0].at if self.torn else end
            cut = f"{found + 1}" + (f" to {self.head.n}" if self.head.n > found + 1 else "")
            raise _FaultError(replace(at, n=found + 1), f"cut off at the end: number {cut}")
        if not self._stands(self.head.n, self.head.hash):
            raise _FaultError(
                self.recent[-1].at if self.head.n == found else end,
                "it was changed: the signed head has another hash",
            )
        self.vouched = max(self.vouched, self.head.n)
        if found > self.head.n:
            self.remarks.append(
                f"{found - self.head.n} lines at the end are not signed for yet: a process has ended"
            )
        if self.torn:
            self.remarks.append(f"{self.torn[0].at}: a torn line, which the next one that is written repairs")

    def _end(self) -> Position:
        """Behind the last line."""
        if self.recent:
            return replace(self.recent[-1].at, line=self.recent[-1].at.line + 1, n=None)
        return Position(self.files[-1].name if self.files else head.FILE, 1, None)

    def _stands(self, n: int, hash_: str) -> bool:
        """Whether this line is there, or was removed by age."""
        if self.note is not None and n <= int(self.note.fields.get("to_n", 0)):
            return n < int(self.note.fields["to_n"]) or hash_ == self.note.fields.get("to_hash")
        lines = (one.parsed for one in self._all())
        return any(line is not None and (line.n, line.hash) == (n, hash_) for line in lines)
