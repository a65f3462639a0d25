"""`marotte report`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.commands import add_backend, sub_command
from streaming.commands.secret import read_token

if TYPE_CHECKING:
    from engine.findings import Check


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = sub_command(
        commands, "report", _report, "collect what a bug report needs: no pictures, no tokens, no names"
    )
    parser.add_argument(
        "--server",
        metavar="URL",
        help="a running server, as http://127.0.0.1:8765: its settings, health and metrics",
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds the server's token (or MAROTTE_TOKEN)"
    )
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="where the server's standard error was led to"
    )
    parser.add_argument(
        "--no-doctor", action="store_true", help="do not examine this machine, which takes a while"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="a text, or .zip for a file each (marotte-report-TIME.txt)"
    )
    add_backend(parser)


def _report(options: argparse.Namespace) -> None:
    from streaming import bug_report as report

    token = read_token(options.token_file)
    clean = report.redactor(token)
    parts = [report.guarded("versions", "versions", report.versions)]
    if options.server is not None:
        parts += report.server(options.server, token, clean)
    if options.log is not None:
        parts.append(report.log(options.log, clean))
    if not options.no_doctor:
        parts.append(_doctor(options, clean))
    path = options.out or Path(time.strftime("marotte-report-%Y%m%d-%H%M%S.txt"))
    report.written(parts, path)
    print(f"marotte: wrote {path}:")
    for part in parts:
        lines = part.text.count("\n") + 1
        print(f"  {part.name}: {part.about} ({lines} line{'s' if lines != 1 else ''})")
    print("Tokens, accounts, addresses, names and paths were taken out. Read it before you send it.")


def _doctor(options: argparse.Namespace, clean: Any) -> Any:
    from engine import doctor as rendering
    from engine.findings import examined
    from streaming import bug_report as report
    from streaming import doctor as live

    def looked() -> report.Part:
        checks = [
            *rendering.checks(cache=options.cache, backend=options.backend),
            *live.checks(cache=options.cache, backend=options.backend),
        ]
        return report.findings(examined(checks, _waiting), clean)

    return report.guarded("doctor", "what `marotte doctor` found", looked)


def _waiting(check: Check) -> None:
    print(f"marotte: looking at {check.piece}, for {check.most_s:g} s at most", file=sys.stderr, flush=True)
