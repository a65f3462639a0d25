"""`marotte enrol`: its options, and what it says."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from export.enrol.edits import add_edit_options, files_of, reaches_of
from export.enrol.offline import add_stitching_options, stitching_of, strengths_of
from export.enrol.progress import STAGES, Stream, end_with_input
from export.libraries import libraries

SYSTEMS = ("stit",)


def add_enrol(commands: Any) -> None:
    """Add the parser."""
    text = "turn a clip of a person into a bundle that is tuned to that person (extras train and export)"
    parser = commands.add_parser("enrol", help=text, description=text)
    parser.set_defaults(run=run)
    parser.add_argument("system", metavar="SYSTEM", help=f"one of {', '.join(SYSTEMS)}")
    parser.add_argument("clip", nargs="?", type=Path, metavar="CLIP", help="a video that shows the person")
    parser.add_argument(
        "--weights",
        required=True,
        type=Path,
        metavar="CHECKPOINT",
        help="generator, encoder and, if wanted, parser",
    )
    parser.add_argument("--out", type=Path, metavar="BUNDLE", help="folder to write")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="folder of what is resumed (default: OUT.enrolment)"
    )
    parser.add_argument(
        "--landmarks",
        type=Path,
        metavar="NPY",
        help="(frames, 68, 2) in pixels, for characters that no detector finds",
    )
    add_edit_options(parser)
    parser.add_argument(
        "--frames", type=int, default=300, metavar="N", help="most frames that are enrolled (300)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="such as pivotal.passes=80"
    )
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
    add_stitching_options(parser, "of --render")
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
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where it is tuned (auto)"
    )
    parser.add_argument("--backend", default="auto", metavar="NAME", help="what tracks (auto)")
    parser.add_argument(
        "--licence", metavar="SPDX", default="LicenseRef-not-stated", help="of the tuned weights"
    )
    parser.add_argument("--consent", metavar="TEXT", default="not stated", help="who agreed to be enrolled")
    parser.add_argument("--title", metavar="TEXT", help="one line for people")
    parser.add_argument("--fp16", action="store_true", help="store weights as float16: half the size")
    parser.add_argument(
        "--check", action="store_true", help="look whether an enrolment could begin, without CLIP and --out"
    )
    parser.add_argument(
        "--progress-json",
        action="store_true",
        help="for a program that starts this: progress as JSON on standard output, and the end with standard input",
    )


def run(options: argparse.Namespace) -> int:
    """Returns 130 where it was interrupted: the same command goes on from there."""
    from engine.config import known

    known(options.system, SYSTEMS, "system")
    if options.progress_json:
        end_with_input()
    try:
        with libraries("enrol"):
            return _enrol(options)
    except Exception as error:
        if options.progress_json:
            Stream().failed(error)
        raise


def _enrol(options: argparse.Namespace) -> int:
    from engine.errors import ConfigError
    from export.enrol.run import Enrolment, check, enrol
    from export.pack import Label

    if not options.check and (options.clip is None or options.out is None):
        raise ConfigError("enrol: expected CLIP and --out BUNDLE")
    if options.check:
        asked = Enrolment(
            tuning=_tuning(options.edit, options.set),
            edits=files_of(options),
            freeze=options.freeze,
            device=options.device,
        )
        check(options.weights, asked)
        return 0
    work = options.work or options.out.with_name(f"{options.out.name}.enrolment")
    asked = Enrolment(
        tuning=_tuning(options.edit, options.set),
        most=options.frames,
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
    label = Label(
        options.licence,
        f"tuned from {options.weights.name}",
        f"the clip {options.clip.name}",
        options.consent,
        options.title,
    )
    stream = Stream((*STAGES, "render") if asked.render else STAGES) if options.progress_json else None
    tell = teller() if stream is None else stream.tell
    found = enrol(options.clip, options.weights, options.out, work, asked, label, tell)
    if found.interrupted:
        print(f"marotte: interrupted; the same command goes on from {work}", file=sys.stderr)
        return 130
    if stream is not None:
        stream.finished(found.lines())
        return 0
    for line in found.lines():
        print(line)
    print(f"{options.out} is written; {work / 'preview.png'} shows what became of some frames")
    return 0


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


def teller(clock: Callable[[], float] = time.monotonic) -> Callable[[str, int, int | None], None]:
    """Says at most every ten seconds, and at the end of a stage, how far it is and when it will be done."""
    began: dict[str, float] = {}
    told = [0.0]

    def tell(stage: str, done: int, total: int | None) -> None:
        if stage in ("tune", "pack"):  # the one has a bar of its own, the other is short
            return
        now = clock()
        start = began.setdefault(stage, now)
        if done != total and now - told[0] < 10.0:
            return
        told[0] = now
        left = ""
        if total is not None and 1 < done < total:
            left = f", about {(now - start) / (done - 1) * (total - done):.0f} s left"
        of = "" if total is None else f" of {total}"
        print(f"marotte: {stage}: frame {done}{of}{left}", file=sys.stderr, flush=True)

    return tell
