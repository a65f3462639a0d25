"""`marotte deny`: what this installation does not use, by a decision of its operator."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.commands import add_backend

if TYPE_CHECKING:
    from engine.denied import Denied, Entry

_SUM = re.compile(r"[0-9a-fA-F]{64}")


def add(commands: Any) -> None:
    """Add the command's parser."""
    text = "the deny-list: sources that are not used here, known again by their bytes and by what they show"
    parser = commands.add_parser("deny", help=text, description=text)
    below = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    adding = _action(below, "add", _add, "deny a source; what shows it live turns grey within seconds")
    adding.add_argument(
        "what",
        nargs="*",
        metavar="FILE|SOURCE_ID",
        help="photos of one person, a clip, or what a source is called",
    )
    adding.add_argument(
        "--sha", action="append", default=[], metavar="SHA256", help="of a file, where there is none"
    )
    adding.add_argument("--why", required=True, metavar="TEXT", help="one line: on whose report, and when")
    adding.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder of the models (default: the user's cache)"
    )
    add_backend(adding)
    listing = _action(below, "list", _list, "every entry, a line each")
    listing.add_argument("--json", action="store_true", help="as JSON, an entry a line")
    removing = _action(below, "remove", _remove, "take an entry out")
    removing.add_argument("entry", metavar="ID", help="as marotte deny list has it")
    asking = _action(below, "check", _check, "say which entry a file is like, and how much")
    asking.add_argument("files", nargs="+", type=Path, metavar="FILE", help="pictures or clips")
    _action(
        below,
        "reports",
        _reports,
        "sources whose face is like a denied one's by shape, which is often chance",
    )
    _action(below, "prune", _prune, "delete templates of face shapes whose time is over")
    shapes = _action(
        below, "shapes", _shapes, "whether templates of face shapes are made: biometric data, off by default"
    )
    shapes.add_argument(
        "keep", metavar="DAYS|off", help="make them and keep each so long, or delete them all"
    )


def _action(below: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> Any:
    parser = below.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _add(options: argparse.Namespace) -> None:
    from engine.denied import Denied
    from engine.denied.takedown import take_down

    files = [Path(one) for one in options.what if not _SUM.fullmatch(one) or Path(one).exists()]
    sums = [one for one in options.what if Path(one) not in files] + options.sha
    denied = Denied()
    taken = take_down(
        denied,
        options.why,
        files=files,
        sums=sums,
        opening=_opening(options) if denied.keeps_shapes() else None,
    )
    print(taken.entry.id)
    print(f"marotte: denied as {taken.entry.id}: {_known_by(taken.entry)}", file=sys.stderr)
    for record in taken.revoked:
        print(f"marotte: consent {record[:8]} to it is revoked", file=sys.stderr)
    if not taken.entry.hashes and not len(taken.entry.frames):
        print(
            "marotte: by its bytes alone: a copy that was coded anew is not known; give the file, or deny it at the "
            "server that shows it (POST /api/v1/denied)",
            file=sys.stderr,
        )


def _opening(options: argparse.Namespace) -> Any:
    from engine.puppet import Opening

    return Opening(options.backend, cache=options.cache)


def _list(options: argparse.Namespace) -> None:
    import json

    from engine.denied import Denied
    from engine.denied.takedown import told

    for entry in Denied().all():
        if options.json:
            print(json.dumps(told(entry), ensure_ascii=False))
        else:
            print(f"{entry.id}  {entry.added:%Y-%m-%d}  {_known_by(entry)}  {entry.why}")


def _remove(options: argparse.Namespace) -> int:
    from engine.denied import Denied
    from engine.session_log import Event, SessionLog

    if not Denied().remove(options.entry):
        print(f"marotte: there is no entry {options.entry}", file=sys.stderr)
        return 1
    SessionLog().write(Event.DENIAL_LIFTED, entry=options.entry, by="operator")
    return 0


def _check(options: argparse.Namespace) -> int:
    from engine.denied import Denied
    from engine.denied.reading import matches_of

    denied, found = Denied(), 0
    for path in options.files:
        match = matches_of(path, denied)
        found += match is not None
        if match is None:
            print(f"{path}: not denied")
        else:
            apart = f", {match.apart:g} of 256 bits apart" if match.how == "picture" else ""
            print(f"{path}: entry {match.entry.id}, by its {match.how}{apart}")
    return 1 if found else 0


def _reports(options: argparse.Namespace) -> None:
    from engine.denied import Denied

    for one in Denied().reports():
        print(f"{one.time:%Y-%m-%d %H:%M:%S}  entry {one.entry}  {10 * one.apart:.2f} mm apart  {one.source}")


def _prune(options: argparse.Namespace) -> None:
    from engine.denied import Denied
    from engine.session_log import Event, SessionLog

    deleted = Denied().prune()
    if deleted:
        SessionLog().write(Event.TEMPLATE_DELETED, count=deleted, why="its time is over")
    print(f"marotte: {deleted} template{'' if deleted == 1 else 's'} deleted", file=sys.stderr)


def _shapes(options: argparse.Namespace) -> None:
    from engine.config import known
    from engine.denied import Denied
    from engine.session_log import Event, SessionLog

    denied: Denied = Denied()
    if not options.keep.isdigit():
        known(options.keep, ("off",), "keep")
    days = 0 if options.keep == "off" else int(options.keep)
    deleted = denied.keep_shapes(days)
    log = SessionLog()
    if days:
        log.write(Event.PROTECTION_LOWERED, what="templates of face shapes", days=days)
        print(
            f"marotte: of what is denied from now on a template of the face's shape is kept for {days} days",
            file=sys.stderr,
        )
    else:
        log.write(Event.TEMPLATE_DELETED, count=deleted, why="turned off")
        print(f"marotte: none is made; {deleted} deleted, and the salt with them", file=sys.stderr)


def _known_by(entry: Entry) -> str:
    parts = [(len(entry.sha256s), "file"), (len(entry.hashes), "picture"), (len(entry.frames), "frame")]
    told = [f"{count} {name}{'s' if count != 1 else ''}" for count, name in parts if count]
    if entry.template is not None:
        told.append(f"a shape until {entry.template.until:%Y-%m-%d}")
    return ", ".join(told)
