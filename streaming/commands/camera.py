"""`marotte camera`."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.commands import add_accept, add_backend, add_consent, sub_command
from engine.commands.marks import add_marks, marks_of

if TYPE_CHECKING:
    from streaming.camera.run import Local, Tell
    from streaming.camera.sinks import Output

_PLAIN_S = 10.0


def add(commands: Any) -> None:
    """Add the command's parser."""
    text = (
        "a virtual camera for other programs: of a WHEP address, or of this machine's own camera and engine"
    )
    parser = sub_command(commands, "camera", _camera, text)
    parser.add_argument("address", nargs="?", metavar="URL", help="WHEP address, as https://HOST/whep/STREAM")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds what URL takes as its token (or MAROTTE_TOKEN)"
    )
    parser.add_argument(
        "--remote-insecure", action="store_true", help="URL may be plain http on another machine"
    )
    _add_output(parser)
    _add_local(parser)


def _add_output(parser: Any) -> None:
    parser.add_argument(
        "--size", default="1280x720", metavar="WxH", help="pixels that leave, always (1280x720)"
    )
    parser.add_argument("--fps", type=int, default=30, metavar="N", help="pictures a second, always (30)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--device", default="", metavar="NAME", help="virtual camera to use (default: the first one there is)"
    )
    where.add_argument("--window", action="store_true", help="into a window instead")
    where.add_argument("--out", type=Path, metavar="FILE", help="into a .mp4, .mov or .webm file instead")


def _add_local(parser: Any) -> None:
    parser.add_argument(
        "--driver",
        metavar="D",
        help="run the engine here, moved by this camera (0, /dev/video0, a name), by a clip, or by demo",
    )
    parser.add_argument(
        "--tracker",
        metavar="KIND[:HOST][:PORT]",
        help="run the engine here, moved by an external tracker, arkit or openseeface",
    )
    parser.add_argument(
        "--tracker-from",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="who may send such packets; without it this machine alone",
    )
    parser.add_argument("--source", type=Path, metavar="S", help="portrait or clip (default: the sample)")
    add_consent(parser)
    add_marks(parser)
    parser.add_argument(
        "--statement",
        metavar="TEXT",
        help="one line of the record; alone: written consent is held",
    )
    parser.add_argument("--bundle", default="mesh_flow", metavar="B", help="generator (mesh_flow)")
    add_accept(parser)
    parser.add_argument("--edit", action="store_true", help="edit the driver's own picture")
    parser.add_argument(
        "--driver-pixels", action="store_true", help="take inner mouth and shading from the driver's picture"
    )
    parser.add_argument("--capture", default="640x480", metavar="WxH", help="asked of the camera (640x480)")
    parser.add_argument("--side", type=int, default=720, metavar="N", help="longest side that is made (720)")
    parser.add_argument("--in-process", action="store_true", help="no process of its own for the engine")
    add_backend(parser)


def _camera(options: argparse.Namespace) -> None:
    from engine.errors import ConfigError

    ways = [name for name in ("address", "driver", "tracker") if getattr(options, name) is not None]
    if len(ways) != 1:
        got = " and ".join(ways) or "none"
        raise ConfigError(f"camera: got {got}, expected one of: a WHEP address, --driver, --tracker")
    from streaming.camera import run

    output = _output(options)
    with _progress() as tell:
        try:
            if options.address is not None:
                _remote(options, output, tell)
            else:
                run.show_local(_local(options, output), output, tell=tell)
        except KeyboardInterrupt:
            pass
    print("marotte: stopped", file=sys.stderr)


def _remote(options: argparse.Namespace, output: Output, tell: Tell) -> None:
    from engine.errors import ConfigError
    from streaming.camera.run import show_remote
    from streaming.commands.secret import read_token
    from streaming.remote.places import Place

    if lowered := marks_of(options).lowered:
        raise ConfigError(
            f"--no-{lowered[0]}: what another server sends carries its own marks, and is shown as it is; leave it out"
        )
    place = Place(options.address, read_token(options.token_file))
    show_remote(place, output, insecure=options.remote_insecure, tell=tell)


def _output(options: argparse.Namespace) -> Output:
    from streaming.camera.sinks import Output

    kind = "window" if options.window else "file" if options.out is not None else "camera"
    return Output(kind, _size("size", options.size), options.fps, options.device, options.out)


def _local(options: argparse.Namespace, output: Output) -> Local:
    from engine.errors import ConfigError
    from engine.types import Mode
    from engine.worker.interface import WorkerConfig
    from streaming.camera.capture import source_of
    from streaming.camera.run import Local
    from streaming.config import ServeConfig
    from streaming.trackers import place_of

    worker = WorkerConfig(
        bundles=(options.bundle,),
        accept=frozenset(options.accept),
        edit=options.edit,
        backend=options.backend,
        cache=options.cache,
        side=options.side,
        sessions=1,
        driver_pixels=options.driver_pixels,
    )
    trackers = (place_of(options.tracker, options.tracker_from),) if options.tracker else ()
    config = ServeConfig(
        source=options.source,
        consent=options.consent,
        statement=options.statement,
        marks=marks_of(options),
        in_process=options.in_process,
        sound=False,
        trackers=trackers,
        worker=worker,
    )
    source = None
    if options.driver is not None and options.driver != "demo":
        if options.driver == options.device:
            raise ConfigError(f"driver: {options.driver} is the virtual camera itself; name another camera")
        size = _size("capture", options.capture)
        source = source_of(options.driver, size, output.fps, once=options.out is not None)
    return Local(config, source, Mode.EDIT if options.edit else None)


def _size(option: str, text: str) -> tuple[int, int]:
    from engine.errors import ConfigError

    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise ConfigError(f"--{option}: got {text[:40]!r}, expected WIDTHxHEIGHT, such as 1280x720")
    return int(match[1]), int(match[2])


@contextmanager
def _progress() -> Iterator[Tell]:
    """One line that is written over on a terminal; elsewhere a line now and then."""
    on_terminal, told_s, width = sys.stderr.isatty(), float("-inf"), 0

    def tell(line: str) -> None:
        nonlocal told_s, width
        now = time.monotonic()
        if on_terminal:
            print(f"\rmarotte: {line:<{width}}", end="", file=sys.stderr, flush=True)
            width = len(line)
        elif now - told_s >= _PLAIN_S:
            told_s = now
            print(f"marotte: {line}", file=sys.stderr, flush=True)

    try:
        yield tell
    finally:
        if on_terminal and width:
            print(file=sys.stderr)
