"""Two servers in one process: one pulls what the other publishes, and pushes what it makes of it back."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest

from streaming.config import ServeConfig
from streaming.remote import kept, whip
from streaming.remote.asking import Created
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


def is_up(site: Site, connects: int, at: int = 0) -> bool:
    told = remotes(site)[at]
    return bool(told["connects"] == connects and told["state"] == "up")


def test_a_stream_is_pulled_and_what_comes_of_it_pushed(quick: None) -> None:
    """The far server's stream drives a session here, sound and all, and that session's pictures drive one there."""
    heard: list[str] = []

    async def run(far: Site, near: Site) -> None:
        near.recorder.sound_packet = heard.append  # type: ignore[method-assign]
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
            await until(lambda: "forwarded" in heard)
        await until(lambda: remotes(near)[1]["state"] != "up")

    with open_house() as far:
        config = ServeConfig(pulls=(place(far, "/whep/stage"),), pushes=(place(far, "/whip/back"),))
        with open_house(config) as near:
            asyncio.run(run(far, near))


def test_a_server_that_comes_back_is_pulled_again(quick: None) -> None:
    """The session waits for it meanwhile, so that who watches here loses nothing but the motion."""

    async def publish(far: Site, near: Site, connects: int) -> None:
        async with client(far, Camera(tinted)) as driver:
            assert (await driver.post("/whip/stage")).status == 201
            before = frames(near)
            await until(lambda: frames(near) > before + 3)
            await until(lambda: is_up(near, connects))

    with open_house() as site:
        port = site.port
    config = ServeConfig(pulls=(Place(f"http://127.0.0.1:{port}/whep/stage", TOKEN),))
    with open_house(config) as near:
        asyncio.run(until(lambda: remotes(near)[0]["failures"] > 1))
        assert "127.0.0.1" in remotes(near)[0]["why"]
        for connects in (1, 2):
            with open_house(port=port) as far:
                asyncio.run(publish(far, near, connects))
            asyncio.run(until(lambda: remotes(near)[0]["state"] != "up"))
        assert len(near.worker.specs) == 1
        assert near.worker.closed == []


def test_a_push_goes_with_its_session(quick: None) -> None:
    """It waits for one, ends with it, and takes the next one up; where there is none nothing is asked of anybody."""

    async def run(far: Site, near: Site) -> None:
        for connects in (1, 2):
            await once(far, near, connects)

    async def once(far: Site, near: Site, connects: int) -> None:
        async with client(near, Camera(tinted)) as driver:
            assert (await driver.post("/whip/live")).status == 201
            await until(lambda: is_up(near, connects))
            assert len(far.worker.specs) == connects
        await until(lambda: remotes(near)[0]["state"] == "waiting")
        await until(lambda: len(far.worker.closed) == connects)  # by its DELETE, and not by silence

    with open_house() as far, open_house(ServeConfig(pushes=(place(far, "/whip/back"),))) as near:
        assert remotes(near)[0]["state"] == "waiting"
        asyncio.run(run(far, near))


def test_a_server_without_sound_is_asked_without(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that refuses the section of sound, port 0, gets another offer; what it made of the first is ended."""
    offers: list[str] = []
    made: list[Created] = []
    ended: list[str] = []
    post, end = whip.post, whip.end

    async def posted(place: Place, offer: str, **options: Any) -> Created:
        offers.append(offer)
        made.append(await post(place, offer, **options))
        refused = re.sub(r"m=audio \d+ ", "m=audio 0 ", made[-1].answer)
        return replace(made[-1], answer=refused)

    async def deleted(place: Place, created: Created, **options: Any) -> bool:
        ended.append(created.location)
        return await end(place, created, **options)

    async def run(far: Site, near: Site) -> None:
        async with client(near, Camera(tinted)) as driver:
            assert (await driver.post("/whip/live")).status == 201
            await until(lambda: is_up(near, 1))
            assert ["m=audio" in offer for offer in offers] == [True, False]
            assert ended == [made[0].location]

    monkeypatch.setattr(whip, "post", posted)
    monkeypatch.setattr(whip, "end", deleted)
    with open_house() as far, open_house(ServeConfig(pushes=(place(far, "/whip"),))) as near:
        asyncio.run(run(far, near))
