"""Graphs that take batches: opened for any size, and what each entry is answered, beside whom ever it goes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engine.backends import Arrays, Graph, open_graph
from engine.batching import BatchingRunner
from engine.bundle import PortInfo, open_bundle
from engine.errors import BackendError, BundleError, PortError
from engine.free_batch import is_free, settled
from engine.generators.batch_runner import BatchRunner, batches_for, open_runner
from engine.generators.geogan import open_geogan
from engine.generators.graph_runner import GraphRunner, check_finite
from engine.graph_file import check_graph
from engine.plug import Ports, Runner
from export.batch import batched
from tests.engine.batch_graphs import SIDE, mixed_graph, turned_graph
from tests.engine.bundle_files import write_ganimation, write_geogan

BACKENDS = ("openvino", "onnxruntime")
PORTS = (PortInfo("image", (1, SIDE, SIDE, 3), "uint8", None), PortInfo("gain", (1, 1), "float32", None))
OUTPUTS = tuple(PortInfo(name, (1, 1), "float32", None) for name in ("sum", "root"))


def entry(level: int, gain: float) -> Ports:
    return {
        "image": np.full((1, SIDE, SIDE, 3), level, np.uint8),
        "gain": np.array([[gain]], np.float32),
    }


def sums(answers: list[Ports | Exception]) -> list[Any]:
    return [type(one) if isinstance(one, Exception) else float(one["sum"][0, 0]) for one in answers]


class Counted:
    """A graph, and the batches that it ran. before: may raise."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.backend, self.inputs, self.outputs = graph.backend, graph.inputs, graph.outputs
        self.ran: list[int] = []
        self.closed = 0
        self.before: Callable[[Arrays], None] = lambda arrays: None

    def run(self, arrays: Arrays) -> Mapping[str, Any]:
        self.before(arrays)
        self.ran.append(len(arrays["gain"]))
        return self._graph.run(arrays)

    def close(self) -> None:
        self.closed += 1
        self._graph.close()


Graphs = dict[int, Counted]


@pytest.fixture(params=["openvino", "onnxruntime", "one free graph"])
def graphs(request: pytest.FixtureRequest) -> Iterator[Graphs]:
    """For 1, 2 and 4 entries: a graph for each size, or one for all."""
    data, path = mixed_graph(), Path("mixed.onnx")
    if request.param in BACKENDS:
        yield {size: Counted(open_graph(path, request.param, data=settled(data, size))) for size in (1, 2, 4)}
    else:
        yield dict.fromkeys((1, 2, 4), Counted(open_graph(path, "onnxruntime", data=data)))


@pytest.fixture
def runner(graphs: Graphs) -> Iterator[BatchRunner]:
    runner = BatchRunner(graphs)  # type: ignore[arg-type]
    yield runner
    runner.close()


def sizes_run(graphs: Graphs) -> list[int]:
    each = {id(graph): graph.ran for graph in graphs.values()}
    return sorted(size for ran in each.values() for size in ran)


def test_a_file_for_batches_becomes_the_file_for_one_size() -> None:
    """Byte for byte what it would be if it had been written for that size, and nothing else of it changes."""
    assert is_free(mixed_graph())
    for size in (1, 7, 300):
        assert onnx.load_from_string(settled(mixed_graph(), size)) == onnx.load_from_string(mixed_graph(size))
        assert not is_free(settled(mixed_graph(), size))


def test_a_file_for_one_entry_stays_as_it_is_and_takes_no_more() -> None:
    """Bundles from before are opened as they were; a batch of theirs is refused with the next step."""
    data = mixed_graph(1)
    assert settled(data, 1) is data
    with pytest.raises(PortError, match="takes 1 entry at a time, expected 4; export it again"):
        settled(data, 4)


def test_a_free_size_of_another_name_or_place_is_no_batch() -> None:
    """Only the first size, and only by its name."""
    assert not is_free(mixed_graph("n"))
    other = onnx.load_from_string(mixed_graph(1))
    other.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "batch"
    assert settled(data := other.SerializeToString(), 1) is data


def test_a_graph_is_looked_at_as_it_is_for_one_entry() -> None:
    """The manifest says the shapes of one; a file that is free in some ports only, or none at all, is refused."""
    check_graph(mixed_graph(), PORTS, OUTPUTS)
    with pytest.raises(BundleError, match="only some of its ports have the free size"):
        check_graph(mixed_graph("batch", 1), PORTS, OUTPUTS)
    with pytest.raises(BundleError, match="its input 'image' is"):
        check_graph(mixed_graph(), (PortInfo("image", (2, SIDE, SIDE, 3), "uint8", None), PORTS[1]), OUTPUTS)
    for broken in (b"", b"\x3a\xff", mixed_graph()[:-9], b"\x3a\x02\x5a\x7f"):
        with pytest.raises(BundleError, match="the graph cannot be used"):
            check_graph(broken, PORTS, OUTPUTS)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 9])
