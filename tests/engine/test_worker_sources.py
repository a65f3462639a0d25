"""Sources: what is accepted, how it is fitted, one at a time, and which of them are kept."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.errors import (
    DecodeError,
    InputError,
    NoFaceError,
    TooLargeError,
    TooSmallError,
    WorkerError,
)
from engine.media.planes import i420_of
from engine.worker.interface import SessionSpec, SourceInfo, WorkerConfig
from engine.worker.local import LocalWorker
from engine.worker.sources import Finder, Ready, Sources, fitted, shown_name
from tests.engine.worker_tools import (
    WAIT_S,
    Desk,
    FakeDetector,
    FakeSegmenter,
    Faults,
    Gate,
    desk,
    png,
)


@pytest.fixture
def worker() -> Iterator[Desk]:
    with desk() as one:
        yield one


def refused(worker: Desk, data: bytes, name: str = "upload.png") -> Exception:
    error = worker.worker.add_source(data, name).exception(WAIT_S)
    assert isinstance(error, Exception)
    return error


def test_a_source_is_known_by_its_bytes(worker: Desk) -> None:
    """Its id is their SHA-256, and its still is what may be shown before any frame."""
    data = png(150, (161, 101))
    info = worker.worker.add_source(data, "photo.png").result(WAIT_S)
    assert info.id == hashlib.sha256(data).hexdigest()
    assert (info.name, info.size, info.faces) == ("photo.png", (160, 100), 1)
    assert (info.still == i420_of(np.full((100, 160, 3), 150, np.uint8))).all()
    assert not info.still.flags.writeable


def test_the_same_bytes_are_found_once(worker: Desk) -> None:
    """A second time costs no search, and has the name it was given then."""
    worker.faults.detect = lambda rgb: pytest.fail("looked again")
    again = worker.worker.add_source(png(100), "other.png").result(WAIT_S)
    assert again.id == worker.source.id
    assert (again.name, worker.source.name) == ("other.png", "100.png")


@pytest.mark.parametrize(
    ("data", "kind", "said"),
    [
        (b"", DecodeError, "is empty"),
        (b"no picture at all", DecodeError, "cannot be opened as a picture or video"),
        (png(9)[:200], DecodeError, "cut|damaged"),
        (png(9, (40, 40)), TooSmallError, "40x40"),
        (png(0), NoFaceError, "no face found"),
        (b"\x89PNG\r\n\x1a\n" + bytes((32 << 20) + 1), TooLargeError, "33554"),
        (bytes((32 << 20) + 1), TooLargeError, "33554"),
    ],
    ids=["empty", "text", "cut", "small", "nobody", "large picture", "large"],
)
def test_what_cannot_be_a_source_is_refused_by_its_reason(
    worker: Desk, data: bytes, kind: type[InputError], said: str
) -> None:
    """The errors that exist say what is wrong; the worker goes on."""
    error = refused(worker, data)
    assert type(error) is kind
    assert str(error).startswith("upload.png")
    assert re.search(said, str(error))
    assert worker.add(150).faces == 1


def test_a_picture_that_would_fill_the_memory_is_refused_unread(worker: Desk, faces_root: Path) -> None:
    """Its header is enough."""
    data = (faces_root / "hard" / "huge_20000x15000.png").read_bytes()
    assert type(refused(worker, data)) is TooLargeError


def test_names_from_outside_stand_on_one_short_line(worker: Desk) -> None:
    """Folders, line breaks and length are nobody's business."""
    assert shown_name("../../etc/passwd") == "passwd"
    assert shown_name("") == shown_name("/") == "upload"
    assert "\n" not in shown_name("a\nb")
    assert len(shown_name("x" * 10_000)) <= 120
    assert "\n" not in str(refused(worker, b"?", "x\ny" * 100))
    assert len(str(refused(worker, b"?", "x" * 10_000))) < 400


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((161, 101), 512, (160, 100)),
        ((1024, 1024), 512, (512, 512)),
        ((1001, 501), 500, (500, 250)),
        ((333, 1000), 501, (166, 500)),
        ((3000, 64), 128, (128, 2)),
    ],
)
def test_a_picture_is_fitted_to_even_sides(
    size: tuple[int, int], side: int, expected: tuple[int, int]
) -> None:
    """Never longer than asked, never enlarged, and 4:2:0 needs pairs."""
    rgb = np.zeros((size[1], size[0], 3), np.uint8)
    out = fitted(rgb, side)
    assert (out.shape[1], out.shape[0]) == expected
    assert out.flags.c_contiguous


def test_a_small_picture_keeps_its_pixels() -> None:
    """Only a last row or column is left out: resampling would blur it for nothing."""
    rgb = np.random.default_rng(1).integers(0, 256, (101, 161, 3), np.uint8)
    assert (fitted(rgb, 512) == rgb[:100, :160]).all()


