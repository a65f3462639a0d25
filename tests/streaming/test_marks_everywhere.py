"""Every way out: what arrives there carries the badge and the watermark, also as a call app shows it.

The pictures are those of somebody who moves; the encoders, connections, files and doors are the real ones.
"""

from __future__ import annotations

import asyncio
import json
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

import marotte
from engine.errors import ConfigError
from engine.marks import MarksConfig
from engine.media import read_picture
from engine.media.planes import i420_of
from engine.media.video_writer import VideoWriter
from engine.session_log import Event, log_folder, verify
from engine.types import U8, Frame
from streaming.camera import run as running
from streaming.camera.capture import Clip
from streaming.camera.run import Local, show_local, show_remote
from streaming.camera.sinks import Output
from streaming.config import ServeConfig
from streaming.remote import kept
from streaming.remote.places import Place
from tests.streaming.calls import MAGENTA, Camera, call, plain
from tests.streaming.doorstep import TOKEN, Site
from tests.streaming.marked import FRAMES, SIDE, PortraitWorker, check, check_none, enough, lumas, open_studio
from tests.streaming.whip.house import until
from tests.streaming.whip.test_connections import client

OFF = MarksConfig(badge=False, watermark=False)


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(kept, "FIRST_S", 0.05)
    return tmp_path / "state"


def driven(number: int) -> U8:
    return plain(MAGENTA, (160, 128))


def grey(rgb: U8) -> U8:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)[: rgb.shape[0]]


def decoded(path: Path) -> list[U8]:
    with av.open(str(path)) as file:
        return [frame.to_ndarray(format="gray") for frame in file.decode(video=0)]


def browse(config: ServeConfig, codec: str) -> tuple[list[U8], str]:
    """What a page is shown by the codec, and its session's id."""
    worker = PortraitWorker()
    still = worker.add_source(b"", "somebody").result()
    worker.start()

    async def run() -> tuple[list[U8], str]:
        async with call(worker, still, Camera(driven), codec=codec, config=config) as made:
            await made.browser.until(lambda: enough(made.browser.pictures))
            return lumas(made.browser.pictures), made.peer.session.id

    try:
        return asyncio.run(run())
    finally:
        worker.close()


@pytest.mark.parametrize("codec", ["vp8", pytest.param("h264", marks=pytest.mark.full)])
def test_what_a_browser_is_shown(codec: str) -> None:
    """By the page's own connection; the watermark says which session it was."""
    pictures, session = browse(ServeConfig(), codec)
    check(pictures, session)


def test_only_the_operator_takes_them_off() -> None:
    """By the server's configuration; then neither is there, so that the finders above find what they say."""
    check_none(browse(ServeConfig(marks=OFF), "vp8")[0])


async def watched(site: Site, path: str) -> list[U8]:
    """What a WHEP client gets of a stream that is published."""
    async with client(site, Camera(driven)) as driver, client(site, "video") as viewer:
        assert (await driver.post("/whip/stage")).status == 201
        assert (await viewer.post(path)).status == 201
        await until(lambda: enough(viewer.pictures))
        return lumas(viewer.pictures)


@pytest.mark.full
def test_what_whep_gives() -> None:
    """To whoever watches a stream."""
    with open_studio() as site:
        pictures = asyncio.run(watched(site, "/whep/stage"))
    check(pictures)


@pytest.mark.full
def test_what_is_pushed_to_another_server() -> None:
    """By WHIP: what that one takes for its driver."""

    async def run(far: Site, near: Site) -> list[U8]:
        async with client(near, Camera(driven)) as driver:
            assert (await driver.post("/whip/live")).status == 201
            await until(lambda: enough([i420_of(rgb) for rgb in far.worker.frames]))
            return lumas([i420_of(rgb) for rgb in far.worker.frames])

    with open_studio() as far:
        place = Place(f"http://127.0.0.1:{far.port}/whip/back", TOKEN)
        with open_studio(ServeConfig(pushes=(place,))) as near:
            pictures = asyncio.run(run(far, near))
    check(pictures)


@pytest.mark.full
def test_what_is_recorded(tmp_path: Path) -> None:
    """The file that the server keeps; by its session's id."""

    async def run(site: Site) -> tuple[list[U8], str]:
        async with client(site, Camera(driven)) as driver:
            assert (await driver.post("/whip/stage")).status == 201
            session = driver.place.rpartition("/")[2]
            place = f"/api/v1/sessions/{session}/recording"
            id = (await driver.ask("POST", place)).json["id"]
            async with asyncio.timeout(60):
                while (await driver.ask("GET", f"/api/v1/recordings/{id}")).json["seconds"] < 1.5:
                    await asyncio.sleep(0.1)
            await driver.ask("DELETE", place)
            async with asyncio.timeout(60):
                while (await driver.ask("GET", f"/api/v1/recordings/{id}")).json["state"] != "ready":
                    await asyncio.sleep(0.1)
            file = tmp_path / "recorded.mp4"
            file.write_bytes((await driver.ask("GET", f"/api/v1/recordings/{id}/video.mp4")).body)
            return decoded(file), session

    with open_studio(ServeConfig(recordings=tmp_path / "kept", recording_free_gb=0)) as site:
        pictures, session = asyncio.run(run(site))
    check(pictures, session)


