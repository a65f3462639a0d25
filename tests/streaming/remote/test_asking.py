"""What a far server may answer to an offer, and what becomes of it."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web

from streaming.remote import asking, reach
from streaming.remote.asking import Created, end, post
from streaming.remote.places import Place
from streaming.transport import LOST, LostError
from tests.streaming.remote.far import KEY, Answering, far_server, raw_server

OFFER = "v=0\r\n"
BEARER = f"Bearer {KEY}"


def answered(status: int = 201, body: str = "v=0\r\n", **headers: str) -> Answering:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named.setdefault("Content-Type", "application/sdp")

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body.encode(), headers=named)

    return answer


def asked(answer: Answering, path: str = "/whip", **options: Any) -> tuple[Created, list[Any]]:
    """What a POST there gives, and what the far server was asked."""

    async def run() -> tuple[Created, list[Any]]:
        async with far_server(answer) as far:
            return await post(far.place(path), OFFER, insecure=False, **options), far.asked

    return asyncio.run(run())


def refused(answer: Answering, path: str = "/whip") -> LostError:
    with pytest.raises(LostError) as caught:
        asked(answer, path)
    assert caught.value.kind in LOST
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    return caught.value


def refused_raw(answer: bytes, then_s: float = 0.0) -> LostError:
    async def run() -> None:
        async with raw_server(answer, then_s=then_s) as far:
            await post(far.place(), OFFER, insecure=False)

    with pytest.raises(LostError) as caught:
        asyncio.run(run())
    return caught.value


def test_an_offer_is_posted_with_its_token() -> None:
    """As RFC 9725 has it; the Location is read against the address."""
    made, told = asked(answered(Location="one/2"), "/a/whip?x=1")
    assert told == [("POST", "/a/whip?x=1", BEARER, OFFER)]
    assert made.location.endswith("/a/one/2")
    assert (made.answer, made.public, made.servers) == (OFFER, False, ())


@pytest.mark.parametrize("location", ["/whip/1", "http://127.0.0.1:PORT/whip/1", "//127.0.0.1:PORT/whip/1"])
def test_what_was_made_is_ended_where_it_is(location: str) -> None:
    """Relative or absolute, with the token; what is gone already is gone."""

    async def run() -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            if request.method == "DELETE":
                return web.Response(status=404)
            at = location.replace("PORT", str(request.url.port))
            return web.Response(status=201, headers={"Location": at}, content_type="application/sdp")

        async with far_server(answer) as far:
            place = far.place()
            made = await post(place, OFFER, insecure=False)
            assert await end(place, made, insecure=False)
            assert far.asked[1] == ("DELETE", "/whip/1", BEARER, "")

    asyncio.run(run())


def test_redirects_are_followed_and_the_token_stays_at_home() -> None:
    """307 and 308, with the offer; to another origin without the token, which is said where it is missed there."""
    others: list[Any] = []

    async def run() -> LostError:
        async def elsewhere(request: web.Request) -> web.StreamResponse:
            return web.Response(status=401)

        async with far_server(elsewhere) as other:

            async def answer(request: web.Request) -> web.StreamResponse:
                status, to = (
                    (307, "/b?c=1") if request.path == "/a" else (308, f"http://127.0.0.1:{other.port}/d")
                )
                return web.Response(status=status, headers={"Location": to})

            async with far_server(answer) as far:
                with pytest.raises(LostError) as caught:
                    await post(far.place("/a"), OFFER, insecure=False)
                assert [one[:3] for one in far.asked] == [("POST", "/a", BEARER), ("POST", "/b?c=1", BEARER)]
            others.extend(other.asked)
        return caught.value

    error = asyncio.run(run())
    assert others == [("POST", "/d", "", OFFER)]
    assert (error.kind, error.again) == ("token", False)
    assert "redirected" in str(error)


def test_redirects_end() -> None:
    """A loop of them is left after five; one that loses the offer, or leads nowhere, is not followed."""
    error = refused(answered(307, Location="/whip"))
    assert (error.kind, "more than 5 redirects" in str(error)) == ("answer", True)
    assert refused(answered(302, Location="/other")).kind == "refused"
    assert refused(answered(307)).kind == "answer"
    assert refused(answered(308, Location="ftp://there/")).kind == "answer"


@pytest.mark.parametrize(
    ("status", "kind", "again"),
    [
        (401, "token", False), (403, "token", False), (404, "missing", True), (406, "refused", False),
        (409, "taken", True), (422, "refused", False), (429, "busy", True), (503, "busy", True),
        (500, "server", True), (200, "refused", False),
    ],
)  # fmt: skip
def test_a_refusal_is_told_in_a_line(status: int, kind: str, again: bool) -> None:
    """By its kind, with the far server's own words and without the token; what cannot help is not tried again."""
    words = f'{{"detail": "no\\nroom for {KEY}"}}'
    error = refused(answered(status, words, Content_Type="application/problem+json"))
    assert (error.kind, error.again) == (kind, again)
    assert f"({status}: no room for ***)" in str(error)


@pytest.mark.parametrize(
    ("told", "least", "most"),
    [
        ("7", 7, 7),
        ("999999", 3600, 3600),
        ("a date", 60, 91),
        ("soon", 0, 0),
    ],
)
def test_it_is_left_alone_for_as_long_as_it_asks(told: str, least: float, most: float) -> None:
    """Retry-After in seconds or as a date, within reason."""
    if told == "a date":
        told = formatdate(time.time() + 90, usegmt=True)
    assert least <= refused(answered(503, "", Retry_After=told)).wait_s <= most


