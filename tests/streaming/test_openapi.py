"""docs/openapi.yaml against the server: the same routes, the same scopes, and answers as it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from streaming.app import create_app
from streaming.config import ServeConfig
from streaming.doors import OPEN_PATHS
from streaming.measured import NoRecorder
from streaming.routes import ROUTES
from streaming.sources import Sources
from tests.streaming.doorstep import SDP, TOKEN, Answer, FakeWorker, Site, open_site

FILE = Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    with FILE.open(encoding="utf-8") as file:
        found: dict[str, Any] = yaml.safe_load(file)
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAROTTE_STATE", str(tmp_path_factory.mktemp("state")))
        with open_site(ServeConfig(rooms=4)) as opened:
            yield opened


def _operations(described: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, item in described["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    }


def _schema(described: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """With its references' place beside it."""
    return {**schema, "components": described["components"]}


def _fits(described: dict[str, Any], method: str, path: str, answer: Answer) -> None:
    """An answer's status, media type and content are among those of its operation."""
    operation = described["paths"][path][method.lower()]
    found = operation["responses"].get(str(answer.status))
    if found is None:
        assert answer.status >= 400, f"{method} {path}: {answer.status} is not described"
        found = operation["responses"]["default"]
    if "$ref" in found:
        found = described["components"]["responses"][found["$ref"].rpartition("/")[2]]
    kind = answer.headers.get_content_type()
    if not answer.body:
        assert not found.get("content"), f"{method} {path}: nothing came"
        return
    assert kind in found["content"], f"{method} {path}: {kind}"
    schema = found["content"][kind].get("schema")
    if schema is not None and kind.endswith("json"):
        jsonschema.validate(answer.json, _schema(described, schema), cls=jsonschema.Draft202012Validator)


def test_every_route_is_described_and_nothing_else(described: dict[str, Any]) -> None:
    """Those of the application itself, not only of a table."""
    worker = FakeWorker()
    app = create_app(
        ServeConfig(), worker, NoRecorder(), Sources(worker, NoRecorder(), within_s=1), TOKEN, render=lambda: b""
    )  # fmt: skip
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert served == set(_operations(described))


def test_each_says_the_scopes_that_it_takes(described: dict[str, Any]) -> None:
    """As streaming/routes.py has them."""
    for (method, path), operation in _operations(described).items():
        told = [scope for each in operation["security"] for scope in each["token"]]
        if path in OPEN_PATHS:
            assert operation["security"] == []
            continue
        route = ROUTES[method, path]
        assert told[: len(route.needs)] == list(route.needs), f"{method} {path}"
        assert len(told) == len(route.needs) + len(route.kinds), f"{method} {path}"


def test_it_is_sound_by_itself(described: dict[str, Any]) -> None:
    """Each schema is one, each reference leads somewhere, each part of a path is a parameter, and examples fit."""
    assert described["openapi"].startswith("3.1.")
    for name, schema in described["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        for example in schema.get("examples", ()):
            jsonschema.validate(example, _schema(described, schema))
        assert re.fullmatch(r"[A-Z][A-Za-z]+", name)
    text = FILE.read_text(encoding="utf-8")
    for reference in re.findall(r"\$ref: '#/([\w/]+)'", text):
        found: Any = described
        for part in reference.split("/"):
            found = found[part]
    for path, item in described["paths"].items():
        named = [one["name"] for one in item.get("parameters", ()) if one["in"] == "path"]
        assert named == re.findall(r"\{(\w+)\}", path)
        for method in METHODS & set(item):
            assert {"summary", "responses"} <= set(item[method])


def test_answers_are_as_described(described: dict[str, Any], site: Site) -> None:
    """Of sessions, portraits, systems, rooms, tokens and refusals, as a client gets them."""

    def ask(method: str, path: str, body: bytes | None = None, *, at: str = "", **options: Any) -> Answer:
        answer = site.ask(method, at or path, body, **options)
        _fits(described, method, path, answer)
        return answer

    info = ask("GET", "/api/v1/info").json
    assert ask("GET", "/api/v1/bundles").json["bundles"] == info["bundles"]
    assert ask("GET", "/api/v1/sources").json["sources"] == info["sources"]
    added = ask(
        "POST", "/api/v1/sources", b"one", at="/api/v1/sources?kind=myself&attested_by=Ann&name=a.png"
    )
    assert added.status == 201
    made = site.ask("POST", "/whip/shown", SDP.encode(), headers={"Content-Type": "application/sdp"})
    _fits(described, "POST", "/whip/{stream}", made)
    (session,) = ask("GET", "/api/v1/sessions").json["sessions"]
    assert (session["id"], session["stream"], session["driver"]) == (made.session, "shown", "camera")
    one = "/api/v1/sessions/{id}"
    at = f"/api/v1/sessions/{made.session}"
    assert ask("GET", one, at=at).json["report"]["mode"] == "puppet"
    assert ask("PATCH", one, b'{"sorce": "x"}', at=at).status in (400, 422)
    assert ask("PATCH", one, b"{", at=at).status == 400
    assert ask("DELETE", one, at=at).status == 204
    assert ask("GET", one, at=at).status == 404
    assert ask("POST", "/whep/{stream}", b"", at="/whep/gone").status in (400, 404, 415)
    room = ask("POST", "/api/v1/rooms", b'{"name": "tea"}').json
    ask("GET", "/api/v1/rooms")
    members = "/api/v1/rooms/{room}/members"
    seat = ask("POST", members, b'{"person": "Ada"}', at="/api/v1/rooms/tea/members").json
    ask("GET", "/api/v1/rooms/{room}", at="/api/v1/rooms/tea")
    ask("DELETE", f"{members}/{{id}}", at=f"/api/v1/rooms/tea/members/{seat['id']}")
    ask("DELETE", "/api/v1/rooms/{room}", at="/api/v1/rooms/tea")
    assert room["links"][0] != room["links"][1]
    token = ask("POST", "/api/v1/tokens", b'{"scopes": ["view:shown"], "for_s": 60}').json
    ask("DELETE", "/api/v1/tokens/{id}", at=f"/api/v1/tokens/{token['id']}")
    ask("GET", "/api/v1/enrolments")
    ask("GET", "/api/v1/remotes")
    assert ask("GET", "/api/v1/info", token=None).status == 401
    for path in ("/healthz", "/readyz", "/metrics", "/"):
        ask("GET", path)
