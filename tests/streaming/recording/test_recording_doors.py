"""Sessions that are recorded over HTTP, with aiortc as their driver and as who watches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import av
import pytest
from aiortc import AudioStreamTrack

from engine import provenance
from engine.consent import Kind, Store
from engine.session_log import Event, NoJournal
from engine.session_log.events import checked
from streaming.config import ServeConfig
from streaming.recording.kept import RECORDING, Folder
from streaming.statement import check
from tests.streaming.calls import Camera
from tests.streaming.doorstep import Site
from tests.streaming.recording.stage import FRAME_S, Stage, picture, pictures
from tests.streaming.whip.house import open_house, until
from tests.streaming.whip.test_connections import Client, client, tinted


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def house(tmp_path: Path, **settings: Any) -> Any:
    return open_house(ServeConfig(recordings=tmp_path / "kept", recording_free_gb=0, **settings))


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


class Watcher:
    """Who watches with a channel, and what it was told."""

    def __init__(self, site: Site) -> None:
        self.client = Client(site, "video", "audio")
        self.told: list[dict[str, Any]] = []
        channel = self.client.connection.createDataChannel("marotte")
        channel.on("message", lambda message: self.told.append(json.loads(message)))

    @property
    def statements(self) -> list[dict[str, Any]]:
        return [one["statement"] for one in self.told if "statement" in one]


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the session log would be told of recordings."""
    told: list[tuple[str, dict[str, Any]]] = []

    def tell(self: NoJournal, event: Event, **fields: Any) -> None:
        if event.startswith("recording-"):
            told.append((event, checked(fields)))

    def keep(self: NoJournal, event: Event, **fields: Any) -> Future[None]:
        tell(self, event, **fields)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    monkeypatch.setattr(NoJournal, "tell", tell)
    monkeypatch.setattr(NoJournal, "keep", keep)
    return told


async def _ready(driver: Client, id: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (told := (await driver.ask("GET", f"/api/v1/recordings/{id}")).json)["state"] != "ready":
            await asyncio.sleep(0.05)
        found: dict[str, Any] = told
        return found


def test_a_session_is_recorded_and_everybody_in_it_is_told(
    state: Path, tmp_path: Path, logged: list[tuple[str, dict[str, Any]]]
) -> None:
    """From the request to the file: who watches is told before it and after, by a statement that holds; the file has
    pictures and sound, its tags and a manifest of who is shown by whose consent; a range of it can be had, and it can
    be removed."""

    async def test(site: Site) -> None:
        watcher = Watcher(site)
        async with client(site, Camera(tinted), AudioStreamTrack()) as driver:
            assert (await driver.post("/whip/show")).status == 201
            session = driver.place.rpartition("/")[2]
            watched = await watcher.client.post("/whep/show")
            await until(lambda: watcher.client.pictures and watcher.statements)
            assert not watcher.statements[-1]["recording"]

            place = f"/api/v1/sessions/{session}/recording"
            begun = await driver.ask("POST", place)
            assert begun.status == 201
            id = begun.json["id"]
            assert begun.headers["Location"] == f"/api/v1/recordings/{id}"
            assert (await driver.ask("POST", place)).status == 409
            await until(lambda: watcher.statements[-1]["recording"])
            assert all(check(one).sound for one in watcher.statements)
            (link,) = (one for one in watched.headers.get_all("Link") if "describedby" in one)
            path = link[link.index("<") + 1 : link.index(">")]
            assert (await driver.ask("GET", path)).json == watcher.statements[-1]
            by_id = await driver.ask("GET", f"/api/v1/sessions/{session}/statement")
            assert by_id.json == watcher.statements[-1]
            async with asyncio.timeout(30):
                while (await driver.ask("GET", f"/api/v1/recordings/{id}")).json["seconds"] < 1.0:
                    await asyncio.sleep(0.1)
            report = (await driver.ask("GET", f"/api/v1/sessions/{session}")).json["report"]
            assert report["recording"]["id"] == id
            assert (await driver.ask("GET", f"/api/v1/recordings/{id}/video.mp4")).status == 409
            assert (await driver.ask("DELETE", f"/api/v1/recordings/{id}")).status == 409

            assert (await driver.ask("DELETE", place)).json["why"] == "asked"
            assert (await driver.ask("DELETE", place)).status == 404
            await until(lambda: not watcher.statements[-1]["recording"])
            told = await _ready(driver, id)
            _check_file(site, tmp_path, told, watcher.statements)
            assert (await driver.ask("DELETE", f"/api/v1/recordings/{id}")).status == 204
            assert (await driver.ask("GET", "/api/v1/recordings")).json == {"recordings": []}
            assert not list((tmp_path / "kept").iterdir())
            await watcher.client.close()

    with house(tmp_path) as site:
        run(lambda: test(site))
    assert [event for event, _ in logged] == ["recording-started", "recording-ended", "recording-deleted"]
    assert len({(fields["recording"], fields["session"]) for _, fields in logged}) == 1
    assert logged[1][1]["reason"] == "asked"


def _check_file(site: Site, tmp_path: Path, told: dict[str, Any], said: list[dict[str, Any]]) -> None:
    got = site.ask("GET", f"/api/v1/recordings/{told['id']}/video.mp4")
    assert got.headers["Content-Type"] == "video/mp4"
    assert len(got.body) == told["bytes"]
    part = site.ask("GET", f"/api/v1/recordings/{told['id']}/video.mp4", headers={"Range": "bytes=100-199"})
    assert (part.status, part.body) == (206, got.body[100:200])
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "kept").iterdir()} == {0}
    path = tmp_path / "got.mp4"
    path.write_bytes(got.body)
    with av.open(str(path)) as file:
        assert file.metadata["title"] == "AI-generated"
        assert len(file.streams.audio) == 1
    assert len(list(pictures(path))) >= 3
    assert [one["signature"] for one in told["statements"]] == [said[-2]["signature"]]
    if provenance.available():
        assert told["signed"], told["unsigned"]
        manifest = provenance.read(path)
        assert manifest is not None
        assert manifest.state == "valid", manifest.reasons
        assert manifest.made["session"] == told["session"]
        assert list(manifest.consent) == [one["id"] for one in said[-2]["consent"]]
    else:
        assert "c2pa" in told["unsigned"]


