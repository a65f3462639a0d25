"""Several servers behind one door: who gets a session, and that everything of it goes where it is."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.errors import ConfigError
from streaming.bench.server import family
from streaming.config import ServeConfig
from streaming.front.choosing import Told, ranked, servers_of, together, told_by
from streaming.front.door import Front
from streaming.front.fleet import own_command
from streaming.front.front import serve_many
from streaming.listen import bind, listening
from streaming.trackers import place_of
from tests.streaming.doorstep import SDP, TOKEN, Answer, Site, open_site
from tests.streaming.whip_client import Client, client_session, metrics

PROJECT = Path(__file__).resolve().parents[3]


def test_the_most_headroom_comes_first() -> None:
    """What a server was given since it told counts; among equals the one with the fewest sessions."""
    assert ranked({0: Told(0.3), 1: Told(0.8), 2: Told(0.5)}) == [1, 2, 0]
    assert ranked({0: Told(0.8, given=2), 1: Told(0.75)}) == [1, 0]
    assert ranked({0: Told(1.0, 3), 1: Told(1.0, 1), 2: Told(1.0, 2)}) == [1, 2, 0]


def test_what_a_server_told_is_the_least_of_its_headroom() -> None:
    """By the text of its metrics; one that measures nothing has all of it."""
    shares = [
        f'marotte_headroom_ratio{{resource="{name}"}} {left}' for name, left in (("cpu", 0.4), ("loop", 0.9))
    ]
    text = "\n".join([*shares, "marotte_sessions 3.0"])
    assert told_by(text) == Told(0.4, 3)
    assert told_by("") == Told(1.0, 0)


def test_metrics_are_one_text_with_the_servers_numbers() -> None:
    """Each family's head stands once, before all of its series; the number is the one label more."""
    one = '# HELP a_total A.\n# TYPE a_total counter\na_total 1.0\n# TYPE b gauge\nb{x="1",y="2"} 5.0\n'
    told = together([(0, one), (1, one.replace("1.0", "2.0"))])
    assert told == (
        '# HELP a_total A.\n# TYPE a_total counter\na_total{worker="0"} 1.0\na_total{worker="1"} 2.0\n'
        '# TYPE b gauge\nb{x="1",y="2",worker="0"} 5.0\nb{x="1",y="2",worker="1"} 5.0\n'
    )


def test_each_gpu_has_a_server() -> None:
    """It sees that one alone; without GPUs there are as many as was said."""
    assert servers_of(["0", "3"], 0) == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "3"}]
    assert servers_of([], 2) == [{}, {}]


def test_a_server_gets_the_doors_own_options_not() -> None:
    """It is on loopback, on a free port, behind a proxy that is the door; the rest of the line is as it was given."""
    line = [
        "serve",
        "--gpus",
        "0,1",
        "--port=80",
        "--host",
        "0.0.0.0",
        "--edit",
        "--token-file",
        "t",
        "--open",
    ]
    command = own_command(line)
    assert command[1:5] == ["-m", "marotte", "serve", "--edit"]
    assert command[5:] == ["--host", "127.0.0.1", "--port", "0", "--behind-proxy", "127.0.0.1"]


@pytest.mark.parametrize(("field", "value"), [("rooms", 2), ("trackers", (place_of("arkit", []),))])
def test_what_one_server_alone_knows_is_refused(field: str, value: Any) -> None:
    """Before anything is started."""
    with pytest.raises(ConfigError, match="not with --gpus"):
        serve_many(ServeConfig(**{field: value}), ["serve"], workers=2)
    with pytest.raises(ConfigError, match="workers"):
        serve_many(ServeConfig(), ["serve"], workers=99)


@pytest.fixture
def sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Site]]:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    with ExitStack() as opened:
        yield [opened.enter_context(open_site()) for _ in range(2)]


@pytest.fixture
def front(sites: list[Site]) -> Iterator[tuple[Front, Site]]:
    """A door before both, and who asks it."""
    servers = [
        SimpleNamespace(number=at, origin=f"http://127.0.0.1:{site.port}") for at, site in enumerate(sites)
    ]
    with bind("127.0.0.1", 0) as opened:
        config = ServeConfig(port=opened.getsockname()[1])
        door: Any = Front(SimpleNamespace(servers=servers), config, TOKEN)  # type: ignore[arg-type]
        loop, ready, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

        async def serve() -> None:
            async with listening(door.app(), opened):
                ready.set()
                await over.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        ready.wait(10)
        asking: Any = SimpleNamespace(port=config.port)
        asking.ask = lambda *given, **named: Site.ask(asking, *given, **named)
        yield door, asking
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


def publish(door: Site, stream: str) -> Answer:
    return door.ask("POST", f"/whip/{stream}", SDP.encode(), headers={"Content-Type": "application/sdp"})


