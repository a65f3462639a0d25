"""`marotte consent`: who allows what to be shown of whom."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.consent import Record, Store

_FILES = "a picture or clip, several of one person, or the folder of a bundle"
_WHICH = "a record's id or its beginning, or a file or bundle that it is for"


def add(commands: Any) -> None:
    """Add the command's parser."""
    text = "records of consent: who allows which portrait to be used, for what, and until when"
    parser = commands.add_parser("consent", help=text, description=text)
    below = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_add(below)
    listing = _action(below, "list", _list, "all records of this installation, a line each")
    listing.add_argument("--json", action="store_true", help="as one JSON array, with what was revoked")
    _add_which(_action(below, "show", _show, "a record with all that it says"))
    revoking = _action(below, "revoke", _revoke, "end it for good: what is shown live fades within seconds")
    _add_which(revoking)
    revoking.add_argument(
        "--why", required=True, metavar="TEXT", help="one line, which is kept for good: no names"
    )
    checking = _action(
        below,
        "verify",
        _verify,
        "look whether records, or files of them, are sound and hold: status 1 if not sound",
    )
    checking.add_argument(
        "which", nargs="*", metavar="RECORD", help="a record's file, or what it is for (all)"
    )
    exporting = _action(below, "export", _export, "a record as a file for another installation")
    _add_which(exporting)
    exporting.add_argument("--out", required=True, type=Path, metavar="FILE.json", help="file to write")
    importing = _action(below, "import", _import, "let a record from elsewhere count here, countersigned")
    importing.add_argument(
        "file", type=Path, metavar="FILE.json", help="of marotte consent export, or of a bundle"
    )


def _action(below: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> Any:
    parser = below.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _add_which(parser: Any) -> None:
    parser.add_argument("which", metavar="RECORD", help=_WHICH)


def _add_add(below: Any) -> None:
    parser = _action(below, "add", _add, "record that somebody allows the use of a source")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=_FILES)
    parser.add_argument(
        "--kind",
        required=True,
        metavar="K",
        help="myself, generated, artwork or written (written consent held)",
    )
    parser.add_argument("--shown", metavar="NAME", help="who is shown, or which work")
    parser.add_argument("--by", metavar="NAME", help="who attests it (the operator)")
    parser.add_argument(
        "--statement", metavar="TEXT", help="one line: who allows what, and where that is kept"
    )
    parser.add_argument(
        "--scope", metavar="LIST", help="some of live,call,render,train: what is allowed (all of them)"
    )
    parser.add_argument("--expires", metavar="DATE", help="the last day, as 2027-01-31, or so many days: 90d")


def _add(options: argparse.Namespace) -> None:
    from engine.consent import SCOPES, Store
    from engine.consent.given import OPERATOR, STATEMENTS, given
    from engine.consent.record import last_day
    from engine.errors import ConfigError

    said = given(f"{options.kind}:{options.shown or ''}")
    if said.kind is None:
        raise ConfigError(f"kind: got {options.kind!r}, expected myself, generated, artwork or written")
    record = Store().attest(
        _hashes(options.files),
        said.kind,
        shown=said.shown,
        attested_by=options.by or OPERATOR,
        statement=options.statement or STATEMENTS[said.kind],
        scope=SCOPES if options.scope is None else [one.strip() for one in options.scope.split(",")],
        expires=None if options.expires is None else last_day(options.expires),
    )
    print(f"{record.id}: {record.kind}, {record.shown}; {len(record.sources)} hashed")


def _list(options: argparse.Namespace) -> None:
    from engine.consent import Store
    from engine.consent.reading import Exported, line_of

    store = Store()
    if options.json:
        lines = (line_of(Exported(record, revoked=store.revoked(record.id))) for record in store.all())
        print(f"[{f',{chr(10)} '.join(lines)}]")
    else:
        for record in store.all():
            print(
                f"{record.id}  {_standing(record, store)}  {record.kind}: {record.shown}  [{', '.join(record.scope)}]"
            )
    for remark in store.remarks():
        print(f"marotte: {remark}", file=sys.stderr)


def _show(options: argparse.Namespace) -> None:
    from engine.consent import Store

    store = Store()
    for record in _found(options.which, store):
        for line in _lines(record, store):
            print(line)


def _lines(record: Record, store: Store) -> list[str]:
    revoked = store.revoked(record.id)
    lines = [
        f"record       {record.id}",
        f"holds        {_standing(record, store)}",
        f"kind         {record.kind}",
        f"shown        {record.shown}",
        f"attested by  {record.attested_by}",
        f"statement    {record.statement}",
        f"scope        {', '.join(record.scope)}",
        f"made         {record.made.isoformat(timespec='seconds')}",
        f"expires      {'never' if record.expires is None else record.expires.isoformat(timespec='seconds')}",
        f"signed by    {record.key}",
    ]
    if record.self_check is not None:
        checked = ", ".join(f"{name} {value}" for name, value in record.self_check.items())
        lines.append(f"self check   {checked}")
    if revoked is not None:
        lines.append(f"revoked      {revoked.time.isoformat()}: {revoked.why}")
    return lines + [f"source       {source}" for source in record.sources]