def test_a_server_keeps_none_unless_it_is_told_to(state: Path) -> None:
    """No folder, no recording: every route says how to have one, and nobody is told of any."""

    async def test(site: Site) -> None:
        async with client(site, Camera(tinted)) as driver:
            await driver.post("/whip/show")
            session = driver.place.rpartition("/")[2]
            for method, path in (
                ("POST", f"/api/v1/sessions/{session}/recording"),
                ("DELETE", f"/api/v1/sessions/{session}/recording"),
                ("GET", "/api/v1/recordings"),
                ("GET", "/api/v1/recordings/20261122-100000-00000000"),
            ):
                answer = await driver.ask(method, path)
                assert answer.status == 404
                assert "--recordings" in answer.error[1]

    with open_house() as site:
        assert not site.ask("GET", "/api/v1/info").json["recordings"]
        run(lambda: test(site))


@pytest.mark.full
def test_the_end_of_a_session_is_that_of_its_recording(state: Path, tmp_path: Path) -> None:
    """The file is closed and made whole, also when the server ends; what a former server left is found by the next."""
    kept = tmp_path / "kept"

    async def first(site: Site) -> str:
        async with client(site, Camera(tinted)) as driver:
            await driver.post("/whip/show")
            session = driver.place.rpartition("/")[2]
            id = (await driver.ask("POST", f"/api/v1/sessions/{session}/recording")).json["id"]
            async with asyncio.timeout(30):
                while (await driver.ask("GET", f"/api/v1/recordings/{id}")).json["seconds"] < 0.3:
                    await asyncio.sleep(0.05)
            await driver.ask("DELETE", driver.place)
            told = await _ready(driver, id)
            assert (told["why"], told["session"]) == ("session", session)
            return id

    async def second(site: Site, id: str, left: str) -> None:
        async with client(site, Camera(tinted)) as driver:
            told = await _ready(driver, left)
            assert told["why"] == "server ended"
            listed = (await driver.ask("GET", "/api/v1/recordings")).json["recordings"]
            assert {one["id"] for one in listed} == {id, left}

    async def made(site: Site, ids: list[str]) -> None:
        ids.append(await first(site))

    ids: list[str] = []
    with house(tmp_path) as site:
        run(lambda: made(site, ids))
    left = _left_behind(kept)
    (kept / ".20261122-100000-00000000.0badbeef.mp4").write_bytes(b"half a file")
    with house(tmp_path) as site:
        assert not list(kept.glob(".*.mp4"))
        run(lambda: second(site, ids[0], left))
    assert len(list(pictures(kept / f"{left}.mp4"))) == 60


def _left_behind(folder: Path) -> str:
    """As of a server that was killed in the midst of a recording."""
    store = Folder(folder)
    one = store.write(store.new("a session", "show"))
    assert one.state == RECORDING
    stage = Stage(store.part(one.id))
    for number in range(80):
        stage.show(picture(number), number * FRAME_S)
    data = store.part(one.id).read_bytes()
    stage.end()
    store.part(one.id).write_bytes(data + b"torn")
    store.close()
    return one.id


