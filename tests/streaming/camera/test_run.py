"""`marotte camera` from end to end: with a worker and a sink of which a test decides, with another server, for real."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

import marotte
from engine.errors import ConfigError, ConsentError, MarotteError, WorkerError
from engine.media.video_writer import VideoWriter
from engine.types import U8, Frame, Mode
from engine.worker.interface import DriverKind, State
from streaming.camera import run as running
from streaming.camera.capture import Clip
from streaming.camera.run import Local, show_local, show_remote
from streaming.camera.sinks import EndedError, Output
from streaming.config import ServeConfig
from streaming.remote import kept
from streaming.remote.places import Place
from tests.streaming.calls import MAGENTA, Camera, has_hue, plain
from tests.streaming.doorstep import TOKEN
from tests.streaming.whip.house import HouseWorker, open_house
from tests.streaming.whip.test_connections import client

WAIT_S = 60.0
OUTPUT = Output(size=(320, 240), fps=30)


class Watched:
    """A sink that ends when `enough` is true of a picture."""

    name = "watched"

    def __init__(self, enough: Callable[[U8], bool]) -> None:
        self.enough, self.got, self.closed = enough, [], 0
        self.end_s = time.monotonic() + WAIT_S

    def send(self, rgb: U8, number: int) -> None:
        self.got.append(rgb.copy())
        if self.enough(rgb):
            raise EndedError
        if time.monotonic() > self.end_s:
            raise MarotteError("it never came")

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of the test's own."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[HouseWorker]:
    """In place of the engine: for each frame a picture, plain and without a hue."""
    made = HouseWorker()
    monkeypatch.setattr(running, "worker_of", lambda config, tools: made)
    yield made
    made.close()


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[U8], bool]], Watched]:
    """Puts a watched sink where the virtual camera would be."""

    def put(enough: Callable[[U8], bool]) -> Watched:
        made = Watched(enough)
        monkeypatch.setattr(running, "open_sink", lambda output: made)
        return made

    return put


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Half a second of a driver in magenta."""
    path, rate = tmp_path / "driver.mp4", 20
    with VideoWriter(path, (320, 240), Fraction(1, rate), Fraction(rate)) as writer:
        for number in range(10):
            writer.write(Frame(plain(MAGENTA), number, Fraction(1, rate), 0.0))
    return path


def magenta(rgb: U8) -> bool:
    return bool(rgb[..., 0].mean() > rgb[..., 1].mean() + 60)


def test_a_driver_is_never_shown(worker, sink, clip):
    """A clip drives the engine: its frames go to the worker, what leaves has nothing of them, and all is let go of."""
    shown, lines = sink(magenta), []
    show_local(Local(ServeConfig(), Clip(clip, once=True)), OUTPUT, tell=lines.append)
    assert len(worker.posted) >= 1
    assert worker.posted[0][0] == (240, 320, 3)
    assert not any(map(magenta, shown.got))
    assert any(np.ptp(rgb[..., 1]) > 100 for rgb in shown.got)  # the badge
    assert (shown.closed, len(worker.closed)) == (1, 1)
    assert any("fps in" in line for line in lines)


def test_a_worker_that_delivers_nothing_leaves_what_is_safe(worker, sink, clip):
    """The portrait at rest with its badge, at the output's rate, and never the driver's picture in its place."""
    worker.making = lambda session, rgb, stamp: None
    shown = sink(magenta)
    show_local(Local(ServeConfig(), Clip(clip, once=True)), OUTPUT, tell=lambda line: None)
    assert len(shown.got) > 10
    assert not any(map(magenta, shown.got))
    assert np.ptp(shown.got[-1][..., 1]) > 100


def test_a_file_of_nothing_is_a_fault(worker, sink, clip, tmp_path):
    """A clip of which no picture was made before it was over is no success."""
    worker.making = lambda session, rgb, stamp: None
    sink(magenta)
    with pytest.raises(WorkerError, match="before a picture was made"):
        show_local(Local(ServeConfig(), Clip(clip, once=True)), _file(tmp_path), tell=lambda line: None)


def test_a_file_of_what_was_made_is_none(worker, sink, clip, tmp_path):
    """It ends with the clip, without a word."""
    sink(magenta)
    show_local(Local(ServeConfig(), Clip(clip, once=True)), _file(tmp_path), tell=lambda line: None)


def _file(folder: Path) -> Output:
    return Output("file", size=(320, 240), fps=30, path=folder / "out.mp4")


