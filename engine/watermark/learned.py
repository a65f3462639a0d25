"""A learned watermark in the place of the one that is always there: two ONNX graphs, run by the engine's backends.

Ports are bound by name. The embedder has `picture` float32 (1, 3, H, W), RGB in 0 .. 1, and `message` float32 (1, N)
of 0 and 1; it gives `marked`, as `picture`. The detector has `picture` and gives `bits` float32 (1, 1 + N): a value
that nothing is read from, then one per bit, positive for a 1. H and W may be free; where they are fixed, pictures are
resized to them, and what the embedder adds is enlarged and added to the picture.

These are the arguments of VideoSeal's own `embed` and `detect` (its README and its page on TorchScript: pictures in
0 .. 1, messages of 256 bits for version 1.0, predictions whose first channel is not a bit). It is published for torch;
whoever has it as ONNX names its ports so.

A message carries payload and CRC, 80 bits, as often as it has room for, then ones of no meaning. All of it is turned
over by bits drawn from the key: for any answer of a network to unmarked pictures, the chance over keys that engine id
and CRC fit is 2^-32 exactly.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.backends import Graph, open_graph
from engine.errors import ConfigError, InputError, PortError
from engine.types import F32, U8
from engine.watermark.found import Found, check_luma
from engine.watermark.payload import BITS, CHECK_BITS, ENGINE, Payload, check

WORD: Final = BITS + CHECK_BITS
CHANCE: Final = 2.0**-32
"""Of 16 bits of engine id and 16 of CRC."""


class LearnedEmbedder:
    """An `Embedder` by a graph. size: (width, height), even. strength: of what the graph adds, 0 .. 2.

    Raises ConfigError for a strength that cannot be or a graph for too short messages, PortError for other ports,
    ModelError where there is no file, BackendError.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        payload: Payload,
        strength: float,
        key: bytes,
        backend: str = "auto",
    ) -> None:
        if not 0.0 < strength <= 2.0:
            raise ConfigError(f"watermark: strength {strength}, expected more than 0, at most 2")
        self._graph = open_graph(path, backend)
        length = _checked(self._graph, path, ("message", "picture"), ("marked",))
        self._size, self._strength = size, np.float32(strength * 255.0)
        self._side = _fixed(self._graph)
        self._message = message(payload, length, key).astype(np.float32)[None]

    def embed(self, planes: U8) -> None:
        """Mark I420 planes in place. Raises ValueError for another size, BackendError."""
        width, height = self._size
        if planes.shape != (height * 3 // 2, width):
            raise ValueError(f"watermark: got planes of shape {planes.shape}, expected {width}x{height}")
        rgb = cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420).astype(np.float32) / np.float32(255.0)
        given = _sized(np.asarray(rgb, np.float32), self._side)
        picture = np.ascontiguousarray(given.transpose(2, 0, 1)[None])
        marked = self._graph.run({"message": self._message, "picture": picture})["marked"]
        change = np.asarray((marked - picture)[0].transpose(1, 2, 0) * self._strength, np.float32)
        change = np.asarray(cv2.resize(np.ascontiguousarray(change), (width, height)), np.float32)
        luma = change @ np.array([0.257, 0.504, 0.098], np.float32)  # BT.601, limited range
        planes[:height] = np.clip(np.rint(planes[:height] + luma), 0, 255)


class LearnedDetector:
    """A `Detector` by a graph; only luma is looked at. Raises as LearnedEmbedder does."""

    def __init__(self, path: Path, key: bytes, backend: str = "auto") -> None:
        self._graph = open_graph(path, backend)
        self._length = _checked(self._graph, path, ("picture",), ("bits",))
        self._side = _fixed(self._graph)
        self._turned = _drawn(key, self._length)
        self._sum = np.zeros(self._length)
        self._shape: tuple[int, ...] | None = None
        self._frames = 0

    def add(self, luma: U8) -> None:
        """One decoded frame's Y, uint8 (H, W)."""
        check_luma(luma, self._shape)
        self._shape = luma.shape
        grey = np.clip((luma.astype(np.float32) - 16.0) * np.float32(1 / 219.0), 0.0, 1.0)
        given = _sized(np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2)), self._side)
        bits = self._graph.run({"picture": np.ascontiguousarray(given.transpose(2, 0, 1)[None])})["bits"]
        self._sum += np.asarray(bits, np.float64)[0, 1:]
        self._frames += 1

    def result(self) -> Found:
        """Of all frames added so far. Raises InputError where there is none."""
        if not self._frames:
            raise InputError("watermark: no frame was added, expected one at least")
        values = self._sum * (1.0 - 2.0 * self._turned)
        words = self._length // WORD
        word = values[: words * WORD].reshape(words, WORD).sum(axis=0)
        bits = (word > 0).astype(np.uint8)
        sure = float(np.mean((values[: words * WORD] > 0) == np.tile(bits, words)))
        payload = Payload.read(bits[:BITS])
        fits = np.array_equal(check(bits[:BITS]), bits[BITS:]) and payload.engine == ENGINE
        return Found(
            fits, CHANCE if fits else 1.0, payload if fits else None, sure, self._frames, 1.0, (0.0, 0.0)
        )


def message(payload: Payload, length: int, key: bytes) -> U8:
    """uint8 (length,) of 0 and 1. Raises ConfigError where payload and CRC have no room."""
    if length < WORD:
        raise ConfigError(f"watermark: messages of {length} bits, expected {WORD} at least")
    bits = payload.bits()
    word = np.concatenate([bits, check(bits)])
    plain = np.concatenate([np.tile(word, length // WORD), np.ones(length % WORD, np.uint8)])
    return np.asarray(plain ^ _drawn(key, length), np.uint8)


def _drawn(key: bytes, length: int) -> NDArray[np.uint8]:
    data = hashlib.shake_256(b"marotte learned watermark 1\0" + key).digest(length)
    return np.asarray(np.frombuffer(data, np.uint8) & 1, np.uint8)


def _checked(graph: Graph, path: Path, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> int:
    """How many bits a message has."""
    for names, ports in ((inputs, graph.inputs), (outputs, graph.outputs)):
        got = tuple(sorted(port.name for port in ports))
        if got != names:
            raise PortError(f"{path.name}: its ports are {', '.join(got)}, expected {', '.join(names)}")
    known = {port.name: port.shape[-1] for port in (*graph.inputs, *graph.outputs)}
    length = known["message"] if "message" in known else (known["bits"] or 0) - 1
    if length is None or length < WORD:
        raise ConfigError(f"{path.name}: messages of {length} bits, expected {WORD} at least")
    return length


def _fixed(graph: Graph) -> tuple[int, int] | None:
    """(width, height) of its pictures, None where they are free."""
    height, width = next(port.shape[2:] for port in graph.inputs if port.name == "picture")
    return None if height is None or width is None else (width, height)


def _sized(picture: F32, size: tuple[int, int] | None) -> F32:
    if size is None or picture.shape[1::-1] == size:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)
