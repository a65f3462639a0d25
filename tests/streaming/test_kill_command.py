"""`marotte kill`, as it is typed, and the door before several servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import marotte
from engine.errors import ConfigError, WorkerError
from streaming.asked import ask
from streaming.commands import kill as command
from streaming.kill import KillSwitch
from tests.streaming.doorstep import TOKEN, Site, open_site
from tests.streaming.front.test_front import front, publish

__all__ = ["front"]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("MAROTTE_TOKEN", raising=False)
    return tmp_path / "state"


@pytest.fixture
def site(state: Path) -> Iterator[Site]:
    with KillSwitch(state) as switch, open_site(switch=switch) as opened:
        yield opened


@pytest.fixture
def sites(state: Path) -> Iterator[list[Site]]:
    """Two servers of one folder."""
    with (
        KillSwitch(state) as one,
        KillSwitch(state) as other,
        open_site(switch=one) as first,
        open_site(switch=other) as second,
    ):
        yield [first, second]


def test_it_finds_what_runs_here_and_waits_for_its_word(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the state's folder, without an address and without a token: each process that looks is named once it is
    silent."""
    assert site.offer().status == 201
    assert marotte.main(["kill", "--why", "a report"]) == 0
    said = capsys.readouterr()
    assert "serve, process" in said.out
    assert "silent" in said.out
    assert "--release" in said.err
    assert site.offer().status == 503
    assert marotte.main(["kill", "--status"]) == 0
    assert "a report (marotte kill)" in capsys.readouterr().out
    assert marotte.main(["kill", "--release"]) == 2
    assert "why" in capsys.readouterr().err
    assert marotte.main(["kill", "--release", "--why", "looked into"]) == 0
    assert marotte.main(["kill", "--release", "--why", "looked into"]) == 0
    assert "was not killed" in capsys.readouterr().err


def test_where_nothing_looks_it_says_so(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Another user's server would go on: that is an exit status of 1 and a next step; what starts here later is killed
    all the same."""
    assert marotte.main(["kill"]) == 1
    assert "--server" in capsys.readouterr().err
    assert KillSwitch(state).killed


def test_one_that_does_not_answer_is_named(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that hangs altogether can still be ended by its number."""
    monkeypatch.setattr(command, "WITHIN_S", 0.05)
    (state / "stop").mkdir(parents=True)
    (state / "stop" / "77-00.watching").write_text('{"pid": 77, "what": "serve", "killed": false}')
    assert marotte.main(["kill"]) == 1
    said = capsys.readouterr()
    assert "has not answered" in said.out
    assert "kill -9 77" in said.err


def test_another_machines_server_is_asked_by_its_api(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its token from a file; what it refuses, or that it does not answer, is one line."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n", encoding="utf-8")
    words = ["kill", "--server", f"http://127.0.0.1:{site.port}", "--token-file", str(file)]
    assert marotte.main([*words, "--status"]) == 0
    assert capsys.readouterr().out == "not killed\n"
    assert marotte.main([*words, "--why", "a report"]) == 0
    assert "a report (the API)" in capsys.readouterr().out
    assert site.offer().status == 503
    assert marotte.main([*words, "--release", "--why", "looked into"]) == 0
    assert marotte.main(words[:3]) == 2
    assert "token" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["", "ftp://127.0.0.1", "http://", "127.0.0.1:8765", "http://127.0.0.1:99999999"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigError, match="server"):
        ask(url, "GET", "/", "")


def test_one_that_is_not_there_is_one_line() -> None:
    """With what to look at."""
    with pytest.raises(WorkerError, match="does not answer"):
        ask("http://127.0.0.1:1", "GET", "/api/v1/kill", "")


def test_the_door_before_several_servers_passes_it_on(front: Any, sites: list[Site]) -> None:
    """All of them are silent when it answers, and nothing is opened until it is released."""
    _, door = front
    assert publish(door, "a").status == 201
    assert publish(door, "b").status == 201
    killed = door.ask("POST", "/api/v1/kill?why=a%20report")
    assert killed.status == 200
    assert (killed.json["killed"], killed.json["servers"], killed.json["not_answered"]) == (True, 2, 0)
    assert [session.silent() for site in sites for session in site.peers.sessions.values()] == [True, True]
    assert publish(door, "c").status == 503
    assert door.ask("GET", "/readyz", token=None).status == 503
    assert door.ask("DELETE", "/api/v1/kill").status == 422
    assert door.ask("DELETE", "/api/v1/kill?why=looked%20into").json["killed"] is False
    assert publish(door, "c").status == 201