def test_sessions_are_shared_out_and_found_again(front: Any, sites: list[Site]) -> None:
    """Two streams go to two servers; what is asked of one reaches its own; a name that is taken is taken for all."""
    _, door = front
    places = {}
    for stream in ("a", "b"):
        made = publish(door, stream)
        assert made.status == 201, made.body
        places[stream] = made.headers["Location"]
    assert [len(site.peers.sessions) for site in sites] == [1, 1]
    assert publish(door, "a").status == 409
    assert door.ask("GET", places["b"]).status == 204
    assert door.ask("DELETE", places["b"]).status == 200
    assert [[stream for stream, _ in site.peers.closed] != [] for site in sites].count(True) == 1
    assert door.ask("GET", places["b"]).status == 404
    assert door.ask("GET", places["a"]).status == 204


def test_one_that_refuses_is_not_the_last_word(front: Any, sites: list[Site]) -> None:
    """Where the first server takes nobody the next is asked; where none does, its answer comes back, with when to come
    again."""
    _, door = front

    def drain(site: Site) -> None:
        assert site.ask("POST", "/api/v1/drain?seconds=30").status == 202

    drain(sites[0])
    assert [publish(door, name).status for name in ("a", "b")] == [201, 201]
    assert len(sites[1].peers.sessions) == 2
    drain(sites[1])
    refused = publish(door, "c")
    assert refused.status == 503
    assert 1 <= int(refused.headers["Retry-After"]) <= 30


def test_a_file_to_be_verified_stays_at_the_door(
    front: Any, sites: list[Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at by a process of the door's, whatever its size; the page is any server's."""

    async def looked_at(path: Path, name: str) -> dict[str, Any]:
        return {"file": name, "bytes": path.stat().st_size}

    monkeypatch.setattr("streaming.verify_doors._looked_at", looked_at)
    _, door = front
    answer = door.ask("POST", "/api/v1/verify?name=a.mp4", bytes(3 << 20))
    assert (answer.status, answer.json) == (200, {"file": "a.mp4", "bytes": 3 << 20})
    assert door.ask("GET", "/verify").status == 200


def test_the_door_lets_in_as_a_server_does(front: Any, sites: list[Site]) -> None:
    """Without a token nothing is handed on; a source is added to every server; ready means any of them is."""
    _, door = front
    assert door.ask("GET", "/api/v1/info", token=None).status == 401
    assert door.ask("GET", "/api/v1/info").status == 200
    added = door.ask(
        "POST",
        "/api/v1/sources?kind=myself&attested_by=Ann",
        b"picture",
        headers={"Content-Type": "image/png"},
    )
    assert added.status == 201, added.body
    assert all(added.json["id"] in site.worker.sources for site in sites)
    assert door.ask("GET", "/readyz", token=None).status == 200
    assert b"marotte" in door.ask("GET", "/healthz", token=None).body


def test_a_server_that_is_away_is_left_out(front: Any, sites: list[Site]) -> None:
    """Sessions go to the other; with none there is a 503 that says so."""
    made, door = front
    first, second = made._fleet.servers
    first.origin = ""
    assert publish(door, "a").status == 201
    assert len(sites[1].peers.sessions) == 1
    second.origin = ""
    gone = publish(door, "b")
    assert (gone.status, gone.headers["Retry-After"]) == (503, "2")
    assert door.ask("GET", "/readyz", token=None).status == 503


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.usefixtures("models")
@pytest.mark.skipif(sys.platform != "linux", reason="ends a process by its id")
def test_two_real_servers_behind_one_door(tmp_path: Path) -> None:
    """The command itself: two calls go to two processes, one that is killed is started again, SIGTERM ends all."""
    line = [
        sys.executable,
        "-m",
        "marotte",
        "serve",
        "--port",
        "0",
        "--workers",
        "2",
        "--no-spare",
        "--in-process",
    ]
    own = os.environ | {"MAROTTE_STATE": str(tmp_path), "MAROTTE_TOKEN": "a token of this test's"}
    with subprocess.Popen(
        [*line, "--admission", "count", "--drain-s", "2"],
        stdout=-1,
        stderr=-1,
        text=True,
        env=own,
        cwd=PROJECT,
    ) as running:
        assert running.stdout is not None
        told = running.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", told)
        assert found, (told, running.stderr.read() if running.stderr else "")
        asyncio.run(_calls(found[0], running.pid))
        running.send_signal(signal.SIGTERM)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    assert "is started again" in err
    assert "Traceback" not in err, err


async def _calls(origin: str, door: int) -> None:
    async with client_session("a token of this test's") as http:
        clients = [Client(http, origin) for _ in range(2)]
        for client in clients:
            await client.call(None, driver="demo")
            await client.seen(2)
        told = await metrics(http, origin)
        assert {labels for (name, labels), value in told.items() if name == "marotte_sessions" and value == 1} == {
            'worker="0"', 'worker="1"'
        }  # fmt: skip
        _, server, *_ = family(door)
        os.kill(server, signal.SIGKILL)
        until = time.monotonic() + 60
        while "being started" not in await _text(http, f"{origin}/readyz"):
            assert time.monotonic() < until
            await asyncio.sleep(0.1)
        while (await _text(http, f"{origin}/readyz")).count("ok") < 2:
            assert time.monotonic() < until
            await asyncio.sleep(0.3)
        for client in clients:
            await client.end()


async def _text(http: Any, address: str) -> str:
    async with http.get(address) as answer:
        return str(await answer.text())
