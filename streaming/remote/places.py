"""Where a stream is pushed to or pulled from, checked before anything is asked of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from engine.errors import ConfigError

STREAM: Final = "live"
"""The stream of a push or pull that names none."""
MOST_PLACES: Final = 16
"""Pushes and pulls of one server."""
MOST_URL: Final = 2048
MOST_TOKEN: Final = 4096

_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")
_NAMED: Final = re.compile(r"([a-z0-9-]{1,64})=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """One push or pull. url: of a WHIP endpoint for a push, of a WHEP endpoint for a pull. token: is sent as Bearer, to
    the origin of `url` alone, and stands in no log and no answer. stream: what is pushed, or what is published with
    the pulled stream as its driver. source, bundle, mode: of a pull's session, as streaming.offer.Offer has them,
    empty for the first ones. near: it may lie, and lead, where not everybody on the net is: on this machine or in this
    house. Raises ConfigError."""

    url: str
    token: str = field(default="", repr=False)
    stream: str = STREAM
    source: str = ""
    bundle: str = ""
    mode: str = ""
    near: bool = True

    def __post_init__(self) -> None:
        parts = checked(self.url)
        if parts.fragment:
            raise ConfigError(f"url: {parts.hostname} with a fragment (#); expected none")
        if not _NAME.fullmatch(self.stream):
            raise ConfigError(f"stream: got {self.stream[:80]!r}, expected 1 to 64 of a-z, 0-9 and -")
        if len(self.token) > MOST_TOKEN or not self.token.isascii() or not self.token.isprintable():
            raise ConfigError(f"token: expected at most {MOST_TOKEN} printable ASCII characters in one line")

    @property
    def shown(self) -> str:
        """The address without its query, which may hold a key."""
        return shown(self.url)


def place_of(text: str, token: str = "") -> Place:
    """URL or STREAM=URL, of the operator's own. Raises ConfigError."""
    named = _NAMED.fullmatch(text)
    return Place(named[2], token, named[1]) if named else Place(text, token)


def checked(url: str) -> SplitAddress:
    """The parts of an http or https address. Raises ConfigError for what is none, or has an account in it."""
    if len(url) > MOST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise ConfigError(f"url: expected an address of at most {MOST_URL} ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("url: it cannot be read; expected https://HOST/PATH") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ConfigError("url: expected https://HOST/PATH, or http:// on this machine")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("url: it has an account in it; give what it takes as a token")
    return SplitAddress(
        parts.scheme, parts.hostname, port or _PORTS[parts.scheme], parts.path, parts.fragment
    )


_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class SplitAddress:
    """host: without brackets, in small letters."""

    scheme: str
    host: str
    port: int
    path: str
    fragment: str = ""

    @property
    def hostname(self) -> str:
        return self.host[:80]

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


def shown(url: str) -> str:
    """An address as it may stand in a log: without its query."""
    return url.partition("?")[0].partition("#")[0][:200]
