"""Who may be shown: the records of consent that this server goes by, asked for at its doors and while sessions run.

A source, the donors of an edit, and the person whom a bundle was tuned to each need a record that holds
(engine/consent). It is asked for where a session begins or turns to them, and again several times a second as long as
they are shown (streaming/consent_watch.py).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from engine.config import known
from engine.consent import SCOPES, ConsentError, Kind, Record, Store, cover, fault
from engine.consent.bundled import cover_bundle
from engine.consent.checking import WAY
from engine.consent.given import STATEMENTS, given
from engine.consent.words import MOST_STATEMENT, checked_line
from engine.denied import Denied
from engine.errors import BundleError, ConfigError, StateError
from engine.generators import find_bundle
from engine.self_check import Result
from engine.worker.interface import held_by
from streaming.denials import Denials
from streaming.tokens import ROOM_STREAM

FIELDS: Final = ("kind", "shown", "attested_by", "statement", "scope", "expires")
"""What is asked about a source, by the names that pages, forms and addresses use."""
KINDS: Final = tuple(kind.value for kind in Kind if kind is not Kind.SAMPLE)
WAYS: Final = f"{WAY}; over HTTP ?kind=KIND&attested_by=WHO in the address"
"""How it is recorded who allows a source: at the server, and by a page or a program."""
NEXT: Final = "; next step: choose another portrait, or add this one again with who allows it"
_log = logging.getLogger("marotte.consent")
_ALL: Final = ("live", "call", "render", "train")


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody says of a source. expires: UTC; None is never."""

    kind: Kind
    shown: str
    attested_by: str
    statement: str
    scope: tuple[str, ...] = SCOPES
    expires: datetime | None = None

    def put(self, store: Store, sources: Sequence[str], /) -> Record:
        """See Says."""
        return store.attest(
            sources,
            self.kind,
            shown=self.shown,
            attested_by=self.attested_by,
            statement=self.statement,
            scope=self.scope,
            expires=self.expires,
        )

    def accepting(self, names: Sequence[str]) -> Given:
        """The same, with the names of acceptances that were given with it."""
        if not names:
            return self
        return replace(
            self, statement=f"{self.statement} Accepted by name: {', '.join(names)}."[:MOST_STATEMENT]
        )


def read_given(told: Mapping[str, str]) -> Given | None:
    """From FIELDS by name; None where none of them is there. Raises ConfigError for what a record cannot hold."""
    if not any(name in told for name in FIELDS):
        return None
    if "kind" not in told:
        raise ConfigError(f"kind: got none, expected one of {', '.join(KINDS)}: why this source may be used")
    kind = Kind(known(told["kind"], KINDS, "kind"))
    by = checked_line(told.get("attested_by"), "attested_by", "the name of who says that it may be used")
    shown = told.get("shown") or {Kind.MYSELF: by, Kind.GENERATED: "nobody"}.get(kind)
    statement = told.get("statement") or (None if kind is Kind.WRITTEN else STATEMENTS[kind])
    return Given(
        kind,
        checked_line(shown, "shown", "who is shown, or which work"),
        by,
        checked_line(statement, "statement", "one line: where the written consent is kept", MOST_STATEMENT),
        _scope(told.get("scope")),
        _expires(told.get("expires")),
    )


def _scope(told: str | None) -> tuple[str, ...]:
    names = [name for name in (told or "").split(",") if name]
    allowed = {known(name, SCOPES, "scope") for name in names}
    return tuple(name for name in SCOPES if name in allowed) if allowed else SCOPES


def _expires(told: str | None) -> datetime | None:
    """A day, which is the last one, or a moment. Raises ConfigError."""
    if not told:
        return None
    try:
        time = datetime.fromisoformat(told)
    except ValueError as error:
        raise ConfigError(f"expires: got {told[:40]!r}, expected a day as 2027-01-31, or a time") from error
    if len(told) == 10:
        return time.replace(tzinfo=UTC) + timedelta(days=1)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


BY_STATEMENT: Final = "written:as stated"
"""The consent of an operator who gives a statement alone."""


def use_of(stream: str) -> str:
    """What a session of this stream uses its sources for: one of SCOPES."""
    return "call" if ROOM_STREAM in stream else "live"


@dataclass(frozen=True, slots=True)
class Stated:
    """What the operator says by options: `consent` as engine.consent.given reads it, and one line of their own."""

    consent: str | Path
    statement: str | None = None

    def put(self, store: Store, sources: Sequence[str], /) -> Record:
        """See Says."""
        return given(self.consent).put(store, sources, self.statement)