def test_an_engine_that_fails_ends_it(worker, sink, clip):
    """With why, and the virtual camera is let go of."""
    shown = sink(lambda rgb: False)

    def fail(line: str) -> None:
        worker.state = State.FAILED

    with pytest.raises(WorkerError):
        show_local(Local(ServeConfig(), Clip(clip)), OUTPUT, tell=fail)
    assert shown.closed == 1


def test_the_demo_needs_no_device(worker, sink):
    """Nor does a tracker; each opens the session as its driver."""
    sink(lambda rgb: True)
    show_local(Local(ServeConfig()), OUTPUT, tell=lambda line: None)
    (spec,) = worker.specs.values()
    assert spec.driver is DriverKind.DEMO


@pytest.mark.usefixtures("real_consent")
def test_who_is_in_an_edited_clip_has_to_allow_it(worker, sink, clip):
    """An edit shows its driver: a file of somebody needs a record, as a source does; a puppet's driver needs none."""
    shown, config = sink(magenta), ServeConfig(in_process=True, sound=False)
    with pytest.raises(ConsentError, match="nobody's consent is recorded"):
        show_local(Local(config, Clip(clip, once=True), Mode.EDIT), OUTPUT, tell=print)
    assert not shown.got
    assert not worker.posted


def test_a_stream_of_another_server_is_shown(sink, monkeypatch):
    """Pulled by WHEP with its token, whatever it is, and nothing of the pull is left at the other server."""
    monkeypatch.setattr(kept, "FIRST_S", 0.05)
    shown = sink(lambda rgb: np.ptp(rgb[..., 1]) > 100)  # the far server's badge is on it
    with open_house() as far:
        done = threading.Event()

        async def publish() -> None:
            async with client(far, Camera(lambda number: plain(MAGENTA, (160, 128)))) as driver:
                assert (await driver.post("/whip/stage")).status == 201
                while not done.is_set():
                    await asyncio.sleep(0.05)

        publishing = threading.Thread(target=asyncio.run, args=(publish(),))
        publishing.start()
        try:
            place = Place(f"http://127.0.0.1:{far.port}/whep/stage", TOKEN)
            show_remote(place, OUTPUT, insecure=False, tell=lambda line: None)
        finally:
            done.set()
            publishing.join()
    assert shown.closed == 1
    assert not has_hue(np.asarray(cv2.cvtColor(shown.got[-1], cv2.COLOR_RGB2YUV_I420)))


def test_a_token_that_is_not_taken_ends_it(sink):
    """It is of no use to try it again."""
    sink(lambda rgb: False)
    with open_house() as far:
        place = Place(f"http://127.0.0.1:{far.port}/whep/stage", "x" * 20)
        with pytest.raises(ConfigError, match="token"):
            show_remote(place, OUTPUT, insecure=False, tell=lambda line: None)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "expected one of"),
        (["http://127.0.0.1/whep/a", "--driver", "demo"], "address and driver"),
        (["--driver", "demo", "--size", "wide"], "1280x720"),
        (["--driver", "/dev/video7", "--device", "/dev/video7"], "virtual camera itself"),
        (["ftp://127.0.0.1/whep/a"], "https://"),
    ],
)
def test_wrong_words_are_told_in_one_line(words, says, capsys):
    """With status 2, before anything is opened."""
    assert marotte.main(["camera", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


@pytest.mark.full
def test_a_clip_moves_the_portrait_into_a_file(models: Any, faces_root: Path, tmp_path: Path) -> None:
    """With the default generator: a file of the asked size and rate, as long as the clip, in which the face moves and
    wears its badge."""
    driver, out = faces_root / "drivers" / "man_webcam_neutral_to_smile.mp4", tmp_path / "out.mp4"
    words = ["--driver", str(driver), "--out", str(out), "--size", "480x360", "--fps", "12"]
    assert marotte.main(["camera", *words]) == 0
    with av.open(str(out)) as file:
        pictures = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
    assert {rgb.shape for _, rgb in pictures} == {(360, 480, 3)}
    assert pictures[-1][0] == pytest.approx(72 / 30 + running.LINGER_S, abs=1.0)
    still, *rest = [rgb[120:300, 120:360].astype(np.int16) for _, rgb in pictures]
    assert max(np.abs(rgb - still).mean() for rgb in rest) > 3
    corner = pictures[-1][1][:60, 330:420]
    assert np.ptp(corner) > 150
