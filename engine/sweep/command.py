"""`marotte sweep`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.commands import add_consent
from engine.commands.marks import add_marks, marks_of

if TYPE_CHECKING:
    from engine.sweep.run import Progress

AUS = "12,25,26,1,4,45"


def add(commands: Any) -> None:
    """The parser of the sub-command."""
    text = (
        "draw what a bundle makes of a source: intensities, interpolation, random expressions, masks, edits"
    )
    parser = commands.add_parser("sweep", help=text, description=text)
    parser.set_defaults(run=run)
    parser.add_argument(
        "bundle", nargs="?", metavar="BUNDLE", help="generator: a name, or the folder of a bundle (mesh_flow)"
    )
    parser.add_argument("--bundle", dest="named", metavar="B", help="the same, as other commands take it")
    parser.add_argument(
        "--source",
        required=True,
        action="append",
        type=Path,
        metavar="S",
        help="portrait or clip; may be given several times",
    )
    parser.add_argument(
        "--donor",
        action="append",
        default=[],
        type=Path,
        metavar="D",
        help="whose attribute is brought, for bundles that take donors (default: the sources)",
    )
    parser.add_argument("--aus", default=AUS, metavar="LIST", help=f"action units by number ({AUS})")
    parser.add_argument("--out", type=Path, default=Path("sweep"), metavar="DIR", help="folder (sweep)")
    parser.add_argument(
        "--from",
        dest="first",
        default="source",
        metavar="E",
        help="where the interpolation begins: a named expression, or units as 1+2=0.5 (default: the source's own)",
    )
    parser.add_argument(
        "--to", dest="last", default="happiness", metavar="E", help="where it ends (happiness)"
    )
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="of the random expressions (7)")
    parser.add_argument("--no-video", action="store_true", help="write no video beside the sheet")
    parser.add_argument("--mode", metavar="M", help="puppet or edit (default: the first that the bundle has)")
    parser.add_argument(
        "--accept", action="append", default=[], metavar="NAME", help="accept a bundle's terms of this name"
    )
    add_consent(parser)
    add_marks(parser)
    parser.add_argument("--backend", default="auto", metavar="NAME", help="what runs the networks")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="folder of the models")


def run(options: argparse.Namespace) -> None:
    """The sub-command itself."""
    from engine.errors import ConfigError
    from engine.evaluate.request_run import parameters_of
    from engine.sweep.asked import RANDOM_COLUMNS, RANDOM_ROWS, Ends, learnt, random_sets
    from engine.sweep.run import Wanted, sweep
    from engine.sweep.words import au_names, au_set

    bundle = _bundle(options)
    if options.seed < 0:
        raise ConfigError(f"seed: got {options.seed}, expected 0 or more")
    first, last = (
        None if text == "source" else au_set(text, role)
        for text, role in ((options.first, "from"), (options.last, "to"))
    )
    wanted = Wanted(
        au_names(options.aus),
        Ends(_named(options.first), _named(options.last), first, last),
        random_sets(options.seed, RANDOM_ROWS * RANDOM_COLUMNS, learnt(parameters_of(bundle))),
        video=not options.no_video,
    )
    with _progress() as progress:
        files = sweep(
            bundle,
            options.source,
            options.out,
            wanted,
            donors=options.donor,
            mode=options.mode,
            accept=frozenset(options.accept),
            backend=options.backend,
            cache=options.cache,
            consent=options.consent,
            marks=marks_of(options),
            progress=progress,
        )
    for file in files:
        print(file)


def _bundle(options: argparse.Namespace) -> str:
    """The one that was named, in either way. Raises ConfigError where two were."""
    from engine.errors import ConfigError

    given = [one for one in (options.bundle, options.named) if one is not None]
    if len(set(given)) > 1:
        raise ConfigError(f"bundle: got {given[0]!r} and --bundle {given[1]!r}, expected one of them")
    return str(given[0]) if given else "mesh_flow"


def _named(text: str) -> str:
    return "the source's own expression" if text == "source" else text.strip()


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar with the time left on a terminal; elsewhere a line for every tenth part on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("sweep"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    tenth = -1
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("sweep", total=None)

        def advance(done: int, total: int | None) -> None:
            nonlocal tenth
            bar.update(task, completed=done, total=total)
            if not console.is_terminal and total and 10 * done // total != tenth:
                tenth = 10 * done // total
                print(f"marotte: {done} of {total} pictures are made", file=sys.stderr, flush=True)

        yield advance
