"""`marotte log`: what the session log says, and whether it is as it was written."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

from engine.commands import sub_command


def add(commands: Any) -> None:
    """Add the command's parser, with one of its own for each thing that can be done."""
    parser = commands.add_parser(
        "log",
        help="check, show, prune or copy the session log",
        description="The session log of this installation.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    verify = _action(
        actions, "verify", _verify, "look whether a line was changed, removed or inserted: status 1"
    )
    verify.add_argument("--key", default="", metavar="HEX", help="the public key that has to have signed it")
    verify.add_argument(
        "--known",
        metavar="N:HASH",
        help="a line's number and hash that were kept elsewhere, as serve prints them",
    )
    show = _action(actions, "show", _show, "print lines, the oldest first")
    show.add_argument("--last", type=int, default=0, metavar="N", help="only the last N (all)")
    show.add_argument(
        "--event", action="append", default=[], metavar="E", help="only this event; several, by one each"
    )
    show.add_argument(
        "--session", default="", metavar="HASH", help="only what names this session, or its first digits"
    )
    show.add_argument("--json", action="store_true", help="as it stands in the files, one JSON object a line")
    prune = _action(actions, "prune", _prune, "remove whole files of old lines, and keep a signed note of it")
    prune.add_argument("--days", type=int, required=True, metavar="N", help="what is older is removed")
    export = _action(actions, "export", _export, "copy the log to a new folder, where `verify` reads it too")
    export.add_argument("out", type=Path, metavar="DIR", help="the new folder")


def _action(actions: Any, name: str, run: Any, text: str) -> Any:
    parser = sub_command(actions, name, run, text)
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="the log's folder (default: session_log in the state's folder)",
    )
    return parser


def _folder(options: argparse.Namespace) -> Path:
    from engine.session_log import log_folder

    return options.folder or log_folder()


def _verify(options: argparse.Namespace) -> int:
    from engine.session_log import verify
    from engine.state import state_folder

    key = options.key
    if not key and options.folder is None:
        from engine.signing import operator

        key = operator(state_folder()).public
    found = verify(_folder(options), key=key, known=_known(options.known))
    for remark in found.remarks:
        print(f"note: {remark}")
    if found.bad is not None:
        print(f"{found.bad}: {found.why}")
        print(f"{found.lines} lines before it are in order; up to number {found.vouched} they are signed for")
        return 1
    n, hash_ = found.last
    signed = f"signed by {found.key}" if found.key else "not signed"
    print(f"{found.lines} lines are in order, {signed}; the last is {n}:{hash_}")
    if not options.key and options.folder is not None and found.key:
        print(
            "note: the key was taken from the log itself; compare it with one that you know, or give it by --key"
        )
    return 0


def _known(text: str | None) -> tuple[int, str] | None:
    from engine.errors import ConfigError

    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,18}):([0-9a-f]{64})", text)
    if match is None:
        raise ConfigError(
            f"known: got {text[:100]!r}, expected a line's number, a colon and its hash (64 hex digits)"
        )
    return int(match[1]), match[2]


def _show(options: argparse.Namespace) -> None:
    from collections import deque

    from engine.session_log.events import event_of
    from engine.session_log.reading import Entry, entries

    events = {event_of(name).value for name in options.event}

    def wanted(entry: Entry) -> bool:
        line = entry.line
        if line is None:
            return not events and not options.session
        session = str(line.fields.get("session", ""))
        return (not events or line.event in events) and session.startswith(options.session)

    found = (entry for entry in entries(_folder(options)) if wanted(entry))
    for entry in deque(found, options.last) if options.last > 0 else found:
        print(entry.text if options.json else entry.told)


def _prune(options: argparse.Namespace) -> None:
    from engine.errors import InputError
    from engine.media.wording import one_line
    from engine.session_log import SessionLog

    folder = _folder(options)
    if not folder.is_dir():
        raise InputError(f"{one_line(folder)}: expected the folder of a session log, and there is none")
    pruned = SessionLog(folder).prune(options.days)
    if not pruned.files:
        print(f"no file of more than {options.days} days ago is there")
        return
    print(f"removed {pruned.lines} lines in {pruned.files} files, up to number {pruned.to_n}")


def _export(options: argparse.Namespace) -> None:
    from engine.session_log.reading import export

    files = export(_folder(options), options.out)
    print(f"marotte: {files} files in {options.out}", file=sys.stderr)