def test_every_entry_is_answered_as_if_it_were_alone(runner: BatchRunner, count: int) -> None:
    """Whatever the number: padded to the next size, cut where it is above the largest, in order."""
    batch = [entry(10 * k, k + 1.0) for k in range(count)]
    together = [dict(one) for one in runner.run(batch)]  # type: ignore[arg-type]
    assert sums(together) == [110.0 * k + 100.0 for k in range(count)]  # type: ignore[arg-type]
    for one, answer in zip(batch, together):
        alone: Any = runner.run([one])[0]
        assert {name: array.tolist() for name, array in alone.items()} == {
            name: array.tolist() for name, array in answer.items()
        }


def test_the_nearest_size_is_run(graphs: Graphs, runner: BatchRunner) -> None:
    """Three entries are four, six are four and two, one is one."""
    runner.run([entry(1, 1.0)] * 3), runner.run([entry(1, 1.0)] * 6), runner.run([entry(1, 1.0)])
    assert sizes_run(graphs) == [1, 2, 4, 4]


def test_an_entry_that_does_not_fit_or_is_not_finite_touches_no_other(runner: BatchRunner) -> None:
    """Wrong shape, wrong dtype, a missing port, NaN that goes in, NaN that comes out: each is its own error."""
    wrong = entry(1, 1.0) | {"image": np.zeros((1, SIDE, SIDE + 1, 3), np.uint8)}
    typed = entry(1, 1.0) | {"gain": np.ones((1, 1))}
    missing = {"image": entry(1, 1.0)["image"]}
    batch = [entry(10, 1.0), wrong, entry(20, -1.0), typed, entry(30, float("nan")), missing, entry(40, 2.0)]
    answers = runner.run(batch)
    assert sums(answers) == [110.0, PortError, PortError, PortError, PortError, PortError, 240.0]
    assert "expected (1, 4, 4, 3) uint8, got (1, 4, 5, 3) uint8" in str(answers[1])
    assert "port 'root': expected finite numbers" in str(answers[2])
    assert "port 'gain': expected finite numbers" in str(answers[4])
    assert sums(runner.run([entry(10, 1.0), entry(20, 1.0)])) == [110.0, 120.0]


def test_numbers_beyond_any_pictures_are_refused_without_a_warning() -> None:
    """Their sum is infinite, or none; it warns nobody but by the error."""
    for values in ([3e38] * 3, [np.inf, -np.inf], [np.nan]):
        with pytest.raises(PortError, match="expected finite numbers"):
            check_finite({"colour": np.array(values, np.float32)})


def test_a_batch_that_fails_is_run_again_entry_by_entry(graphs: Graphs, runner: BatchRunner) -> None:
    """What a runtime cannot do for all of them it may for each; who is to blame fails alone."""

    def before(arrays: Arrays) -> None:
        if (arrays["gain"] == 7.0).any():
            raise BackendError("out of memory")

    for graph in graphs.values():
        graph.before = before
    assert sums(runner.run([entry(10, 1.0), entry(20, 7.0), entry(30, 2.0)])) == [110.0, BackendError, 230.0]
    assert sums(runner.run([entry(10, 1.0), entry(30, 2.0)])) == [110.0, 230.0]