class Says(Protocol):
    """What somebody says of a source, whose record it becomes: `Given` here, and engine.consent.given of options."""

    def put(self, store: Store, sources: Sequence[str], /) -> Record:
        """Record it for these hashes. Blocks. Raises ConfigError, ConsentError, StateError."""
        ...


class Consents:
    """Of one server. For any thread. store: None is this installation's. bundles: those that it was started with."""

    def __init__(self, store: Store | None = None, bundles: Sequence[str | Path] = ()) -> None:
        self.store = store or Store()
        self.denials = Denials(Denied(self.store.state))
        """What is not shown whatever was consented to."""
        self.denials.pictures_of = self.pictures_of
        self._lock = threading.Lock()
        self._pictures: dict[str, tuple[str, ...]] = {}
        self._folders: dict[str, Path] = {}
        self._taken: dict[str, Path] = {}
        self._found: dict[tuple[str, str], tuple[Record, ...] | str] = {}
        self._stamp: Hashable = None
        for bundle in bundles:
            self._know_bundle(bundle)
        self._tell_operator()

    def _tell_operator(self) -> None:
        """What is wrong in the folder, before anybody is refused for it."""
        try:
            for remark in self.store.remarks():
                _log.warning("consent: %s", remark)
        except StateError as error:
            _log.error("%s", error)

    def _know_bundle(self, bundle: str | Path) -> None:
        try:
            folder = find_bundle(bundle)
        except (BundleError, ConfigError):  # whoever opens it says so
            return
        if folder is not None:
            self.know_bundle(folder.name, folder)

    def know_bundle(self, name: str, folder: Path) -> None:
        """A bundle that is offered by this name may hold a person."""
        with self._lock:
            self._folders[name] = folder

    def know(self, source: str, pictures: Sequence[str], bundle: Path | None = None) -> None:
        """The pictures of a source of several: whoever may use each of them may use it. bundle: that it was taken out
        of, whose person's consent counts for it."""
        with self._lock:
            if pictures or source not in self._pictures:  # its bytes say how many: none is no news of them
                self._pictures[source] = tuple(pictures)
            if bundle is not None:
                self._taken[source] = bundle

    def pictures_of(self, source: str) -> tuple[str, ...]:
        """SHA-256 of each photo of a source of several, as it was told."""
        with self._lock:
            return self._pictures.get(source, ())

    def attest(self, source: str, pictures: Sequence[str], says: Says) -> Record:
        """Record what was said of a source, of several pictures perhaps, those that are known of it among them. Blocks.
        Raises as Says.put does."""
        self.know(source, pictures)
        return says.put(self.store, (source, *self.pictures_of(source)))

    def check(self, source: str, use: str, name: str = "the source") -> tuple[Record, ...]:
        """The records by which it may be used now. Blocks for as long as a look at a folder takes. Raises ConsentError
        with the next step, and StateError."""
        bundle = self._taken.get(source)
        if bundle is not None and (found := cover_bundle(bundle, use, self.store)):
            return found
        return cover(source, use, self.store, pictures=self._pictures.get(source, ()), name=name, way=WAYS)

    def check_bundle(self, bundle: str, use: str) -> tuple[Record, ...]:
        """The same of the person in a bundle, by the name that it is offered by; none where it is nobody's."""
        folder = self._folders.get(bundle)
        return () if folder is None else cover_bundle(folder, use, self.store)

    def faults(self, sources: Collection[str], use: str) -> dict[str, str]:
        """Which of these may not be shown now, each with the reason, that of the deny-list before that of consent; a
        bundle is asked for as `held_by` names it. Blocks as `check` does; what was found is kept until a record, or its
        time, changes. Never raises: in doubt nothing may be shown."""
        return self.all_faults([(sources, use)])[0]

    def all_faults(self, asked: Sequence[tuple[Collection[str], str]]) -> list[dict[str, str]]:
        """The same of several, each with its use, by one look at the folder."""
        why = self._renew()
        return [
            dict.fromkeys(sources, why) if why else self._faults(sources, use) | self.denials.faults(sources)
            for sources, use in asked
        ]

    def _renew(self) -> str:
        """Forget what was found once the folder is another; why it cannot be looked at, or nothing."""
        try:
            stamp = self.store.stamp()
        except StateError as error:
            return str(error)
        with self._lock:
            if stamp != self._stamp:
                self._stamp, self._found = stamp, {}
        return ""

    def _faults(self, sources: Collection[str], use: str) -> dict[str, str]:
        with self._lock:
            found = dict(self._found)
        told: dict[str, str] = {}
        for source in sources:
            known_as = found.get((source, use))
            if known_as is None or self._over(known_as, use):
                known_as = self._look(source, use)
                with self._lock:
                    self._found[source, use] = known_as
            if isinstance(known_as, str):
                told[source] = known_as
        return told

    def records(self, sources: Collection[str], use: str) -> tuple[Record, ...]:
        """The records by which these are shown, asked for as `faults` is; none of who is at fault."""
        self.faults(sources, use)
        with self._lock:
            found = [self._found.get((source, use), ()) for source in sorted(sources)]
        return tuple(dict.fromkeys(one for each in found if not isinstance(each, str) for one in each))

    def own_word(self, source: str) -> Record | None:
        """The record by which whoever is shown says that it is them, where it is by such a one that a source is."""
        found = (one for use in _ALL if not self.faults([source], use) for one in self.check(source, use))
        return next((one for one in found if one.kind is Kind.MYSELF), None)

    def checked(self, source: str, result: Result) -> Record:
        """A new record in place of that: the same, with what a self check of this source came to, which it names: it
        may be of more pictures than the one that was compared. Blocks. Raises ConsentError where there is none any
        more, and StateError."""
        former = self.own_word(source)
        if former is None:
            raise ConsentError("self check: the consent to this portrait has ended meanwhile")
        told = result.told(datetime.now(UTC)) | {"source": source}
        made = self.store.attest(
            former.sources,
            former.kind,
            shown=former.shown,
            attested_by=former.attested_by,
            statement=former.statement,
            scope=former.scope,
            expires=former.expires,
            self_check=told,
        )
        self.store.revoke(former.id, f"replaced by record {made.id}, after a self check")
        return made

    def visible(self, source: str) -> bool:
        """Whether a source may be shown at all, for whichever use."""
        return any(not self.faults([source], use) for use in _ALL)

    def told(self, source: str) -> dict[str, Any] | None:
        """What the operator's page is told of the consent to a source, of a self check only that of this source; None
        where nobody's is recorded."""
        try:
            record = next(iter(self._covering(source)), None) or self.store.find(source)
            return None if record is None else told_record(record, self.store) | _checked_of(record, source)
        except StateError:  # whoever shows it is told
            return None

    def told_state(self, source: str) -> dict[str, str]:
        """What everybody else is told of it: whether it may be shown, neither by whose word nor why not."""
        return {"state": "valid" if self.visible(source) else "withdrawn"}

    def _covering(self, source: str) -> tuple[Record, ...]:
        for use in _ALL:
            try:
                return self.check(source, use)
            except ConsentError:
                continue
        return ()

    def _over(self, known_as: tuple[Record, ...] | str, use: str) -> bool:
        """Whether what was found has to be looked for again: its time has come."""
        if isinstance(known_as, str):
            return False
        now = datetime.now(UTC)
        try:
            return any(fault(record, use, self.store, now) is not None for record in known_as)
        except StateError:  # whoever looks says so
            return True

    def _look(self, source: str, use: str) -> tuple[Record, ...] | str:
        bundle = source.removeprefix(held_by(""))
        try:
            return self.check_bundle(bundle, use) if bundle != source else self.check(source, use)
        except (ConsentError, StateError, BundleError) as error:
            return str(error)


def _checked_of(record: Record, source: str) -> dict[str, Any]:
    """One that names no source counts where the record is of no other."""
    found = record.self_check
    only = record.sources[0] if len(record.sources) == 1 else ""
    counts = found is not None and found.get("source", only) == source
    return {"self_check": dict(found) if found is not None and counts else None}


def told_record(record: Record, store: Store) -> dict[str, Any]:
    """A record as the API tells it: all that was signed, and how it stands."""
    revoked = store.revoked(record.id)
    expired = record.expires is not None and datetime.now(UTC) >= record.expires
    state = "revoked" if revoked is not None else "expired" if expired else "valid"
    ended = None if revoked is None else {"time": revoked.time.isoformat(), "why": revoked.why}
    signed = {name: value for name, value in record.signed.items() if name not in ("format", "key")}
    return {"id": record.id, "state": state} | signed | {"revoked": ended}
