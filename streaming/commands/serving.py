"""`marotte serve` and `marotte run`."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.commands import sub_command
from streaming.commands.serving_options import add_serving, serving_options

if TYPE_CHECKING:
    from streaming.serve import Served

Serve = Callable[..., None]
"""As marotte.serve."""


def add(commands: Any, serve: Serve) -> None:
    """Add both parsers. serve: what they call; the door of the package has it, for scripts as well."""
    _add_run(commands, serve)
    _add_serve(commands, serve)


def _add_serve(commands: Any, serve: Serve) -> None:
    parser = sub_command(
        commands, "serve", partial(_serve, serve), "serve the live page; status 0 when it is stopped"
    )
    parser.add_argument(
        "--source",
        type=Path,
        action="append",
        metavar="S",
        help="portrait or clip (default: the sample); several, by one each, are photos of one person",
    )
    parser.add_argument(
        "--port", type=int, default=None, metavar="N", help="default: 8765; 0 takes a free one"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    many = parser.add_mutually_exclusive_group()
    many.add_argument(
        "--gpus",
        metavar="N,N",
        help="a server of its own on each of these GPUs, behind one door: 0,1 (docs/sessions.md)",
    )
    many.add_argument(
        "--workers", type=int, default=0, metavar="N", help="the same of N servers without a GPU of their own"
    )
    add_serving(parser)


def _add_run(commands: Any, serve: Serve) -> None:
    parser = sub_command(
        commands, "run", partial(_run, serve), "serve the live page, with the sample or SOURCE, and open it"
    )
    parser.add_argument("source", nargs="?", type=Path, metavar="SOURCE", help="default: the sample")
    parser.add_argument("--port", type=int, default=None, metavar="N", help="default: 8765, or a free one")
    parser.add_argument("--no-open", action="store_true", help="do not open the page in the browser")
    add_serving(parser)


def _serve(serve: Serve, options: argparse.Namespace) -> None:
    if options.source and len(options.source) == 1:
        (options.source,) = options.source
    if options.gpus is not None or options.workers:
        _serve_page(_behind_one_door(options), options, False, None)
        return
    _serve_page(serve, options, options.open, None)


def _behind_one_door(options: argparse.Namespace) -> Serve:
    """Serves as the command says, by several servers."""

    def serve_all(source: Any, *, ready: object, **fields: Any) -> None:
        from streaming.front.front import serve_many
        from streaming.serve import served_as

        gpus = [] if options.gpus is None else options.gpus.split(",")
        serve_many(served_as(source, fields), sys.argv[1:], gpus=gpus, workers=options.workers)

    return serve_all


def _run(serve: Serve, options: argparse.Namespace) -> None:
    from streaming.listen import PortTakenError, RunningError

    opens = not options.no_open and _has_display()
    try:
        _serve_page(serve, options, opens, None)
    except PortTakenError as error:
        if options.port is not None:
            raise
        by = (
            "Marotte, which is already running there"
            if isinstance(error, RunningError)
            else "another program"
        )
        print(f"marotte: the usual port is taken by {by}: a free one is used", file=sys.stderr)
        _serve_page(serve, options, opens, 0)


def _serve_page(serve: Serve, options: argparse.Namespace, opens: bool, port: int | None) -> None:
    from streaming.config import DEFAULT_PORT

    def ready(served: Served) -> None:
        if opens:
            import webbrowser

            # not served.url: other users can read a browser's command line
            threading.Thread(target=webbrowser.open, args=(served.passing(),), daemon=True).start()

    if port is None:
        port = DEFAULT_PORT if options.port is None else options.port
    serve(options.source, ready=ready, port=port, **serving_options(options))
    print("marotte: stopped", file=sys.stderr)


def _has_display() -> bool:
    """Whether a browser's window could be seen."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
