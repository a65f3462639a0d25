"""What RFC 9725 asks of the endpoints, over HTTP, in front of connections that do what the test wants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from engine.consent import Store
from engine.denied import Denied
from engine.errors import WorkerError
from engine.worker.interface import WorkerConfig
from streaming.config import ServeConfig
from streaming.rates import Rate, Rates
from streaming.whip import resources
from tests.streaming.doorstep import SDP, TOKEN, Answer, Site, open_site

OFFER = SDP.encode()
AS_SDP = {"Content-Type": "application/sdp"}
AS_FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
HOST = "a=candidate:1 1 udp 2122194687 192.168.1.2 50000 typ host"
OFTEN = Rates(*[Rate(60_000, 1000)] * len(fields(Rates)))
CONFIG = ServeConfig(worker=WorkerConfig(sessions=2, add_s=0.3), rates=OFTEN)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patched:
        folder = tmp_path_factory.mktemp("state")
        patched.setenv("MAROTTE_STATE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def house(state: Path) -> Iterator[Site]:
    """One server for all tests; each start costs more than most of them."""
    with open_site(CONFIG) as opened:
        yield opened


@pytest.fixture
def site(house: Site) -> Iterator[Site]:
    """As it is when nothing is published."""
    yield house
    for session in house.peers.sessions.values():
        house.ask("DELETE", f"/whip/{session.stream}/{session.id}")
    for kept in (house.peers.sessions, house.peers.ices, house.peers.offers, house.peers.closed):
        kept.clear()
    house.peers.fails = None


def publish(site: Site, path: str = "/whip/live", body: bytes = OFFER, **headers: str) -> Answer:
    return site.ask("POST", path, body, headers=AS_SDP | headers)


def patch(site: Site, path: str, body: str, match: str | None, **headers: str) -> Answer:
    given = AS_FRAGMENT | headers | ({} if match is None else {"If-Match": match})
    return site.ask("PATCH", path, body.replace("\n", "\r\n").encode(), headers=given)


def of_remote(ufrag: str = "H3JH", password: str = "y1AxfNdYgyQZ1LaBTQzuLcxm", *lines: str) -> str:
    """The offer's own ICE session, where nothing else is said."""
    told = ["a=mid:0", f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{password}", *lines]
    return "\n".join(["a=group:BUNDLE 0 1", "m=video 9 UDP/TLS/RTP/SAVPF 96", *told]) + "\n"


ANEW = of_remote("anew", "p" * 22, HOST)


def ice_of(site: Site) -> Any:
    (ice,) = site.peers.ices.values()
    return ice


def problem(answer: Answer) -> str:
    """The one line of an error, after a look at what RFC 9457 asks of it."""
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json["status"] == answer.status
    assert "\n" not in answer.json["detail"]
    return str(answer.json["detail"])


def test_a_stream_is_published_and_ended(site: Site) -> None:
    """201 with the answer, an address that cannot be guessed, its ETag; DELETE ends it with 200 and it is gone."""
    made = publish(site)
    assert (made.status, made.headers["Content-Type"]) == (201, "application/sdp")
    assert b"v=0\r\n" in made.body
    place, etag = made.headers["Location"], made.headers["ETag"]
    (session,) = site.peers.sessions.values()
    assert place == f"/whip/live/{session.id}"
    assert session.stream == "live"
    assert len(session.id) >= 16
    assert etag.startswith('"')
    assert etag.endswith('"')
    assert made.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
    ended = site.ask("DELETE", place, headers={"If-Match": '"old"'})
    assert (ended.status, ended.body) == (200, b"")
    assert site.peers.closed == [(session.id, "page")]
    for method in ("DELETE", "PATCH", "GET"):
        assert site.ask(method, place, headers=AS_FRAGMENT).status == 404
    assert publish(site).status == 201


def test_what_was_opened_with_a_token_ends_when_it_is_taken_back(site: Site) -> None:
    """A guest who is shown out does not stay in the room; what others opened goes on."""
    guest = site.post("/api/v1/tokens", {"scopes": ["publish:theirs"], "for_s": 60}).json
    theirs = site.ask("POST", "/whip/theirs", OFFER, token=guest["token"], headers=AS_SDP)
    ours = publish(site)
    assert (theirs.status, ours.status) == (201, 201)
    assert site.ask("DELETE", f"/api/v1/tokens/{guest['id']}").status == 204
    (closed, why) = site.peers.closed[-1]
    assert (theirs.headers["Location"], why) == (f"/whip/theirs/{closed}", "page")
    assert site.ask("GET", theirs.headers["Location"]).status == 404
    assert site.ask("GET", ours.headers["Location"]).status == 204


def test_who_ends_what_has_ended_by_itself_is_not_at_fault(site: Site) -> None:
    """A page says that it stops and deletes besides, in any order: 200, once."""
    places = [publish(site, f"/whip/{name}").headers["Location"] for name in "ab"]
    for session in site.peers.sessions.values():
        site.loop.call_soon_threadsafe(session.end_by_itself, "stopped")
        site.run(session.close("stopped"))
    assert site.ask("GET", places[0]).status == 404
    assert [site.ask("DELETE", places[0]).status for _ in range(2)] == [200, 404]
    assert publish(site, "/whip/c").status == 201
    assert [site.ask("DELETE", places[1]).status for _ in range(2)] == [200, 404]


def test_before_the_first_source_nothing_is_asked_for(state: Path) -> None:
    """503, also where a source is named: a page that calls a server anew waits, and is not told that it is gone."""
    with open_site(CONFIG, first=None) as early:
        assert [publish(early, f"/whip/a{query}").status for query in ("", "?source=x")] == [503, 503]


def test_a_stream_that_has_no_name_gets_one(site: Site) -> None:
    """Which is not the session's id: viewers know the name, and the id ends the session."""
    made = publish(site, "/whip")
    (session,) = site.peers.sessions.values()
    assert made.headers["Location"] == f"/whip/{session.stream}/{session.id}"
    assert session.stream != session.id


def test_the_options_stand_in_the_query(site: Site, state: Path) -> None:
    """They reach the offer as the page's own fields do; what is said of the source is recorded."""
    source = site.sources.first.id
    query = f"source={source}&driver=demo&codec=vp8&bundle=mesh_flow&mode=puppet"
    query += "&kind=myself&attested_by=Ann&statement=It+is+me"
    assert publish(site, f"/whip/a?{query}").status == 201
    (offer,) = site.peers.offers
    assert (offer.source, offer.driver, offer.codec, offer.bundle, offer.mode) == (
        source, "demo", "vp8", "mesh_flow", "puppet",
    )  # fmt: skip
    found = {(one.statement, one.attested_by, one.sources) for one in Store(state).all()}
    assert ("It is me", "Ann", (source,)) in found


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("sorce=x", "did you mean 'source'"),
        ("codec=av1", "codec"),
        ("driver=file", "driver"),
        ("mode=none", "mode"),
        ("source=gone", "not there any more"),
        ("codec=vp8&codec=h264", "twice"),
        ("statement=It+is+me", "kind"),
        ("kind=myself&attested_by=Ann&statement=a%0Ab", "statement"),
        ("donors=a,b", "donors"),
    ],
)
def test_options_that_cannot_be_followed_are_refused(site: Site, query: str, word: str) -> None:
    """422 and which; nothing is opened."""
    refused = publish(site, f"/whip/live?{query}")
    assert refused.status == 422
    assert word in problem(refused)
    assert not site.peers.sessions


