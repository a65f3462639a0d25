"""The doors: who is turned away, and that those who are get a status and one line."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from engine.errors import ConfigError
from streaming.config import ServeConfig
from streaming.doors import HEADERS
from streaming.listen import bind
from streaming.rates import Allowance
from tests.streaming.doorstep import SDP, TOKEN, Answer, Site, open_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAROTTE_STATE", str(tmp_path_factory.mktemp("state")))
        with open_site(
            ServeConfig(hosts=("face.example", "proxy.example:8443", "10.9.9.9", "fd00::9"))
        ) as opened:
            yield opened


@pytest.fixture
def own_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """For what leaves traces."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    with open_site() as opened:
        yield opened


def _got_nothing(answer: Answer, status: int) -> None:
    assert answer.status == status
    assert len(answer.body.splitlines()) == 1
    assert len(answer.body) < 300
    for name, value in answer.headers.items():
        assert "aiohttp" not in value
        assert "Python" not in value
        assert not name.lower().startswith(("access-control", "set-cookie"))
    assert b"aiohttp" not in answer.body
    assert b"Traceback" not in answer.body


KIND = "Content-Type: application/sdp\r\n"
AS_SDP = {"Content-Type": "application/sdp"}
EVERYTHING = [
    ("GET", "/"),
    ("GET", "/static/main.js"),
    ("GET", "/api/v1/info"),
    ("POST", "/api/v1/sources?name=a&kind=myself&attested_by=Ann"),
    ("GET", "/api/v1/sources/0/still.jpg"),
    ("POST", "/whip"),
    ("DELETE", "/api/v1/sessions/0"),
    ("GET", "/metrics"),
    ("GET", "/not/there"),
    ("OPTIONS", "/whip"),
]


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_without_the_token_there_is_nothing(site: Site, method: str, path: str) -> None:
    """Neither a page, nor a file, nor whether a route exists."""
    _got_nothing(site.ask(method, path, token=None), 401)


@pytest.mark.parametrize(("method", "path"), EVERYTHING)
def test_a_page_of_another_origin_gets_nothing(site: Site, method: str, path: str) -> None:
    """Even with the token: a browser sends its cookies on behalf of any page."""
    for origin in ("http://evil.example", "null", f"http://localhost:{site.port}", "http://127.0.0.1"):
        _got_nothing(site.ask(method, path, headers={"Origin": origin}), 403)
    both = [("Origin", f"http://127.0.0.1:{site.port}"), ("Origin", "http://evil.example")]
    _got_nothing(site.ask(method, path, headers=both), 403)


@pytest.mark.parametrize("said", ["cross-site", "same-site", "nonsense"])
def test_what_a_browser_marks_as_foreign_gets_nothing(site: Site, said: str) -> None:
    """A picture or script element of another page carries no Origin, but this."""
    _got_nothing(site.ask("GET", "/api/v1/info", headers={"Sec-Fetch-Site": said}), 403)


@pytest.mark.parametrize(("method", "path"), [*EVERYTHING, ("GET", "/healthz"), ("GET", "/readyz")])
def test_a_rebinding_host_gets_nothing(site: Site, method: str, path: str) -> None:
    """A foreign name that was made to point here is not one of ours, whatever else is right."""
    for host in (
        "evil.example",
        f"evil.example:{site.port}",
        "127.0.0.1",
        f"127.0.0.1.evil.example:{site.port}",
    ):
        _got_nothing(site.ask(method, path, host=host), 403)
    assert "host" in site.recorder.turned_away


def test_a_request_names_one_host(site: Site) -> None:
    """None, or two of which a proxy might take the other, is refused."""
    _got_nothing(site.ask("GET", "/api/v1/info", headers={"Host": "evil.example"}), 400)
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as client:
        client.sendall(f"GET /api/v1/info HTTP/1.0\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        assert client.recv(100).split(b"\r\n")[0].split()[1] in (b"400", b"403")


def test_the_page_itself_and_named_hosts_get_in(site: Site) -> None:
    """Loopback's names, those of --host-name, on this port or behind a proxy, each as the page's own origin."""
    port = site.port
    for host in (
        f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}",
        f"10.9.9.9:{port}", f"[fd00::9]:{port}", "face.example", f"face.example:{port}", "proxy.example:8443",
    ):  # fmt: skip
        for scheme in ("http", "https"):
            headers = {"Origin": f"{scheme}://{host}", "Sec-Fetch-Site": "same-origin"}
            assert site.ask("GET", "/api/v1/info", host=host, headers=headers).status == 200
    _got_nothing(site.ask("GET", "/api/v1/info", host="proxy.example"), 403)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8")
