"""`marotte evaluate`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from engine.commands import add_accept, add_backend, progress_bar, sub_command


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = sub_command(commands, "evaluate", _evaluate, "measure the generator on clips and portraits")
    parser.add_argument(
        "--drivers", type=Path, metavar="DIR", help="folder of clips (of --turned: or one clip)"
    )
    parser.add_argument("--portraits", type=Path, metavar="DIR", help="folder of pictures")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the report goes")
    parser.add_argument(
        "--bundle", default="mesh_flow", metavar="B", help="generator: a name or a folder (mesh_flow)"
    )
    parser.add_argument("--pairs", type=int, metavar="N", help="cross pairs (default: a spread of them)")
    parser.add_argument(
        "--requests",
        action="store_true",
        help="ask for action units, or give donors, and measure what comes; clips are optional then",
    )
    parser.add_argument("--mode", metavar="M", help="of the requests: puppet or edit (default: what it has)")
    parser.add_argument("--attributes", metavar="AUS", help="AUs that donors bring (default: 12,25)")
    parser.add_argument(
        "--border",
        action="store_true",
        help="edit the drivers as live, and measure how restless the border of what is pasted is; without portraits",
    )
    parser.add_argument(
        "--direction",
        action="append",
        default=[],
        metavar="NAME=X",
        help="of --border: strength of an edit that the bundle offers; may be repeated",
    )
    parser.add_argument(
        "--turned",
        type=float,
        nargs="?",
        const=15.0,
        metavar="DEGREES",
        help="compare a bundle with the default generator on held-back frames of each driver, turned further than "
        "this (15); without portraits",
    )
    parser.add_argument(
        "--sources",
        type=int,
        metavar="N",
        help="of --turned: pictures of a person, at most (as the bundle takes)",
    )
    add_accept(parser)
    add_backend(parser)


def _evaluate(options: argparse.Namespace) -> None:
    from engine.errors import ConfigError

    shared = {
        "bundle": options.bundle,
        "accept": frozenset(options.accept),
        "backend": options.backend,
        "cache": options.cache,
    }
    if not options.border and options.direction:
        raise ConfigError("direction: it belongs to a border; add --border")
    if options.turned is None and options.sources is not None:
        raise ConfigError("sources: they belong to turned heads; add --turned")
    if options.portraits is None and not options.border and options.turned is None:
        raise ConfigError("portraits: expected a folder of pictures; --border and --turned do without")
    with progress_bar("evaluate") as progress:
        if options.turned is not None:
            _turned(options, shared, progress)
        elif options.border:
            _borders(options, shared, progress)
        elif options.requests:
            if options.pairs is not None:
                raise ConfigError("pairs: there are none among requests; leave out --pairs or --requests")
            from engine.evaluate.request_run import evaluate_requests
            from engine.sweep.words import au_names

            evaluate_requests(
                options.portraits,
                options.out,
                drivers=options.drivers,
                mode=options.mode,
                attributes=None if options.attributes is None else au_names(options.attributes),
                progress=progress,
                **shared,
            )
        else:
            from engine.evaluate import evaluate

            if options.drivers is None:
                raise ConfigError("drivers: expected a folder of clips; --requests does without")
            if options.mode is not None or options.attributes is not None:
                raise ConfigError("mode, attributes: they belong to requests; add --requests")
            evaluate(
                options.drivers,
                options.portraits,
                options.out,
                pairs=options.pairs,
                progress=progress,
                **shared,
            )
    print(f"{options.out / 'metrics.json'} and {options.out / 'report.html'} are written")


def _turned(options: argparse.Namespace, shared: dict[str, Any], progress: Any) -> None:
    from engine.errors import ConfigError
    from engine.evaluate.turned_run import evaluate_turned

    for name in ("portraits", "pairs", "mode", "attributes"):
        if getattr(options, name) is not None:
            raise ConfigError(f"{name}: turned heads have none; leave out --{name} or --turned")
    if options.requests or options.border or options.drivers is None:
        raise ConfigError("turned: expected --drivers CLIP or DIR, and neither --requests nor --border")
    found = evaluate_turned(
        options.drivers,
        options.out,
        beyond=options.turned,
        count=options.sources,
        progress=progress,
        **shared,
    )
    _tell_left_out(found)


def _borders(options: argparse.Namespace, shared: dict[str, Any], progress: Any) -> None:
    from engine.commands.render import _numbers
    from engine.errors import ConfigError
    from engine.evaluate.border_run import evaluate_borders

    for name in ("portraits", "pairs", "mode", "attributes"):
        if getattr(options, name) is not None:
            raise ConfigError(f"{name}: a border has none; leave out --{name} or --border")
    if options.requests or options.drivers is None:
        raise ConfigError("border: expected --drivers DIR and no --requests")
    directions = _numbers(options.direction, "direction", "a name and a strength: smile=2")
    _tell_left_out(
        evaluate_borders(options.drivers, options.out, directions=directions, progress=progress, **shared)
    )


def _tell_left_out(found: dict[str, Any]) -> None:
    """Which clips gave nothing, and why: a report without them looks like one of fewer clips."""
    for name, why in found["refused"].items():
        print(f"marotte: left out: {name}: {why}", file=sys.stderr)
