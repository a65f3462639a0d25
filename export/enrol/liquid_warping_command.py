"""`marotte enrol liquid_warping`: its own options, and what it does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from export.enrol.progress import Tell

NEEDS_WEIGHTS = "a training's, or imported ones"
SILENT = ("pack",)
"""Stages that are not told of on a terminal."""


def add_options(parser: Any) -> None:
    """Those that no other system has."""
    parser.add_argument(
        "--sources",
        type=int,
        default=4,
        metavar="N",
        help="most pictures that the bundle holds: 1, 2, 4 or 8 (4)",
    )
    parser.add_argument(
        "--size",
        type=int,
        metavar="N",
        help="side in pixels of what the bundle makes, a multiple of the generator's (that of the weights' training)",
    )
    parser.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="NAME",
        help="different-people: take photos for one person's whatever is measured",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="where bundles are kept, so that the same is not tuned twice",
    )
    parser.add_argument("--no-cache", action="store_true", help="keep no bundle, and look for none")


def stages(options: argparse.Namespace) -> tuple[str, ...]:
    """What progress is told of, in order."""
    from export.enrol.liquid_warping import STAGES

    return STAGES


def check(options: argparse.Namespace) -> None:
    """Raises what an enrolment would raise before it looks at its files."""
    from export.enrol.liquid_warping import check as check_all

    check_all(options.weights, _asked(options))


def enrol(options: argparse.Namespace, work: Path, tell: Tell) -> list[str] | None:
    """Lines for people; None where it was interrupted."""
    from export.enrol.labels import person_label
    from export.enrol.liquid_warping import enrol as run

    count = len(options.files)
    data = f"the file {options.files[0].name}" if count == 1 else f"{count} photos of one person"
    named = "none" if options.weights is None else options.weights.name
    asked = _asked(options)
    label = person_label(options, f"tuned from {named}", data)
    found = run(options.files, options.weights, options.out, work, asked, label, tell)
    return None if found.interrupted else list(found.lines)


def _asked(options: argparse.Namespace) -> Any:
    from export.enrol.liquid_warping import Enrolment

    return Enrolment(
        sources=options.sources,
        most=80 if options.frames is None else options.frames,
        size=options.size,
        accept=frozenset(options.accept),
        changes=tuple(options.set),
        device=options.device,
        backend=options.backend,
        half=options.fp16,
        cache=_cache(options),
    )


def _cache(options: argparse.Namespace) -> Path | None:
    """A program that starts this decides itself what of a person stays: nothing, unless it names a folder."""
    from engine.errors import ConfigError
    from engine.models import cache_folder

    if options.cache is not None and options.no_cache:
        raise ConfigError("cache, no-cache: they exclude each other; leave one out")
    if options.no_cache or (options.cache is None and options.progress_json):
        return None
    return options.cache or cache_folder() / "enrolled"