def test_an_address_that_was_connected_to_may_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bound to every address, each is a right Host for those who came by it, and no other."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    with open_site(host="0.0.0.0") as site:
        own = f"127.0.0.2:{site.port}"
        assert site.ask("GET", "/api/v1/info", host=own, address="127.0.0.2").status == 200
        _got_nothing(site.ask("GET", "/api/v1/info", host=own), 403)
        _got_nothing(site.ask("GET", "/api/v1/info", host=f"10.1.2.3:{site.port}", address="127.0.0.2"), 403)


def test_the_name_that_it_is_bound_to_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that is printed is one that works."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    monkeypatch.setattr("streaming.doors.LOOPBACK_NAMES", ())
    with open_site(host="localhost") as site:
        assert (
            site.ask("GET", "/api/v1/info", host=f"localhost:{site.port}", address="localhost").status == 200
        )


def test_one_socket_for_both_kinds_of_addresses_knows_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bound to `::`, an IPv4 address is named as people write it."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    try:
        with (
            bind("::", 0) as probe,
            socket.create_connection(("127.0.0.1", probe.getsockname()[1]), timeout=5),
        ):
            pass
    except (ConfigError, OSError):
        pytest.skip("there is no IPv6 here, or no socket for both")
    monkeypatch.setattr("streaming.doors.LOOPBACK_NAMES", ())
    with open_site(host="::") as site:
        for address, named in (("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")):
            assert site.ask("GET", "/api/v1/info", host=f"{named}:{site.port}", address=address).status == 200
        _got_nothing(site.ask("GET", "/api/v1/info", host=f"10.1.2.3:{site.port}"), 403)


@pytest.mark.parametrize("wrong", ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "ä" * 20])
def test_a_wrong_token_gets_nothing(own_site: Site, wrong: str) -> None:
    """In whichever of the three places it is given."""
    bearer = {"Authorization": f"Bearer {wrong}".encode().decode("latin-1")}
    cookie = {"Cookie": f"marotte-{own_site.port}={wrong}".encode().decode("latin-1")}
    _got_nothing(own_site.ask("GET", "/api/v1/info", token=None, headers=bearer), 401)
    _got_nothing(own_site.ask("GET", "/api/v1/info", token=None, headers=cookie), 401)
    if wrong.isascii():
        _got_nothing(own_site.ask("GET", f"/?token={wrong}", token=None), 401)
    _got_nothing(own_site.ask("GET", f"/?token={wrong}" if wrong.isascii() else "/?token=%ff"), 401)
    assert set(own_site.recorder.turned_away) == {"token"}


def test_the_printed_address_leaves_a_cookie_and_no_token(site: Site) -> None:
    """The token stands in no address that a page or the history keeps, and no script can read it."""
    entered = site.ask("GET", f"/?token={TOKEN}", token=None, headers={"Sec-Fetch-Site": "none"})
    assert (entered.status, entered.headers["Location"], entered.body) == (303, "/", b"")
    cookie, *marks = entered.headers["Set-Cookie"].split("; ")
    assert {mark.lower() for mark in marks} == {"httponly", "path=/", "samesite=strict"}
    assert cookie == f"marotte-{site.port}={TOKEN}"
    assert site.ask("GET", "/api/v1/info", token=None, headers={"Cookie": cookie}).status == 200
    # a browser sends the cookies of every port of this machine
    other = {"Cookie": f"marotte-1=x; {cookie}"}
    assert site.ask("GET", "/api/v1/info", token=None, headers=other).status == 200


def test_the_token_counts_in_the_address_of_the_first_page_only(site: Site) -> None:
    """Elsewhere it would stand in logs."""
    _got_nothing(site.ask("GET", f"/api/v1/info?token={TOKEN}", token=None), 401)
    _got_nothing(site.ask("POST", f"/?token={TOKEN}", b"", token=None), 401)


