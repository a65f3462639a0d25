"""What a worker reads of a frame for a self check: while one runs, of a camera's face, and no shape leaves."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from engine import canonical
from engine.errors import WorkerError
from engine.geometry import pose_rotation
from engine.pipeline import Work
from engine.self_check import signs
from engine.types import F32, Controls, Drive, Face, HeadPose, Source
from engine.worker import messages
from engine.worker.changes import merged, parse
from engine.worker.checking import Checking
from engine.worker.interface import DriverKind, SessionSpec
from engine.worker.messages import Message
from engine.worker.sources import Ready

SPEC = SessionSpec("a source", self_check=True)


def points(yaw: float = 0.0, width: float = 1.0) -> F32:
    local = canonical.VERTICES * (width, 1.0, 1.0)
    placed = 12.0 * (local @ pose_rotation(HeadPose(yaw, 0.0, 0.0)).T) + (300.0, 200.0, 0.0)
    return np.asarray(placed, np.float32)


def face(track: int = 1, **shape: float) -> Face:
    return Face(np.zeros(4, np.float32), points(**shape), 1.0, track)


def work(*faces: Face) -> Work:
    given: Any = None
    drives = tuple((given, Drive(given, one, given, given, Controls())) for one in faces)
    return Work(given, given, drives, (), {}, None, 0.0)


def portrait(**shape: float) -> Ready:
    given: Any = None
    rgb = np.zeros((4, 4, 3), np.uint8)
    return Ready(given, (Source(rgb, face(**shape), None, "key", "name"),))


def test_nothing_is_read_unless_it_is_asked_for() -> None:
    """Of nobody who did not begin a check, and of no picture that is not a camera's."""
    checking = Checking()
    assert checking.read(replace(SPEC, self_check=False), portrait(), work(face())) is None
    assert checking.read(replace(SPEC, driver=DriverKind.DEMO), portrait(), work(face())) is None
    assert checking.read(SPEC, portrait(), work()) is None
    assert checking.read(SPEC, portrait(), work(face())) is not None


def test_the_pose_and_the_likeness_are_read() -> None:
    """A turned head by its yaw, and only frontal frames count for the shape."""
    checking, source = Checking(), portrait()
    turned = checking.read(SPEC, source, work(face(yaw=25.0)))
    assert turned is not None
    assert (round(turned.yaw), turned.looks, turned.track) == (25, 0, 1)
    first = checking.read(SPEC, source, work(face()))
    assert first is not None
    assert (abs(first.yaw) < 1.0, first.looks) == (True, 1)
    assert first.score > 0


def test_what_was_seen_ends_with_the_check_the_portrait_and_the_face() -> None:
    """Nothing of a shape outlives what it was looked at for."""
    checking, source = Checking(), portrait()

    def looks(spec: SessionSpec = SPEC, of: Ready = source, track: int = 1) -> int:
        read = checking.read(spec, of, work(face(track)))
        return -1 if read is None else read.looks

    assert [looks(), looks()] == [1, 2]
    assert looks(replace(SPEC, self_check=False)) == -1
    assert [looks(), looks()] == [1, 2]
    assert looks(track=2) == 1
    assert looks(of=portrait(), track=2) == 1


def test_a_check_that_begins_anew_counts_nothing_of_the_one_before() -> None:
    """Also where no frame came between the two, and in a worker that takes another's place."""
    checking, source = Checking(), portrait()
    spec = merged(SPEC, parse({"self_check": True}))
    assert [checking.read(spec, source, work(face())).looks for _ in range(2)] == [1, 2]  # type: ignore[union-attr]
    anew = merged(merged(spec, parse({"self_check": False})), parse({"self_check": True}))
    anew = messages.read_spec(Message("open", json.loads(json.dumps(messages.spec_fields(anew)))))
    assert [checking.read(anew, source, work(face())).looks for _ in range(2)] == [1, 2]  # type: ignore[union-attr]


def test_only_numbers_of_a_frame_leave() -> None:
    """Six of them, of which none is a measure of a face alone; damaged ones are told."""
    read = Checking().read(SPEC, portrait(), work(face()))
    assert read is not None
    assert [one.name for one in fields(read)] == ["yaw", "pitch", "mouth", "track", "score", "looks"]
    sent = Message("delivered", {"signs": signs.numbers(read)})
    assert messages.read_signs(sent, "signs") == read
    assert messages.read_signs(Message("delivered", {}), "signs") is None
    with pytest.raises(WorkerError, match="signs"):
        messages.read_signs(Message("delivered", {"signs": {"yaw": "x"}}), "signs")


def test_it_is_switched_as_everything_else() -> None:
    """A change among others, which a worker that takes another's place is opened with."""
    spec = merged(replace(SPEC, self_check=False), parse({"self_check": True}))
    assert spec.self_check
    assert merged(spec, parse({"smoothing": 2.0})).self_check
    assert messages.read_spec(Message("open", json.loads(json.dumps(messages.spec_fields(spec))))).self_check
    assert messages.change_fields(parse({"self_check": False})) == {"controls": {}, "self_check": False}
