"""Which token opens which route."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from engine.errors import ConfigError
from engine.worker.interface import WorkerConfig
from streaming.app import create_app
from streaming.config import ServeConfig
from streaming.doors import OPEN_PATHS
from streaming.measured import NoRecorder
from streaming.rates import KINDS, Rate, Rates
from streaming.routes import ADMIN_ONLY, ROUTES, route_of
from streaming.sources import Sources
from streaming.tokens import KINDS as SCOPES
from streaming.tokens import Tokens, key_of, scope_of
from tests.streaming.doorstep import TOKEN, Answer, FakeWorker, Site, open_site

APP = "https://app.example"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAROTTE_STATE", str(tmp_path_factory.mktemp("state")))
        unhurried = Rates(offers=Rate(6000, 1000), posts=Rate(6000, 1000), wrong=Rate(6000, 1000))
        with open_site(ServeConfig(origins=(APP,), proxies=("127.0.0.0/8",), rates=unhurried)) as opened:
            yield opened


def _token(*scopes: str, for_s: float = 60, clock: float | None = None) -> str:
    tokens = Tokens(key_of(TOKEN), time.time if clock is None else lambda: clock)
    return tokens.issue(map(scope_of, scopes), for_s)[0]


def _cookie(answer: Answer) -> str:
    return answer.headers["Set-Cookie"].partition(";")[0]


def _app() -> web.Application:
    worker = FakeWorker()
    sources = Sources(worker, NoRecorder(), within_s=1)
    return create_app(ServeConfig(), worker, NoRecorder(), sources, TOKEN, render=lambda: b"")


def test_no_route_is_open_by_mistake() -> None:
    """Each one of the server's stands in the table of scopes, or among the few that are open to all."""
    for route in _app().router.routes():
        assert route.resource is not None
        path = route.resource.canonical
        if path in OPEN_PATHS:
            continue
        method = "GET" if route.method == "HEAD" else route.method
        assert (method, path) in ROUTES, (
            f"{method} {path}: say in streaming/routes.py which scope it asks for"
        )
    assert {"/healthz", "/readyz"} == OPEN_PATHS


def test_what_changes_something_is_counted() -> None:
    """Every POST, PATCH and PUT has a rate; an end is never refused for being one too many."""
    for (method, path), route in ROUTES.items():
        if method in ("POST", "PATCH", "PUT") and path != "/api/v1/kill":  # which is an end, of everything
            assert route.rate in KINDS, f"{method} {path}"
        else:
            assert not route.rate, f"{method} {path}"


def test_the_table_asks_for_scopes_that_there_are() -> None:
    """And only a path with that part in it asks for a stream's or a room's."""
    for (_, path), route in ROUTES.items():
        assert set(route.kinds) <= set(SCOPES)
        given = {name: "a-name" for name in ("stream", "room") if f"{{{name}}}" in path}
        assert [str(scope) for scope in route.asked(given)] == [
            need.format_map(given) for need in route.needs
        ]
    assert route_of("POST", "/not/yet/there") is ADMIN_ONLY
    assert route_of("HEAD", "/metrics") is ROUTES["GET", "/metrics"]


@pytest.mark.parametrize(
    ("scope", "method", "path", "status"),
    [
        ("api", "GET", "/api/v1/info", 200),
        ("publish:demo", "GET", "/api/v1/info", 200),
        ("view:demo", "GET", "/api/v1/info", 403),
        ("metrics", "GET", "/metrics", 200),
        ("api", "GET", "/metrics", 403),
        ("admin", "GET", "/metrics", 200),
        ("publish", "DELETE", "/api/v1/sessions/0", 403),
        ("api", "DELETE", "/api/v1/sessions/0", 204),
        ("view:demo", "GET", "/", 200),
        ("view:demo", "GET", "/static/main.js", 200),
        ("view:demo", "GET", "/not/there", 404),
        ("view:demo", "PUT", "/api/v1/info", 405),
        ("api", "POST", "/api/v1/tokens", 403),
        ("api", "DELETE", "/api/v1/tokens/a", 403),
        ("admin", "DELETE", "/api/v1/tokens/a", 204),
    ],
)
def test_a_token_opens_what_it_is_for(site: Site, scope: str, method: str, path: str, status: int) -> None:
    """By its scope alone; what is refused says which scope it takes."""
    given = site.ask(method, path, token=_token(scope))
    assert given.status == status
    if status == 403:
        assert b"it takes one for" in given.body
        assert "scope" in site.recorder.turned_away


