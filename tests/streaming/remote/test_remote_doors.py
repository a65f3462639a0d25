"""Pushes and pulls over the API: who may begin them, what they are told, and where they may go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streaming.config import ServeConfig
from streaming.remote.places import MOST_PLACES
from tests.streaming.doorstep import Site, open_site

PUSH = {"kind": "push", "url": "https://far.example/whip", "token": "a-stream-key"}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Site]:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    with open_site(ServeConfig()) as opened:
        yield opened


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all requests that begin nothing."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MAROTTE_STATE", str(tmp_path_factory.mktemp("state")))
        with open_site(ServeConfig()) as opened:
            yield opened


def test_one_is_begun_looked_at_and_removed(site: Site) -> None:
    """With its state, and without its token."""
    made = site.post("/api/v1/remotes", PUSH)
    assert made.status == 201
    told = made.json
    assert (told["kind"], told["stream"], told["state"], told["url"]) == (
        "push",
        "live",
        "waiting",
        PUSH["url"],
    )
    assert "a-stream-key" not in made.body.decode()
    path = f"/api/v1/remotes/{told['id']}"
    assert site.ask("GET", path).json["id"] == told["id"]
    assert [one["id"] for one in site.ask("GET", "/api/v1/remotes").json["remotes"]] == [told["id"]]
    assert site.post("/api/v1/remotes", PUSH).status == 409
    assert site.post("/api/v1/remotes", PUSH | {"stream": "other"}).status == 201
    assert site.ask("DELETE", path).status == 204
    assert (site.ask("GET", path).status, site.ask("DELETE", path).status) == (404, 404)
    assert site.post("/api/v1/remotes", PUSH).status == 201


@pytest.mark.parametrize(
    "fields",
    [
        [], {}, {"kind": "push"}, {"kind": "steal", "url": "https://a/"}, PUSH | {"source": "x"}, PUSH | {"more": ""},
        PUSH | {"url": 1}, PUSH | {"token": None},
    ],
)  # fmt: skip
def test_what_is_asked_wrongly_is_said(strict: Site, fields: Any) -> None:
    """400, with what was expected."""
    answer = strict.post("/api/v1/remotes", fields)
    assert answer.status == 400
    assert "expected" in answer.error[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": "ftp://far.example/"}, "https"), ({"url": "https://"}, "https"),
        ({"url": "https://me:pw@far.example/"}, "account"), ({"url": "https://far.example:0/"}, "https"),
        ({"url": "https://far.example:99999/"}, "read"), ({"url": "https://far.example/a b"}, "ASCII"),
        ({"url": "https://far.example/#x"}, "fragment"), ({"url": "https://" + "a" * 3000}, "2048"),
        ({"token": "a\nb"}, "printable"), ({"stream": "A"}, "a-z"),
        ({"kind": "pull", "mode": "puppets"}, "mode"),
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(strict: Site, change: dict[str, str], words: str) -> None:
    """422, and neither the token nor an account stands in the answer."""
    answer = strict.post("/api/v1/remotes", PUSH | change)
    assert answer.status == 422
    assert words in answer.error[1]
    assert "pw" not in answer.error[1]


def test_what_the_api_begins_does_not_ask_this_machine(site: Site) -> None:
    """By whoever has the scope admin: it stops, and says why."""
    made = site.post("/api/v1/remotes", {"kind": "pull", "url": f"http://127.0.0.1:{site.port}/whep/x"}).json
    told = made
    for _ in range(200):
        told = site.ask("GET", f"/api/v1/remotes/{made['id']}").json
        if told["state"] == "stopped":
            break
    assert told["state"] == "stopped"
    assert "--remote-near" in told["why"]


def test_only_so_many_are_kept(site: Site) -> None:
    """One more is refused until one is removed."""
    for number in range(MOST_PLACES):
        assert site.post("/api/v1/remotes", PUSH | {"stream": str(number)}).status == 201
    assert site.post("/api/v1/remotes", PUSH).status == 429
