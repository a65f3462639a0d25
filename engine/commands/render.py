"""`marotte render`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from engine.commands import add_accept, add_backend, add_consent, progress_bar, sub_command
from engine.commands.marks import add_marks, marks_of

if TYPE_CHECKING:
    from engine.tally import Tally


class Offline(Protocol):
    """Another way of rendering, of another package: chosen by the option `paper`, which it adds."""

    def add_options(self, parser: Any) -> None: ...

    def render_paper(self, options: argparse.Namespace) -> int: ...


def add(commands: Any, offline: Offline | None = None) -> None:
    """Add the command's parser."""
    text = "move a source by a driver, or edit the driver, from file to file"
    parser = sub_command(commands, "render", _chosen(offline), text)
    if offline is not None:
        offline.add_options(parser)
    _add_files(parser)
    add_body(parser)
    _add_controls(parser)
    add_accept(parser)
    add_consent(parser)
    add_marks(parser)
    _add_ways(parser)
    add_backend(parser)


def _add_files(parser: Any) -> None:
    """What is read and written, and by which bundle and mode."""
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="S",
        help="portrait or clip that is moved; several of one person for a bundle that takes them",
    )
    parser.add_argument("--driver", required=True, metavar="D", help="clip or picture that moves it")
    parser.add_argument("--out", required=True, type=Path, metavar="O", help="clip (.mp4, .webm) or picture")
    parser.add_argument(
        "--bundle", default="mesh_flow", metavar="B", help="generator: a name or a folder (mesh_flow)"
    )
    parser.add_argument(
        "--mode",
        default="puppet",
        metavar="M",
        help="puppet (default), or edit: the driver's own face, edited",
    )


def add_body(parser: Any) -> None:
    """--body, --wear."""
    parser.add_argument(
        "--body",
        metavar="FILE",
        help="of a bundle for whole bodies: your own SMPL file, its official maps beside it, or synthetic",
    )
    parser.add_argument(
        "--wear",
        action="append",
        default=[],
        metavar="PARTS=PIC",
        help="of a bundle with a mesh: parts that another person gives: hair=OTHER.jpg, torso,legs=OTHER.jpg",
    )


def _add_controls(parser: Any) -> None:
    """What is asked of the picture."""
    parser.add_argument(
        "--donor", action="append", default=[], metavar="PIC", help="of an edit: whose attribute is taken"
    )
    parser.add_argument(
        "--set-au",
        action="append",
        default=[],
        metavar="AU=X",
        help="add X (-1 .. 1) to an action unit: AU12=0.5",
    )
    parser.add_argument("--expression", metavar="E", help="add the action units of one: fear, happiness ..")
    parser.add_argument(
        "--direction",
        action="append",
        default=[],
        metavar="NAME=X",
        help="strength of an edit that the bundle offers (marotte enrol); may be repeated",
    )
    parser.add_argument(
        "--output-size",
        type=int,
        default=0,
        metavar="PX",
        help="side of what is synthesised, where the bundle has several (the finest)",
    )
    parser.add_argument(
        "--set-layout",
        action="append",
        default=[],
        metavar="PART=X",
        help="of a bundle that draws layouts: change a part by X (-1 .. 1): hair=-0.5, glasses=1",
    )
    parser.add_argument(
        "--take",
        metavar="WHAT",
        help="what is taken of its donors: layout (default; of the first), style (of the last) or both",
    )
    parser.add_argument(
        "--project", action="store_true", help="its layouts pass through the bundle's model of layouts"
    )
    parser.add_argument("--remove", action="store_true", help="of an edit: take the attribute away")
    parser.add_argument(
        "--swap-out", type=Path, metavar="O", help="two pictures: also write the donor without its attribute"
    )


def _add_ways(parser: Any) -> None:
    """How it is done, and what is told of it."""
    parser.add_argument(
        "--faces",
        type=int,
        default=1,
        metavar="N",
        help="move or edit up to N faces, main face by main face (default: 1)",
    )
    parser.add_argument(
        "--driver-pixels", action="store_true", help="take inner mouth and shading from the driver's picture"
    )
    parser.add_argument("--report", type=Path, metavar="R.json", help="write counts and times per stage")
    parser.add_argument(
        "--task",
        type=Path,
        metavar="FILE",
        help="track a clip with MediaPipe itself and this face_landmarker.task (extra mediapipe)",
    )
    parser.add_argument(
        "--frame-graph",
        action="store_true",
        help="crop, network, blending and paste-back as one graph, as on a GPU (marotte frame adds it to a bundle)",
    )


def _chosen(offline: Offline | None) -> Callable[[argparse.Namespace], int | None]:
    def run(options: argparse.Namespace) -> int | None:
        if offline is not None and options.paper is not None:
            return offline.render_paper(options)
        _render(options)
        return None

    return run