def test_a_token_that_is_over_says_so_and_is_no_guess(site: Site) -> None:
    """Whoever had a right one is not counted among those who try."""
    late = _token("api", for_s=60, clock=time.time() - 3600)
    refused = site.ask("GET", "/api/v1/info", token=late)
    assert (refused.status, refused.error[0]) == (401, "TokenError")
    assert "expired" in refused.error[1]
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    forged = _token("admin")[:-2] + "AA"
    assert b"expired" not in site.ask("GET", "/api/v1/info", token=forged).body


def test_the_operator_makes_tokens_and_takes_them_back(site: Site) -> None:
    """Over HTTP, with the server's own token or one for admin, which makes none that outlives it."""
    made = site.post("/api/v1/tokens", {"scopes": ["api", "metrics"], "for_s": 60})
    assert made.status == 201
    told = made.json
    assert told["scopes"] == ["api", "metrics"]
    assert 50 < told["expires"] - time.time() <= 61
    assert site.ask("GET", "/api/v1/info", token=told["token"]).status == 200
    assert site.ask("DELETE", f"/api/v1/tokens/{told['id']}").status == 204
    refused = site.ask("GET", "/api/v1/info", token=told["token"])
    assert refused.status == 401
    assert "taken back" in refused.error[1]
    admin = _token("admin", for_s=60)
    assert site.post("/api/v1/tokens", {"scopes": ["api"], "for_s": 30}, token=admin).status == 201
    assert site.post("/api/v1/tokens", {"scopes": ["api"], "for_s": 90}, token=admin).status == 422
    for wrong in (
        b"{", b"[]", {}, {"scopes": "api", "for_s": 1}, {"scopes": [1], "for_s": 1}, {"scopes": ["api"], "for_s": True},
    ):  # fmt: skip
        assert site.post("/api/v1/tokens", wrong).status == 400
    for wrong in (
        {"scopes": [], "for_s": 9},
        {"scopes": ["root"], "for_s": 9},
        {"scopes": ["api"], "for_s": 1e300},
    ):
        assert site.post("/api/v1/tokens", wrong).status == 422


def test_a_link_leaves_a_cookie_beside_the_operators(site: Site) -> None:
    """A guest's token goes out of the address, lives as long as it says, and does not take the operator's place."""
    token = _token("view:demo", for_s=60)
    entered = site.ask("GET", f"/?token={token}", token=None)
    assert (entered.status, entered.headers["Location"]) == (303, "/")
    assert _cookie(entered) == f"marotte-{site.port}-guest={token}"
    assert {"httponly", "max-age=60", "path=/", "samesite=strict"} == {
        mark.strip().lower() for mark in entered.headers["Set-Cookie"].split(";")[1:]
    }
    guest = _cookie(entered)
    own = _cookie(site.ask("GET", f"/?token={TOKEN}", token=None))
    assert site.ask("GET", "/", token=None, headers={"Cookie": guest}).status == 200
    assert site.ask("GET", "/api/v1/info", token=None, headers={"Cookie": guest}).status == 403
    assert site.ask("GET", "/api/v1/info", token=None, headers={"Cookie": f"{guest}; {own}"}).status == 200
    stale = f"marotte-{site.port}=of-a-server-before"
    assert site.ask("GET", "/", token=None, headers={"Cookie": f"{guest}; {stale}"}).status == 200
    secure = site.ask("GET", f"/?token={token}", token=None, headers={"X-Forwarded-Proto": "https"})
    assert "secure" in secure.headers["Set-Cookie"].lower()


def test_a_signed_token_stands_in_no_other_address(site: Site) -> None:
    """Neither of the API, nor of the page's files, nor of a post."""
    token = _token("admin")
    for method, path in (
        ("GET", "/api/v1/info"),
        ("GET", "/metrics"),
        ("POST", "/"),
        ("GET", "/static/main.js"),
    ):
        assert site.ask(method, f"{path}?token={token}", token=None).status == 401


FOLLOWED = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


