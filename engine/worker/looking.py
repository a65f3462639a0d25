"""A layout on its way to a page: packed where it was drawn, asked for by number, answered once."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from concurrent.futures import Future

import cv2

from engine.errors import InputError, WorkerError
from engine.parsing.runs import MOST_RUNS, decode, encode
from engine.types import U8, Layout
from engine.worker import messages
from engine.worker.interface import Look
from engine.worker.messages import Message

MOST_ASKED = 8
"""Answers that are waited for at once."""

_SIDES = (256, 128)
"""Sides of the labels that travel: at the second no layout has more runs than are read."""
_QUALITY = 90


def packed(layout: Layout) -> Look:
    """As it travels. A layout that is coarser than the first side is brought to it by whole pixels."""
    bgr = cv2.cvtColor(layout.rgb, cv2.COLOR_RGB2BGR)
    done, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise InputError("layout: its picture could not be written as JPEG")
    return Look(coded.tobytes(), _runs(layout.labels))


def _runs(labels: U8) -> tuple[tuple[int, int], ...]:
    for side in _SIDES:
        small = cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST_EXACT)
        runs = encode(small)  # type: ignore[arg-type]
        if len(runs) <= MOST_RUNS:
            break
    return runs


def answered(session: str, layout: Callable[[], Layout] | None) -> Future[Look]:
    """What became of a question about a session; None where it is not open."""
    found: Future[Look] = Future()
    try:
        if layout is None:
            raise WorkerError(f"session {session}: it is not open")
        found.set_result(packed(layout()))
    except Exception as error:  # told to whoever asked
        found.set_exception(error)
    return found


def look_fields(look: Look) -> dict[str, object]:
    """See read_look."""
    return {"picture": base64.b64encode(look.picture).decode("ascii"), "labels": look.labels}


def read_look(message: Message) -> Look:
    """Raises WorkerError."""
    try:
        picture = base64.b64decode(message.get("picture", str), validate=True)
        labels = message.get("labels", list)
        decode(labels)
    except (ValueError, InputError) as error:
        raise WorkerError(f"message {message.kind}: {error}") from error
    return Look(picture, tuple((run[0], run[1]) for run in labels))


class Asked:
    """The questions that one process has not answered yet. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Look]] = {}
        self._number = 0
        self._over = False

    def begin(self) -> tuple[int, Future[Look]]:
        """A number and its answer. Raises WorkerError where too many are waited for, or no more is answered."""
        with self._lock:
            if self._over or len(self._waiting) >= MOST_ASKED:
                raise WorkerError("layout: the worker is busy or away; try again in a moment")
            self._number += 1
            self._waiting[self._number] = Future()
            return self._number, self._waiting[self._number]

    def hear(self, message: Message) -> None:
        """An answer, or why there is none. Raises WorkerError for one that does not read as such."""
        with self._lock:
            found = self._waiting.pop(message.get("number", int), None)
        if found is None:
            return
        if "error" in message.fields:
            found.set_exception(messages.read_error(message))
            return
        try:
            found.set_result(read_look(message))
        except WorkerError as error:
            found.set_exception(error)
            raise

    def end(self) -> None:
        """Nothing more comes."""
        with self._lock:
            self._over = True
            waiting, self._waiting = list(self._waiting.values()), {}
        for found in waiting:
            found.set_exception(WorkerError("layout: the worker is being replaced; try again in a moment"))
