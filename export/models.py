"""`marotte models`: their list, and fetching and converting them."""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from engine.commands import sub_command


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser("models", help="list, pull or verify the models")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    sub_command(verbs, "list", _models_list, "every model with its origin and licence")
    sub_command(verbs, "verify", _models_verify, "check every cached model against its SHA-256")
    pull = sub_command(verbs, "pull", _models_pull, "fetch, check and convert the models that are missing")
    pull.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    pull.add_argument("--wheel", type=Path, metavar="FILE", help="take them from this wheel file, off-line")
    pull.add_argument("--task", type=Path, metavar="FILE", help="convert a face_landmarker.task")


def _models_list(options: argparse.Namespace) -> None:
    from engine.models import list_models

    for row in list_models(options.cache):
        print(f"{row.model.name:<22}{row.condition.value:<9}{row.model.title}")
        print(f"{'':<22}{row.model.licence}, {row.model.origin}, {row.model.file}")
        print(f"{'':<22}SHA-256 {row.model.sha256 or 'of your own file'}")


def _models_verify(options: argparse.Namespace) -> int:
    from engine.models import Condition, verify

    rows = verify(options.cache)
    for row in rows:
        print(row.detail or f"model {row.model.name}: its SHA-256 is right")
    return 0 if all(row.condition is Condition.READY for row in rows) else 1


def _models_pull(options: argparse.Namespace) -> None:
    from export.pull import add_task, bar, pull

    with bar() if sys.stderr.isatty() else nullcontext() as progress:
        if options.task is not None:
            rows = add_task(options.task, cache=options.cache, progress=progress)
        else:
            rows = pull(options.names or None, cache=options.cache, wheel=options.wheel, progress=progress)
    for row in rows:
        print(row.detail or f"model {row.model.name}: ready in {row.path}")
