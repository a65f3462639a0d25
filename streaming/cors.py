"""Pages of other sites that the operator has allowed to ask: with a token of their own, never with a cookie."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from engine.errors import ConfigError

SHARED_WITH: Final = web.RequestKey("shared with", str)
"""Of a request: the allowed origin of another site that it comes from."""

_METHODS: Final = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
_ASKED: Final = "Authorization, Content-Type, If-Match, If-None-Match"
_TOLD: Final = "Location, ETag, Link, Retry-After, Accept-Patch, Accept-Post, WWW-Authenticate"
_GOOD_S: Final = 600


class Origins:
    """Those that are allowed: as a browser says them, scheme and host, and the port where it is not the usual one."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(map(checked_origin, allowed))

    def allows(self, origin: str) -> bool:
        """Whether a page of this origin may ask."""
        return origin.lower() in self._allowed

    def preflight(self, request: web.Request) -> web.Response | None:
        """For a browser that asks whether it may; it tells the same of every address, and so nothing about any."""
        if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
            return None
        headers = {
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": _ASKED,
            "Access-Control-Max-Age": str(_GOOD_S),
        }
        return web.Response(status=204, headers=headers)


def share(request: web.Request, response: web.StreamResponse) -> None:
    """Let the page read an answer, whatever its status."""
    if SHARED_WITH in request:
        response.headers["Access-Control-Allow-Origin"] = request[SHARED_WITH]
        response.headers["Access-Control-Expose-Headers"] = _TOLD
        response.headers[hdrs.VARY] = "Origin"


def checked_origin(text: str) -> str:
    """As it is compared. Raises ConfigError for what no browser would say."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise _wrong(text) from error
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    plain = f"{parts.scheme}://{parts.netloc}".lower()
    if usual is None or not parts.hostname or "@" in parts.netloc or "*" in text or text.lower() != plain:
        raise _wrong(text)
    return plain.removesuffix(f":{usual}") if port == usual else plain


def _wrong(text: str) -> ConfigError:
    return ConfigError(
        f"origin: got {text[:80]!r}, expected SCHEME://HOST[:PORT], as https://app.example, without a path"
    )
