"""`marotte prepare`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.annotate.run import Progress

DEFAULT_EXPRESSIONS = 24


def add(commands: Any) -> None:
    """The parser of the sub-command."""
    text = "make a folder that trainers learn from: track, label, crop, parse, synthesise"
    parser = commands.add_parser("prepare", help=text, description=text)
    parser.set_defaults(run=run)
    parser.add_argument(
        "inputs", nargs="+", type=Path, metavar="INPUT", help="pictures, clips, folders of them"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder that is filled")
    parser.add_argument(
        "--synthesise",
        nargs="?",
        type=_expressions,
        default=0,
        const=DEFAULT_EXPRESSIONS,
        metavar="N",
        help=f"add N expressions of every still (default: 0; {DEFAULT_EXPRESSIONS} where N is left out)",
    )
    parser.add_argument("--size", type=int, default=128, metavar="N", help="side of the pictures (128)")
    parser.add_argument(
        "--crop", default="face", metavar="RULE", help="face (default), celeba, celeba-hq or box"
    )
    parser.add_argument(
        "--mode", default="static", metavar="M", help="what AUs are relative to: static (default), dynamic"
    )
    parser.add_argument(
        "--persons", default="file", metavar="RULE", help="who is one person: file (default), folder or name"
    )
    parser.add_argument(
        "--validation", type=float, default=0.1, metavar="S", help="share of persons held back (0.1)"
    )
    parser.add_argument(
        "--origins", type=Path, metavar="CSV", help="table with path, licence, origin, person"
    )
    parser.add_argument("--licence", default="", metavar="TEXT", help="of what the table does not name")
    parser.add_argument(
        "--per-second", type=float, default=6.0, metavar="R", help="frames taken from clips (6)"
    )
    parser.add_argument("--most", type=int, default=80, metavar="N", help="most frames of one clip (80)")
    parser.add_argument(
        "--gate", action="append", default=[], metavar="NAME=X", help="change a limit of docs/dataset.md"
    )
    parser.add_argument(
        "--mesh",
        metavar="NAME",
        help="draw a mesh over every frame, for liquid_warping: face, or smpl for whole bodies (others: no mesh)",
    )
    parser.add_argument(
        "--body",
        metavar="FILE",
        help="of --mesh smpl: your own SMPL or SMPL-H file beside its official maps, or synthetic",
    )
    parser.add_argument(
        "--texture", type=int, default=0, metavar="N", help="of --mesh: side of the texture (as the pictures)"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (default: 2)")
    parser.add_argument("--backend", default="auto", metavar="NAME", help="what runs the networks")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="folder of the models")


def run(options: argparse.Namespace) -> None:
    """The sub-command itself."""
    if options.mesh is not None:
        _run_mesh(options)
        return
    if options.texture or options.body is not None:
        from engine.errors import ConfigError

        name, mesh = ("texture", "face") if options.body is None else ("body", "smpl")
        raise ConfigError(f"{name}: it belongs to a mesh; add --mesh {mesh}")
    from engine.annotate.gates import Gates
    from engine.annotate.run import prepare
    from engine.annotate.work import Settings

    settings = Settings(
        size=options.size,
        crop=options.crop,
        mode=options.mode,
        synthesise=options.synthesise,
        per_second=options.per_second,
        most=options.most,
        gates=Gates.changed(options.gate),
    )
    with _progress() as progress:
        about = prepare(
            options.inputs,
            options.out,
            settings,
            persons=options.persons,
            licence=options.licence,
            origins=options.origins,
            validation=options.validation,
            backend=options.backend,
            cache=options.cache,
            jobs=options.jobs,
            progress=progress,
        )
    counts = about["counts"]
    left_out = sum(counts["refused"].values())
    print(f"{options.out}: {counts['pictures']} pictures of {counts['inputs']} inputs, {left_out} left out")
    print(f"{options.out / 'report.html'} says why")


def _run_mesh(options: argparse.Namespace) -> None:
    from engine.annotate.mesh import MeshSettings, prepare_mesh

    settings = MeshSettings(
        mesh=options.mesh,
        body=options.body,
        size=options.size,
        texture=options.texture,
        per_second=options.per_second,
        most=options.most,
        expressions=options.synthesise,
    )
    with _progress() as progress:
        clips, left_out = prepare_mesh(
            options.inputs,
            options.out,
            settings,
            persons=options.persons,
            licence=options.licence,
            origins=options.origins,
            validation=options.validation,
            backend=options.backend,
            cache=options.cache,
            progress=progress,
        )
    frames = sum(clip.frames for clip in clips)
    print(f"{options.out}: {frames} frames of {len(clips)} clips, {len(left_out)} inputs left out")
    if skipped := sum(clip.skipped or 0 for clip in clips):
        print(f"{skipped} frames show nobody whose body could be followed, and were passed over")
    for name, reason in left_out.items():
        print(f"{name}: {reason}", file=sys.stderr)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar with the time left on a terminal; elsewhere a line for every tenth part on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("prepare"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    told, began, first = -1, time.monotonic(), 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("prepare", total=None)

        def advance(done: int, total: int | None) -> None:
            nonlocal told, first
            bar.update(task, completed=done, total=total)
            if console.is_terminal or not total or 10 * done // total == told:
                return
            first = done if told < 0 else first
            told = 10 * done // total
            each = (time.monotonic() - began) / (done - first) if done > first else 0.0
            left = f", about {_duration(each * (total - done))} left" if each and done < total else ""
            print(f"marotte: {done} of {total} inputs are prepared{left}", file=sys.stderr, flush=True)

        yield advance


def _expressions(text: str) -> int:
    """The number behind --synthesise, which would take the first INPUT for it."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number; put INPUT before it, or a number behind it")
    return int(text)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