def test_a_stream_is_published_once(site: Site) -> None:
    """409 for the second; whoever comes after its end may have the name."""
    place = publish(site).headers["Location"]
    refused = publish(site)
    assert refused.status == 409
    assert "live" in problem(refused)
    assert publish(site, "/whip/other").status == 201
    refused = publish(site, "/whip/third")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "5")
    site.ask("DELETE", place)
    assert publish(site).status == 201


@pytest.mark.parametrize("name", ["Live", "a_b", "x" * 65, "a%20b"])
def test_a_stream_has_a_plain_name(site: Site, name: str) -> None:
    """Others are no address of this server."""
    assert publish(site, f"/whip/{name}").status in (404, 422)
    assert not site.peers.sessions


def test_only_descriptions_are_read(site: Site) -> None:
    """415 with what is taken instead; 406 for who takes no description back; parameters of the type are no matter."""
    for kind in ("application/json", "text/plain", ""):
        refused = site.ask("POST", "/whip/live", OFFER, headers={"Content-Type": kind})
        assert (refused.status, refused.headers["Accept-Post"]) == (415, "application/sdp")
        assert "application/sdp" in problem(refused)
    for accept in ("application/json", "application/sdp;q=0", "application/sdp;q=0, */*"):
        assert publish(site, Accept=accept).status == 406
    for number, accept in enumerate(("*/*", "application/sdp, text/html;q=0.5")):
        kind = {"Content-Type": "application/sdp; charset=utf-8"}
        made = site.ask("POST", f"/whip/a{number}", OFFER, headers=kind | {"Accept": accept})
        assert made.status == 201