def _render(options: argparse.Namespace) -> None:
    from engine.render import render

    source = _render_source(options)
    layout_taken, style_taken = _taken(options.take, options.donor)
    if options.swap_out is not None:
        _swap(options)
        return
    if options.body is not None or _moves_bodies(options):
        _imitate(options, source)
        return
    wear = _worn(options)
    with progress_bar("render") as progress:
        tally = render(
            source,
            options.driver,
            options.out,
            mode=options.mode,
            bundle=options.bundle,
            accept=options.accept,
            au_offsets=_numbers(options.set_au, "set-au", "an action unit and a number: AU12=0.5", str.upper),
            expression=options.expression,
            remove=options.remove,
            directions=_numbers(options.direction, "direction", "a name and a strength: smile=2"),
            output_size=options.output_size,
            layout=_numbers(options.set_layout, "set-layout", "a part and a number: hair=0.5", str.lower),
            donor_layout=layout_taken,
            donor_style=style_taken,
            project=options.project,
            backend=options.backend,
            frame_graph=options.frame_graph or None,
            faces=options.faces,
            wear=wear,
            driver_pixels=options.driver_pixels,
            report=options.report,
            cache=options.cache,
            consent=options.consent,
            marks=marks_of(options),
            task=options.task,
            progress=progress,
        )
    _tell(options, tally)


def _tell(options: argparse.Namespace, tally: Tally) -> None:
    from engine.tally import counted

    for note in tally.notes:
        print(f"marotte: {note}", file=sys.stderr)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in tally.outcomes.items())
    print(f"{options.out}: {counted(tally.frames)} ({counts})")


_OF_FACES = (
    "set_au", "expression", "direction", "set_layout", "driver_pixels", "frame_graph", "task", "output_size", "project",
)  # fmt: skip
"""Options that say nothing to a body."""


def _moves_bodies(options: argparse.Namespace) -> bool:
    from engine.generators import moves_bodies

    return moves_bodies(options.bundle)


def _worn(options: argparse.Namespace) -> Any:
    from engine.errors import ConfigError
    from engine.imitation.wearing import read_wear
    from engine.puppet import mode_of
    from engine.types import Mode

    if options.wear and mode_of(options.mode) is Mode.EDIT:
        raise ConfigError("wear: an edit has no parts of others; leave out --mode edit")
    return read_wear(options.wear)


def _imitate(options: argparse.Namespace, source: Any) -> None:
    """The driver's body moves that of the source."""
    from engine.errors import ConfigError
    from engine.imitation.run import imitate
    from engine.puppet import mode_of
    from engine.types import Mode

    asked = [name for name in _OF_FACES if getattr(options, name)]
    if mode_of(options.mode) is Mode.EDIT or options.faces != 1 or asked:
        told = ", ".join(f"--{name.replace('_', '-')}" for name in asked) or "--mode edit or --faces"
        raise ConfigError(f"body: it moves one whole person and has no use for {told}; leave that out")
    with progress_bar("render") as progress:
        tally = imitate(
            source,
            options.driver,
            options.out,
            bundle=options.bundle,
            body=options.body,
            wear=_worn(options),
            accept=options.accept,
            backend=options.backend,
            report=options.report,
            cache=options.cache,
            consent=options.consent,
            marks=marks_of(options),
            progress=progress,
        )
    _tell(options, tally)


def _render_source(options: argparse.Namespace) -> Any:
    """What `render` is to be given as its source. Raises ConfigError where options do not go together."""
    from engine.errors import ConfigError
    from engine.generators import holds_person
    from engine.puppet import mode_of
    from engine.types import Mode

    if mode_of(options.mode) is Mode.EDIT:
        if options.source:
            raise ConfigError("source: an edit moves none; name whose attribute is taken with --donor")
        return options.donor
    if options.donor or options.swap_out is not None:
        raise ConfigError("donor, swap-out: they belong to an edit; add --mode edit")
    if not options.source and holds_person(options.bundle):
        return None
    if not options.source:
        raise ConfigError(
            "source: got none, expected a portrait or clip; --mode edit does without, and so does a bundle that was "
            "enrolled with its photos"
        )
    return options.source[0] if len(options.source) == 1 else options.source


def _numbers(
    given: Sequence[str], option: str, example: str, spelt: Callable[[str], str] = str
) -> dict[str, float]:
    """NAME=X of an option that may be repeated, as names, spelt so, with numbers. example: what is expected."""
    from engine.errors import ConfigError

    numbers: dict[str, float] = {}
    for one in given:
        word, _, value = one.partition("=")
        name = spelt(word.strip())
        if name in numbers:
            raise ConfigError(f"{option}: got {name} twice, expected each once")
        try:
            numbers[name] = float(value)
        except ValueError:
            raise ConfigError(f"{option}: got {one!r}, expected {example}") from None
    return numbers


def _taken(what: str | None, donors: Sequence[str]) -> tuple[bool, bool]:
    """Whether an edit takes its donors' layout, and their style. Raises ConfigError for another word, or no donors."""
    from engine.config import known
    from engine.errors import ConfigError

    known(what or "layout", ("layout", "style", "both"), "take")
    if what and not donors:
        raise ConfigError(f"take: got {what} of no donor; name a picture with --donor")
    return what != "style", what in ("style", "both")


def _swap(options: argparse.Namespace) -> None:
    from engine.errors import ConfigError
    from engine.swap import swap_pictures

    if len(options.donor) != 1 or options.set_au or options.expression or options.remove:
        raise ConfigError(
            "swap-out: expected one --donor beside --driver, both pictures, and nothing else set"
        )
    notes = swap_pictures(
        options.driver,
        options.donor[0],
        options.out,
        options.swap_out,
        bundle=options.bundle,
        accept=frozenset(options.accept),
        backend=options.backend,
        cache=options.cache,
        consent=options.consent,
        marks=marks_of(options),
    )
    for note in notes:
        print(f"marotte: {note}", file=sys.stderr)
    print(f"{options.out} and {options.swap_out} are written")
