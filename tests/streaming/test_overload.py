"""A real server that is offered twice as many sessions as it lets in: the extras are told so at once, and the others
keep their pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streaming.bench.run import wait_until_ready
from streaming.bench.server import ServerProcess, cpu_seconds
from tests.streaming.conftest import UNHURRIED, server_command
from tests.streaming.whip_client import Camera, Client, NotCreatedError, client_session, clip, metrics

pytestmark = [pytest.mark.alone, pytest.mark.full]

SIZE, FPS = (320, 240), 10.0
MOST_SESSIONS = 12
SETTLED_S = 8.0
"""What is admitted is measured, and the pictures of the last seconds are those of its rate."""


async def filled(http: Any, origin: str, pictures: Any, most: int) -> tuple[list[Client], NotCreatedError]:
    """Sessions until one is refused, each once the one before is measured."""
    clients: list[Client] = []
    while len(clients) < most:
        client = Client(http, origin)
        try:
            await client.call(Camera(pictures, FPS))
        except NotCreatedError as refused:
            return clients, refused
        clients.append(client)
        await client.seen(3)
        await asyncio.sleep(SETTLED_S)
    raise AssertionError(f"{most} sessions were let in and none refused")


async def overload(server: ServerProcess, pictures: Any, most: int, say: Callable[[str], None]) -> None:
    async with client_session(server.token) as http:
        clients, refused = await filled(http, server.origin, pictures, most)
        await asyncio.sleep(SETTLED_S)
        before = [client.fps(SETTLED_S) for client in clients]
        cpu = cpu_seconds(server.pid) or 0.0
        extras = []
        for _ in range(len(clients)):
            with pytest.raises(NotCreatedError) as extra:
                await Client(http, server.origin).call(Camera(pictures, FPS))
            extras.append(extra.value)
            await asyncio.sleep(SETTLED_S / max(1, len(clients)))
        after = [client.fps(SETTLED_S) for client in clients]
        series = await metrics(http, server.origin)
        for client in clients:
            await client.end()
    used = ((cpu_seconds(server.pid) or 0.0) - cpu) / SETTLED_S
    slowest = max(one.took_s for one in (refused, *extras))
    say(
        f"{len(clients)} sessions of {SIZE[0]} x {SIZE[1]} at {FPS:g}: {used:.2f} cores in all; extras refused within "
        f"{1000 * slowest:.0f} ms ({refused.said[:160]}); pictures a second {before} before, {after} meanwhile"
    )
    assert clients, "the first session is always let in"
    assert {one.status for one in (refused, *extras)} <= {429, 503}
    assert slowest < 1.0
    assert all(int(one.retry_after or 0) >= 1 for one in (refused, *extras))
    assert all("room" in one.said or "sessions are open" in one.said for one in extras)
    assert all(now >= 0.9 * then for now, then in zip(after, before))
    turned_away = sum(
        value for (name, _), value in series.items() if name == "marotte_sessions_refused_total"
    )
    assert turned_away == len(extras) + 1


def test_extras_are_refused_and_the_others_keep_their_rate(
    models: None, faces_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As many as are measured to fit come in; each of as many more gets a reason, and when to come again, within a
    second; those that run keep at least nine tenths of their pictures."""

    def say(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}")

    pictures = clip(faces_root / "drivers" / "man_wide_mouth_frontal.mp4", SIZE, FPS)
    options = {"rates": UNHURRIED, "admission": "measured", "worker": {"sessions": MOST_SESSIONS}}
    with ServerProcess(options, server_command()) as server:
        wait_until_ready(server)
        asyncio.run(overload(server, pictures, MOST_SESSIONS + 1, say))


def test_the_limit_refuses_in_time_too(models: None, faces_root: Path) -> None:
    """By count alone, with two sessions allowed: the third and fourth are refused within a second."""
    pictures = clip(faces_root / "drivers" / "man_wide_mouth_frontal.mp4", SIZE, FPS)
    options = {"rates": UNHURRIED, "admission": "count", "worker": {"sessions": 2}, "pass_through": True}
    with ServerProcess(options, server_command()) as server:
        wait_until_ready(server)
        asyncio.run(overload(server, pictures, 3, lambda line: None))
