"""`marotte sample`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engine.commands import add_backend, progress_bar, sub_command


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = sub_command(
        commands, "sample", _sample, "render the sample portrait with the demo driver, to a file"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/sample.mp4"),
        metavar="FILE",
        help="clip to write (default: out/sample.mp4)",
    )
    add_backend(parser)


def _sample(options: argparse.Namespace) -> None:
    from engine.sample.play import play_sample

    with progress_bar("sample") as progress:
        play_sample(options.out, backend=options.backend, cache=options.cache, progress=progress)
    print(f"the moving sample is {options.out}")
