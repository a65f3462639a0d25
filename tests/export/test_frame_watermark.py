"""The invisible mark as a graph: the numbers of the CPU's path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.backends import open_graph
from engine.errors import ConfigError
from engine.types import U8
from engine.watermark import Payload, open_detector
from engine.watermark.pattern import PUBLIC_KEY
from engine.watermark.spread import SpreadEmbedder
from export.frame.watermark import watermark
from tests.engine.watermark.pictures import planes
from tests.export.tensorrt_graphs import compiled, needs_compiler

SIZES = ((320, 240), (214, 122))
"""Of whole cells, and of cells that reach beyond both edges."""
PAYLOAD = Payload.of("a session")


def marked(size: tuple[int, int], backend: str, strength: float) -> tuple[U8, U8]:
    """Luma marked on the CPU and by the graph."""
    height = size[1]
    picture = planes(size)
    embedder = SpreadEmbedder(size, PAYLOAD, strength, PUBLIC_KEY)
    graph = open_graph(Path("watermark"), backend, data=watermark(size, strength).data)
    luma = picture[:height].copy()
    given = {"luma": luma[None, ..., None], "pattern": embedder.pattern.astype(np.float32)[None, ..., None]}
    found = graph.run(given)["marked"][0, ..., 0].copy()
    graph.close()
    embedder.embed(picture)
    return picture[:height], found


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_a_graph_marks_as_the_cpu_does(backend: str, size: tuple[int, int], strength: float) -> None:
    """Equal, but for a level where a sum of float32 falls on the other side of a half; as weak as it is where the mark
    is not held down, and where it is."""
    ours, theirs = marked(size, backend, strength)
    apart = np.abs(ours.astype(int) - theirs)
    assert apart.max() <= 1
    assert np.count_nonzero(apart) < 1e-4 * apart.size


def test_what_a_graph_marks_is_read() -> None:
    """The detector does not care which of the two wrote it."""
    detector = open_detector()
    detector.add(np.ascontiguousarray(marked(SIZES[0], "onnxruntime", 1.0)[1]))
    assert detector.result().payload == PAYLOAD


def test_several_sessions_in_one_run() -> None:
    """A batch takes a pattern for each of its pictures."""
    size = SIZES[1]
    lumas = np.stack([planes(size, seed)[: size[1]] for seed in (1, 2)])[..., None]
    patterns = np.stack(
        [SpreadEmbedder(size, Payload.of(name), 1.0, PUBLIC_KEY).pattern for name in ("a", "b")]
    )
    graph = open_graph(Path("watermark"), "onnxruntime", data=watermark(size).data)
    both = graph.run({"luma": lumas, "pattern": patterns.astype(np.float32)[..., None]})["marked"].copy()
    for luma, pattern, one in zip(lumas, patterns, both):
        alone = graph.run({"luma": luma[None], "pattern": pattern.astype(np.float32)[None, ..., None]})
        assert np.array_equal(alone["marked"][0], one)
    graph.close()


def test_too_small_a_picture_is_refused() -> None:
    """As the CPU's embedder refuses it."""
    with pytest.raises(ConfigError, match="8 pixels a side"):
        watermark((6, 64))


@pytest.mark.full
def test_tensorrt_compiles_it() -> None:
    """Parsed and compiled by TensorRT's own code, for one picture and for several."""
    needs_compiler()
    assert compiled(watermark((640, 480)).data, "watermark", batches=(1, 2)).plan
