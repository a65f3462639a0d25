"""`marotte token`."""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path
from typing import Any, Final

from engine.commands import sub_command
from streaming.commands.secret import read_token

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add(commands: Any) -> None:
    """Add the command's parser."""
    parser = sub_command(
        commands, "token", _token, "print a token for a server: what it is for, and until when"
    )
    parser.add_argument(
        "--scope",
        action="append",
        required=True,
        metavar="S",
        help="admin, api, metrics, publish[:STREAM], view[:STREAM] or room:NAME; several, by one each",
    )
    parser.add_argument(
        "--for", dest="lasts", default="2h", metavar="T", help="how long it holds: 90s, 30m, 2h or 7d (2h)"
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="the server's own token, which signs (or MAROTTE_TOKEN)",
    )
    parser.add_argument(
        "--token-key-file",
        type=Path,
        metavar="FILE",
        help="what signs, where the server was given such a file",
    )


def _token(options: argparse.Namespace) -> None:
    from engine.errors import ConfigError
    from streaming.tokens import Tokens, key_of, scope_of

    scopes = [scope_of(text) for text in options.scope]
    for_s = seconds(options.lasts)
    if options.token_key_file is not None and options.token_file is not None:
        raise ConfigError("token-file: a server that has a key file signs with that; give one of the two")
    if options.token_key_file is not None:
        secret = read_token(options.token_key_file, "token-key-file")
    else:
        secret = read_token(options.token_file)
    if not secret:
        raise ConfigError(
            "token: nothing to sign with; start the server with --token-file FILE (or MAROTTE_TOKEN), and give the "
            "same here. A server that made its own token issues others at POST /api/v1/tokens"
        )
    text, token = Tokens(key_of(secret)).issue(scopes, for_s)
    until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(token.expires_s))
    named = ", ".join(map(str, token.scopes))
    print(f"marotte: token {token.id} for {named} until {until}", file=sys.stderr)
    print(text)


def seconds(text: str) -> float:
    """Of a number and its unit. Raises ConfigError."""
    from engine.errors import ConfigError

    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])", text, re.ASCII)
    if found is None:
        raise ConfigError(f"for: got {text!r}, expected a number and s, m, h or d, as 90s, 30m, 2h or 7d")
    return float(found[1]) * _UNITS[found[2]]