def test_a_guests_link_may_stand_on_another_site(site: Site) -> None:
    """Opened in a window it leads on by a page of ours, for a redirect would keep the cookie back; the operator's own
    token, another kind of request and a frame are still refused."""
    token = _token("view:demo")
    entered = site.ask("GET", f"/?token={token}", token=None, headers=FOLLOWED)
    assert entered.status == 200
    assert b'content="0;url=/"' in entered.body
    assert token.encode() not in entered.body
    assert entered.headers["Cache-Control"] == "no-store"
    assert _cookie(entered).startswith(f"marotte-{site.port}-guest=")
    for path, headers in (
        (f"/?token={TOKEN}", FOLLOWED),
        (f"/?token={token}", FOLLOWED | {"Sec-Fetch-Dest": "iframe"}),
        (f"/?token={token}", FOLLOWED | {"Sec-Fetch-Mode": "no-cors"}),
        (f"/api/v1/info?token={token}", FOLLOWED),
        ("/", FOLLOWED),
    ):
        assert site.ask("GET", path, token=None, headers=headers).status == 403


def test_an_allowed_site_asks_with_a_token_of_its_own(site: Site) -> None:
    """And reads the answer, an error too; a cookie does not count for it, nor does what is not meant for others."""
    asks = {"Origin": APP, "Sec-Fetch-Site": "cross-site"}
    answered = site.ask("GET", "/api/v1/info", token=_token("api"), headers=asks)
    assert answered.status == 200
    assert answered.headers["Access-Control-Allow-Origin"] == APP
    assert answered.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in answered.headers
    assert "Retry-After" in answered.headers["Access-Control-Expose-Headers"]
    refused = site.ask("GET", "/api/v1/info", token="wrong", headers=asks)
    assert (refused.status, refused.headers["Access-Control-Allow-Origin"]) == (401, APP)
    cookie = {"Cookie": _cookie(site.ask("GET", f"/?token={TOKEN}", token=None))}
    assert site.ask("GET", "/api/v1/info", token=None, headers=asks | cookie).status == 401
    assert site.ask("GET", "/", headers=asks).status == 403
    assert site.ask("GET", "/metrics", headers=asks).status == 403
    for other in ("https://app.example.evil.example", "http://app.example", "null"):
        answered = site.ask("GET", "/api/v1/info", headers={"Origin": other})
        assert answered.status == 403
        assert "Access-Control-Allow-Origin" not in answered.headers


def test_a_browser_may_ask_beforehand(site: Site) -> None:
    """Without a token, for the question carries none, and with the same answer for every address."""
    asks = {"Origin": APP, "Access-Control-Request-Method": "POST"}
    answers = [site.ask("OPTIONS", path, token=None, headers=asks) for path in ("/whip/demo", "/not/there")]
    for answered in answers:
        assert (answered.status, answered.body) == (204, b"")
        assert answered.headers["Access-Control-Allow-Origin"] == APP
        assert "Authorization" in answered.headers["Access-Control-Allow-Headers"]
        assert "PATCH" in answered.headers["Access-Control-Allow-Methods"]
    assert (
        site.ask("OPTIONS", "/whip/demo", token=None, headers=asks | {"Origin": "https://x.example"}).status
        == 403
    )
    assert site.ask("OPTIONS", "/whip/demo", token=None, headers={"Origin": APP}).status in (401, 403)


@pytest.mark.parametrize(
    "wrong",
    [
        "*", "app.example", "https://", "https://a.example/", "https://a.example/x", "https://me@a.example",
        "ftp://a.example", "null", "https://*.example", "https://a.example:99999",
    ],
)  # fmt: skip
def test_an_origin_is_what_a_browser_says(wrong: str) -> None:
    """Anything else would never match, or would match too much."""
    with pytest.raises(ConfigError, match="origin"):
        ServeConfig(origins=(wrong,))


def test_who_asks_too_often_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address by itself behind a proxy of ours, and one token from wherever; ends are taken all the same."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    rates = Rates(offers=Rate(1, 2), token=Rate(1, 3))
    config = ServeConfig(proxies=("127.0.0.1",), rates=rates, worker=WorkerConfig(sessions=16))
    with open_site(config) as site:

        def offer(address: str, token: str = TOKEN) -> Answer:
            return site.offer(token=token, headers={"X-Forwarded-For": address})

        assert [offer("198.51.100.1").status for _ in range(3)] == [201, 201, 429]
        assert offer("198.51.100.2").status == 201
        token = _token("api")
        assert [offer(f"198.51.100.{n}", token).status for n in (3, 4, 5, 6)] == [201, 201, 201, 429]
        refused = offer("198.51.100.1")
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert site.ask("DELETE", "/api/v1/sessions/session1").status == 204