@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"\xff\xfe", OFFER[:200], OFFER.replace(b"m=video", b"m=text"), OFFER + b"nonsense\r\n"],
)
def test_an_offer_that_cannot_be_read_is_refused(site: Site, body: bytes) -> None:
    """400 in one line, and its place is free again."""
    refused = publish(site, body=body)
    assert refused.status == 400
    assert problem(refused)
    assert publish(site).status == 201


def test_an_offer_that_is_too_large_is_not_read(site: Site) -> None:
    """413 by what it states."""
    refused = site.ask("POST", "/whip/live", headers=AS_SDP | {"Content-Length": str(1 << 30)})
    assert refused.status == 413


def test_without_a_worker_it_says_when_to_come_again(site: Site) -> None:
    """503."""
    site.peers.fails = WorkerError("the worker is being replaced")
    refused = publish(site)
    assert refused.status == 503
    assert "replaced" in problem(refused)


def test_ice_servers_are_told_in_links(state: Path) -> None:
    """One Link for each, with its account as RFC 9725 (4.6) writes it."""
    servers = ("stun:stun.example:3478", 'turn:me:pa"ss@turn.example:3478?transport=tcp')
    with open_site(replace(CONFIG, ice_servers=servers)) as site:
        links = publish(site).headers.get_all("Link")
        assert links == [
            '<stun:stun.example:3478>; rel="ice-server"',
            '<turn:turn.example:3478?transport=tcp>; rel="ice-server"; username="me"; credential="pa\\"ss"',
        ]
        assert site.ask("OPTIONS", "/whip/live").headers["Link"] is None


def test_what_else_is_asked_of_an_address(site: Site) -> None:
    """GET says that it is there (RFC 9725, 4.1); OPTIONS what it takes; the rest is not allowed, and what is."""
    place = publish(site).headers["Location"]
    for path in ("/whip", "/whip/live", "/whep/live", place):
        for method in ("GET", "HEAD"):
            answer = site.ask(method, path)
            assert (answer.status, answer.body) == (204, b"")
    for path in ("/whip", "/whip/live", "/whep/live"):
        told = site.ask("OPTIONS", path)
        assert (told.status, told.headers["Accept-Post"]) == (200, "application/sdp")
        assert "POST" in told.headers["Allow"]
        refused = site.ask("PUT", path, b"")
        assert refused.status == 405
        assert set(refused.headers["Allow"].split(",")) == {"GET", "HEAD", "OPTIONS", "POST"}
        assert problem(refused)
    told = site.ask("OPTIONS", place)
    assert (told.status, told.headers["Accept-Patch"]) == (200, "application/trickle-ice-sdpfrag")
    refused = site.ask("POST", place, OFFER, headers=AS_SDP)
    assert (refused.status, "PATCH" in refused.headers["Allow"]) == (405, True)


def test_what_is_watched_is_asked_for_by_the_same_rules(site: Site) -> None:
    """404 while nothing is published, 415 for another type, 422 for an option that is none."""
    refused = publish(site, "/whep/live")
    assert refused.status == 404
    assert "published" in problem(refused)
    assert site.ask("POST", "/whep/live", OFFER).status == 415
    for query in ("source=x", "codec=av1"):
        assert publish(site, f"/whep/live?{query}").status == 422
    assert site.ask("DELETE", "/whep/live/0").status == 404