@pytest.fixture
def driver(tmp_path: Path) -> Path:
    """A second and a half of somebody in magenta."""
    path, rate = tmp_path / "driver.mp4", 20
    with VideoWriter(path, (160, 128), Fraction(1, rate), Fraction(rate)) as writer:
        for number in range(30):
            writer.write(Frame(driven(number), number, Fraction(1, rate), 0.0))
    return path


@pytest.mark.full
def test_what_the_virtual_camera_shows(driver: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink in a file's place gets every picture as the camera would, fitted to its size."""
    worker = PortraitWorker()
    monkeypatch.setattr(running, "worker_of", lambda config, tools: worker)
    out = tmp_path / "shown.mp4"
    try:
        show_local(
            Local(ServeConfig(), Clip(driver, once=True)),
            Output("file", (SIDE, SIDE), 20, path=out),
            tell=lambda line: None,
        )
    finally:
        worker.close()
    check(decoded(out))


@pytest.mark.full
def test_a_stream_that_is_shown_is_not_marked_again(tmp_path: Path) -> None:
    """What comes from another server carries that one's marks, once: its session's watermark is read."""
    out = tmp_path / "shown.mp4"

    async def publish(far: Site, done: Any) -> None:
        async with client(far, Camera(driven)) as driver:
            assert (await driver.post("/whip/stage")).status == 201
            sessions.append(driver.place.rpartition("/")[2])
            while not done.is_set():
                await asyncio.sleep(0.05)

    done, sessions = threading.Event(), []
    with open_studio() as far:
        publishing = threading.Thread(target=asyncio.run, args=(publish(far, done),))
        publishing.start()
        try:
            place = Place(f"http://127.0.0.1:{far.port}/whep/stage", TOKEN)
            ending = _After(3.0)
            with pytest.raises(KeyboardInterrupt):
                show_remote(place, Output("file", (SIDE, SIDE), 20, path=out), insecure=False, tell=ending)
        finally:
            done.set()
            publishing.join()
    check(decoded(out)[-FRAMES:], sessions[0])


class _After:
    """A teller that interrupts after so many lines, one a second."""

    def __init__(self, lines: float) -> None:
        self._left = lines

    def __call__(self, line: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt


def test_marks_of_another_server_are_not_taken_off(capsys: pytest.CaptureFixture[str]) -> None:
    """`marotte camera` of an address has nothing to take off, and says so."""
    assert marotte.main(["camera", "http://127.0.0.1/whep/a", "--no-badge"]) == 2
    assert "carries its own marks" in capsys.readouterr().err


@pytest.mark.parametrize(
    "suffix",
    [".mp4", pytest.param(".webm", marks=pytest.mark.full), pytest.param(".png", marks=pytest.mark.full)],
)
def test_what_is_rendered(suffix: str, models: Any, faces_root: Path, tmp_path: Path) -> None:
    """Videos and pictures of a real render; its report says as which session."""
    portrait, clip = faces_root / "training" / "female_01.jpg", faces_root / "hard" / "five_fps.mp4"
    out = tmp_path / f"out{suffix}"
    given = faces_root / "portraits" / "man_wide_smile_stubble.jpg" if suffix == ".png" else clip
    tally = marotte.render(portrait, given, out)
    if suffix == ".png":
        pictures = [grey(read_picture(out))] * FRAMES
    else:
        pictures = decoded(out)
        pictures += pictures[-1:] * (FRAMES - len(pictures))
    check(pictures, tally.about["session"], made=None)
    assert tally.about["marks"] == ["badge", "watermark"]


def lowered() -> list[dict[str, Any]]:
    """The lines of the session log that say that a protection is lowered; the log is whole."""
    assert verify(log_folder()).bad is None
    lines = [
        json.loads(one)
        for file in sorted(log_folder().glob("*.jsonl"))
        for one in file.read_bytes().splitlines()
    ]
    return [line for line in lines if line["event"] == Event.PROTECTION_LOWERED.value]


def test_a_render_without_them_leaves_a_line(models: Any, faces_root: Path, tmp_path: Path) -> None:
    """One line in the session log names what is off and what leaves without it; with both on there is none."""
    portrait = faces_root / "training" / "female_01.jpg"
    given = faces_root / "portraits" / "man_wide_smile_stubble.jpg"
    line = ["render", "--source", str(portrait), "--driver", str(given), "--out", str(tmp_path / "o.png")]
    assert marotte.main(line) == 0
    assert lowered() == []
    assert marotte.main([*line, "--no-watermark"]) == 0
    (told,) = lowered()
    assert (told["lowered"], told["where"]) == (["watermark"], "render")


def test_a_server_tells_which_are_on() -> None:
    """In what a page asks first; nothing that a page sends changes it."""
    with open_studio(ServeConfig(marks=MarksConfig(watermark=False))) as site:
        assert site.ask("GET", "/api/v1/info").json["marks"] == {"on": ["badge"], "lowered": ["watermark"]}


def test_options_are_checked_at_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong corner is one line with the nearest right one, before anything is opened."""
    assert marotte.main(["serve", "--badge-place", "top-rigth"]) == 2
    assert "did you mean 'top-right'" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        MarksConfig(language="klingon")
