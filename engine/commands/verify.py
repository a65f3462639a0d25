"""`marotte verify`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from engine.commands import progress_bar, sub_command


def add(commands: Any) -> None:
    """Add the command's parser."""
    text = "say what marks a picture or video has: badge, watermark, C2PA manifest, consent"
    parser = sub_command(commands, "verify", _run, text)
    parser.epilog = (
        "exit status: 0 every file is marked and none is broken; 1 one has no mark; 2 one cannot be read; "
        "3 one was changed after it was signed; of several files the largest"
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="picture or video of any kind that is read"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON array instead of lines")
    parser.add_argument(
        "--windows",
        type=int,
        default=6,
        metavar="N",
        help="look at the first N stretches of five seconds (6); 0 is the whole file",
    )
    parser.add_argument(
        "--trust",
        type=Path,
        metavar="PEM",
        help="certificates of signers that are trusted besides C2PA's own",
    )


def _run(options: argparse.Namespace) -> int:
    from engine.verify import Asked, Status, verify
    from engine.verify.wording import lines

    asked = Asked(options.windows, _anchors(options.trust))
    found = []
    for path in options.files:
        with progress_bar(f"verify {path.name}") as progress:
            verdict = verify(path, asked, progress=progress)
        found.append(verdict)
        if not options.json:
            print("\n".join(lines(verdict)))
    if options.json:
        print(json.dumps([one.as_dict() for one in found], indent=1, ensure_ascii=False))
    return int(max((one.status for one in found), default=Status.NONE))


def _anchors(path: Path | None) -> str:
    from engine.errors import ConfigError
    from engine.media.wording import one_line

    if path is None:
        return ""
    try:
        text = path.read_text("ascii")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"trust: {one_line(path)} cannot be read ({why}); expected certificates in PEM"
        ) from error
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise ConfigError(f"trust: {one_line(path)} holds no certificate; expected PEM")
    return text