def test_one_source_at_a_time_beside_the_running_sessions() -> None:
    """A second one is refused at once, and pictures go on leaving while one is looked at."""
    gate = Gate()
    with desk() as worker:
        worker.open()
        worker.faults.detect = gate
        first = worker.worker.add_source(png(150), "first.png")
        gate.reached()
        second = worker.worker.add_source(png(200), "second.png")
        assert second.done()
        with pytest.raises(WorkerError, match="busy with another source"):
            second.result()
        assert worker.step(50).report.faces == 1
        gate.open()
        assert first.result(WAIT_S).faces == 1
        assert worker.add(200).faces == 1


def test_a_source_that_takes_too_long_is_given_up() -> None:
    """The search ends at its next step, and another source may follow."""
    with desk(add_s=0.05) as worker:
        late = threading.Event()
        worker.faults.detect = lambda rgb: late.wait(0.1)
        assert isinstance(refused(worker, png(150)), WorkerError)
        worker.faults.detect = lambda rgb: None
        assert worker.add(200).faces == 1


def test_whatever_breaks_while_a_source_is_looked_at_is_told(worker: Desk) -> None:
    """A network's failure reaches whoever sent the source, and the thread goes on."""

    def broken(rgb: object) -> None:
        raise RuntimeError("network broke")

    worker.faults.detect = broken
    assert "network broke" in str(refused(worker, png(150)))
    worker.faults.detect = lambda rgb: None
    assert worker.add(200).faces == 1


def test_a_source_that_nobody_waits_for_any_more_is_no_trouble(worker: Desk) -> None:
    """A cancelled future is not answered."""
    gate = Gate()
    worker.faults.detect = gate
    found = worker.worker.add_source(png(150), "first.png")
    gate.reached()
    assert found.cancel()
    gate.open()
    while worker.worker._job is not None:
        threading.Event().wait(0.001)
    assert worker.add(200).faces == 1


def ready(source: str) -> Ready:
    return Ready(SourceInfo(source, source, (2, 2), 1, np.zeros((3, 2), np.uint8)), ())


def test_the_last_used_sources_are_kept_and_those_that_are_shown() -> None:
    """A bound on what nobody shows; a session's source is never pulled from under it."""
    store = Sources(kept=2)
    for name in "abcd":
        store.add(ready(name))
        if name == "a":
            cast = store.show(["a"])
            store.show(["a"])
    assert store.again("b", "b") is None
    assert store.again("c", "other").name == "other"  # type: ignore[union-attr]
    store.unshow(cast)
    store.add(ready("e"))
    assert store.again("a", "a") is not None
    assert store.again("d", "d") is None
    store.drop("a")
    assert store.again("a", "a") is not None
    store.unshow(cast)
    store.drop("a")
    store.drop("unknown")
    with pytest.raises(WorkerError, match="add it again"):
        store.show(["a"])


def test_a_dropped_source_is_unknown_and_a_shown_one_is_not_dropped(worker: Desk) -> None:
    """drop_source forgets what no session shows, also one that a session has swapped away from."""
    other = worker.add(150)
    worker.open()
    worker.worker.drop_source(worker.source.id)
    worker.change({"source": other.id})
    worker.step(50)
    worker.worker.drop_source(other.id)
    assert worker.change({"source": other.id}) == 2
    worker.step(50)
    worker.worker.drop_source(worker.source.id)
    with pytest.raises(WorkerError, match="not known here"):
        worker.worker.open("two", SessionSpec(worker.source.id), lambda delivery: None)
    worker.worker.close_session("one")
    worker.worker.drop_source("unknown")


def test_a_clip_gives_its_best_frame_and_is_left_when_it_is_not_wanted(
    models: None, faces_root: Path
) -> None:
    """From its bytes alone, within its time; a search that is no longer wanted ends between two frames."""
    data = (faces_root / "hard" / "none_then_face.mov").read_bytes()
    worker = LocalWorker(WorkerConfig(side=256))
    worker.start()
    try:
        info = worker.add_source(data, "clip.mov").result(60)
        assert max(info.size) <= 256
        assert info.faces == 1
        hard = {"no_face.mp4": NoFaceError, "audio_only.mp4": DecodeError, "empty.mp4": DecodeError}
        for name, kind in hard.items():
            error = worker.add_source((faces_root / "hard" / name).read_bytes(), name).exception(60)
            assert type(error) is kind
            assert str(error).startswith(name)
    finally:
        worker.close()
    steps: list[int] = []

    def go_on() -> None:
        steps.append(1)
        if len(steps) == 5:
            raise WorkerError("enough")

    faults = Faults(detect=lambda rgb: None)
    blind = FakeDetector(faults)
    blind.detect = lambda rgb, **how: ()  # type: ignore[method-assign,assignment]
    finder = Finder(blind, FakeSegmenter(), side=256, faces=1)
    with pytest.raises(WorkerError, match="enough"):
        finder.find(data, "clip.mov", go_on)


def test_a_prepared_source_holds_its_own_pixels(worker: Desk) -> None:
    """The picture is read-only: no stage can write into what every session shows."""
    shown = worker.worker._sources.show([worker.source.id]).source.faces[0]
    assert not shown.rgb.flags.writeable
