"""`marotte turntable`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from engine.commands import add_accept, add_backend, add_consent, progress_bar, sub_command
from engine.commands.marks import add_marks, marks_of
from engine.commands.render import add_body


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = sub_command(commands, "turntable", _turn, "show a person from around, from pictures alone")
    parser.add_argument(
        "source", nargs="*", metavar="S", help="picture or clip of the person; several of one person"
    )
    parser.add_argument(
        "--bundle", required=True, metavar="B", help="a bundle of liquid_warping, by its folder"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="O", help="clip to write (.mp4, .webm)")
    parser.add_argument("--sheet", type=Path, metavar="O.png", help="also write eight views in one picture")
    add_body(parser)
    parser.add_argument(
        "--pose",
        default="own",
        metavar="P",
        help="of a body: own (the picture's, default), or t, arms stretched out",
    )
    parser.add_argument("--frames", type=int, default=120, metavar="N", help="of the clip (default: 120)")
    parser.add_argument("--fps", type=int, default=30, metavar="N", help="frames a second (default: 30)")
    add_accept(parser)
    add_consent(parser)
    add_marks(parser)
    add_backend(parser)


def _turn(options: argparse.Namespace) -> None:
    from engine.imitation.turntable import turntable
    from engine.imitation.wearing import read_wear

    given = options.source
    with progress_bar("turntable") as progress:
        made = turntable(
            None if not given else given[0] if len(given) == 1 else given,
            options.out,
            bundle=options.bundle,
            body=options.body,
            pose=options.pose,
            wear=read_wear(options.wear),
            frames=options.frames,
            fps=options.fps,
            sheet=options.sheet,
            accept=options.accept,
            backend=options.backend,
            cache=options.cache,
            consent=options.consent,
            marks=marks_of(options),
            progress=progress,
        )
    for note in made.notes:
        print(f"marotte: {note}", file=sys.stderr)
    low, high = made.span
    print(f"{options.out}: {made.frames} views from {low:.0f} to {high:.0f} degrees")
