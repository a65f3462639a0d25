"""`marotte doctor`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from engine.commands import add_backend, sub_command

if TYPE_CHECKING:
    from engine.findings import Check


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = sub_command(commands, "doctor", _doctor, "say what is broken on this machine, and its fix")
    parser.add_argument(
        "--port", type=int, metavar="N", help="the port that serve is to take (default: its own default)"
    )
    add_backend(parser)


def _doctor(options: argparse.Namespace) -> int:
    from engine import doctor as rendering
    from engine.findings import examined
    from streaming import doctor as live
    from streaming.config import DEFAULT_PORT

    port = DEFAULT_PORT if options.port is None else options.port
    checks = [
        *rendering.checks(cache=options.cache, backend=options.backend),
        *live.checks(port=port, cache=options.cache, backend=options.backend),
    ]
    sound = True
    for finding in examined(checks, _waiting):
        print(finding, flush=True)
        sound &= finding.ok
    return 0 if sound else 1


def _waiting(check: Check) -> None:
    print(f"marotte: looking at {check.piece}, for {check.most_s:g} s at most", file=sys.stderr, flush=True)