def test_a_room_is_told_who_is_recorded(state: Path, tmp_path: Path) -> None:
    """Both who are in it, of either of them; and that it is over."""

    async def test(site: Site) -> None:
        room = site.post("/api/v1/rooms", {}).json["name"]
        one = site.post(f"/api/v1/rooms/{room}/members", {"person": "a"}).json
        site.post(f"/api/v1/rooms/{room}/members", {"person": "b"})

        def recorded() -> list[bool]:
            return [each["recorded"] for each in site.ask("GET", f"/api/v1/rooms/{room}").json["members"]]

        async with client(site, Camera(tinted)) as driver:
            assert (await driver.post(one["publish"])).status == 201
            session = driver.place.rpartition("/")[2]
            assert await asyncio.to_thread(recorded) == [False, False]
            await driver.ask("POST", f"/api/v1/sessions/{session}/recording")
            assert await asyncio.to_thread(recorded) == [True, False]
            await driver.ask("DELETE", f"/api/v1/sessions/{session}/recording")
            assert await asyncio.to_thread(recorded) == [False, False]

    with house(tmp_path, rooms=2) as site:
        run(lambda: test(site))


def test_the_operators_switch_ends_it(state: Path, tmp_path: Path) -> None:
    """What was recorded before it is kept, and the list says why it ended."""

    async def test(site: Site) -> None:
        async with client(site, Camera(tinted)) as driver:
            await driver.post("/whip/show")
            session = driver.place.rpartition("/")[2]
            id = (await driver.ask("POST", f"/api/v1/sessions/{session}/recording")).json["id"]
            async with asyncio.timeout(30):
                while (await driver.ask("GET", f"/api/v1/recordings/{id}")).json["seconds"] < 0.3:
                    await asyncio.sleep(0.05)
            assert (await driver.ask("POST", "/api/v1/kill?why=a+test")).status == 200
            assert (await _ready(driver, id))["why"] == "killed"

    with house(tmp_path) as site:
        run(lambda: test(site))


def test_who_is_recorded_has_consented_to_files(real_consent: Path, tmp_path: Path) -> None:
    """Leave to be shown live is none for a file: 403 with what to do; and a recording ends with the leave to it."""
    store = Store(real_consent)
    said = {"shown": "Ann", "attested_by": "Bob", "statement": "in the archive"}
    store.attest(["a" * 64], Kind.WRITTEN, **said, scope=("live",))

    async def test(site: Site) -> None:
        async with client(site, Camera(tinted)) as driver:
            assert (await driver.post("/whip/show")).status == 201
            place = f"/api/v1/sessions/{driver.place.rpartition('/')[2]}/recording"
            refused = await driver.ask("POST", place)
            assert (refused.status, refused.error[0]) == (403, "ConsentError")
            assert "render" in refused.error[1]
            assert list((tmp_path / "kept").iterdir()) == []
            record = store.attest(["a" * 64], Kind.WRITTEN, **said, scope=("live", "render"))
            id = (await driver.ask("POST", place)).json["id"]
            async with asyncio.timeout(30):
                while (await driver.ask("GET", f"/api/v1/recordings/{id}")).json["seconds"] < 0.3:
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(store.revoke, record.id, "asked for")
            assert (await _ready(driver, id))["why"] == "consent"

    with house(tmp_path) as site:
        run(lambda: test(site))


def test_the_drivers_own_picture_is_never_recorded(state: Path, tmp_path: Path) -> None:
    """In pass-through nothing else leaves: it is refused, and no file is begun."""

    async def test(site: Site) -> None:
        async with client(site, Camera(tinted)) as driver:
            assert (await driver.post("/whip/show")).status == 201
            session = driver.place.rpartition("/")[2]
            answer = await driver.ask("POST", f"/api/v1/sessions/{session}/recording")
            assert (answer.status, "pass-through" in answer.error[1]) == (409, True)
            assert list((tmp_path / "kept").iterdir()) == []

    with house(tmp_path, pass_through=True) as site:
        run(lambda: test(site))


def test_no_room_is_told_before_it_begins(state: Path, tmp_path: Path) -> None:
    """A disk that has less free than is kept free: 503, and nothing is left of it. A folder is one server's."""
    config = ServeConfig(recordings=tmp_path / "kept", recording_free_gb=1e6)

    async def test(site: Site) -> None:
        async with client(site, Camera(tinted)) as driver:
            await driver.post("/whip/show")
            session = driver.place.rpartition("/")[2]
            answer = await driver.ask("POST", f"/api/v1/sessions/{session}/recording")
            assert answer.status == 503
            assert "kept free" in answer.error[1]
            assert list((tmp_path / "kept").iterdir()) == []
            assert (await driver.ask("POST", "/api/v1/sessions/nobody/recording")).status == 404

    with open_house(config) as site:
        run(lambda: test(site))
