"""`marotte serve` and `marotte run`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.commands import add_accept, add_backend, sub_command
from streaming.commands.remotes import add_remotes, remote_options

if TYPE_CHECKING:
    from streaming.serve import Served

Serve = Callable[..., None]
"""As marotte.serve."""


def add(commands: Any, serve: Serve) -> None:
    """Add both parsers. serve: what they call; the door of the package has it, for scripts as well."""
    _add_run(commands, serve)
    _add_serve(commands, serve)


def _add_serving(parser: Any) -> None:
    """What `serve` and `run` share."""
    parser.add_argument("--statement", metavar="TEXT", help="one line: who allows the use of the source")
    parser.add_argument("--host", default="127.0.0.1", metavar="H", help="address to serve on (127.0.0.1)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the token (or MAROTTE_TOKEN)")
    parser.add_argument(
        "--token-key-file",
        type=Path,
        metavar="FILE",
        help="signs tokens with a scope (default: the token does)",
    )
    parser.add_argument(
        "--host-name", action="append", default=[], metavar="NAME", help="further name of this server"
    )
    parser.add_argument(
        "--origin",
        action="append",
        default=[],
        metavar="URL",
        help="another site whose pages may ask with a token of their own, as https://app.example",
    )
    parser.add_argument(
        "--rate",
        action="append",
        default=[],
        metavar="NAME=N[:BURST]",
        help="how often a minute one may ask, such as offers=10:20 (docs/live.md)",
    )
    parser.add_argument(
        "--behind-proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="believe what this proxy, or network of proxies, says about where requests come from",
    )
    parser.add_argument(
        "--tracker",
        action="append",
        default=[],
        metavar="KIND[:HOST][:PORT]",
        help="take packets of an external tracker, arkit (Live Link Face) or openseeface, for who asks for it",
    )
    parser.add_argument(
        "--tracker-from",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="who may send such packets; without it this machine alone",
    )
    parser.add_argument(
        "--mediapipe",
        type=Path,
        metavar="DIR",
        help="your own @mediapipe/tasks-vision and its model: pages may follow faces themselves (docs/trackers.md)",
    )
    parser.add_argument("--metrics-port", type=int, metavar="N", help="/metrics without a token, on loopback")
    parser.add_argument("--in-process", action="store_true", help="no process of its own for the engine")
    parser.add_argument(
        "--pass-through", action="store_true", help="send the camera's own picture back: nothing is generated"
    )
    parser.add_argument(
        "--driver-pixels", action="store_true", help="take inner mouth and shading from the driver's picture"
    )
    parser.add_argument(
        "--bundle",
        action="append",
        metavar="B",
        help="generator that pages may choose: a name or a folder, several by one each; the first is what they "
        "begin with (mesh_flow)",
    )
    add_accept(parser)
    parser.add_argument(
        "--edit",
        action="store_true",
        help="allow pages to have the camera's own picture edited and sent back",
    )
    parser.add_argument(
        "--body",
        metavar="B",
        help="for bundles that move whole bodies: your own SMPL file beside its official maps, or synthetic",
    )
    parser.add_argument("--codec", default="auto", metavar="C", help="vp8, h264 or auto (default)")
    parser.add_argument(
        "--encoder",
        default="auto",
        metavar="E",
        help="what encodes H.264: software, nvenc, vaapi, videotoolbox, or auto (default): hardware that works",
    )
    parser.add_argument("--side", type=int, default=720, metavar="N", help="longest side that leaves (720)")
    parser.add_argument("--sessions", type=int, default=4, metavar="N", help="most at once (4)")
    parser.add_argument(
        "--latency",
        type=float,
        default=250.0,
        metavar="MS",
        help="hold frames' ages below it by fewer, then smaller pictures (250; 0: never)",
    )
    parser.add_argument(
        "--admission",
        default="measured",
        metavar="HOW",
        help="measured (default): a session needs headroom beside those that run; count: --sessions alone; off",
    )
    parser.add_argument(
        "--drain-s",
        type=float,
        default=10.0,
        metavar="S",
        help="how long sessions go on after SIGTERM, or POST /api/v1/drain (10; 0: not at all)",
    )
    parser.add_argument(
        "--viewers",
        type=int,
        default=8,
        metavar="N",
        help="most who watch one session, besides its driver (8)",
    )
    parser.add_argument(
        "--viewers-total", type=int, default=32, metavar="N", help="most of all sessions together (32)"
    )
    parser.add_argument(
        "--rooms",
        type=int,
        nargs="?",
        const=8,
        default=0,
        metavar="N",
        help="offer rooms for calls of two, at most so many at once (8; without this none)",
    )
    parser.add_argument(
        "--room-empty",
        type=float,
        default=10.0,
        metavar="MINUTES",
        help="how long a room is kept without anybody in it (10)",
    )
    parser.add_argument(
        "--batch",
        type=int,
        default=0,
        metavar="N",
        help="most faces of all sessions that go through a network at once (0: as many as the backend gains from)",
    )
    parser.add_argument(
        "--batch-wait",
        type=float,
        default=4.0,
        metavar="MS",
        help="longest that a frame waits for those of other sessions, in milliseconds (4)",
    )
    parser.add_argument("--no-sound", action="store_true", help="pass no driver's microphone on")
    parser.add_argument("--no-spare", action="store_true", help="keep no second process ready")
    parser.add_argument("--public-ice", action="store_true", help="also reach browsers at public addresses")
    parser.add_argument(
        "--ice-server",
        action="append",
        default=[],
        metavar="URL",
        help="stun:HOST:PORT, turn:NAME:PASSWORD@HOST:PORT, turns: by TLS, ?transport=tcp at the end by TCP",
    )
    add_remotes(parser)
    parser.add_argument(
        "--enrol",
        action="append",
        default=[],
        metavar="SYSTEM=CHECKPOINT",
        help="let pages enrol a person with this system, from this checkpoint (docs/enrolment.md)",
    )
    parser.add_argument(
        "--enrol-options",
        action="append",
        default=[],
        metavar="SYSTEM=WORDS",
        help="further words of `marotte enrol`, such as 'stit=--directions DIR --edit smile=-4:4'",
    )
    parser.add_argument(
        "--enrolments", type=Path, metavar="DIR", help="what is enrolled (default: in the state's folder)"
    )
    add_backend(parser)


def _add_serve(commands: Any, serve: Serve) -> None:
    parser = sub_command(
        commands, "serve", partial(_serve, serve), "serve the live page; status 0 when it is stopped"
    )
    parser.add_argument(
        "--source",
        type=Path,
        action="append",
        metavar="S",
        help="portrait or clip (default: the sample); several, by one each, are photos of one person",
    )
    parser.add_argument(
        "--port", type=int, default=None, metavar="N", help="default: 8765; 0 takes a free one"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    many = parser.add_mutually_exclusive_group()
    many.add_argument(
        "--gpus",
        metavar="N,N",
        help="a server of its own on each of these GPUs, behind one door: 0,1 (docs/sessions.md)",
    )
    many.add_argument(
        "--workers", type=int, default=0, metavar="N", help="the same of N servers without a GPU of their own"
    )
    _add_serving(parser)


def _add_run(commands: Any, serve: Serve) -> None:
    parser = sub_command(
        commands, "run", partial(_run, serve), "serve the live page, with the sample or SOURCE, and open it"
    )
    parser.add_argument("source", nargs="?", type=Path, metavar="SOURCE", help="default: the sample")
    parser.add_argument("--port", type=int, default=None, metavar="N", help="default: 8765, or a free one")
    parser.add_argument("--no-open", action="store_true", help="do not open the page in the browser")
    _add_serving(parser)


def _serve(serve: Serve, options: argparse.Namespace) -> None:
    if options.source and len(options.source) == 1:
        (options.source,) = options.source
    if options.gpus is not None or options.workers:
        _serve_page(_behind_one_door(options), options, False, None)
        return
    _serve_page(serve, options, options.open, None)


def _behind_one_door(options: argparse.Namespace) -> Serve:
    """Serves as the command says, by several servers."""

    def serve_all(source: Any, *, ready: object, **fields: Any) -> None:
        from streaming.front.front import serve_many
        from streaming.serve import served_as

        gpus = [] if options.gpus is None else options.gpus.split(",")
        serve_many(served_as(source, fields), sys.argv[1:], gpus=gpus, workers=options.workers)

    return serve_all


def _run(serve: Serve, options: argparse.Namespace) -> None:
    from streaming.listen import PortTakenError, RunningError

    opens = not options.no_open and _has_display()
    try:
        _serve_page(serve, options, opens, None)
    except PortTakenError as error:
        if options.port is not None:
            raise
        by = (
            "Marotte, which is already running there"
            if isinstance(error, RunningError)
            else "another program"
        )
        print(f"marotte: the usual port is taken by {by}: a free one is used", file=sys.stderr)
        _serve_page(serve, options, opens, 0)


def _serve_page(serve: Serve, options: argparse.Namespace, opens: bool, port: int | None) -> None:
    from streaming.config import DEFAULT_PORT
    from streaming.rates import rates_of
    from streaming.trackers import place_of

    def ready(served: Served) -> None:
        if opens:
            import webbrowser

            # not served.url: other users can read a browser's command line
            threading.Thread(target=webbrowser.open, args=(served.passing(),), daemon=True).start()

    if port is None:
        port = DEFAULT_PORT if options.port is None else options.port
    token, place = read_token(options.token_file), str(options.token_file or "MAROTTE_TOKEN")
    serve(
        options.source,
        ready=ready,
        statement=options.statement,
        host=options.host,
        port=port,
        token=token,
        token_place=place if token else "",
        token_key=read_token(options.token_key_file, "token-key-file") if options.token_key_file else "",
        origins=tuple(options.origin),
        trackers=tuple(place_of(tracker, options.tracker_from) for tracker in options.tracker),
        mediapipe=options.mediapipe,
        rates=rates_of(options.rate),
        proxies=tuple(options.behind_proxy),
        hosts=tuple(options.host_name),
        metrics_port=options.metrics_port,
        in_process=options.in_process,
        pass_through=options.pass_through,
        sound=not options.no_sound,
        public_ice=options.public_ice,
        ice_servers=tuple(options.ice_server),
        **remote_options(options, read_token),
        codec=options.codec,
        encoder=options.encoder,
        bundles=tuple(options.bundle or ("mesh_flow",)),
        accept=frozenset(options.accept),
        edit=options.edit,
        side=options.side,
        sessions=options.sessions,
        latency_s=options.latency / 1000,
        admission=options.admission,
        drain_s=options.drain_s,
        viewers=options.viewers,
        viewers_total=options.viewers_total,
        rooms=options.rooms,
        room_empty_s=60 * options.room_empty,
        spare=not options.no_spare,
        batch=options.batch,
        batch_wait_s=options.batch_wait / 1000,
        backend=options.backend,
        driver_pixels=options.driver_pixels,
        body=options.body,
        cache=options.cache,
        enrol=_by_system("enrol", options.enrol),
        enrol_options={
            system: _words(system, text)
            for system, text in _by_system("enrol-options", options.enrol_options).items()
        },
        enrolments=options.enrolments,
    )
    print("marotte: stopped", file=sys.stderr)


def _by_system(option: str, given: list[str]) -> dict[str, str]:
    from engine.errors import ConfigError

    found: dict[str, str] = {}
    for text in given:
        system, equals, value = text.partition("=")
        if not (system and equals and value) or system in found:
            raise ConfigError(f"--{option} {text}: expected SYSTEM=VALUE, each system once")
        found[system] = value
    return found


def _words(system: str, text: str) -> tuple[str, ...]:
    from engine.errors import ConfigError

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigError(f"--enrol-options {system}: {error}; quote each word that has spaces") from error


def read_token(file: Path | None, option: str = "token-file") -> str:
    """From the file or the environment, never from the command line, which other users can read."""
    if file is None:
        return os.environ.get("MAROTTE_TOKEN", "")
    from engine.errors import ConfigError
    from engine.media.limits import Limits

    try:
        with Limits(file_bytes=4096).open_file(file) as opened:
            token = opened.read().decode().strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{option}: {file} holds no text; expected one line, the token") from error
    if not token:
        raise ConfigError(f"{option}: {file} holds no token; expected one line of 16 characters or more")
    return token


def _has_display() -> bool:
    """Whether a browser's window could be seen."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
