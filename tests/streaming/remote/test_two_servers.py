"""Two servers in one process: one pulls what the other publishes, and pushes what it makes of it back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streaming.config import ServeConfig
from streaming.remote import kept
from streaming.remote.places import Place
from tests.streaming.calls import MAGENTA, Camera, plain
from tests.streaming.doorstep import TOKEN, Site
from tests.streaming.test_rtc_sound import Microphone
from tests.streaming.whip.house import open_house, until
from tests.streaming.whip.test_connections import client


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Attempts that follow each other at once; a state of the test's own."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    monkeypatch.setattr(kept, "FIRST_S", 0.05)
    monkeypatch.setattr(kept, "MOST_S", 0.2)


def tinted(number: int) -> Any:
    return plain(MAGENTA, (160, 128))


def place(site: Site, path: str, **others: Any) -> Place:
    return Place(f"http://127.0.0.1:{site.port}{path}", TOKEN, **others)


def frames(site: Site) -> int:
    return len(site.worker.posted)


def remotes(site: Site) -> list[dict[str, Any]]:
    return site.ask("GET", "/api/v1/remotes").json["remotes"]


def test_a_stream_is_pulled_and_what_comes_of_it_pushed(quick: None) -> None:
    """The far server's stream drives a session here, sound and all, and that session's pictures drive one there."""

    async def run(far: Site, near: Site) -> None:
        async with client(far, Camera(tinted), Microphone()) as driver:
            assert (await driver.post("/whip/stage")).status == 201
            await until(lambda: frames(near) > 3)
            await until(lambda: len(far.worker.specs) == 2)
            await until(lambda: all(one["state"] == "up" for one in remotes(near)))
            push, pull = remotes(near)
            assert (push["kind"], pull["kind"], push["stream"], pull["stream"]) == (
                "push",
                "pull",
                "live",
                "live",
            )
            assert (push["connects"], pull["connects"], push["why"]) == (1, 1, "")
            assert TOKEN not in str(remotes(near))
            assert pull["url"] == f"http://127.0.0.1:{far.port}/whep/stage"
            await until(lambda: remotes(near)[0]["sent"]["fps"])
            sent = remotes(near)[0]["sent"]
            assert sent["listens"]
            assert sent["codec"] == "h264"
        await until(lambda: remotes(near)[1]["state"] != "up")

    with open_house() as far:
        config = ServeConfig(pulls=(place(far, "/whep/stage"),), pushes=(place(far, "/whip/back"),))
        with open_house(config) as near:
            asyncio.run(run(far, near))