def test_candidates_trickle(site: Site) -> None:
    """204 without a body and without an ETag; those that may not be reached fall, and none too many comes through."""
    made = publish(site)
    place, etag = made.headers["Location"], made.headers["ETag"]
    far = HOST.replace("192.168.1.2", "8.8.8.8")
    answer = patch(site, place, of_remote("H3JH", "y1AxfNdYgyQZ1LaBTQzuLcxm", HOST, far), etag)
    assert (answer.status, answer.body, answer.headers["ETag"]) == (204, b"", None)
    lines = [HOST.replace("50000", str(50_000 + number)) for number in range(20)]
    assert patch(site, place, of_remote("H3JH", "y1AxfNdYgyQZ1LaBTQzuLcxm", *lines), etag).status == 204
    assert patch(site, place, "a=end-of-candidates\n", f'"other", {etag}').status == 204
    told = ice_of(site).told
    assert told[0] == ([HOST], False)
    assert told[2] == ([], True)
    offered = sum(line.startswith("a=candidate") for line in site.peers.offers[0].sdp.split("\r\n"))
    assert offered + sum(len(taken) for taken, _ in told) == 16


def test_a_star_with_the_known_session_is_no_restart(site: Site) -> None:
    """Some clients send every candidate with If-Match: *."""
    place = publish(site).headers["Location"]
    for star in ("*", '"*"'):
        assert patch(site, place, of_remote("H3JH", "y1AxfNdYgyQZ1LaBTQzuLcxm", HOST), star).status == 204
    assert [told[0] for told in ice_of(site).told] == [[HOST]] * 2


def test_ice_begins_anew(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 with this side's new name, password and candidates, and a new ETag; the old one is stale from then on."""
    monkeypatch.setattr(resources, "RESTART_AFTER_S", 0.0)
    made = publish(site)
    place, etag = made.headers["Location"], made.headers["ETag"]
    answer = patch(site, place, ANEW, "*")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/trickle-ice-sdpfrag")
    text = answer.body.decode()
    for line in (
        "a=ice-options:trickle",
        "a=group:BUNDLE 0 1",
        "a=mid:0",
        "a=ice-ufrag:own1",
        "a=end-of-candidates",
    ):
        assert f"{line}\r\n" in text
    newest = answer.headers["ETag"]
    assert newest != etag
    stale = patch(site, place, of_remote("anew", "p" * 22, HOST), etag)
    assert stale.status == 412
    assert patch(site, place, of_remote("anew", "p" * 22, HOST), newest).status == 204
    assert ice_of(site).told == [("anew", "p" * 22, [HOST], False), ([HOST], False)]
    assert patch(site, place, of_remote("newer", "q" * 22), newest).headers["ETag"] not in (etag, newest)


def test_a_restart_right_after_one_waits(site: Site) -> None:
    """429: each opens sockets."""
    place = publish(site).headers["Location"]
    assert patch(site, place, ANEW, "*").status == 200
    refused = patch(site, place, of_remote("newer", "q" * 22), "*")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")


def test_a_patch_says_which_session_it_means(site: Site) -> None:
    """428 without If-Match, 412 for another, weak ones never match, 400 for what is no list of them."""
    made = publish(site)
    place, etag = made.headers["Location"], made.headers["ETag"]
    body = of_remote()
    for match, status in ((None, 428), ('"another"', 412), (f"W/{etag}", 412), ("nonsense", 400)):
        assert patch(site, place, body, match).status == status
    assert ice_of(site).told == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "v=0\n",
        "a=ice-ufrag:abcd\n",
        of_remote("H3JH", "q" * 22),
        of_remote("other", "y1AxfNdYgyQZ1LaBTQzuLcxm"),
        "a=candidate:nonsense\n",
        "m=video 9 UDP/TLS/RTP/SAVPF 96\n" * 9,
    ],
)
def test_a_fragment_that_cannot_be_followed_is_refused(site: Site, body: str) -> None:
    """422 in one line, and ICE goes on as it was."""
    place = publish(site).headers["Location"]
    refused = patch(site, place, body, "*")
    assert refused.status == 422
    assert problem(refused)
    assert ice_of(site).told == []


