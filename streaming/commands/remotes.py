"""The options of `marotte serve` for other servers, and for how the net reaches this one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streaming.commands.secret import read_token

if TYPE_CHECKING:
    from streaming.remote.places import Place
    from streaming.rtc_ports import Ports


class _TokenFile(argparse.Action):
    """Belongs to the address before it."""

    def __call__(self, parser: Any, options: Any, value: Any, option: str | None = None) -> None:
        given = getattr(options, self.dest) or []
        if not given or given[-1][1] is not None:
            kind = str(option).removesuffix("-token-file")
            parser.error(f"{option}: stands after the {kind} that it is for, once")
        setattr(options, self.dest, [*given[:-1], (given[-1][0], value)])


class _Address(argparse.Action):
    def __call__(self, parser: Any, options: Any, value: Any, option: str | None = None) -> None:
        setattr(options, self.dest, [*(getattr(options, self.dest) or []), (value, None)])


def add_remotes(parser: Any) -> None:
    """Add the options; `remote_options` reads them."""
    for kind, what in (("push", "push a stream to a WHIP server"), ("pull", "have a WHEP stream drive one")):
        parser.add_argument(
            f"--{kind}",
            action=_Address,
            default=None,
            dest=f"{kind}_places",
            metavar="[STREAM=]URL",
            help=f"{what}; the stream is called live unless it is named (docs/remote.md)",
        )
        parser.add_argument(
            f"--{kind}-token-file",
            action=_TokenFile,
            type=Path,
            dest=f"{kind}_places",
            metavar="FILE",
            help=f"holds what the --{kind} before it sends as its bearer token",
        )
    parser.add_argument(
        "--remote-near",
        action="store_true",
        help="pushes and pulls that are begun over the API may go to private addresses and this machine",
    )
    parser.add_argument(
        "--remote-insecure",
        action="store_true",
        help="pushes and pulls may leave this machine by plain http, which shows their tokens to others",
    )
    parser.add_argument(
        "--turn-secret-file",
        type=Path,
        metavar="FILE",
        help="holds the secret by which the TURN servers without an account know one that expires",
    )
    parser.add_argument(
        "--udp-ports",
        metavar="LOW-HIGH",
        help="open media sockets within these ports alone, such as 50000-50100",
    )


def remote_options(options: argparse.Namespace) -> dict[str, Any]:
    """As fields of ServeConfig."""
    secret = options.turn_secret_file
    return {
        "pushes": _places(options, "push"),
        "pulls": _places(options, "pull"),
        "remote_near": options.remote_near,
        "remote_insecure": options.remote_insecure,
        "turn_secret": read_token(secret, "turn-secret-file") if secret else "",
        "udp_ports": _ports(options.udp_ports) if options.udp_ports else None,
    }


def _ports(text: str) -> Ports:
    from streaming.rtc_ports import ports_of

    return ports_of(text)


def _places(options: argparse.Namespace, kind: str) -> tuple[Place, ...]:
    from streaming.remote.places import place_of

    given = getattr(options, f"{kind}_places") or []
    return tuple(
        place_of(text, read_token(file, f"{kind}-token-file") if file else "") for text, file in given
    )