def test_every_size_is_run_once_before_the_first_frame(graphs: Graphs, runner: BatchRunner) -> None:
    """No frame of a session is the first of its kind, and no array for a batch is made later."""
    runner.warm_up()
    assert sizes_run(graphs) == [1, 1, 1, 1, 2, 4]
    assert runner.batches == (1, 2, 4)
    rooms = {size: [id(array) for array in room.values()] for size, room in runner._rooms.items()}
    runner.run([entry(1, 1.0)] * 4)
    runner.run([entry(1, 1.0)] * 2)
    assert {size: [id(array) for array in room.values()] for size, room in runner._rooms.items()} == rooms


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_graph_that_mixes_its_entries_is_run_one_by_one(
    backend: str, mean: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """One session's face never stands in another's picture because of a graph that confuses the rows of a batch."""
    data = turned_graph(mean)
    check_graph(data, PORTS[:1], OUTPUTS[:1])  # no look into the file tells
    runner = BatchRunner(
        {size: open_graph(Path("turned.onnx"), backend, data=settled(data, size)) for size in (1, 2, 4)}
    )
    runner.warm_up()
    assert runner.batches == (1,)
    assert "in batches of 4 entries change each other" in caplog.text
    batch = [{"image": entry(level, 0.0)["image"]} for level in (10, 200, 90)]
    assert sums(runner.run(batch)) == [10.0, 200.0, 90.0]
    runner.close()


def test_every_graph_is_closed_once(graphs: Graphs) -> None:
    """Also where one serves all sizes."""
    BatchRunner(graphs).close()  # type: ignore[arg-type]
    assert {graph.closed for graph in graphs.values()} == {1}


@pytest.mark.parametrize(
    ("backend", "most", "expected"),
    [
        ("openvino", 0, (1,)),
        ("onnxruntime", 0, (1,)),
        ("tensorrt", 0, (1, 2, 4, 8)),
        ("openvino", 1, (1,)),
        ("openvino", 3, (1, 2, 3)),
        ("openvino", 12, (1, 2, 4, 8, 12)),
        ("tensorrt", 1, (1,)),
        ("tensorrt", 4, (1, 2, 4)),
        ("tensorrt", 6, (1, 2, 4, 8)),
        ("onnxruntime_cuda", 12, (1, 2, 4, 8)),
    ],
)
def test_the_sizes_follow_the_backend_unless_they_are_set(
    backend: str, most: int, expected: tuple[int, ...]
) -> None:
    """On a CPU a batch takes as long as its entries in turn, so none is made unasked."""
    assert batches_for(backend, most) == expected


def free_bundle(folder: Path, name: str) -> Path:
    """A bundle whose graph of that name takes batches from now on."""
    path = folder / f"{name}.onnx"
    data = batched(onnx.load(path), None).SerializeToString(deterministic=True)
    path.write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["graphs"][name] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bundle_for_batches_gives_what_it_gives_alone(tmp_path: Path, backend: str) -> None:
    """One file for all sizes; one entry, four and what an old bundle gives are the same pictures."""
    bundle = open_bundle(free_bundle(write_ganimation(tmp_path / "free", size=16), "generator"))
    assert bundle.batched == {"generator"}
    write_ganimation(tmp_path / "old", size=16)
    old = open_bundle(tmp_path / "old")
    assert old.batched == frozenset()
    runner: Runner = open_runner(bundle, "generator", backend, 1, batches=(1, 2, 4))
    alone = open_runner(old, "generator", backend, 1, batches=(1, 2, 4))
    assert isinstance(runner, BatchRunner)
    assert isinstance(alone, GraphRunner)
    assert isinstance(open_runner(bundle, "generator", backend, 1), GraphRunner)
    numbers = np.random.default_rng(5)
    batch = [
        {
            "image": numbers.integers(0, 256, (1, 16, 16, 3), np.uint8),
            "aus": numbers.random((1, 17), np.float32) * 0.9,
        }
        for _ in range(4)
    ]
    answers = runner.run(batch)
    for ports, answer in zip(batch, answers):
        expected: Any = alone.run([ports])[0]
        for name in ("colour", "attention"):
            np.testing.assert_allclose(answer[name], expected[name], atol=1e-6)  # type: ignore[index]
    runner.close(), alone.close()


def test_donors_of_several_sessions_go_together(tmp_path: Path) -> None:
    """Of GeoGAN the first donors of all entries are one batch and the second ones the next; a removal between them, and
    an entry that lacks a port, are as they are alone."""
    numbers = np.random.default_rng(6)

    def square() -> Any:
        return numbers.integers(0, 256, (1, 16, 16, 3), np.uint8)

    def bringing(donors: int) -> Ports:
        ports = {"image": square()}
        for k in range(donors):
            ports[f"donor@{k}"] = square()
            ports |= {f"{name}_0@{k}": numbers.random((1, 1, 8, 8), np.float32) for name in ("flow", "mask")}
        return ports

    lacking = dict(bringing(1))
    del lacking["flow_0@0"]
    removal: Ports = {"image": square(), "reference": square()}
    batch = [bringing(1), removal, bringing(2), lacking, bringing(2), {}]
    old, free = (write_geogan(tmp_path / name, size=16, mask=0.5) for name in ("old", "free"))
    _, alone = open_geogan(open_bundle(old), "onnxruntime", 1)
    _, together = open_geogan(open_bundle(free_bundle(free, "transfer")), "onnxruntime", 1, (1, 2, 4))
    assert (alone.batches, together.batches) == ((1,), (1, 2, 4))
    for ports, found in zip(batch, together.run(batch), strict=True):
        (expected,) = alone.run([ports])
        if isinstance(expected, Exception):
            assert (type(found), str(found)) == (type(expected), str(expected))
            continue
        assert not isinstance(found, Exception)
        assert sorted(found) == sorted(expected)
        for name in found:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-6)
    alone.close(), together.close()


def test_an_old_bundle_refuses_a_batch_by_its_name(tmp_path: Path) -> None:
    """Whoever asks for one by hand is told to export again."""
    write_ganimation(tmp_path / "old", size=16)
    with pytest.raises(PortError, match="takes 1 entry at a time, expected 2"):
        open_bundle(tmp_path / "old").graph("generator", "onnxruntime", batch=2)


def test_six_at_once_are_padded_to_the_profile_of_eight() -> None:
    """A bound between two of a GPU's profiles is kept, and no plan is asked for a size that it has not."""
    sizes = batches_for("tensorrt", 6)
    graph = Counted(open_graph(Path("mixed.onnx"), "onnxruntime", data=mixed_graph()))
    inner = BatchRunner(dict.fromkeys(sizes, graph))  # type: ignore[arg-type]
    batch = [entry(10 * k, k + 1.0) for k in range(6)]
    expected = [110.0 * k + 100.0 for k in range(6)]
    assert sums(inner.run(batch)) == expected
    assert graph.ran == [8]
    shared = BatchingRunner(inner, most=6)
    own = shared.session()
    assert sums(own.run(batch)) == expected
    assert shared.most == 6
    assert set(graph.ran) <= {1, 2, 4, 8}
    own.close()
    shared.close()
