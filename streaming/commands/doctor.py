"""`marotte doctor`."""

from __future__ import annotations

import argparse
from typing import Any

from engine.commands import add_backend, sub_command


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = sub_command(commands, "doctor", _doctor, "say what is broken on this machine, and its fix")
    parser.add_argument(
        "--port", type=int, metavar="N", help="the port that serve is to take (default: its own default)"
    )
    add_backend(parser)


def _doctor(options: argparse.Namespace) -> int:
    from engine import doctor as rendering
    from streaming import doctor as live
    from streaming.config import DEFAULT_PORT

    port = DEFAULT_PORT if options.port is None else options.port
    sound = True
    for findings in (
        rendering.examine(cache=options.cache, backend=options.backend),
        live.examine(port=port, cache=options.cache, backend=options.backend),
    ):
        for finding in findings:
            print(finding)
            sound &= finding.ok
    return 0 if sound else 1
