"""`marotte enrol`: the options of every system, and what is said; each system's own are beside it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from engine.commands import add_consent
from export.enrol import liquid_warping_command, stit_command
from export.enrol.progress import Stream, Tell, end_with_input
from export.libraries import libraries

Lines = Sequence[str] | None
"""What there is to tell at the end; None where it was interrupted."""

SYSTEMS: Final[dict[str, ModuleType]] = {"stit": stit_command, "liquid_warping": liquid_warping_command}


def add_enrol(commands: Any) -> None:
    """Add the parser."""
    text = "turn a clip or photos of a person into a bundle that is tuned to that person (extras train and export)"
    parser = commands.add_parser("enrol", help=text, description=text)
    own: dict[str, dict[str, Any]] = {}
    parser.set_defaults(run=run, own=own)
    _add_files(parser)
    _add_ways(parser)
    _add_label(parser)
    _add_modes(parser)
    for system, module in SYSTEMS.items():
        group = parser.add_argument_group(f"of {system}")
        module.add_options(group)
        own[system] = {action.dest: action.default for action in group._group_actions}


def _add_files(parser: Any) -> None:
    parser.add_argument("system", metavar="SYSTEM", help=f"one of {', '.join(SYSTEMS)}")
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="a clip that shows the person; for liquid_warping it may be photos",
    )
    needs = "; ".join(f"{system}: {module.NEEDS_WEIGHTS}" for system, module in SYSTEMS.items())
    parser.add_argument("--weights", type=Path, metavar="CHECKPOINT", help=f"what it starts from ({needs})")
    parser.add_argument("--out", type=Path, metavar="BUNDLE", help="folder to write")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="folder of what is resumed (default: OUT.enrolment)"
    )


def _add_ways(parser: Any) -> None:
    """How it is done."""
    parser.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="most frames of a clip that are enrolled (stit 300, liquid_warping 80)",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="such as pivotal.passes=80"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where it is tuned (auto)"
    )
    parser.add_argument("--backend", default="auto", metavar="NAME", help="what tracks (auto)")


def _add_label(parser: Any) -> None:
    """What only a person can state of the bundle."""
    parser.add_argument("--licence", metavar="SPDX", help="of the tuned weights, such as CC0-1.0")
    add_consent(parser)
    parser.add_argument("--title", metavar="TEXT", help="one line for people")
    parser.add_argument("--fp16", action="store_true", help="store weights as float16: half the size")


def _add_modes(parser: Any) -> None:
    parser.add_argument(
        "--check", action="store_true", help="look whether an enrolment could begin, without FILE and --out"
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
            return _enrol(options, SYSTEMS[options.system])
    except Exception as error:
        if options.progress_json:
            Stream().failed(error)
        raise


def _enrol(options: argparse.Namespace, system: Any) -> int:
    from engine.errors import ConfigError
    from export.labels import UNSTATED

    _check_own(options)
    stated, options.licence = options.licence, options.licence or UNSTATED
    if not options.check and (not options.files or options.out is None):
        raise ConfigError("enrol: expected a clip or photos, and --out BUNDLE")
    if options.check:
        system.check(options)
        return 0
    work = _work(options.out, options.work)
    stream = Stream(system.stages(options)) if options.progress_json else None
    with _alone(work):
        tell = teller(silent=system.SILENT, photos=len(options.files) > 1) if stream is None else stream.tell
        lines = _interruptible(system.enrol, options, work, tell)
    if lines is None:
        print(f"marotte: interrupted; the same command goes on from {work}", file=sys.stderr)
        return 130
    if stream is not None:
        stream.finished(lines)
        return 0
    for line in lines:
        print(line)
    print(f"{options.out} is written; {work / 'preview.png'} shows what became of some frames")
    if not stated:
        print(
            f"marotte: its licence was not stated: it says {UNSTATED}; state one with --licence before you pass it on",
            file=sys.stderr,
        )
    return 0


def _interruptible(enrol: Callable[..., Lines], options: argparse.Namespace, work: Path, tell: Tell) -> Lines:
    """None also where it was interrupted between two steps, or while it looked or packed."""
    try:
        return enrol(options, work, tell)
    except KeyboardInterrupt:
        if not any(path.is_dir() for path in work.iterdir()):
            raise  # before anything was made there is nothing to go on from
        return None


def _work(out: Path, given: Path | None) -> Path:
    """The folder of what is resumed. Raises ConfigError where the bundle could not stand beside it."""
    from engine.errors import ConfigError

    if not out.name:
        raise ConfigError(f"out: got {str(out)!r}, expected the name of a folder to write")
    work = given or out.with_name(f"{out.name}.enrolment")
    places = out.resolve(), work.resolve()
    if any(one in (other, *other.parents) for one, other in (places, places[::-1])):
        raise ConfigError(f"work: {work} and {out} are within each other; expected two folders apart")
    return work


@contextmanager
def _alone(work: Path) -> Iterator[None]:
    """One enrolment at a time goes on in a folder: whoever started one may be gone before it has ended. Raises
    ConfigError where another is at work."""
    from engine.annotate.alone import Alone

    work.mkdir(parents=True, exist_ok=True)
    try:
        with closing(Alone(work)):
            yield
    finally:
        with suppress(OSError):
            work.rmdir()  # of what ended before anything was made


def _check_own(options: argparse.Namespace) -> None:
    """Raises ConfigError for an option of another system, which would be passed over."""
    from engine.errors import ConfigError

    mine = options.own[options.system]
    for system, defaults in options.own.items():
        for name, default in defaults.items():
            if name not in mine and getattr(options, name) != default:
                raise ConfigError(f"{name.replace('_', '-')}: belongs to enrol {system}; leave it out")


def teller(
    clock: Callable[[], float] = time.monotonic, silent: Sequence[str] = ("tune",), photos: bool = False
) -> Tell:
    """Says at most every ten seconds, and at the end of a stage, how far it is and when it will be done.

    photos: what is looked at is no clip's frames.
    """
    began: dict[str, float] = {}
    told = [0.0]

    def tell(stage: str, done: int, total: int | None) -> None:
        if stage in silent:  # what has a bar of its own
            return
        if stage == "pack":
            if not done:
                print("marotte: pack: networks are exported and compared", file=sys.stderr, flush=True)
            return
        now = clock()
        start = began.setdefault(stage, now)
        if done != total and (done, total) != (0, 1) and now - told[0] < 10.0:
            return
        told[0] = now
        left = ""
        if total is not None and 1 < done < total:
            left = f", about {(now - start) / (done - 1) * (total - done):.0f} s left"
        of = "" if total is None else f" of {total}"
        one = "step" if stage == "tune" else "photo" if photos else "frame"
        text = f"{one} {done}{of}{left}" if total != 1 else "done" if done else "begun"
        print(f"marotte: {stage}: {text}", file=sys.stderr, flush=True)

    return tell
