"""A server that is to end: nobody comes in, those who are in have their time, and then it is over."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streaming.config import ServeConfig
from streaming.serve import _Ending
from streaming.signals import stopped_by_signals
from streaming.tokens import Tokens, key_of, scope_of
from tests.streaming.doorstep import TOKEN, Site, open_site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    with open_site(ServeConfig(drain_s=30.0)) as opened:
        yield opened


def test_draining_lets_nobody_in_and_ends_who_is_left(site: Site) -> None:
    """503 with Retry-After for a new session; /readyz says it, /healthz stays, for nobody is to kill it; less time ends
    what is open, and the server goes on to answer."""
    assert site.offer().status == 201
    (session,) = site.peers.sessions.values()
    began = site.ask("POST", "/api/v1/drain")
    assert (began.status, began.json["sessions"]) == (202, 1)
    assert 25 < began.json["ends_in_s"] <= 30
    refused = site.offer()
    assert refused.status == 503
    assert 25 < int(refused.headers["Retry-After"]) <= 30
    assert "stopped" in refused.error[1]
    ready = site.ask("GET", "/readyz", token=None)
    assert (ready.status, ready.body.split(b":")[0]) == (503, b"draining")
    assert site.ask("GET", "/healthz", token=None).status == 200
    assert not session.over
    told = session.ends_in_s()
    assert told is not None
    assert 20 < told <= 30
    assert site.ask("POST", "/api/v1/drain?seconds=60").json["ends_in_s"] <= 30
    assert site.ask("POST", "/api/v1/drain?seconds=0").status == 202
    until = time.monotonic() + 20
    while not session.over and time.monotonic() < until:
        time.sleep(0.02)
    assert session.over
    assert site.ask("GET", "/api/v1/info").status == 200


def test_who_may_drain(site: Site) -> None:
    """The scope admin, and no other; a time that is none is refused before anything drains."""
    made = Tokens(key_of(TOKEN)).issue([scope_of("api"), scope_of("publish")], 60.0)[0]
    assert site.ask("POST", "/api/v1/drain", token=made).status == 403
    for wrong in ("soon", "-1", "1e9", "nan"):
        assert site.ask("POST", f"/api/v1/drain?seconds={wrong}").status == 422, wrong
    assert site.ask("GET", "/readyz", token=None).status == 200


def test_the_first_signal_is_gentle_and_the_second_is_not() -> None:
    """SIGTERM drains where there is time for it, and ends at once the second time; Ctrl-C always does."""
    gentle, hard = [], []
    with stopped_by_signals(lambda: hard.append(1), lambda: gentle.append(1)):
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert (gentle, hard) == ([1], [1])

    async def twice(drain_s: float) -> list[tuple[bool, bool]]:
        ending, seen = _Ending(drain_s), []
        for _ in range(2):
            ending.gently()
            seen.append((ending.begun.is_set(), ending.over.is_set()))
        return seen

    assert asyncio.run(twice(10.0)) == [(True, False), (True, True)]
    assert asyncio.run(twice(0.0))[0] == (True, True)
