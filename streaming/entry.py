"""By which token a request comes in, and how an address with one in it becomes a cookie."""

from __future__ import annotations

import hmac
import math
from typing import Final
from urllib.parse import quote

from aiohttp import hdrs, web

from engine.errors import ConfigError
from streaming.cors import SHARED_WITH
from streaming.once import OneTimeCode, is_anothers
from streaming.rates import Allowance, Proxies, plain
from streaming.refusals import RefusedError, busy, no_token
from streaming.routes import Route
from streaming.tokens import OWN, PREFIX, Token, TokenError, Tokens

_PAGES: Final = ("/", "/verify")
"""Of the server itself, whose address takes its own token too; a room's is for guests."""
GRANT: Final = web.RequestKey("grant", Token)
"""Of a request that was let in: by which token."""


class Entry:
    """Of one port. tokens: those that are signed. wrong: how many wrong ones an address may try."""

    def __init__(
        self,
        token: str,
        port: int,
        tokens: Tokens,
        wrong: Allowance,
        proxies: Proxies,
        once: OneTimeCode | None,
    ) -> None:
        self._token, self._key = token.encode(), quote(token, safe="").encode()
        self._port, self._tokens, self._wrong = port, tokens, wrong
        self._proxies, self._once = proxies, once
        self._cookie, self._guest = f"marotte-{port}", f"marotte-{port}-guest"

    def follow(self, request: web.Request, route: Route) -> web.Response | None:
        """For an address with a token or a code: a cookie instead of it."""
        given = request.query.get("token")
        if given is not None and (request.path in _PAGES or given.startswith(PREFIX)):
            token = self._check_scope(request, route, self._read(request, given, self._token))
            if token is not OWN:
                return self._led_on(request, self._guest, given, token)
        elif request.path != "/" or "code" not in request.query or not self._takes_code(request):
            return None
        return self._led_on(request, self._cookie, self._key.decode(), OWN)

    def _led_on(self, request: web.Request, name: str, value: str, token: Token) -> web.Response:
        """To the same place without the token. Who comes from another site's link gets a page that goes there: a
        redirect would count as that site's, and a browser would keep the cookie back."""
        if is_crossing(request):
            text = f'<!doctype html><meta http-equiv="refresh" content="0;url={quote(request.path)}">'
            response = web.Response(text=text, content_type="text/html")
        else:
            response = web.Response(status=303, headers={hdrs.LOCATION: quote(request.path)})
        response.headers[hdrs.CACHE_CONTROL] = "no-store"
        age = None if token is OWN else max(1, int(token.expires_s - token.issued_s))
        secure = request.secure or (
            self._proxies.trusts(request.remote) and request.headers.get("X-Forwarded-Proto") == "https"
        )
        response.set_cookie(
            name, value, path="/", httponly=True, samesite="Strict", max_age=age, secure=secure or None
        )
        return response

    def grant(self, request: web.Request, route: Route) -> Token:
        """The token that lets this request in."""
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer":
            return self._check_scope(request, route, self._read(request, given.strip(), self._token))
        if SHARED_WITH in request:
            raise no_token()
        kept, guest = request.cookies.get(self._cookie), request.cookies.get(self._guest)
        if kept is not None and (guest is None or _same(kept, self._key)):
            return self._read(request, kept, self._key)
        if guest is None:
            raise no_token()
        return self._check_scope(request, route, self._read(request, guest, self._key))

    def _check_scope(self, request: web.Request, route: Route, token: Token) -> Token:
        try:
            if route.lets_in(token, request.match_info):
                return token
            words = " or ".join(map(str, route.asked(request.match_info)))
        except ConfigError as error:
            raise RefusedError(404, "RequestError", str(error)) from error
        raise RefusedError(
            403, "ScopeError", f"this token is not for that; it takes one for {words}", "scope"
        )

    def _read(self, request: web.Request, given: str, own: bytes) -> Token:
        # The right one always enters: others at its address (a proxy's, a tunnel's) must not lock its owner out.
        if _same(given, own):
            return OWN
        try:
            return self._tokens.read(given)
        except TokenError as error:
            if error.ours:
                raise RefusedError(401, "TokenError", str(error), "token") from error
            if not self._wrong.take(self.address(request)):
                wait_s = max(1, math.ceil(self._wrong.wait_s(self.address(request))))
                raise busy("too many wrong tokens came from this address; wait a little", wait_s) from error
            raise no_token() from error

    def address(self, request: web.Request) -> str | None:
        """Where it comes from, as far as our own proxies say."""
        return self._proxies.origin(request.remote, request.headers.getall("X-Forwarded-For", []))

    def _takes_code(self, request: web.Request) -> bool:
        """Another user of this machine, who has read it from the browser's command line, leaves it as it was."""
        peer = request.transport.get_extra_info("peername") if request.transport else None
        if self._once is None or not peer or is_anothers(plain(peer[0]), peer[1], self._port):
            return False
        return self._once.take(request.query["code"])


def _same(given: str, expected: bytes) -> bool:
    return hmac.compare_digest(given.encode(errors="surrogateescape"), expected)


def is_crossing(request: web.Request) -> bool:
    """Whether the browser says that another site had it ask."""
    return request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none")


def follows_link(request: web.Request, route: Route) -> bool:
    """Whether somebody has opened an address with a signed token that stood on another site, in a window of its own."""
    return (
        route.link
        and request.method == "GET"
        and request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest") == "document"
        and request.query.get("token", "").startswith(PREFIX)
    )
