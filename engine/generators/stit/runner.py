"""Executing STIT's graphs for one frame: crop to codes, codes moved, codes to a picture, and a parsing.

Ports of an entry: `image` (1, E, E, 3) uint8, the aligned crop at the encoder's size; `strengths` (1, n) and `puppet`
(1, 1), as of the graph `moving`; `output` (1,) int64, the side of the picture that is wanted; and where they are known

- `neutral` (1, rows, w), the driver's codes at rest; without it the codes of the image itself are taken;
- `motion` (1, 1), by how much the codes are to differ from `neutral` of what they do: 1 where it is not given;
- `parsed` (1, P, P, 3) uint8, what the parser looks at; without it, the synthesised picture.

Answered by `ws`, `moved`, `picture` (1, 3, S, S), about -1..1, and where there is a parser `labels` (1, P, P) uint8.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.backends import Graph
from engine.errors import PortError
from engine.generators.batch_runner import BatchRunner
from engine.generators.graph_runner import GraphRunner, run_graph
from engine.plug import Ports
from engine.types import F32, U8

Runs = GraphRunner | BatchRunner
_ALWAYS = ("image", "strengths", "puppet", "output")


class ParsingGraph:
    """The parser. For any thread: portraits are prepared while frames are generated. size: side of its pictures."""

    def __init__(self, runner: Runs, size: int) -> None:
        self._runner, self._lock, self.size = runner, threading.Lock(), size

    def labels(self, pictures: Sequence[U8]) -> list[U8 | Exception]:
        """Of each (1, P, P, 3) its classes, uint8 (1, P, P)."""
        with self._lock:
            answers = self._runner.run([{"image": picture} for picture in pictures])
            return [
                answer if isinstance(answer, Exception) else answer["logits"].argmax(1).astype(np.uint8)
                for answer in answers
            ]

    def warm_up(self) -> None:
        """See BatchRunner."""
        with self._lock:
            _warm_up(self._runner)

    def close(self) -> None:
        self._runner.close()


@dataclass(slots=True, eq=False)
class _Face:
    """An entry on its way through the graphs."""

    ports: Ports
    found: dict[str, NDArray[Any]] = field(default_factory=dict)
    error: Exception | None = None


class StitRunner:
    """Runs entries, as many at once as each graph takes; one that fails does not touch the others.

    synthesis: by side of the picture. parsing: None where the bundle has none.
    """

    def __init__(
        self, e4e: Runs, moving: Graph, synthesis: Mapping[int, Runs], parsing: ParsingGraph | None
    ) -> None:
        self._e4e, self._moving, self._synthesis, self._parsing = e4e, moving, dict(synthesis), parsing

    @property
    def batches(self) -> tuple[int, ...]:
        """The sizes in which codes are found."""
        return self._e4e.batches if isinstance(self._e4e, BatchRunner) else (1,)

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        faces = [_Face(ports, error=_missing(ports)) for ports in batch]
        for stage in (self._invert, self._move, self._synthesise, self._parse):
            living = [face for face in faces if face.error is None]
            try:
                stage(living)
            except Exception as error:  # the frame loop decides
                for face in living:
                    face.error = face.error or error
        return [face.error or face.found for face in faces]

    def warm_up(self) -> None:
        """See BatchRunner."""
        for runner in (self._e4e, *self._synthesis.values()):
            _warm_up(runner)
        if self._parsing is not None:
            self._parsing.warm_up()

    def close(self) -> None:
        for graph in (self._e4e, self._moving, *self._synthesis.values(), self._parsing):
            if graph is not None:
                graph.close()

    def _invert(self, faces: Sequence[_Face]) -> None:
        _settle(faces, self._e4e.run([{"image": face.ports["image"]} for face in faces]), "ws", "ws")

    def _move(self, faces: Sequence[_Face]) -> None:
        for face in faces:
            ws = face.found["ws"]
            neutral = face.ports.get("neutral", ws)
            entry = {
                "ws": _scaled(ws, neutral, face.ports.get("motion")),
                "strengths": face.ports["strengths"],
                "neutral": neutral,
                "puppet": face.ports["puppet"],
            }
            try:
                face.found["moved"] = run_graph(self._moving, entry, keep=True)["moved"]
            except Exception as error:  # one session's fault must not reach another
                face.error = error

    def _synthesise(self, faces: Sequence[_Face]) -> None:
        by_size: dict[int, list[_Face]] = {}
        for face in faces:
            by_size.setdefault(int(face.ports["output"][0]), []).append(face)
        for size, alike in by_size.items():
            if size not in self._synthesis:
                for face in alike:
                    face.error = PortError(
                        f"port 'output': got {size}, expected one of {', '.join(map(str, self._synthesis))}"
                    )
                continue
            answers = self._synthesis[size].run([{"ws": face.found["moved"]} for face in alike])
            _settle(alike, answers, "image", "picture")

    def _parse(self, faces: Sequence[_Face]) -> None:
        if self._parsing is None or not faces:
            return
        size = self._parsing.size
        looked_at = [
            face.ports["parsed"]
            if "parsed" in face.ports
            else brought_to(pixels(face.found["picture"][0]), size)[None]
            for face in faces
        ]
        for face, labels in zip(faces, self._parsing.labels(looked_at)):
            if isinstance(labels, Exception):
                face.error = labels
            else:
                face.found["labels"] = labels


def _scaled(ws: NDArray[Any], neutral: NDArray[Any], motion: NDArray[Any] | None) -> NDArray[Any]:
    """neutral + motion * (ws - neutral), and the codes themselves, to the bit, at 1."""
    if motion is None or motion[0, 0] == 1.0:
        return ws
    return np.asarray(neutral + motion[0, 0] * (ws - neutral), np.float32)


def pixels(picture: F32) -> U8:
    """A synthesised picture (3, S, S), about -1..1, as uint8 (S, S, 3)."""
    levels = np.clip(picture.transpose(1, 2, 0) * 127.5 + 127.5, 0.0, 255.0)
    return np.ascontiguousarray(np.rint(levels), np.uint8)


def brought_to(picture: U8, size: int) -> U8:
    """The parser's way to its size, as at enrolment: the nearest pixel where it shrinks."""
    if len(picture) == size:
        return picture
    way = cv2.INTER_NEAREST_EXACT if len(picture) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=way), np.uint8)


def _settle(faces: Sequence[_Face], answers: Sequence[Ports | Exception], port: str, name: str) -> None:
    """What a graph answered, as arrays that outlast its next run."""
    for face, answer in zip(faces, answers):
        if isinstance(answer, Exception):
            face.error = answer
        else:
            face.found[name] = answer[port].copy()


def _missing(ports: Ports) -> PortError | None:
    for name in _ALWAYS:
        if name not in ports:
            return PortError(f"port {name!r}: missing, expected one array per port of stit")
    return None


def _warm_up(runner: Runs) -> None:
    warm: Callable[[], None] | None = getattr(runner, "warm_up", None)
    if warm is not None:
        warm()
