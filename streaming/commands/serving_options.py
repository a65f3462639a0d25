"""The options that `marotte serve` and `marotte run` share, and what a server is given by them."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from engine.commands import add_accept, add_backend, add_consent
from engine.commands.marks import GROUP, add_marks, marks_of
from streaming.commands.logging_options import add_log, log_options
from streaming.commands.recording import add_recording, recording_options
from streaming.commands.remotes import add_remotes, remote_options
from streaming.commands.secret import read_token


def add_serving(parser: Any) -> None:
    """Add them, in groups; `serving_options` reads them."""
    _add_doors(parser.add_argument_group("who may come in"))
    _add_drivers(parser.add_argument_group("who drives"))
    _add_generators(parser.add_argument_group("what generates"))
    _add_sessions(parser.add_argument_group("how many, and how well"))
    _add_ways(parser.add_argument_group("which ways are taken"))
    _add_enrolment(parser.add_argument_group("who may be enrolled"))
    kept = parser.add_argument_group("what is kept")
    add_recording(kept)
    add_log(kept)
    add_marks(parser.add_argument_group(GROUP))


def _add_doors(group: Any) -> None:
    add_consent(group)
    group.add_argument(
        "--statement",
        metavar="TEXT",
        help="one line of the record; alone: written consent is held",
    )
    group.add_argument("--host", default="127.0.0.1", metavar="H", help="address to serve on (127.0.0.1)")
    group.add_argument("--token-file", type=Path, metavar="FILE", help="holds the token (or MAROTTE_TOKEN)")
    group.add_argument(
        "--token-key-file",
        type=Path,
        metavar="FILE",
        help="signs tokens with a scope (default: the token does)",
    )
    group.add_argument(
        "--host-name", action="append", default=[], metavar="NAME", help="further name of this server"
    )
    group.add_argument(
        "--origin",
        action="append",
        default=[],
        metavar="URL",
        help="another site whose pages may ask with a token of their own, as https://app.example",
    )
    group.add_argument(
        "--rate",
        action="append",
        default=[],
        metavar="NAME=N[:BURST]",
        help="how often a minute one may ask, such as offers=10:20 (docs/live.md)",
    )
    group.add_argument(
        "--behind-proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="believe what this proxy, or network of proxies, says about where requests come from",
    )
    group.add_argument("--metrics-port", type=int, metavar="N", help="/metrics without a token, on loopback")
    group.add_argument(
        "--open-verify",
        action="store_true",
        help="the page /verify, which looks for marks in a file, needs no token",
    )


def _add_drivers(group: Any) -> None:
    group.add_argument(
        "--tracker",
        action="append",
        default=[],
        metavar="KIND[:HOST][:PORT]",
        help="take packets of an external tracker, arkit (Live Link Face) or openseeface, for who asks for it",
    )
    group.add_argument(
        "--tracker-from",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="who may send such packets; without it this machine alone",
    )
    group.add_argument(
        "--mediapipe",
        type=Path,
        metavar="DIR",
        help="your own @mediapipe/tasks-vision and its model: pages may follow faces themselves (docs/trackers.md)",
    )
    group.add_argument(
        "--pass-through", action="store_true", help="send the camera's own picture back: nothing is generated"
    )
    group.add_argument(
        "--driver-pixels", action="store_true", help="take inner mouth and shading from the driver's picture"
    )
    group.add_argument("--no-sound", action="store_true", help="pass no driver's microphone on")


def _add_generators(group: Any) -> None:
    group.add_argument(
        "--bundle",
        action="append",
        metavar="B",
        help="generator that pages may choose: a name or a folder, several by one each; the first is what they "
        "begin with (mesh_flow)",
    )
    add_accept(group)
    group.add_argument(
        "--edit",
        action="store_true",
        help="allow pages to have the camera's own picture edited and sent back",
    )
    group.add_argument(
        "--body",
        metavar="B",
        help="for bundles that move whole bodies: your own SMPL file beside its official maps, or synthetic",
    )
    group.add_argument("--side", type=int, default=720, metavar="N", help="longest side that leaves (720)")
    group.add_argument(
        "--batch",
        type=int,
        default=0,
        metavar="N",
        help="most faces of all sessions that go through a network at once (0: as many as the backend gains from)",
    )
    group.add_argument(
        "--batch-wait",
        type=float,
        default=4.0,
        metavar="MS",
        help="longest that a frame waits for those of other sessions, in milliseconds (4)",
    )
    group.add_argument("--in-process", action="store_true", help="no process of its own for the engine")
    group.add_argument("--no-spare", action="store_true", help="keep no second process ready")
    add_backend(group)


def _add_sessions(group: Any) -> None:
    group.add_argument("--codec", default="auto", metavar="C", help="vp8, h264 or auto (default)")
    group.add_argument(
        "--encoder",
        default="auto",
        metavar="E",
        help="what encodes H.264: software, nvenc, vaapi, videotoolbox, or auto (default): hardware that works",
    )
    group.add_argument("--sessions", type=int, default=4, metavar="N", help="most at once (4)")
    group.add_argument(
        "--latency",
        type=float,
        default=250.0,
        metavar="MS",
        help="hold frames' ages below it by fewer, then smaller pictures (250; 0: never)",
    )
    group.add_argument(
        "--admission",
        default="measured",
        metavar="HOW",
        help="measured (default): a session needs headroom beside those that run; count: --sessions alone; off",
    )
    group.add_argument(
        "--drain-s",
        type=float,
        default=10.0,
        metavar="S",
        help="how long sessions go on after SIGTERM, or POST /api/v1/drain (10; 0: not at all)",
    )
    group.add_argument(
        "--viewers",
        type=int,
        default=8,
        metavar="N",
        help="most who watch one session, besides its driver (8)",
    )
    group.add_argument(
        "--viewers-total", type=int, default=32, metavar="N", help="most of all sessions together (32)"
    )
    group.add_argument(
        "--rooms",
        type=int,
        nargs="?",
        const=8,
        default=0,
        metavar="N",
        help="offer rooms for calls of two, at most so many at once (8; without this none)",
    )
    group.add_argument(
        "--room-empty",
        type=float,
        default=10.0,
        metavar="MINUTES",
        help="how long a room is kept without anybody in it (10)",
    )


def _add_ways(group: Any) -> None:
    group.add_argument("--public-ice", action="store_true", help="also reach browsers at public addresses")
    group.add_argument(
        "--ice-server",
        action="append",
        default=[],
        metavar="URL",
        help="stun:HOST:PORT, turn:NAME:PASSWORD@HOST:PORT, turns: by TLS, ?transport=tcp at the end by TCP",
    )
    add_remotes(group)


def _add_enrolment(group: Any) -> None:
    group.add_argument(
        "--enrol",
        action="append",
        default=[],
        metavar="SYSTEM=CHECKPOINT",
        help="let pages enrol a person with this system, from this checkpoint (docs/enrolment.md)",
    )
    group.add_argument(
        "--enrol-options",
        action="append",
        default=[],
        metavar="SYSTEM=WORDS",
        help="further words of `marotte enrol`, such as 'stit=--directions DIR --edit smile=-4:4'",
    )
    group.add_argument(
        "--enrolments", type=Path, metavar="DIR", help="what is enrolled (default: in the state's folder)"
    )


def serving_options(options: argparse.Namespace) -> dict[str, Any]:
    """What they say, as marotte.serve takes it."""
    read = (
        _door_fields, _engine_fields, _session_fields, remote_options, _enrolment_fields, recording_options,
        log_options,
    )  # fmt: skip
    return {name: value for fields in read for name, value in fields(options).items()}


def _door_fields(options: argparse.Namespace) -> dict[str, Any]:
    from streaming.rates import rates_of

    token, place = read_token(options.token_file), str(options.token_file or "MAROTTE_TOKEN")
    return {
        "consent": options.consent,
        "statement": options.statement,
        "host": options.host,
        "token": token,
        "token_place": place if token else "",
        "token_key": read_token(options.token_key_file, "token-key-file") if options.token_key_file else "",
        "hosts": tuple(options.host_name),
        "origins": tuple(options.origin),
        "rates": rates_of(options.rate),
        "proxies": tuple(options.behind_proxy),
        "metrics_port": options.metrics_port,
        "open_verify": options.open_verify,
    }


def _engine_fields(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "bundles": tuple(options.bundle or ("mesh_flow",)),
        "accept": frozenset(options.accept),
        "edit": options.edit,
        "body": options.body,
        "side": options.side,
        "batch": options.batch,
        "batch_wait_s": options.batch_wait / 1000,
        "in_process": options.in_process,
        "spare": not options.no_spare,
        "backend": options.backend,
        "cache": options.cache,
        "driver_pixels": options.driver_pixels,
    }


def _session_fields(options: argparse.Namespace) -> dict[str, Any]:
    from streaming.trackers import place_of

    return {
        "trackers": tuple(place_of(tracker, options.tracker_from) for tracker in options.tracker),
        "mediapipe": options.mediapipe,
        "pass_through": options.pass_through,
        "marks": marks_of(options),
        "sound": not options.no_sound,
        "codec": options.codec,
        "encoder": options.encoder,
        "sessions": options.sessions,
        "latency_s": options.latency / 1000,
        "admission": options.admission,
        "drain_s": options.drain_s,
        "viewers": options.viewers,
        "viewers_total": options.viewers_total,
        "rooms": options.rooms,
        "room_empty_s": 60 * options.room_empty,
        "public_ice": options.public_ice,
        "ice_servers": tuple(options.ice_server),
    }


def _enrolment_fields(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "enrol": _by_system("enrol", options.enrol),
        "enrol_options": {
            system: _words(system, text)
            for system, text in _by_system("enrol-options", options.enrol_options).items()
        },
        "enrolments": options.enrolments,
    }


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