def _standing(record: Record, store: Store) -> str:
    return _ended(record, store) or "holds"


def _ended(record: Record, store: Store) -> str | None:
    """Of any use that it allows: whether it was revoked, or has expired."""
    from engine.consent import fault

    return fault(record, record.scope[0], store)


def _revoke(options: argparse.Namespace) -> None:
    from engine.consent import Store
    from engine.consent.record import is_id

    store = Store()
    ids = [options.which] if is_id(options.which) else [one.id for one in _found(options.which, store)]
    for one in ids:
        store.revoke(one, options.why)
        print(f"{one} is revoked")


def _verify(options: argparse.Namespace) -> int:
    """1 where one is damaged, or does not count here; that one has ended is no fault of it."""
    from engine.consent import Store

    store = Store()
    told = _checked(options.which, store) if options.which else _checked_all(store)
    for one in told:
        print(f"{one.name}: {one.said}")
    return 1 if any(one.wrong for one in told) else 0


@dataclass(frozen=True, slots=True)
class _Told:
    """Of one record, or file. wrong: it is not sound, or no record of this installation."""

    name: str
    said: str
    wrong: bool = False


def _held(name: str, record: Record, store: Store) -> _Told:
    ended = _ended(record, store)
    return _Told(name, "sound, and holds" if ended is None else f"sound, and {ended}")


def _checked_all(store: Store) -> list[_Told]:
    held = [_held(record.id, record, store) for record in store.all()]
    return [*held, *(_Told("state", remark, wrong=True) for remark in store.remarks())]


def _checked(which: Sequence[str], store: Store) -> list[_Told]:
    from engine.consent import ConsentError
    from engine.consent.reading import read_file

    told: list[_Told] = []
    for one in which:
        if Path(one).suffix != ".json":
            told += [_held(f"{one}: {record.id}", record, store) for record in _found(one, store)]
            continue
        try:
            found = read_file(Path(one))
        except ConsentError as error:
            told.append(_Told(one, str(error), wrong=True))
            continue
        name = f"{one}: {found.record.id}"
        if not store.vouches(found.record):
            here = "signed by another installation: marotte consent import lets it count here"
            told.append(_Told(name, f"sound, and {here}", wrong=True))
        elif found.revoked is not None:
            told.append(_Told(name, "sound, and was revoked"))
        else:
            told.append(_held(name, found.record, store))
    return told


def _export(options: argparse.Namespace) -> None:
    from engine.consent import Store
    from engine.consent.reading import written
    from engine.errors import ConfigError
    from engine.media.wording import one_line
    from engine.state import write_whole

    store = Store()
    found = _found(options.which, store)
    if len(found) > 1:
        raise ConfigError(f"record: {one_line(options.which)} has {len(found)}, expected the id of one")
    try:
        write_whole(options.out, written(store.exported(found[0].id)))
    except OSError as error:
        raise ConfigError(f"out: {one_line(options.out)} cannot be written ({error.strerror})") from error
    print(f"{options.out} holds record {found[0].id}")


def _import(options: argparse.Namespace) -> None:
    from engine.consent import Store
    from engine.consent.reading import read_file
    from engine.media.wording import one_line

    found, store = read_file(options.file), Store()
    if found.revoked is not None:
        store.take_revocation(found, one_line(options.file))
        print(f"{found.record.id} was revoked ({found.revoked.why}), and from now on here too")
        return
    record = store.take_parsed(found, one_line(options.file))
    print(f"{record.id} counts here: {record.kind}, {record.shown}")


def _hashes(files: Sequence[Path]) -> list[str]:
    """Of each; of a folder as of a bundle. Several hashes are one record's."""
    from engine.bundle import MANIFEST
    from engine.consent.bundled import bundle_hash
    from engine.consent.hashes import hash_of

    return [bundle_hash(one) if (one / MANIFEST).is_file() else hash_of(one) for one in files]


def _found(which: str, store: Store) -> tuple[Record, ...]:
    """By id or its beginning, or by a file. Raises ConsentError where there is none."""
    from engine.consent import ConsentError
    from engine.media.wording import one_line

    found = tuple(one for one in store.all() if len(which) >= 6 and one.id.startswith(which))
    if not found and Path(which).exists():
        (source,) = _hashes([Path(which)])
        found = store.of(source)
    if not found:
        raise ConsentError(f"{one_line(which)}: no record of it is here; marotte consent list shows them")
    return found