def test_wrong_tokens_are_soon_not_looked_at(own_site: Site) -> None:
    """After twenty the answer says when to come back; the right one enters meanwhile, and can end a call."""
    statuses = [own_site.ask("GET", "/api/v1/info", token="a wrong token").status for _ in range(25)]
    assert statuses[:20] == [401] * 20
    assert 429 in statuses[20:]
    while (late := own_site.ask("GET", "/api/v1/info", token="a wrong token")).status != 429:
        assert late.status == 401  # one more is allowed each second
    _got_nothing(late, 429)
    assert int(late.headers["Retry-After"]) > 0
    assert own_site.ask("GET", "/healthz", token=None).status == 200
    assert own_site.ask("GET", "/api/v1/info").status == 200
    assert own_site.ask("GET", f"/?token={TOKEN}", token=None).status == 303
    session = own_site.offer().session
    assert own_site.ask("DELETE", f"/api/v1/sessions/{session}").status == 204
    assert own_site.peers.closed == [(session, "page")]


def test_an_allowance_is_per_address_and_bounded() -> None:
    """Burst, refill, one entry for an IPv6 network, and no more addresses than are to be remembered."""
    now = 100.0
    allowance = Allowance(3, 2.0, most=2, clock=lambda: now)
    assert [allowance.take("10.0.0.1") for _ in range(4)] == [True, True, True, False]
    assert allowance.used_up("10.0.0.1")
    assert not allowance.used_up("10.0.0.2")
    now += 2.0
    assert [allowance.take("10.0.0.1") for _ in range(2)] == [True, False]
    assert [allowance.take(f"2001:db8::{host}") for host in range(4)] == [True, True, True, False]
    assert [allowance.take(f"::ffff:10.0.0.{host}") for host in (7, 7, 7, 8)] == [True] * 4
    assert not allowance.take("10.0.0.7")
    assert allowance.take(None)
    assert len(allowance._full_at) == 2
    assert not allowance.used_up("10.0.0.1")  # forgotten for the newer ones


@pytest.mark.parametrize(
    ("path", "status"), [("/", 200), ("/api/v1/info", 200), ("/not/there", 404), ("/healthz", 200)]
)
def test_every_answer_is_fenced(site: Site, path: str, status: int) -> None:
    """Nothing inline or remote runs in the page, no other page frames it, and no library tells its version."""
    answer = site.ask("GET", path)
    assert answer.status == status
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not any(word in policy for word in ("unsafe", "http:", "https:", "*", "data:"))
    assert "Server" not in answer.headers
    assert answer.headers["Cache-Control"] == ("no-cache" if path == "/" else "no-store")


@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"]
)
def test_what_is_no_request_is_told_nothing(site: Site, said: bytes) -> None:
    """A status and a line, without the name or version of what reads it."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as client:
        client.sendall(said + b"\r\n\r\n")
        told = b"".join(iter(lambda: client.recv(4096), b""))
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.split()[1] == b"400"
    assert body == b"400: the request could not be read\n"
    assert b"aiohttp" not in told
    assert b"Python" not in told


def test_a_body_that_is_too_large_is_not_read(site: Site) -> None:
    """Refused by what it states, before its bytes; the API answers as it always does."""
    large = {"Content-Length": str(1 << 40)}
    for path in ("/whip", "/api/v1/sources?name=a&kind=myself&attested_by=Ann"):
        refused = site.ask("POST", path, headers=large | AS_SDP)
        _got_nothing(refused, 413)
        assert refused.error[0] == "TooLargeError"
    assert "size" in site.recorder.turned_away


def test_a_body_that_states_no_length_is_cut_off(site: Site) -> None:
    """Counted while it comes in."""

    def parts() -> Iterator[bytes]:
        for _ in range(64):
            yield bytes(32 << 10)

    _got_nothing(site.ask("POST", "/whip", parts(), headers=AS_SDP), 413)


def test_a_packed_body_is_not_unpacked(site: Site) -> None:
    """A few bytes would become gigabytes."""
    for coding in ("gzip", "deflate, gzip", "br"):
        refused = site.offer(headers={"Content-Encoding": coding})
        _got_nothing(refused, 400)


def _connected(opened: ExitStack, site: Site) -> socket.socket:
    return opened.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=10))


def _asks(client: socket.socket, site: Site, head: str = "GET /healthz HTTP/1.1") -> bytes:
    client.sendall(f"{head}\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode())
    return client.recv(4096)


def test_who_asks_for_nothing_keeps_nobody_out(own_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit the oldest connection without a whole head is closed for a new one; one that asked before stays."""
    monkeypatch.setattr("streaming.listen._MOST_CONNECTIONS", 3)
    with ExitStack() as opened:
        known = _connected(opened, own_site)
        assert _asks(known, own_site).startswith(b"HTTP/1.1 200 ")
        idle = [_connected(opened, own_site) for _ in range(6)]
        for client in idle[:4]:
            assert client.recv(4096) == b""
        idle[4].sendall(b"GET / HTTP/1.1\r\n")
        for _ in range(3):
            assert _asks(_connected(opened, own_site), own_site).startswith(b"HTTP/1.1 200 ")
        assert idle[4].recv(4096) == b""
        assert idle[5].recv(4096) == b""
        assert _asks(_connected(opened, own_site), own_site).startswith(b"HTTP/1.1 200 ")
        assert known.recv(4096) == b""  # three others have asked, and all three places are theirs


