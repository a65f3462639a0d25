"""The sub-commands of the engine, and what all of them share. Nothing heavy is imported before one is run."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.render import Progress


def sub_command(commands: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> Any:
    """A parser with what every command takes; `run` is what it does, and its answer the exit status. Plans are looked
    for in the cache that is named, beside the models."""

    def run_there(options: argparse.Namespace) -> int | None:
        if options.cache is None:
            return run(options)
        from engine.plans.policy import plans_in

        with plans_in(options.cache):
            return run(options)

    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run_there)
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder of the models (default: the user's cache)"
    )
    return parser


def add_backend(parser: Any) -> None:
    """--backend."""
    parser.add_argument(
        "--backend",
        default="auto",
        metavar="NAME",
        help="what runs the networks: openvino, onnxruntime, on a GPU tensorrt, tensorrt_rtx, onnxruntime_cuda, or "
        "auto, which says its choice (default)",
    )


def add_accept(parser: Any) -> None:
    """--accept."""
    parser.add_argument(
        "--accept", action="append", default=[], metavar="NAME", help="accept a bundle's terms of this name"
    )


def add_consent(parser: Any) -> None:
    """--consent."""
    parser.add_argument(
        "--consent",
        metavar="KIND[:WHO]|FILE",
        help="why what is shown may be: myself, generated, artwork:TITLE, written:NAME, or a record's file; it is "
        "recorded (docs/consent.md)",
    )


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A bar with the time left on a terminal; quiet elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)

        def advance(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield advance
