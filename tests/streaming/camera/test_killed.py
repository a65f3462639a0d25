"""`marotte camera` under the kill switch: nothing reaches the sink, and it ends and says why."""

from __future__ import annotations

import queue
import time
from pathlib import Path
from typing import Any

import av
import pytest

from engine.errors import MarotteError, WorkerError
from streaming.camera import run as running
from streaming.camera.capture import Clip
from streaming.camera.run import Local, show_local
from streaming.camera.screen import Screen
from streaming.config import ServeConfig
from streaming.kill import KillSwitch
from tests.streaming.camera.test_run import OUTPUT, Watched, clip, sink, state, worker
from tests.streaming.camera.test_screen import OUTPUT as SMALL
from tests.streaming.camera.test_screen import Kept

__all__ = ["clip", "sink", "state", "worker"]


def test_the_flag_alone_keeps_pictures_from_the_sink() -> None:
    """Whoever raises it: the screen's own thread sends nothing more, neither a new picture nor the one before."""
    switch, kept, ended = KillSwitch(), Kept(), queue.Queue[MarotteError | None]()
    screen = Screen(kept, SMALL, ended.put, lambda: switch.killed)
    screen.start()
    try:
        kept.until(lambda rgb: True)
        switch.hold()
        time.sleep(2 / SMALL.fps)  # one that was on its way
        while not kept.got.empty():
            kept.got.get()
        for _ in range(5):
            screen.show(av.VideoFrame(64, 64, "yuv420p"))
            time.sleep(1 / SMALL.fps)
        assert kept.got.empty()
        switch.release()
        kept.until(lambda rgb: True)
    finally:
        screen.end()
        screen.join()


def test_it_ends_when_it_is_killed_from_elsewhere(worker: Any, sink: Any, clip: Path, tmp_path: Path) -> None:
    """By the state's folder, as `marotte kill` does: the sink is let go of, and the reason names the next step."""
    shown: Watched = sink(lambda rgb: False)
    told: list[str] = []

    def kill(line: str) -> None:
        if shown.got and not told:
            told.append(line)
            KillSwitch(tmp_path / "state").kill("a report")

    with pytest.raises(WorkerError, match="--release"):
        show_local(Local(ServeConfig(), Clip(clip)), OUTPUT, tell=kill)
    assert told
    assert shown.closed == 1


def test_while_it_is_killed_nothing_is_opened(
    worker: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the virtual camera, which other programs would see."""
    KillSwitch(tmp_path / "state").kill("before")
    monkeypatch.setattr(running, "open_sink", lambda output: pytest.fail("it was opened"))
    with pytest.raises(WorkerError, match="stopped all output"):
        show_local(Local(ServeConfig(), Clip(clip)), OUTPUT, tell=lambda line: None)
