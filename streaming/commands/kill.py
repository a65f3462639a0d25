"""`marotte kill`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, Final

from engine.commands import sub_command
from streaming.commands.secret import read_token

WITHIN_S: Final = 2.0
"""In which every process that looks has to have seen it."""


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = sub_command(
        commands,
        "kill",
        _kill,
        "stop all output of everything that runs here, at once and until it is released",
    )
    parser.add_argument("--why", metavar="TEXT", help="one line; needed to release")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--release", action="store_true", help="let sessions be opened again")
    what.add_argument("--status", action="store_true", help="only say how it is")
    parser.add_argument(
        "--server",
        metavar="URL",
        help="another machine's or user's server, as http://127.0.0.1:8765, by its API",
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds that server's token (or MAROTTE_TOKEN)"
    )


def _kill(options: argparse.Namespace) -> int:
    from engine.errors import ConfigError
    from streaming.kill import UNSAID, checked_why

    if options.release and options.why is None:
        raise ConfigError(
            "why: got none, expected one line that says why output may begin again (--why TEXT)"
        )
    why = checked_why(UNSAID if options.why is None else options.why)
    if options.server is not None:
        return _remote(options, why)
    return _status() if options.status else _release(why) if options.release else _here(why)


def _here(why: str) -> int:
    """By the state's folder: whatever looks at it ends, however busy it is."""
    from engine.errors import StateError
    from engine.session_log import SessionLog
    from engine.state import state_folder
    from streaming.kill import KillSwitch, watching

    folder, failed = state_folder(), None
    try:
        KillSwitch(folder, what="command", log=SessionLog(folder / "session_log")).kill(why, "marotte kill")
    except StateError as error:
        failed = error
    until = time.monotonic() + WITHIN_S
    seen = watching(folder)
    while not all(one.killed for one in seen) and time.monotonic() < until:
        time.sleep(0.02)
        seen = watching(folder)
    if failed is not None:
        raise failed
    if not seen:
        print(
            f"marotte: killed, and kept in {folder}, but nothing that runs looks there: a server of another user, or "
            "with another MAROTTE_STATE, goes on; reach it with --server URL",
            file=sys.stderr,
        )
        return 1
    late = [one for one in seen if not one.killed]
    for one in seen:
        print(f"{one.what}, process {one.pid}: {'silent' if one.killed else 'has not answered'}")
    if late:
        pids = " ".join(str(one.pid) for one in late)
        print(
            f"marotte: {len(late)} did not answer within {WITHIN_S:g} s; end them: kill -9 {pids}",
            file=sys.stderr,
        )
        return 1
    print("marotte: nothing leaves until it is released: marotte kill --release --why TEXT", file=sys.stderr)
    return 0


def _release(why: str) -> int:
    from engine.session_log import Event, SessionLog
    from engine.state import state_folder
    from streaming.kill import KillSwitch

    folder = state_folder()
    switch = KillSwitch(folder, what="command")
    if not switch.killed:
        print("marotte: it was not killed", file=sys.stderr)
        return 0
    SessionLog(folder / "session_log").write(Event.RELEASED, what="command", why=why, by="marotte kill")
    switch.release()
    print("marotte: released; sessions may be opened again", file=sys.stderr)
    return 0


def _status() -> int:
    from engine.state import state_folder
    from streaming.kill import KillSwitch, watching

    folder = state_folder()
    told = KillSwitch(folder).told
    print(
        "not killed"
        if told is None
        else f"killed {told.at or 'at a time that is not known'}: {told.why} ({told.by})"
    )
    for one in watching(folder):
        print(f"{one.what}, process {one.pid}: {'silent' if one.killed else 'may send'}")
    return 0


def _remote(options: argparse.Namespace, why: str) -> int:
    from streaming.asked import ask

    method = "GET" if options.status else "DELETE" if options.release else "POST"
    token = read_token(options.token_file)
    told = ask(options.server, method, "/api/v1/kill", token, {} if options.status else {"why": why})
    if told["killed"]:
        print(f"killed {told.get('since') or ''}: {told.get('why')} ({told.get('by')})")
    else:
        print("not killed")
    return 0