def test_a_patch_of_another_kind_is_refused(site: Site) -> None:
    """415 with what is taken, and 413 for what is too large."""
    place = publish(site).headers["Location"]
    refused = patch(site, place, ANEW, "*", **{"Content-Type": "application/sdp"})
    assert (refused.status, refused.headers["Accept-Patch"]) == (415, "application/trickle-ice-sdpfrag")
    assert patch(site, place, "a=end-of-candidates\n" * 2000, "*").status == 413


def test_a_page_of_an_allowed_site_may_publish(state: Path) -> None:
    """With a token of its own it reads all that RFC 9725 answers; a page of any other site gets nothing."""
    with open_site(replace(CONFIG, origins=("https://app.example",))) as site:
        asks = {"Origin": "https://app.example", "Access-Control-Request-Method": "PATCH"}
        may = site.ask("OPTIONS", "/whip/live/0", headers=asks, token=None)
        assert may.status in (200, 204)
        assert may.headers["Access-Control-Allow-Origin"] == "https://app.example"
        assert "PATCH" in may.headers["Access-Control-Allow-Methods"]
        assert {"if-match", "authorization", "content-type"} <= {
            name.strip().lower() for name in may.headers["Access-Control-Allow-Headers"].split(",")
        }
        made = publish(site, Origin="https://app.example")
        assert made.status == 201
        told = {name.strip() for name in made.headers["Access-Control-Expose-Headers"].split(",")}
        assert {"Location", "ETag", "Link", "Accept-Patch", "Retry-After"} <= told
        assert publish(site, "/whip/b", Origin="https://other.example").status == 403


def test_it_asks_for_the_token(site: Site) -> None:
    """401 without one, by the header that RFC 9725 (4.7.1) names."""
    refused = site.ask("POST", "/whip/live", OFFER, headers=AS_SDP, token=None)
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    place = publish(site).headers["Location"]
    assert site.ask("DELETE", place, token=None).status == 401
    assert site.ask("DELETE", place, token=TOKEN).status == 200


def test_only_who_may_use_the_api_says_who_allows_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No room link and no publish token ends a revocation, and a door that opens nothing leaves no record behind."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    with open_site(replace(CONFIG, rooms=1)) as site:
        _say(site, tmp_path)


def _say(site: Site, state: Path) -> None:
    source, store = site.sources.first.id, Store(state)
    room = site.post("/api/v1/rooms", {"name": "tea"}).json
    guest = room["links"][0].partition("token=")[2]
    seat = site.post("/api/v1/rooms/tea/members", {"person": "G"}, token=guest).json["publish"]
    publisher = site.post("/api/v1/tokens", {"scopes": ["publish:demo"], "for_s": 60}).json["token"]
    own = store.of(source)
    for one in own:
        store.revoke(one.id, "she asked for it")
    word = f"source={source}&kind=myself&attested_by=G"
    for token, path in ((guest, seat), (guest, "/whip/tea--nobody"), (publisher, "/whip/demo")):
        refused = site.ask("POST", f"{path}?{word}", OFFER, token=token, headers=AS_SDP)
        assert (refused.status, "next step" in problem(refused)) == (403, True)
    api = site.post("/api/v1/tokens", {"scopes": ["api"], "for_s": 60}).json["token"]
    for path in (
        "/whip/No!",
        f"/whip/a?{word}&bundle=none",
        f"/whip/a?{word}&donors=gone",
        "/whip/tea--nobody",
    ):
        query = "" if "?" in path else f"?{word}"
        refused = site.ask("POST", f"{path}{query}", OFFER, token=api, headers=AS_SDP)
        assert refused.status in (403, 404, 422)
    unnamed = site.ask("POST", "/whip/a?kind=myself&attested_by=G", OFFER, token=api, headers=AS_SDP)
    assert (unnamed.status, "source=ID" in problem(unnamed)) == (422, True)
    assert store.of(source) == own
    assert site.ask("POST", f"/whip/a?{word}", OFFER, token=api, headers=AS_SDP).status == 201
    Denied(state).add("a report", sums=[source])
    refused = site.ask("POST", f"/whip/b?{word}2", OFFER, token=api, headers=AS_SDP)
    assert (refused.status, len(store.of(source))) == (403, len(own) + 1)
