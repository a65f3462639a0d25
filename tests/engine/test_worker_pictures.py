"""Several pictures of one person: joined, looked at, refused, and kept behind a worker that is replaced."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engine import canonical
from engine.errors import (
    DecodeError,
    DifferentPeopleError,
    InputError,
    NoFaceError,
    TooLargeError,
    WorkerError,
)
from engine.features.likeness import shape_distance
from engine.features.shape import fit_shape
from engine.media import decode_picture
from engine.puppet import Opening
from engine.several import ACCEPTANCE, MOST_SOURCES
from engine.types import U8, Face, Mode, Source
from engine.worker import messages, pictures
from engine.worker.interface import Delivery, SessionSpec, SourceInfo, Stamp, WorkerConfig
from engine.worker.local import LocalWorker
from engine.worker.pictures import Picture, Pictures, parted, thumbnail, with_pictures
from engine.worker.supervisor import ProcessWorker
from tests.engine.test_several import face_of, other_person
from tests.engine.worker_tools import FakeTools, Faults, driver_frame, png

WAIT_S = 60.0
AHEAD, LEFT, RIGHT, STRANGER, NOBODY = 100, 150, 200, 220, 0
YAWS = {AHEAD: 0.0, LEFT: 25.0, RIGHT: -25.0, STRANGER: 0.0}


class Detector:
    """A face as the grey of its picture says."""

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]:
        grey = int(rgb[0, 0, 0])
        if grey == NOBODY:
            return ()
        return (face_of(other_person() if grey == STRANGER else canonical.VERTICES, YAWS.get(grey, 0.0)),)

    def close(self) -> None: ...


class PersonTools(FakeTools):
    """Of persons that look where the grey of a picture says."""

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process, where nothing fails."""
        return PersonTools, ()

    def detector(self, opening: Opening) -> Any:
        return Detector()


def picture(grey: int) -> Picture:
    return Picture(f"{grey}.png", png(grey, (240, 240)))


def sent(*greys: int, accept: frozenset[str] = frozenset()) -> bytes:
    return with_pictures([picture(grey) for grey in greys], accept)


@pytest.fixture
def prepared() -> list[Source | None]:
    """The sources that a generator was given."""
    return []


@pytest.fixture
def worker(prepared: list[Source | None]) -> Iterator[LocalWorker]:
    def note(name: str, source: Source | None, mode: Mode) -> None:
        prepared.append(source)

    one = LocalWorker(WorkerConfig(), PersonTools(Faults(prepare=note)))
    ready = threading.Event()
    one.on_status(lambda status: ready.set())
    one.start()
    assert ready.wait(WAIT_S)
    yield one
    one.close()


def added(worker: Any, *greys: int, **options: Any) -> SourceInfo:
    found = worker.add_source(sent(*greys, **options), "a person").result(WAIT_S)
    assert isinstance(found, SourceInfo)
    return found


def test_the_bytes_of_several_are_read_back_and_nothing_else_is() -> None:
    """One file's bytes are no such thing, whatever is inside them."""
    assert parted(sent(AHEAD, LEFT, accept=frozenset({ACCEPTANCE})), "x") == Pictures(
        (picture(AHEAD), picture(LEFT)), frozenset({ACCEPTANCE})
    )
    assert parted(png(AHEAD), "x") is None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (sent(AHEAD)[:-1], DecodeError),
        (sent(AHEAD) + b"x", DecodeError),
        (sent(AHEAD)[:50], DecodeError),
        (pictures._MAGIC, DecodeError),
        (pictures._MAGIC + b"\xff" * 40, DecodeError),
        (sent(AHEAD).replace(b'"accept"', b'"accepd"', 1), DecodeError),
        (sent(*[AHEAD] * (MOST_SOURCES + 1)), InputError),
        (with_pictures([]), InputError),
        (pictures._MAGIC + bytes(64 << 20), TooLargeError),
    ],
)
def test_bytes_that_lie_about_themselves_are_refused(data: bytes, kind: type[InputError]) -> None:
    """Whoever made them up gets one line, and no index beyond them is read."""
    with pytest.raises(kind, match=r"^x"):
        parted(data, "x")


def test_one_person_is_made_of_several_pictures(worker: LocalWorker, prepared: list[Source | None]) -> None:
    """The one that looks ahead moves and is shown; the others follow by what they add, the rest is said why not."""
    info = added(worker, LEFT, AHEAD, NOBODY, RIGHT, AHEAD)
    assert [(one.name, one.place is not None, one.why) for one in info.pictures] == [
        ("150.png", True, ""),
        ("100.png", True, ""),
        ("0.png", False, "no face was found in it"),
        ("200.png", True, ""),
        ("100.png", False, "it shows nothing that the others do not"),
    ]
    assert info.pictures[1].place == 0
    assert (info.name, info.faces, info.size) == ("a person", 1, (240, 240))
    source = prepared[-1]
    assert source is not None
    assert source.name == "100.png"
    assert {one.name for one in source.further} == {"150.png", "200.png"}


