"""Every route of the server's port, with the scope that it asks for: the one place where that is said.

A route that stands neither here nor in `streaming.doors.OPEN_PATHS` is for `admin` alone, and a test fails for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from streaming.tokens import Scope, Token, scope_of


@dataclass(frozen=True, slots=True)
class Route:
    """needs: any one of these scopes is enough, `{stream}` and `{room}` standing for that part of the path; without any
    every token will do. rate: one of streaming.rates.KINDS, what a request counts as. link: a token may stand in its
    address, and is led on to a cookie. shared: pages of the allowed origins may ask, with a token of their own. kinds:
    scopes of these kinds are enough too, whatever they name."""

    needs: tuple[str, ...] = ()
    rate: str = ""
    link: bool = False
    shared: bool = False
    kinds: tuple[str, ...] = ()

    def asked(self, path: Mapping[str, str]) -> tuple[Scope, ...]:
        """The scopes for one request. Raises ConfigError where a part of the path is no name."""
        return tuple(scope_of(need.format_map(path)) for need in self.needs)

    def lets_in(self, token: Token, path: Mapping[str, str]) -> bool:
        """Whether a token is enough for one request. Raises ConfigError as `asked` does."""
        asked = self.asked(path)
        named = any(scope.kind in self.kinds for scope in token.scopes)
        return not asked or named or any(map(token.allows, asked))


ADMIN_ONLY: Final = Route(("admin",), "posts")
ANY_TOKEN: Final = Route()
_API: Final = Route(("api",), shared=True)
_GUESTS: Final = replace(_API, kinds=("room",))
_ROOM: Final = Route(("room:{room}",), shared=True)
_PUBLISH: Final = Route(("publish:{stream}",), shared=True)
_VIEW: Final = Route(("view:{stream}",), shared=True)


def _as(route: Route, rate: str) -> Route:
    return replace(route, rate=rate)


ROUTES: Final[dict[tuple[str, str], Route]] = {
    ("GET", "/"): Route(link=True),
    ("GET", "/static/{name}"): ANY_TOKEN,
    ("GET", "/mediapipe/{name}"): ANY_TOKEN,
    ("GET", "/room/{room}"): Route(("room:{room}",), link=True),
    ("GET", "/verify"): Route(link=True),
    ("POST", "/api/v1/verify"): Route(rate="uploads"),
    ("GET", "/metrics"): Route(("metrics",)),
    ("GET", "/api/v1/info"): Route(("api",), shared=True, kinds=("publish", "room")),
    ("GET", "/api/v1/bundles"): _API,
    ("GET", "/api/v1/sources"): _API,
    ("POST", "/api/v1/sources"): _as(_API, "uploads"),
    ("GET", "/api/v1/consents"): _API,
    ("GET", "/api/v1/consents/{id}"): _API,
    ("DELETE", "/api/v1/consents/{id}"): _API,
    ("GET", "/api/v1/sources/{id}/still.jpg"): _GUESTS,
    ("GET", "/api/v1/sources/{id}/pictures/{number}.jpg"): _API,
    ("GET", "/api/v1/sessions"): _API,
    ("GET", "/api/v1/sessions/{id}"): _API,
    ("PATCH", "/api/v1/sessions/{id}"): _as(_API, "changes"),
    ("DELETE", "/api/v1/sessions/{id}"): _API,
    ("GET", "/api/v1/sessions/{id}/layout"): _API,
    ("GET", "/api/v1/sessions/{id}/statement"): replace(_API, kinds=("publish", "view", "room")),
    ("POST", "/api/v1/sessions/{id}/recording"): _as(_API, "posts"),
    ("DELETE", "/api/v1/sessions/{id}/recording"): _API,
    ("GET", "/api/v1/recordings"): _API,
    ("GET", "/api/v1/recordings/{id}"): _API,
    ("GET", "/api/v1/recordings/{id}/video.mp4"): _API,
    ("DELETE", "/api/v1/recordings/{id}"): _API,
    ("PUT", "/api/v1/sessions/{id}/painting"): _as(_API, "changes"),
    ("POST", "/api/v1/labels"): _as(_API, "uploads"),
    ("GET", "/api/v1/enrolments"): _API,
    ("POST", "/api/v1/enrolments"): _as(_API, "uploads"),
    ("GET", "/api/v1/enrolments/{id}"): _API,
    ("POST", "/api/v1/enrolments/{id}/resume"): _as(_API, "posts"),
    ("POST", "/api/v1/enrolments/{id}/source"): _as(_API, "posts"),
    ("DELETE", "/api/v1/enrolments/{id}"): _API,
    ("GET", "/api/v1/rooms"): _API,
    ("POST", "/api/v1/rooms"): _as(_API, "posts"),
    ("GET", "/api/v1/rooms/{room}"): _ROOM,
    ("DELETE", "/api/v1/rooms/{room}"): _API,
    ("POST", "/api/v1/rooms/{room}/members"): _as(_ROOM, "posts"),
    ("GET", "/api/v1/rooms/{room}/members/{id}/events"): _ROOM,
    ("DELETE", "/api/v1/rooms/{room}/members/{id}"): _ROOM,
    ("POST", "/api/v1/drain"): Route(("admin",), "posts"),
    ("GET", "/api/v1/denied"): Route(("admin",)),
    ("POST", "/api/v1/denied"): Route(("admin",), "uploads"),
    ("DELETE", "/api/v1/denied/{id}"): Route(("admin",)),
    ("GET", "/api/v1/kill"): Route(("admin",)),
    ("POST", "/api/v1/kill"): Route(("admin",)),
    ("DELETE", "/api/v1/kill"): Route(("admin",)),
    ("POST", "/api/v1/tokens"): Route(("admin",), "posts"),
    ("DELETE", "/api/v1/tokens/{id}"): Route(("admin",)),
    ("GET", "/api/v1/remotes"): Route(("admin",)),
    ("POST", "/api/v1/remotes"): Route(("admin",), "posts"),
    ("GET", "/api/v1/remotes/{id}"): Route(("admin",)),
    ("DELETE", "/api/v1/remotes/{id}"): Route(("admin",)),
    ("GET", "/whip"): Route(shared=True),
    ("OPTIONS", "/whip"): Route(shared=True),
    ("POST", "/whip"): Route(("publish",), "offers", shared=True),
    ("GET", "/whip/{stream}"): Route(shared=True),
    ("OPTIONS", "/whip/{stream}"): Route(shared=True),
    ("POST", "/whip/{stream}"): _as(_PUBLISH, "offers"),
    ("GET", "/whip/{stream}/{id}"): _PUBLISH,
    ("OPTIONS", "/whip/{stream}/{id}"): Route(shared=True),
    ("PATCH", "/whip/{stream}/{id}"): _as(_PUBLISH, "changes"),
    ("DELETE", "/whip/{stream}/{id}"): _PUBLISH,
    ("GET", "/whep/{stream}"): Route(shared=True),
    ("OPTIONS", "/whep/{stream}"): Route(shared=True),
    ("POST", "/whep/{stream}"): _as(_VIEW, "offers"),
    ("GET", "/whep/{stream}/{id}"): _VIEW,
    ("GET", "/whep/{stream}/{id}/statement"): _VIEW,
    ("OPTIONS", "/whep/{stream}/{id}"): Route(shared=True),
    ("PATCH", "/whep/{stream}/{id}"): _as(_VIEW, "changes"),
    ("DELETE", "/whep/{stream}/{id}"): _VIEW,
}
"""By method, a HEAD as its GET, and by path as aiohttp's resources spell it."""


def route_of(method: str, canonical: str) -> Route:
    """What a route that is there asks for."""
    return ROUTES.get(("GET" if method == "HEAD" else method, canonical), ADMIN_ONLY)
