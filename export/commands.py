"""`marotte import`, `export`, `frame` and `plan`: their options, and what they say; nothing heavy before that."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError
from export.enrol.command import add_enrol
from export.enrol.edits import add_edit_options, asks_edits, files_of, reaches_of
from export.frame.command import add_frame
from export.libraries import libraries
from export.systems import IMPORTERS
from export.tensorrt.command import add_plan

if TYPE_CHECKING:
    from export.checkpoints import Loaded
    from export.plan import Plan


def add(commands: Any) -> None:
    """Add the parsers."""
    _add_import(commands)
    _add_export(commands)
    add_enrol(commands)
    add_frame(commands)
    add_plan(commands)


def _add_import(commands: Any) -> None:
    text = (
        "turn files of weights made elsewhere into a checkpoint, with an account of every key (extra export)"
    )
    parser = commands.add_parser("import", help=text, description=text)
    parser.set_defaults(run=_import)
    parser.add_argument("system", metavar="SYSTEM", help=f"one of {', '.join(IMPORTERS)}")
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="the generator's, and the critic's if it is wanted",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="CHECKPOINT", help="folder to write")
    parser.add_argument(
        "--size",
        type=int,
        metavar="N",
        help="side of the pictures, where the files do not say it (128; maskgan 512)",
    )
    parser.add_argument(
        "--crop",
        metavar="RULE",
        help="how its training cut faces: box, celeba, celeba-hq or face (default: as the official program)",
    )


def _add_export(commands: Any) -> None:
    text = "turn a checkpoint into a bundle, compared with torch on every runtime here (extra export)"
    parser = commands.add_parser("export", help=text, description=text)
    parser.set_defaults(run=_export)
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="its folder, or that of a training"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="BUNDLE", help="folder to write")
    parser.add_argument("--fp16", action="store_true", help="store weights as float16: half the size")
    parser.add_argument(
        "--no-frame-graph",
        action="store_true",
        help="leave out the graphs of whole frames, which GPUs run: half of the size, or less",
    )
    add_edit_options(parser)
    parser.add_argument(
        "--person",
        type=Path,
        action="append",
        default=[],
        metavar="PICTURE",
        help="of weights for bodies: who the bundle holds, and moves live; several, by one each, the first one moves",
    )
    parser.add_argument("--title", metavar="TEXT", help="one line for people")
    parser.add_argument("--licence", metavar="SPDX", help="of the weights, such as CC0-1.0")
    parser.add_argument("--weights", metavar="TEXT", help="where the weights come from")
    parser.add_argument("--data", metavar="TEXT", help="what they were trained on, with its licence")
    parser.add_argument("--consent", metavar="TEXT", help="who agreed to the use of the faces in the data")
    parser.add_argument(
        "--non-commercial",
        metavar="NAME",
        help="the weights may not be used commercially: the bundle loads only with --accept NAME",
    )


def _import(options: argparse.Namespace) -> None:
    with libraries("import"):
        from export.imports import REPORT, import_files

        imported = import_files(
            options.system, options.files, options.out, size=options.size, crop=options.crop
        )
    for account in imported.accounts:
        print(account.summary())
    print(f"{options.out} is written; {options.out / REPORT}.txt says what became of every key")


def _export(options: argparse.Namespace) -> None:
    with libraries("export"):
        from export.checkpoints import load
        from export.labels import Stated, label_of
        from export.pack import pack

        loaded = load(options.checkpoint)
        stated = Stated(
            title=options.title,
            licence=options.licence,
            weights=options.weights,
            data=options.data,
            consent=options.consent,
            acceptance=options.non_commercial,
        )
        label = label_of(loaded, stated)
        packed = pack(
            _planned(loaded, options),
            label,
            options.out,
            half=options.fp16,
            frames=not options.no_frame_graph,
            tell=_tell,
        )
    for line in packed.report.lines():
        print(line)
    for line in packed.frames.lines() if packed.frames is not None else ():
        print(line)
    size = sum(info.bytes for info in packed.bundle.manifest.graphs.values())
    print(f"{options.out} is written: {packed.bundle.manifest.title}, {size / 1e6:.2f} MB, {label.licence}")
    if not options.licence:
        print(
            f"marotte: its licence was not stated: it says {label.licence}; state one with --licence before you "
            "pass it on",
            file=sys.stderr,
        )


def _planned(loaded: Loaded, options: argparse.Namespace) -> Plan:
    if options.person:
        from export.enrol.held import held_plan

        if asks_edits(options):
            raise ConfigError("person: a bundle holds a person, or edits of one; leave one of the two out")
        return held_plan(loaded, options.person)
    if not asks_edits(options):
        from export.systems import plan_of

        return plan_of(loaded)
    from export.enrol.person import offered_plan

    return offered_plan(loaded, files_of(options), reaches_of(options.edit), options.freeze)


def _tell(step: str) -> None:
    if sys.stderr.isatty():
        print(f"marotte: {step}", file=sys.stderr)
