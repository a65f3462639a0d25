"""The options of `marotte serve` and `marotte camera` for the session log."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_log(group: Any) -> None:
    """Add the options; `log_options` reads them."""
    group.add_argument(
        "--log-folder",
        type=Path,
        metavar="DIR",
        help="the session log (default: session_log in the state's folder)",
    )
    group.add_argument(
        "--log-days",
        type=int,
        default=180,
        metavar="N",
        help="how long its lines are kept (180; docs/session_log.md)",
    )


def log_options(options: argparse.Namespace) -> dict[str, Any]:
    """As fields of ServeConfig."""
    return {"log_folder": options.log_folder, "log_days": options.log_days}
