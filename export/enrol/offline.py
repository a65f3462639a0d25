"""`marotte render --paper`: the paper's procedure with an enrolled bundle, on the clip that is its driver.

What a bundle holds cannot be tuned, so the folder of its enrolment is named, or stands beside it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.commands.marks import marks_of
from engine.errors import ConfigError
from export.libraries import libraries

_APART = (
    "source",
    "donor",
    "set_au",
    "expression",
    "remove",
    "swap_out",
    "driver_pixels",
    "set_layout",
    "take",
    "project",
    "output_size",
    "frame_graph",
    "task",
)
"""Options of a rendering that have no meaning here."""


def add_options(parser: Any) -> None:
    """--paper and its own."""
    parser.add_argument(
        "--paper",
        nargs="?",
        const=Path(),
        type=Path,
        metavar="ENROLMENT",
        help="of an enrolled STIT bundle: the paper's own procedure, off-line, by the folder of its enrolment "
        "(default: BUNDLE.enrolment; extras train and export)",
    )
    add_stitching_options(parser, "of --paper")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="of --paper: where it is tuned (auto)",
    )


def add_stitching_options(parser: Any, whose: str) -> None:
    """--stitch and --stitch-steps."""
    parser.add_argument(
        "--stitch",
        choices=("frame", "amortised"),
        default="frame",
        help=f"{whose}: tune every frame, as the paper does (frame), or take the border passes of the enrolment",
    )
    parser.add_argument(
        "--stitch-steps", type=int, default=100, metavar="N", help="of --stitch frame: steps per frame (100)"
    )


def stitching_of(options: argparse.Namespace) -> Any:
    """Raises ConfigError."""
    from trainers.stit.stitching import Stitching

    try:
        return Stitching(steps=options.stitch_steps)
    except ValueError as error:
        raise ConfigError(f"stitch-steps: {error}") from error


def strengths_of(given: Sequence[str], option: str) -> dict[str, float]:
    """NAME=X of an option that may be repeated. Raises ConfigError."""
    found: dict[str, float] = {}
    for one in given:
        name, _, value = one.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise ConfigError(
                f"{option}: got {one!r}, expected a name and a strength, such as smile=2"
            ) from None
    return found


def render_paper(options: argparse.Namespace) -> int:
    """Raises MarotteError and TrainerError; 130 comes by the interruption itself."""
    for name in _APART:
        if getattr(options, name):
            raise ConfigError(f"{name.replace('_', '-')}: not with --paper, which edits the enrolled person")
    with libraries("render --paper"):
        return _render(options)


def _render(options: argparse.Namespace) -> int:
    from engine.bundle import open_bundle
    from engine.bundles import find
    from engine.consent.doors import permit
    from engine.marks.files import session_of
    from engine.provenance.sealing import ingredients_of, made_by, sealer
    from export.enrol.command import teller
    from export.enrol.paper import Rendering, check_rendering
    from export.enrol.person import KEPT
    from export.enrol.scenes import kept_scene

    bundle = find(options.bundle)
    manifest = open_bundle(bundle, accept=frozenset(options.accept)).manifest
    if manifest.system != "stit":
        raise ConfigError(
            f"paper: {options.bundle} is of {manifest.system}, expected a bundle that marotte enrol stit made"
        )
    folder = options.paper if options.paper != Path() else bundle.with_name(f"{bundle.name}.enrolment")
    asked = Rendering(
        options.out,
        strengths_of(options.direction, "direction"),
        stitching=options.stitch,
        options=stitching_of(options),
        marks=marks_of(options),
    )
    if not (folder / KEPT).is_file():
        raise ConfigError(
            f"paper: {folder} holds no enrolment, whose weights are tuned here; name the folder that marotte enrol "
            "left beside its bundle, or leave --paper out: any bundle plays as it does live"
        )
    clip, tell = Path(options.driver), teller()
    allowed = permit("render", [clip], bundle=options.bundle, consent=options.consent)
    how = made_by(
        options.bundle,
        edits=True,
        consent=tuple(one.id for one in allowed),
        session=session_of("stit paper", [clip]),
        marks=asked.marks.on,
        lowered=asked.marks.lowered,
    )
    asked = replace(asked, seal=sealer(how, ingredients_of(None, clip, edits=True))(asked.out))
    scene = kept_scene(
        clip,
        folder,
        float(manifest.parameters.facts.get("alignment_scale", 1.0)),
        options.device,
        options.backend,
        tell,
        lambda directions: check_rendering(clip, asked, directions),
    )
    rendered = scene.render(asked, tell)
    for line in rendered.lines():
        print(line)
    print(f"{options.out} is written")
    if options.report is not None:
        from engine.evaluate.parts import write_json

        about = {"frames": rendered.frames, "edited": rendered.edited, "border_error": rendered.border}
        write_json(options.report, about | {"seconds": dict(rendered.seconds), "cpu_s": dict(rendered.work)})
    sys.stdout.flush()
    return 0
