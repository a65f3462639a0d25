"""Rooms by themselves, before a server that opens nothing."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

from engine.errors import ConfigError, InputError
from streaming.calls import Calls
from streaming.config import ServeConfig
from streaming.rates import Rate, Rates
from streaming.refusals import RefusedError
from streaming.rooms.room import AWAY_S, MOST_NAME, Room, checked_name, checked_person
from streaming.tokens import Tokens, key_of, scope_of
from tests.streaming.doorstep import SDP, TOKEN, Answer, Site, open_site

AS_SDP = {"Content-Type": "application/sdp"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAROTTE_STATE", str(tmp_path_factory.mktemp("state")))
        unhurried = Rates(offers=Rate(6000, 1000), posts=Rate(6000, 1000), token=Rate(6000, 1000))
        with open_site(ServeConfig(rooms=20, rates=unhurried)) as opened:
            yield opened


def made(site: Site, **asked: Any) -> tuple[str, list[str]]:
    """A room's name, and the tokens of its links."""
    answer = site.post("/api/v1/rooms", asked)
    assert answer.status == 201, answer.body
    told = answer.json
    assert all(link.startswith(f"/room/{told['name']}?token=") for link in told["links"])
    return told["name"], [link.partition("=")[2] for link in told["links"]]


def joined(site: Site, room: str, token: str, person: str = "") -> Any:
    answer = site.post(f"/api/v1/rooms/{room}/members", {"person": person}, token=token)
    assert answer.status == 201, answer.body
    return answer.json


def publish(site: Site, address: str, token: str) -> Answer:
    return site.ask("POST", address, SDP.encode(), token=token, headers=AS_SDP)


@contextmanager
def events(site: Site, path: str, token: str) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=20)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    with closing(connection), connection.getresponse() as response:
        yield response


def heard(response: http.client.HTTPResponse) -> Any:
    """The next thing that is told."""
    while line := response.readline().decode():
        if line.startswith("event: over"):
            return "over"
        if line.startswith("data: "):
            return json.loads(line[6:])
    return None


def test_a_link_leads_into_its_room_and_no_further(site: Site) -> None:
    """A cookie in place of the token; then the page, and what a guest needs, but no other room and no upload."""
    room, (first, second) = made(site)
    assert first != second
    led = site.ask("GET", f"/room/{room}?token={first}", token=None)
    assert (led.status, led.headers["Location"]) == (303, f"/room/{room}")
    cookie = {"Cookie": led.headers["Set-Cookie"].partition(";")[0]}
    page = site.ask("GET", f"/room/{room}", token=None, headers=cookie)
    assert page.status == 200
    assert b"room.js" in page.body
    assert site.ask("GET", f"/api/v1/rooms/{room}", token=None, headers=cookie).json["members"] == []
    assert site.ask("GET", "/api/v1/info", token=None, headers=cookie).json["rooms"] is True
    still = site.ask("GET", f"/api/v1/sources/{site.sources.first.id}/still.jpg", token=second)
    assert still.status != 403
    other, _ = made(site)
    for method, path in [
        ("GET", f"/api/v1/rooms/{other}"), ("POST", f"/api/v1/rooms/{other}/members"), ("GET", "/api/v1/rooms"),
        ("POST", "/api/v1/rooms"), ("DELETE", f"/api/v1/rooms/{room}"), ("POST", "/api/v1/sources"),
        ("POST", "/whip"), ("POST", "/whep/anything"), ("POST", f"/whip/{other}--1"),
    ]:  # fmt: skip
        assert site.ask(method, path, b"", token=first).status == 403, (method, path)


def test_a_third_one_is_refused_with_a_reason(site: Site) -> None:
    """Two seats; whoever leaves makes room."""
    room, (first, second) = made(site)
    one = joined(site, room, first, "Ada")
    joined(site, room, second, "Grace")
    third = site.post(f"/api/v1/rooms/{room}/members", {}, token=first)
    assert (third.status, third.error) == (
        409,
        ("RoomFullError", "2 of 2 people are in this room; wait until one leaves"),
    )
    assert [member["person"] for member in one["room"]["members"]] == ["Ada"]
    leaving = f"/api/v1/rooms/{room}/members/{one['id']}"
    assert site.ask("DELETE", leaving, token=first).status == 204
    assert site.ask("DELETE", leaving, token=first).status == 204
    joined(site, room, first)


def test_nobody_publishes_or_watches_but_from_a_seat(site: Site) -> None:
    """A guest's own names lead to their own stream and to the other's picture; the other's names are told to nobody,
    and whoever has left, or was replaced, drives nothing."""
    room, (first, second) = made(site)
    one, two = joined(site, room, first), joined(site, room, second)
    assert one["publish"].startswith(f"/whip/{room}--")
    assert publish(site, f"/whip/{room}--0123456789abcdef", first).status == 404
    assert publish(site, one["publish"], first).status == 201
    before = list(site.peers.sessions.values())[-1]
    assert publish(site, two["watch"].replace("whep", "whip"), second).status == 404
    assert publish(site, one["publish"].replace("whip", "whep"), second).status == 404
    assert publish(site, one["publish"], first).status == 201
    assert (before.id, "replaced") in site.peers.closed
    told = site.ask("GET", f"/api/v1/rooms/{room}", token=second).json
    assert [member["live"] for member in told["members"]] == [True, False]
    assert not any(word in json.dumps(told) for word in (one["id"], two["id"], "--"))
    now = list(site.peers.sessions.values())[-1]
    site.ask("DELETE", f"/api/v1/rooms/{room}/members/{one['id']}", token=first)
    assert (now.id, "page") in site.peers.closed
    assert publish(site, one["publish"], first).status == 404
    assert publish(site, two["watch"], second).error[1] == "nobody else is in this room yet"


