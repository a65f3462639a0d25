"""A layout on its way to a page, and a painting on its way to a session: as large as they may be, across processes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from engine.errors import InputError, WorkerError
from engine.parsing.classes import Part
from engine.parsing.runs import MOST_RUNS, decode
from engine.types import Layout
from engine.worker import messages
from engine.worker.interface import Look
from engine.worker.looking import MOST_ASKED, Asked, answered, look_fields, packed, read_look
from engine.worker.sources import _parted, with_labels


def crossed(kind: str, **fields: Any) -> messages.Message:
    return messages.unpack(messages.pack(kind, **fields))


def test_a_layout_is_packed_and_read_again() -> None:
    """A coarse one by whole pixels, one of noise with fewer; its picture as JPEG."""
    labels = np.zeros((64, 64), np.uint8)
    labels[10:20, 30:40] = Part.HAIR
    look = packed(Layout(np.full((64, 64, 3), (200, 10, 60), np.uint8), labels))
    assert (decode(look.labels)[::4, ::4] == labels).all()
    picture = cv2.imdecode(np.frombuffer(look.picture, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert np.abs(picture[..., ::-1].astype(int) - (200, 10, 60)).max() <= 4
    noise = np.random.default_rng(0).integers(0, 19, (256, 256), np.uint8)
    look = packed(Layout(np.zeros((256, 256, 3), np.uint8), noise))
    assert len(look.labels) <= MOST_RUNS
    assert read_look(crossed("looked", **look_fields(look))) == look
    assert len(messages.pack("looked", **look_fields(look))) < messages.MOST_BYTES


def test_what_does_not_read_as_a_layout_is_nonsense() -> None:
    """Neither numbers that are no runs nor a picture that is no text."""
    good = {"picture": "aGk=", "labels": [[1, 256]]}
    for bad in ({"labels": [[1, 255]]}, {"picture": "ü"}, {"picture": 5}, {"labels": "x"}):
        with pytest.raises(WorkerError):
            read_look(crossed("looked", **good | bad))


def test_questions_are_answered_once_and_few_at_a_time() -> None:
    """By their number, with an error or a layout; those left are told when nothing more comes."""
    asked = Asked()
    waiting = [asked.begin() for _ in range(MOST_ASKED)]
    with pytest.raises(WorkerError, match="busy"):
        asked.begin()
    fields = look_fields(Look(b"hi", ((1, 256),)))
    asked.hear(crossed("looked", number=waiting[1][0], **fields))
    asked.hear(crossed("looked", number=waiting[1][0], **fields))
    assert waiting[1][1].result(0) == Look(b"hi", ((1, 256),))
    asked.hear(crossed("looked", number=waiting[0][0], **messages.error_fields(InputError("nothing yet"))))
    assert str(waiting[0][1].exception(0)) == "nothing yet"
    with pytest.raises(WorkerError):
        asked.hear(crossed("looked", number=waiting[2][0], picture="hi"))
    assert isinstance(waiting[2][1].exception(0), WorkerError)
    asked.end()
    assert all(isinstance(found.exception(0), WorkerError) for _, found in waiting[2:])
    with pytest.raises(WorkerError, match="away"):
        asked.begin()


def test_whatever_fails_is_told_to_who_asks() -> None:
    """A session that is not open, and one that has drawn nothing."""

    def nothing() -> Layout:
        raise InputError("layout: nothing was drawn yet")

    assert "not open" in str(answered("s", None).exception(0))
    assert "nothing was drawn" in str(answered("s", nothing).exception(0))


def test_a_picture_and_its_labels_are_one_source() -> None:
    """Whatever bytes either of them has; a picture alone stays as it is."""
    assert _parted(with_labels(b"picture", b"labels")) == (b"picture", b"labels")
    assert _parted(with_labels(b"", with_labels(b"a", b"b"))) == (b"", with_labels(b"a", b"b"))
    assert _parted(b"picture") == (b"picture", None)
