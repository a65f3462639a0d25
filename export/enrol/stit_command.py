"""`marotte enrol stit`: its own options, and what it does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engine.commands.marks import add_marks, marks_of
from export.enrol.edits import add_edit_options, files_of, reaches_of
from export.enrol.offline import add_stitching_options, stitching_of, strengths_of
from export.enrol.progress import STAGES, Tell

NEEDS_WEIGHTS = "generator, encoder and, if wanted, parser"
SILENT = ("tune",)
"""Stages that are not told of on a terminal."""


def add_options(parser: Any) -> None:
    """Those that no other system has."""
    parser.add_argument(
        "--landmarks",
        type=Path,
        metavar="NPY",
        help="(frames, 68, 2) in pixels, for characters that no detector finds",
    )
    add_edit_options(parser)
    _add_rendering(parser)
    add_stitching_options(parser, "of --render")
    add_marks(parser)
    _add_figures(parser)


def _add_rendering(parser: Any) -> None:
    parser.add_argument(
        "--render", type=Path, metavar="VIDEO", help="also write the clip, edited by the paper's procedure"
    )
    parser.add_argument(
        "--strength",
        action="append",
        default=[],
        metavar="NAME=X",
        help="of --render, --ablations and --compare: strength of a direction; may be repeated",
    )
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="PART",
        help="of --render: leave out smoothing, tuning, stitching or mask (the paper's ablation)",
    )


def _add_figures(parser: Any) -> None:
    parser.add_argument(
        "--ablations",
        type=Path,
        metavar="DIR",
        help="also render the clip without each part and by both ways of stitching: one sheet, one table",
    )
    parser.add_argument(
        "--ablation-frames",
        type=int,
        default=40,
        metavar="N",
        help="of --ablations: frames, from the first on; 0 = all (40)",
    )
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="DIR",
        help="also measure what stitching costs by both ways at equal border error",
    )
    parser.add_argument(
        "--compare-frames",
        type=int,
        default=12,
        metavar="N",
        help="of --compare: frames that are tuned one by one, spread over the enrolment (12)",
    )


def stages(options: argparse.Namespace) -> tuple[str, ...]:
    """What progress is told of, in order."""
    return (*STAGES, "render") if options.render else STAGES


def check(options: argparse.Namespace) -> None:
    """Raises what an enrolment would raise before it looks at its clip."""
    from export.enrol.run import Enrolment
    from export.enrol.run import check as check_all

    tuning, edits = _tuning(options.edit, options.set), files_of(options)
    check_all(
        _weights(options), Enrolment(tuning=tuning, edits=edits, freeze=options.freeze, device=options.device)
    )


def enrol(options: argparse.Namespace, work: Path, tell: Tell) -> list[str] | None:
    """Lines for people; None where it was interrupted."""
    from engine.consent.doors import permit
    from engine.errors import ConfigError
    from export.enrol.labels import person_label
    from export.enrol.run import Enrolment
    from export.enrol.run import enrol as run

    if len(options.files) != 1:
        raise ConfigError(f"enrol stit: got {len(options.files)} files, expected one clip")
    clip, weights = options.files[0], _weights(options)
    asked = Enrolment(
        tuning=_tuning(options.edit, options.set),
        most=300 if options.frames is None else options.frames,
        landmarks=options.landmarks,
        edits=files_of(options),
        freeze=options.freeze,
        backend=options.backend,
        device=options.device,
        half=options.fp16,
        render=_rendering(options),
        ablations=_ablations(options),
        comparison=_comparison(options),
    )
    label = person_label(options, f"tuned from {weights.name}", f"the clip {clip.name}")
    if any(one is not None for one in (asked.render, asked.ablations, asked.comparison)):
        permit("render", [clip], consent=options.consent)
    found = run(clip, weights, options.out, work, asked, label, tell)
    return None if found.interrupted else found.lines()


def _weights(options: argparse.Namespace) -> Path:
    from engine.errors import ConfigError

    if options.weights is None:
        raise ConfigError(
            "weights: got none, expected --weights CHECKPOINT; import official ones by `marotte import stit`"
        )
    weights: Path = options.weights
    return weights


def _rendering(options: argparse.Namespace) -> Any:
    from engine.errors import ConfigError
    from export.enrol.paper import Rendering

    if options.render is None:
        if options.without or (options.strength and options.ablations is None and options.compare is None):
            raise ConfigError("strength, without: they belong to a rendering; add --render VIDEO")
        return None
    return Rendering(
        options.render,
        strengths_of(options.strength, "strength"),
        frozenset(options.without),
        options.stitch,
        stitching_of(options),
        marks=marks_of(options),
    )


def _ablations(options: argparse.Namespace) -> Any:
    from export.enrol.ablations import Ablations

    if options.ablations is None:
        return None
    strengths = strengths_of(options.strength, "strength")
    return Ablations(options.ablations, strengths, options.ablation_frames, stitching_of(options))


def _comparison(options: argparse.Namespace) -> Any:
    from export.enrol.comparison import Comparison

    if options.compare is None:
        return None
    strengths = strengths_of(options.strength, "strength")
    return Comparison(options.compare, strengths, options.compare_frames, stitching_of(options))


def _tuning(edits: list[str], changes: list[str]) -> Any:
    from trainers.stit.tuning import Tuning
    from trainers.typed import from_mapping, hints_of, override

    values: dict[str, Any] = {"edits": reaches_of(edits)}
    for text in changes:
        override(values, hints_of(Tuning), text)
    return from_mapping(Tuning, values)