def test_connections_are_bounded(own_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every one is being served, one too many is closed without a word, and the others go on."""
    monkeypatch.setattr("streaming.listen._MOST_CONNECTIONS", 2)
    with ExitStack() as opened:
        clients = [_connected(opened, own_site) for _ in range(2)]
        for client in clients:
            head = f"POST /whip HTTP/1.1\r\nHost: 127.0.0.1:{own_site.port}\r\nExpect: 100-continue\r\n{KIND}"
            client.sendall(f"{head}Authorization: Bearer {TOKEN}\r\nContent-Length: 1\r\n\r\n".encode())
            assert client.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert _connected(opened, own_site).recv(4096) == b""
        for client in clients:
            client.sendall(b"{")
            assert client.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert _asks(_connected(opened, own_site), own_site).startswith(b"HTTP/1.1 200 ")


def test_a_head_has_to_come_soon(own_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted from the connection, and in a connection that is kept from the head's first byte; between two heads
    there is more time."""
    monkeypatch.setattr("streaming.listen._HEAD_S", 0.5)
    with ExitStack() as opened:
        client, kept = (_connected(opened, own_site) for _ in range(2))
        assert _asks(kept, own_site).startswith(b"HTTP/1.1 200 ")
        client.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert client.recv(4096) == b""
        assert _asks(kept, own_site).startswith(b"HTTP/1.1 200 ")
        kept.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert kept.recv(4096) == b""


@pytest.mark.parametrize("expected", ["100-continue", "x", "100-continue, x"])
@pytest.mark.parametrize("path", ["/whip", "/not/there"])
def test_nothing_is_expected_before_the_doors(site: Site, expected: str, path: str) -> None:
    """Without a token, or from a foreign page or host, there is the same answer as without Expect, and no other."""
    length = [("Expect", expected), ("Content-Length", "5")]
    _got_nothing(site.ask("POST", path, token=None, headers=length), 401)
    _got_nothing(site.ask("POST", path, host="evil.example", headers=length), 403)
    _got_nothing(site.ask("POST", path, headers=[*length, ("Origin", "http://evil.example")]), 403)
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as client:
        said = f"POST {path} HTTP/1.1\r\nExpect: {expected}\r\nContent-Length: 5"
        assert _asks(client, site, said).startswith(b"HTTP/1.1 401 ")


def test_a_body_that_is_allowed_may_be_expected(site: Site) -> None:
    """Asked for when it is about to be read, and nothing but 100-continue is known; too large is never asked for."""
    offer = SDP.encode()
    said = f"POST /whip HTTP/1.1\r\n{KIND}Authorization: Bearer {TOKEN}\r\nExpect: 100-Continue\r\nContent-Length: "
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as client:
        assert _asks(client, site, f"{said}{len(offer)}") == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(offer)
        assert client.recv(4096).startswith(b"HTTP/1.1 201 ")
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as client:
        assert _asks(client, site, f"{said}{1 << 40}").startswith(b"HTTP/1.1 413 ")
    refused = site.ask("GET", "/api/v1/info", headers={"Expect": "x"})
    _got_nothing(refused, 417)


def test_a_slow_body_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends a byte now and then holds nothing for long."""
    monkeypatch.setattr("streaming.whip.endpoints._OFFER_S", 0.2)
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        head = (
            f"POST /whip HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n{KIND}Authorization: Bearer {TOKEN}\r\n"
        )
        client.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
        told = client.recv(4096)
    assert told.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 30


def test_a_fault_of_our_own_tells_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The traceback goes to the log, the client gets a line."""
    site.peers.fails = ZeroDivisionError("secret details")
    try:
        answer = site.offer()
    finally:
        site.peers.fails = None
    _got_nothing(answer, 500)
    assert b"secret" not in answer.body
    assert "secret details" in caplog.text