def test_an_answer_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another kind of body, no Location, too large, packed, no text, cut off, no HTTP."""
    assert "Location" in str(refused(answered()))
    assert "text/html" in str(refused(answered(Location="/1", Content_Type="text/html")))
    assert "more than 65536" in str(refused(answered(Location="/1", body="x" * 70_000)))
    assert "packed" in str(refused(answered(Location="/1", Content_Encoding="gzip")))
    head = b"HTTP/1.1 201 Created\r\nContent-Type: application/sdp\r\nLocation: /1\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 20
    assert "more than 65536" in str(refused_raw(chunked))
    assert "UTF-8" in str(refused_raw(head + b"Content-Length: 1\r\n\r\n\xff"))
    assert refused_raw(head + b"Content-Length: 9\r\n\r\nv=0").kind == "answer"
    assert refused_raw(b"SSH-2.0-x\r\n").kind == "answer"
    assert refused_raw(head + b"X: " + b"x" * 20_000 + b"\r\n\r\n").kind == "answer"
    monkeypatch.setattr(asking, "WITHIN_S", 0.2)
    for part in (b"", head, head + b"Content-Length: 9\r\n\r\nv=0"):
        error = refused_raw(part, then_s=2)
        assert error.kind in ("unreachable", "answer")


def test_a_server_that_never_answers_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """After 15 s in all, however slowly bytes come."""

    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    async def run() -> None:
        async with far_server(answer) as far:
            with pytest.raises(LostError, match=r"no answer within 0\.2 s"):
                await asking.post(far.place(), OFFER, insecure=False)

    assert asking.WITHIN_S == 15
    monkeypatch.setattr(asking, "WITHIN_S", 0.2)
    asyncio.run(run())


def test_nobody_there_is_told() -> None:
    """A port that is closed, a name that is none."""
    with pytest.raises(LostError, match="127") as caught:
        asyncio.run(post(Place("http://127.0.0.1:1/whip"), OFFER, insecure=False))
    assert caught.value.kind == "unreachable"
    with pytest.raises(LostError, match="cannot be found") as caught:
        asyncio.run(post(Place("https://nowhere.invalid/whip"), OFFER, insecure=False))
    assert (caught.value.kind, caught.value.again) == ("unreachable", True)


def test_plain_http_stays_on_this_machine() -> None:
    """Beyond it the token would be read by everybody in between, unless that was asked for by name."""
    with pytest.raises(LostError, match="remote-insecure") as caught:
        asyncio.run(post(Place("http://10.0.0.1/whip"), OFFER, insecure=False))
    assert not caught.value.again


@pytest.mark.parametrize(
    ("address", "public", "near"),
    [
        ("93.184.216.34", True, False), ("2606:2800:220:1::1", True, False), ("127.0.0.1", False, True),
        ("::1", False, True), ("10.1.2.3", False, True), ("192.168.0.1", False, True), ("fd00::1", False, True),
        ("100.64.0.1", False, True), ("169.254.169.254", False, False), ("fe80::1", False, False),
        ("0.0.0.0", False, False), ("::", False, False), ("224.0.0.1", False, False), ("ff02::1", False, False),
        ("240.0.0.1", False, False), ("255.255.255.255", False, False), ("::ffff:127.0.0.1", False, True),
        ("::ffff:169.254.169.254", False, False), ("64:ff9b::a9fe:a9fe", False, False),
        ("64:ff9b::5db8:d822", True, False), ("2002:7f00:1::1", False, True),
    ],
)  # fmt: skip
def test_addresses_are_of_the_net_or_near_or_never_asked(address: str, public: bool, near: bool) -> None:
    """Whatever they are written like: where a cloud keeps its secrets is never a server."""
    assert (reach.is_public(address), reach.is_near(address)) == (public, near)


def test_what_the_api_begins_stays_on_the_net() -> None:
    """Neither this machine nor a private one is asked anything, by figures, by a name, or by a redirect."""

    async def run() -> list[Any]:
        async with far_server(answered(Location="/1")) as far:
            for host in ("127.0.0.1", "localhost"):
                place = Place(f"http://{host}:{far.port}/whip", near=False)
                with pytest.raises(LostError, match="remote-near") as caught:
                    await post(place, OFFER, insecure=True)
                assert (caught.value.kind, caught.value.again) == ("refused", False)
            return far.asked

    assert asyncio.run(run()) == []


def test_a_public_server_leads_nobody_into_the_house(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its redirect to this machine is not followed, though the operator's own address may be anywhere."""

    async def run() -> list[Any]:
        async with far_server(answered(Location="/1")) as inner:
            async with far_server(answered(307, Location=f"http://127.0.0.1:{inner.port}/")) as outer:
                monkeypatch.setattr(asking, "is_public", lambda address: True)
                with pytest.raises(LostError, match="remote-near"):
                    await post(outer.place(), OFFER, insecure=False)
            return inner.asked

    assert asyncio.run(run()) == []


def test_a_name_cannot_mean_another_address_meanwhile() -> None:
    """What was looked at is what is connected to; another host's name is not looked up at all."""
    known = reach.Known("far.example", ["93.184.216.34"])
    (found,) = asyncio.run(known.resolve("FAR.example", 443))
    assert (found["host"], found["port"]) == ("93.184.216.34", 443)
    with pytest.raises(OSError, match="not looked at"):
        asyncio.run(known.resolve("other.example", 443))
