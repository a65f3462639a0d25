"""Signed tokens: read back as they were issued, and refused for every letter that is not theirs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from engine.errors import ConfigError, InputError, StateError
from streaming import tokens as module
from streaming.tokens import MOST_S, OWN, PREFIX, SKEW_S, Scope, TokenError, Tokens, key_of, scope_of

KEY = key_of("a key of the tests")


class Wall:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def _signed(payload: bytes) -> str:
    """By who has the key, but not by us."""
    signed = PREFIX + base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    mac = hmac.digest(KEY, signed.encode(), hashlib.sha256)
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def test_a_token_says_what_was_put_into_it() -> None:
    """Scopes in order and each once, whole seconds, and an id of its own."""
    wall = Wall()
    tokens = Tokens(KEY, wall)
    text, told = tokens.issue([scope_of("view:demo"), scope_of("api"), scope_of("view:demo")], 90)
    read = tokens.read(text)
    assert read == told
    assert list(map(str, read.scopes)) == ["api", "view:demo"]
    assert (read.issued_s, read.expires_s) == (wall.now, wall.now + 90)
    assert tokens.issue([Scope("api")], 90)[1].id != read.id
    assert len(text) < 200


@pytest.mark.parametrize(
    ("own", "asked", "enough"),
    [
        ("view", "view:demo", True),
        ("view:demo", "view:demo", True),
        ("view:demo", "view:other", False),
        ("view:demo", "view", False),
        ("view:demo", "publish:demo", False),
        ("publish:demo", "view:demo", False),
        ("room:a", "room:a", True),
        ("room:a", "room:b", False),
        ("room:a", "publish:a", False),
        ("room:a", "publish:a--1f", True),
        ("room:a", "view:a--1f", True),
        ("room:a", "publish:ab--1f", False),
        ("room:a", "publish", False),
        ("publish:a", "room:a", False),
        ("api", "publish:demo", True),
        ("api", "view", True),
        ("api", "admin", False),
        ("api", "metrics", False),
        ("api", "room:a", False),
        ("metrics", "api", False),
        ("admin", "room:a", True),
        ("admin", "metrics", True),
        ("admin", "admin", True),
    ],
)
def test_a_scope_is_enough_for_its_own_and_what_it_covers(own: str, asked: str, enough: bool) -> None:
    """One stream's token opens no other, nothing opens what stands above it."""
    assert scope_of(own).covers(scope_of(asked)) is enough
    assert OWN.allows(scope_of(asked))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "views",
        "view:",
        "view:Demo",
        "view:a/b",
        "view:" + "a" * 65,
        "room",
        "room:a--b",
        "room:a-",
        "api:x",
        "admin:",
        "view:a\n",
    ],
)
def test_a_wrong_scope_is_refused(text: str) -> None:
    """In words that say which there are."""
    with pytest.raises(ConfigError, match="scope"):
        scope_of(text)


def test_a_token_is_over_when_it_says() -> None:
    """Give or take what two clocks may differ by, and no more."""
    wall = Wall()
    tokens = Tokens(KEY, wall)
    text, _ = tokens.issue([Scope("api")], 60)
    wall.now += 60 + SKEW_S - 1
    tokens.read(text)
    wall.now += 1
    with pytest.raises(TokenError, match="expired") as refused:
        tokens.read(text)
    assert refused.value.ours


def test_a_token_of_a_clock_that_runs_ahead_waits() -> None:
    """By less than the skew it is taken, by more it is not: else a clock set wrong once makes tokens for ever."""
    wall = Wall()
    tokens = Tokens(KEY, wall)
    text, _ = tokens.issue([Scope("api")], 600)
    wall.now -= SKEW_S
    tokens.read(text)
    wall.now -= 1
    with pytest.raises(TokenError, match="clock"):
        tokens.read(text)


def test_another_key_signs_nothing_here() -> None:
    """And the key of a token is not the token itself."""
    text, _ = Tokens(key_of("another key of the tests")).issue([Scope("admin")], 60)
    with pytest.raises(TokenError) as refused:
        Tokens(KEY).read(text)
    assert not refused.value.ours
    assert key_of("a key of the tests") != b"a key of the tests"
    with pytest.raises(ConfigError, match="16 bytes"):
        key_of("too short")


