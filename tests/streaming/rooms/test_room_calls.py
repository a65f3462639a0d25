"""A call of two with real connections: each publishes from a seat and watches from it, and it ends with the seat."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aiortc import AudioStreamTrack

from streaming.config import ServeConfig
from tests.streaming.calls import Camera, has_hue
from tests.streaming.doorstep import Site
from tests.streaming.whip.house import open_house, until
from tests.streaming.whip.test_connections import client, run, tinted


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MAROTTE_STATE", str(tmp_path_factory.mktemp("state")))
        with open_house(ServeConfig(rooms=4)) as opened:
            yield opened


async def seats(house: Site) -> tuple[str, Any, Any]:
    """A room's name, and two who sit in it."""

    def sit() -> tuple[str, Any, Any]:
        room = house.post("/api/v1/rooms", {}).json["name"]
        one, two = (house.post(f"/api/v1/rooms/{room}/members", {"person": name}).json for name in "ab")
        return room, one, two

    return await asyncio.to_thread(sit)


def test_each_sees_and_hears_the_other_until_they_leave(house: Site) -> None:
    """What is generated, and not a pixel of the other's camera. Whoever leaves watches nothing any more, and their
    picture is gone."""

    async def test() -> None:
        room, one, two = await seats(house)
        async with (
            client(house, Camera(tinted), AudioStreamTrack()) as sends_one,
            client(house, Camera(tinted), AudioStreamTrack()) as sends_two,
            client(house, "video", "audio") as early,
            client(house, "video", "audio") as sees_two,
            client(house, "video", "audio") as sees_one,
        ):
            assert (await early.post(one["watch"])).status == 404
            assert (await sends_one.post(one["publish"])).status == 201
            assert (await sends_two.post(two["publish"])).status == 201
            assert (await sees_two.post(one["watch"])).status == 201
            assert (await sees_one.post(two["watch"])).status == 201
            for viewer in (sees_two, sees_one):
                await until(lambda viewer=viewer: len(viewer.pictures) > 3 and viewer.sounds > 3)
                assert not any(has_hue(picture) for picture in viewer.pictures)
            told = await asyncio.to_thread(house.ask, "GET", f"/api/v1/rooms/{room}")
            assert [(one["live"], one["muted"]) for one in told.json["members"]] == [(True, False)] * 2
            await asyncio.to_thread(house.ask, "DELETE", f"/api/v1/rooms/{room}/members/{one['id']}")
            for viewer in (sees_two, sees_one):
                await until(lambda viewer=viewer: viewer.connection.connectionState in ("closed", "failed"))
            assert (await sends_two.ask("GET", sends_two.place)).status == 204
            sees_two.place = sees_one.place = sends_one.place = ""

    run(test)


def test_a_new_connection_takes_the_place_of_the_one_before(house: Site) -> None:
    """A page that has lost its way does not wait for the server to notice: neither to send nor to watch."""

    async def test() -> None:
        _, one, two = await seats(house)
        async with (
            client(house, Camera(tinted)) as before,
            client(house, Camera(tinted)) as after,
            client(house, "video") as first,
            client(house, "video") as second,
        ):
            assert (await before.post(one["publish"])).status == 201
            assert (await first.post(two["watch"])).status == 201
            await until(lambda: first.pictures)
            assert (await second.post(two["watch"])).status == 201
            await until(lambda: first.connection.connectionState in ("closed", "failed"))
            await until(lambda: second.pictures)
            assert (await after.post(one["publish"])).status == 201
            await until(lambda: before.connection.connectionState in ("closed", "failed"))
            await until(lambda: second.connection.connectionState in ("closed", "failed"))
            first.place = before.place = second.place = ""

    run(test)
