"""The options of `marotte serve` for recordings of its sessions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_recording(group: Any) -> None:
    """Add the options; `recording_options` reads them."""
    group.add_argument(
        "--recordings",
        type=Path,
        metavar="DIR",
        help="sessions can be recorded into this folder, which everybody in them sees (docs/recording.md)",
    )
    group.add_argument(
        "--recording-minutes", type=float, default=60.0, metavar="N", help="longest recording (60)"
    )
    group.add_argument(
        "--recording-gb", type=float, default=4.0, metavar="N", help="largest file of a recording (4)"
    )
    group.add_argument(
        "--recording-free-gb",
        type=float,
        default=1.0,
        metavar="N",
        help="what stays free on that disk: a recording ends before (1)",
    )


def recording_options(options: argparse.Namespace) -> dict[str, Any]:
    """As fields of ServeConfig."""
    return {
        "recordings": options.recordings,
        "recording_minutes": options.recording_minutes,
        "recording_gb": options.recording_gb,
        "recording_free_gb": options.recording_free_gb,
    }
