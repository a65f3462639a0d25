"""`marotte frame`: its options, and what it says."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_frame(commands: Any) -> None:
    """Add the parser."""
    text = "add graphs of whole frames to a bundle, compared with the CPU path on every runtime here (needs onnx)"
    parser = commands.add_parser("frame", help=text, description=text)
    parser.set_defaults(run=_frame)
    parser.add_argument("bundle", metavar="BUNDLE", help="a name, or the folder of a bundle")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="BUNDLE", help="folder to write; it may be the same"
    )
    parser.add_argument(
        "--accept", action="append", default=[], metavar="NAME", help="accept the bundle's terms of this name"
    )


def _frame(options: argparse.Namespace) -> None:
    from engine.bundles import find
    from engine.errors import ConfigError

    try:
        from export.frame.add import add_frames
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise ConfigError("frame: onnx is not installed; run: python -m pip install onnx") from error
    bundle, report = add_frames(
        find(options.bundle), options.out, accept=frozenset(options.accept), tell=_tell
    )
    for line in report.lines():
        print(line)
    size = sum(info.bytes for info in bundle.manifest.graphs.values())
    print(f"{options.out} is written: {bundle.manifest.title}, {size / 1e6:.2f} MB with its frame graphs")


def _tell(step: str) -> None:
    if sys.stderr.isatty():
        print(f"marotte: {step}", file=sys.stderr)
