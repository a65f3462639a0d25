"""What a bundle computes of a single picture: its layout by the parser, and its look."""

from __future__ import annotations

import threading

import numpy as np

from engine.backends import Graph
from engine.generators.graph_runner import run_graph
from engine.plug import Ports
from engine.types import U8


class PictureGraphs:
    """The style graph, and the parser where the bundle has one. For any thread: one session's portrait may be prepared
    while another's frame is parsed."""

    def __init__(self, style: Graph, parser: Graph | None) -> None:
        self._style, self._parser, self._lock = style, parser, threading.Lock()

    @property
    def parses(self) -> bool:
        """Whether there is a parser."""
        return self._parser is not None

    def style(self, image: U8, labels: U8) -> Ports:
        """gamma and beta by name, the caller's own and read-only. image: uint8 (1, S, S, 3). labels: uint8 (S, S)."""
        with self._lock:
            found = run_graph(self._style, {"image": image, "labels": labels[None]}, keep=True)
        for array in found.values():
            array.setflags(write=False)
        return {"gamma": found["gamma"], "beta": found["beta"]}

    def parse(self, image: U8) -> U8 | None:
        """The likeliest class of every pixel, uint8 (S, S); None without a parser. image: uint8 (1, S, S, 3)."""
        if self._parser is None:
            return None
        with self._lock:
            logits = run_graph(self._parser, {"image": image})["logits"]
            return np.asarray(np.argmax(logits[0], 0), np.uint8)

    def close(self) -> None:
        for graph in (self._style, self._parser):
            if graph is not None:
                graph.close()
