"""Accounts at TURN servers that expire, as coturn reads them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest

from engine.errors import ConfigError
from streaming.config import ServeConfig
from streaming.offer import ice_server, ice_servers
from streaming.turn import GOOD_S, account
from streaming.whip.endpoints import links

SECRET = "a shared secret of this test"


def test_an_account_is_what_the_shared_secret_says() -> None:
    """username = expiry:whose, credential = base64(HMAC-SHA1(secret, username)); a day by default."""
    name, password = account(SECRET, now=1_700_000_000, whose="page")
    assert name == f"{1_700_000_000 + GOOD_S}:page"
    code = hmac.new(SECRET.encode(), name.encode(), hashlib.sha1).digest()
    assert base64.b64decode(password) == code
    assert account("a" * 16, 0.0, "u") == ("86400:u", "XduPhuZazFLxToV8OSNTZXOUrYs=")
    assert account(SECRET)[0] != account(SECRET)[0]


def test_relays_without_an_account_are_given_one() -> None:
    """Where there is a secret; one that has an account keeps it, and STUN has none."""
    config = ServeConfig(
        ice_servers=("turn:t.example:3478?transport=tcp", "turns:me:pw@u.example:443", "stun:s.example"),
        turn_secret=SECRET,
    )
    fresh, own, stun = ice_servers(config)
    assert (fresh.urls, own.urls, stun.urls) == (
        "turn:t.example:3478?transport=tcp", "turns:u.example:443", "stun:s.example",
    )  # fmt: skip
    assert (own.username, own.credential, stun.username) == ("me", "pw", None)
    expires = int(str(fresh.username).partition(":")[0])
    assert 0 <= time.time() + GOOD_S - expires < 60
    told = list(links(ice_servers(config)))
    assert 'username="me"; credential="pw"' in told[1]
    assert told[0].startswith('<turn:t.example:3478?transport=tcp>; rel="ice-server"; username="')
    assert SECRET not in repr(config)


def test_a_relay_without_account_or_secret_is_refused() -> None:
    """It would be asked in vain; and a secret that is none is told before anything starts."""
    with pytest.raises(ConfigError, match="turn-secret-file"):
        ServeConfig(ice_servers=("turn:t.example",))
    with pytest.raises(ConfigError, match="turn_secret"):
        ServeConfig(turn_secret="short")
    with pytest.raises(ConfigError, match="expected stun"):
        ice_server("turn:t.example:0", SECRET)