def test_one_file_has_no_strip(worker: LocalWorker, prepared: list[Source | None]) -> None:
    """What one picture was before, it still is."""
    info = worker.add_source(png(AHEAD, (240, 240)), "100.png").result(WAIT_S)
    assert info.pictures == ()
    assert prepared[-1] is not None
    assert prepared[-1].further == ()


def test_different_people_are_refused_by_their_measure_and_taken_by_name(worker: LocalWorker) -> None:
    """The refusal says how far apart they are; accepted by name, the same is said beside the source."""
    shapes = [fit_shape(face_of(local).points) for local in (canonical.VERTICES, other_person())]
    apart = f"{10 * shape_distance(*shapes):.2f} mm"
    error = worker.add_source(sent(AHEAD, STRANGER), "two").exception(WAIT_S)
    assert type(error) is DifferentPeopleError
    assert str(error).startswith("220.png: ")
    assert apart in str(error)
    assert ACCEPTANCE in str(error)
    info = added(worker, AHEAD, STRANGER, accept=frozenset({ACCEPTANCE}))
    assert any(apart in note and ACCEPTANCE in note for note in info.notes)


def test_pictures_without_anybody_are_refused_as_one_would_be(worker: LocalWorker) -> None:
    """Nobody in any of them is nobody."""
    assert type(worker.add_source(sent(NOBODY, NOBODY), "x").exception(WAIT_S)) is NoFaceError


@pytest.mark.parametrize("data", [b"no picture", png(AHEAD)[:200], b"\x1aE\xdf\xa3 a clip"])
def test_every_file_of_them_is_checked_as_one_alone(worker: LocalWorker, data: bytes) -> None:
    """What is no whole photo refuses them all, by its own name: nobody sent it to be passed over."""
    error = worker.add_source(with_pictures([picture(AHEAD), Picture("a/odd.jpg", data)]), "x").exception(
        WAIT_S
    )
    assert type(error) is DecodeError
    assert str(error).startswith("odd.jpg")


def test_what_is_told_of_pictures_crosses_between_processes() -> None:
    """Names, places, reasons and small pictures as they were; nonsense is none of them."""
    info = SourceInfo("id", "x", (2, 2), 1, np.zeros((3, 2), np.uint8), ("note",), (
        pictures.PictureInfo("a", 0, "", b"\xff\xd8", bytes(range(64))), pictures.PictureInfo("b", None, "why", b""),
    ))  # fmt: skip
    fields = messages.source_fields(info)
    message = messages.unpack(messages.pack("added", **fields))
    assert messages.read_source(message, info.still).pictures == info.pictures
    message = messages.unpack(messages.pack("added", **fields | {"pictures": [["a", 0, ""]]}))
    with pytest.raises(WorkerError, match="pictures"):
        messages.read_source(message, info.still)


def test_a_small_picture_is_the_square_around_its_face() -> None:
    """Its face fills it, wherever in the picture that is, and its edge is continued."""
    rgb = np.zeros((200, 300, 3), np.uint8)
    rgb[100:180, 200:280] = 200
    face = Face(np.float32([200, 100, 280, 180]), np.zeros((478, 3), np.float32), 1.0, 1)
    seen = decode_picture(thumbnail(rgb, face), "small")
    assert seen.shape[0] == seen.shape[1]
    side = seen.shape[0]
    assert seen[side // 4 : -side // 4, side // 4 : -side // 4].mean() > 190
    assert decode_picture(thumbnail(rgb, None), "small").shape == seen.shape


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="a signal is sent")
def test_a_person_of_several_outlives_the_process_that_found_them() -> None:
    """The next process is given the same pictures, and the session goes on with them."""
    worker = ProcessWorker(WorkerConfig(spare=False, hang_s=30.0, add_s=30.0), PersonTools())
    came = threading.Semaphore(0)

    def deliver(delivery: Delivery) -> None:
        if delivery.report.outcome.value == "generated" and delivery.source == info.id:
            came.release()

    def shown() -> bool:
        for number in range(600):
            worker.post("s", driver_frame(50), Stamp(3000 * number, 0.0))
            if came.acquire(timeout=0.1):
                return True
        return False

    ready = threading.Event()
    worker.on_status(lambda status: ready.set() if status.state.value == "ready" else None)
    worker.start()
    try:
        assert ready.wait(WAIT_S)
        info = added(worker, AHEAD, LEFT)
        assert [one.place for one in info.pictures] == [0, 1]
        worker.open("s", SessionSpec(info.id), deliver)
        assert shown()
        pid = worker.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        while came.acquire(timeout=0.5):
            pass
        assert shown()
        assert worker.status().pid != pid
    finally:
        worker.close()