def test_every_changed_letter_is_refused() -> None:
    """Of the payload and of the signature, also those of the last one's unused bits."""
    tokens = Tokens(KEY)
    text, _ = tokens.issue([Scope("view", "demo")], 60)
    for place in range(len(text)):
        for other in "Aa0-_.":
            if other != text[place]:
                with pytest.raises(TokenError):
                    tokens.read(text[:place] + other + text[place + 1 :])
    for wrong in (text + "=", text + "A", text[:-1], text[1:], text.upper(), text + "\n", " " + text):
        with pytest.raises(TokenError):
            tokens.read(wrong)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"[]", b"{}", b"3", b"[" * 700, b"\xff", b'{"exp":1}',
        b'{"exp":9999999999,"iat":1,"id":"a"}',
        b'{"exp":true,"iat":1,"id":"a","scopes":["api"]}',
        b'{"exp":9e9,"iat":1,"id":"a","scopes":["api"]}',
        b'{"exp":9,"iat":1,"id":3,"scopes":["api"]}',
        b'{"exp":9,"iat":1,"id":"a b","scopes":["api"]}',
        b'{"exp":9,"iat":1,"id":"a","scopes":[]}',
        b'{"exp":9,"iat":1,"id":"a","scopes":"api"}',
        b'{"exp":9,"iat":1,"id":"a","scopes":[["api"]]}',
        b'{"exp":9,"iat":1,"id":"a","scopes":["root"]}',
        b'{"iat":1,"exp":9,"id":"a","scopes":["api"]}',
        b'{"exp": 9,"iat":1,"id":"a","scopes":["api"]}',
        b'{"exp":9,"iat":1,"id":"a","scopes":["api"],"x":1}',
        b'{"exp":%s,"iat":1,"id":"a","scopes":["api"]}' % (b"9" * 400),
    ],
)  # fmt: skip
def test_what_is_signed_and_no_token_is_refused(payload: bytes) -> None:
    """The key may sign for other programs: whatever it signed is read with the same care."""
    with pytest.raises(TokenError):
        Tokens(KEY).read(_signed(payload))


def test_a_token_does_not_live_for_ever() -> None:
    """Not by asking for it, and not by signing it elsewhere."""
    wall = Wall()
    tokens = Tokens(KEY, wall)
    for wrong in (0.5, MOST_S + 1, float("nan"), float("inf"), -3.0):
        with pytest.raises(ConfigError, match="for"):
            tokens.issue([Scope("api")], wrong)
    now = int(wall.now)
    told = {"exp": now + int(MOST_S) * 3, "iat": now, "id": "a", "scopes": ["api"]}
    with pytest.raises(TokenError):
        tokens.read(_signed(json.dumps(told, separators=(",", ":")).encode()))
    with pytest.raises(ConfigError, match="scope"):
        tokens.issue([], 60)
    with pytest.raises(ConfigError, match="scope"):
        tokens.issue([Scope("view", f"s{n}") for n in range(17)], 60)
    with pytest.raises(ConfigError, match="letters"):
        tokens.issue([Scope("view", f"s{n}".ljust(64, "x")) for n in range(16)], 60)


def test_what_was_taken_back_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its id, the others stay; and the list never forgets one that is still in force to take in another."""
    wall = Wall()
    tokens = Tokens(KEY, wall)
    (one, told), (other, _) = (tokens.issue([Scope("api")], 60) for _ in range(2))
    tokens.revoke(told.id)
    with pytest.raises(TokenError, match="taken back"):
        tokens.read(one)
    tokens.read(other)
    for wrong in ("", "a b", "a" * 33, "ä"):
        with pytest.raises(InputError):
            tokens.revoke(wrong)
    monkeypatch.setattr(module, "MOST_REVOKED", 2)
    tokens.revoke("second")
    tokens.revoke(told.id)
    with pytest.raises(StateError, match="another"):
        tokens.revoke("third")
    wall.now += MOST_S + 2 * SKEW_S
    tokens.revoke("third")


@given(some.one_of(some.text(max_size=200), some.text("mrt1.eyJ-_AZaz09=", max_size=200).map(PREFIX.__add__)))
def test_nothing_that_is_read_as_a_token_breaks_anything(text: str) -> None:
    """Whatever stands there: a token, or the one error that says it is none."""
    with pytest.raises(TokenError):
        Tokens(KEY).read(text)


@given(some.binary(max_size=300))
def test_nothing_that_is_signed_breaks_anything(payload: bytes) -> None:
    """The same behind the signature."""
    with pytest.raises(TokenError):
        Tokens(KEY).read(_signed(payload))