def test_who_is_refused_a_place_is_seen_to_wait(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second time on; whoever published and lost their way is not said to wait at once."""
    room, (first, _) = made(site)
    one = joined(site, room, first, "Ada")

    def waits() -> bool:
        return site.ask("GET", f"/api/v1/rooms/{room}", token=first).json["members"][0]["waits"]

    with monkeypatch.context() as full:
        full.setattr(Calls, "_check_room", lambda calls, stream: refuse(stream))
        told = []
        for _ in range(2):
            assert publish(site, one["publish"], first).status == 503
            told.append(waits())
        assert told == [False, True]
    assert publish(site, one["publish"], first).status == 201
    assert not waits()


def refuse(stream: str) -> None:
    raise RefusedError(503, "KilledError", f"no place for {stream}")


def test_each_sees_who_is_there(site: Site) -> None:
    """At once and when it changes; a second listener of one member ends the first, and leaving ends it too."""
    room, (first, second) = made(site)
    one = joined(site, room, first, "Ada")
    with events(site, one["events"], first) as listening, ExitStack() as opened:
        assert listening.headers["Content-Type"] == "text/event-stream"
        (own,) = heard(listening)["members"]
        assert (own["person"], own["you"], own["here"], own["live"]) == ("Ada", True, True, False)
        two = joined(site, room, second, "Grace")
        other = heard(listening)["members"][1]
        assert (other["person"], other["you"], other["here"]) == ("Grace", False, False)
        publish(site, two["publish"], second)
        assert heard(listening)["members"][1]["live"] is True
        again = opened.enter_context(events(site, one["events"], first))
        assert heard(again)["members"][1]["live"] is True
        assert heard(listening) is None
        site.ask("DELETE", f"/api/v1/rooms/{room}/members/{one['id']}", token=first)
        assert heard(again) == "over"
    assert site.ask("GET", one["events"], token=first).status == 404


def test_a_room_that_is_over_is_over(site: Site) -> None:
    """Its end takes both away, and links of an earlier room of a name do not open the next one."""
    room, (first, _) = made(site, name="a-room", for_s=60)
    assert room == "a-room"
    assert site.post("/api/v1/rooms", {"name": "a-room"}).status == 409
    one = joined(site, room, first)
    publish(site, one["publish"], first)
    assert site.ask("DELETE", f"/api/v1/rooms/{room}").status == 204
    assert site.peers.closed[-1][1] == "page"
    over = site.ask("GET", f"/api/v1/rooms/{room}", token=first)
    assert (over.status, over.error[1]) == (404, "that room is over; ask for a new link")
    made(site, name="a-room")
    early = Tokens(key_of(TOKEN), lambda: time.time() - 300).issue([scope_of("room:a-room")], 600)[0]
    assert site.ask("GET", "/api/v1/rooms/a-room", token=early).status == 404
    api = Tokens(key_of(TOKEN), lambda: time.time() - 300).issue([scope_of("api")], 600)[0]
    assert site.ask("DELETE", "/api/v1/rooms/a-room", token=api).status == 204


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"name": "two--words"}, 422), ({"name": "x" * (MOST_NAME + 1)}, 422), ({"name": "Upper"}, 422),
        ({"name": 3}, 422), ({"for_s": 1}, 422), ({"for_s": True}, 422), ({"for_s": 1e12}, 422),
        ({"size": 3}, 400), ([], 400), (b"\xff", 400), ({"name": "x" * 5000}, 413),
    ],
)  # fmt: skip
def test_what_is_no_room_is_refused(site: Site, asked: Any, status: int) -> None:
    """With one line that says what was expected."""
    answer = site.post("/api/v1/rooms", asked)
    assert answer.status == status
    assert len(answer.error[1]) > 10


def test_as_many_rooms_as_the_operator_says(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is busy, and where none are offered that is said."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    with open_site(ServeConfig(rooms=1)) as site:
        made(site)
        assert site.post("/api/v1/rooms", {}).status == 429
    with open_site() as site:
        refused = site.post("/api/v1/rooms", {})
        assert (refused.status, refused.error[1]) == (
            404,
            "this server has no rooms; start it with --rooms",
        )
        assert site.ask("GET", "/api/v1/info").json["rooms"] is False
    with pytest.raises(ConfigError, match=r"rooms: got 101"):
        ServeConfig(rooms=101)


def test_who_is_away_has_left_and_what_is_empty_ends() -> None:
    """By the room's own clock; whoever is listened to is not away."""
    now = [100.0]
    room = Room("r", 0.0, 1e9, lambda: now[0])
    one, two = room.join("one"), room.join("two")
    one.listening = object()
    now[0] += AWAY_S + 1
    assert room.away() == [two]
    room.leave(two)
    assert (room.other(one), room.empty_s) == (None, None)
    room.leave(one)
    assert room.empty_s == now[0]


def test_names_are_checked() -> None:
    """A room's stands in addresses and streams, a person's on another page."""
    assert checked_name("a-b-1") == "a-b-1"
    for wrong in ("a--b", "-a", "a-", "", "a b", None):
        with pytest.raises(ConfigError):
            checked_name(wrong)
    assert checked_person("  Zoë ") == "Zoë"
    for wrong in ("a\nb", "x" * 41, 3):
        with pytest.raises(InputError):
            checked_person(wrong)
