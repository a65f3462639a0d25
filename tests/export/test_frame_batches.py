"""Frames of several sessions in one run of a frame graph: each the picture that it has alone, whoever is beside it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from engine.backends.onnxruntime import DeviceGraph, Place, device_session
from engine.batching import BatchingRunner
from engine.blend import paste
from engine.bundle import FRAME, open_bundle
from engine.errors import PortError
from engine.free_batch import is_free, settled
from engine.generators import open_generator
from engine.generators.batch_runner import BatchRunner
from engine.generators.frame_runner import FrameGenerator, FrameRunner, example_frame
from engine.generators.graph_runner import GraphRunner
from engine.plug import Ports
from engine.types import Drive, Mode
from export.frame import add, parity, pieces
from export.frame.parity import FrameReport
from tests.engine.bundle_files import write_ganimation, write_geogan
from tests.engine.edit_scenes import donor_source, face_at
from tests.export.framed import framed_bundle
from tests.export.test_frame import SIZE, drive_of, hill

SIZES = ((143, 121), (143, 121), (120, 130), (143, 121))
"""Of four sessions' frames; the third one's are others."""
FRAMES = 2
SHRINK = 4
"""Less than a frame graph is written for in earnest, so that it is quick."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("frames")
    plain = {
        "ganimation": write_ganimation(folder / "plain_ganimation", SIZE),
        "geogan": write_geogan(folder / "plain_geogan", SIZE, mask=hill(), flow=(0.11, -0.07)),
    }
    with pytest.MonkeyPatch.context() as patch:  # compared in tests of its own
        for module in (add, pieces):
            patch.setattr(module, "most_shrink", lambda size: SHRINK)
        patch.setattr(add, "measure_frames", lambda bundle: FrameReport(parity.GATE, {"none": ("0", {})}))
        for name, bundle in plain.items():
            add.add_frames(bundle, folder / name)
    return {name: folder / name for name in plain}


@dataclass
class Opened:
    generator: FrameGenerator
    runner: FrameRunner
    ran: list[tuple[int, ...]]
    """Shapes of the frames that went through the frame graphs."""


def opened(bundle: Path, batches: tuple[int, ...]) -> Opened:
    generator, runner = open_generator(bundle, backend="onnxruntime", threads=1, frames=True, batches=batches)
    assert isinstance(generator, FrameGenerator)
    assert isinstance(runner, FrameRunner)
    ran: list[tuple[int, ...]] = []
    for one in runner._runners.values():
        for graph in one._graphs.values() if isinstance(one, BatchRunner) else [one._graph]:
            _tell(graph, ran)
    return Opened(generator, runner, ran)


def _tell(graph: Any, ran: list[tuple[int, ...]]) -> None:
    run = graph.run

    def told(arrays: Any) -> Any:
        ran.append(arrays["frame"].shape)
        return run(arrays)

    graph.run = told


@pytest.fixture(scope="module", params=["ganimation", "geogan"])
def pair(request: pytest.FixtureRequest, bundles: dict[str, Path]) -> Iterator[tuple[Opened, Opened]]:
    """A bundle opened for one frame at a time, and for up to four."""
    both = opened(bundles[request.param], (1,)), opened(bundles[request.param], (1, 2, 4))
    yield both
    for one in both:
        one.runner.close()


def states(generator: FrameGenerator) -> list[Any]:
    """Of four sessions, each with a donor of its own where one is taken."""
    found = []
    for number in range(len(SIZES)):
        source = donor_source(60 + 40 * number) if generator.takes_source(Mode.EDIT) else None
        found.append(generator.begin(generator.prepare(source, Mode.EDIT)))
    return found


def drives(generator: FrameGenerator, number: int) -> list[Drive]:
    """Of four sessions: their next frames."""
    asked: dict[str, Any] = {}
    found = []
    for session, size in enumerate(SIZES):
        if "au_offsets" in generator.heeds:
            asked = {"au_offsets": {"AU12": 0.2 * (session + 1)}}
        face = face_at(60 + 5 * session + 2 * number, 60, scale=3.0 + 0.1 * session)
        found.append(drive_of(generator, face, size, number, seed=10 * session + number, **asked))
    return found


def shown(generator: FrameGenerator, state: Any, answer: Ports | Exception) -> np.ndarray:
    assert not isinstance(answer, Exception), answer
    return paste(generator.patch(state, answer))


def alone(one: Opened) -> list[list[np.ndarray]]:
    """By frame and session."""
    kept, pictures = states(one.generator), []
    for number in range(FRAMES):
        row = []
        for state, drive in zip(kept, drives(one.generator, number), strict=True):
            (answer,) = one.runner.run([one.generator.inputs(state, drive)])
            row.append(shown(one.generator, state, answer))
        pictures.append(row)
    return pictures


def test_frames_of_one_size_share_a_run_and_are_what_they_are_alone(pair: tuple[Opened, Opened]) -> None:
    """Four sessions, one of them with frames of another size, frame after frame: byte for byte the same pictures."""
    single, several = pair
    assert single.runner.batches == (1,)
    assert several.runner.batches == (1, 2, 4)
    expected, kept = alone(single), states(several.generator)
    del several.ran[:]
    for number in range(FRAMES):
        entries = [
            several.generator.inputs(state, drive)
            for state, drive in zip(kept, drives(several.generator, number), strict=True)
        ]
        answers = several.runner.run(entries)
        for state, answer, picture in zip(kept, answers, expected[number], strict=True):
            np.testing.assert_array_equal(shown(several.generator, state, answer), picture)
    assert several.ran == [(4, 121, 143, 3), (1, 130, 120, 3)] * FRAMES


def test_a_session_that_fails_touches_no_other(pair: tuple[Opened, Opened]) -> None:
    """Ports of the wrong size, a name too many, numbers that are none: its own error, and the others' pictures."""
    single, several = pair
    expected, kept = alone(single)[0], states(several.generator)
    given = [
        dict(several.generator.inputs(state, drive))
        for state, drive in zip(kept, drives(several.generator, 0), strict=True)
    ]
    spoilt = [
        given[1] | {"hidden": np.zeros((1, 120, 143, 1), np.uint8)},
        given[1] | {"matrix": np.zeros((1, 2, 2), np.float32)},
        given[1] | {"more": np.zeros((1, 2, 2), np.float32)},
        given[1] | {"matrix": np.full((1, 2, 3), np.nan, np.float32)},
    ]
    for bad in spoilt:
        answers = several.runner.run([given[0], bad, given[2], given[3]])
        if bad["hidden"].shape[1:3] != bad["frame"].shape[1:3]:  # told before a runtime sees it
            assert isinstance(answers[1], PortError)
            assert "expected the frame's 143 x 121" in str(answers[1])
        assert isinstance(answers[1], Exception) or not np.isfinite(bad["matrix"]).all()
        for number in (0, 2, 3):
            answer = answers[number]
            assert not isinstance(answer, Exception)
            np.testing.assert_array_equal(answer["frame_out"][0], expected[number])


@pytest.mark.full
def test_sessions_with_threads_of_their_own_are_gathered(pair: tuple[Opened, Opened]) -> None:
    """Through the runner that sessions share: the pictures of each, in order, and several in one run."""
    single, several = pair
    expected = alone(single)
    shared = BatchingRunner(_Open(several.runner), wait_s=0.5, stall_s=120.0)
    assert shared.ready(60.0)
    del several.ran[:]

    def play(session: int) -> list[np.ndarray]:
        runner, state, found = shared.session(), states(several.generator)[session], []
        for number in range(FRAMES):
            drive = drives(several.generator, number)[session]
            (answer,) = runner.run([several.generator.inputs(state, drive)])
            found.append(shown(several.generator, state, answer).copy())
        runner.close()
        return found

    with ThreadPoolExecutor(len(SIZES)) as threads:
        for session, pictures in enumerate(threads.map(play, range(len(SIZES)))):
            for number, picture in enumerate(pictures):
                np.testing.assert_array_equal(picture, expected[number][session])
    shared.close()


class _Open:
    """Outlasts the shared runner, for the next test."""

    def __init__(self, runner: FrameRunner) -> None:
        self.run, self.batches = runner.run, runner.batches

    def close(self) -> None:
        pass


def test_a_graph_that_mixes_its_frames_runs_them_one_by_one(
    bundles: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Found before the first frame, on frames that differ."""
    one = opened(bundles["ganimation"], (1, 2))
    runner = next(iter(one.runner._runners.values()))
    assert isinstance(runner, BatchRunner)
    run = runner._graphs[2].run
    runner._graphs[2].run = lambda arrays: {  # type: ignore[method-assign]
        name: np.ascontiguousarray(array[::-1]) for name, array in run(arrays).items()
    }
    with caplog.at_level(logging.WARNING):
        one.runner.warm_up()
    assert runner.batches == (1,)
    assert "in batches of 2 entries change each other" in caplog.text
    one.runner.close()


def test_examples_are_frames_that_differ(bundles: dict[str, Path]) -> None:
    """What batches are tried on is a face in a picture, another one each time, and gives finite answers."""
    bundle = open_bundle(bundles["geogan"])
    graph = bundle.graph("frame", "onnxruntime")
    answers = []
    for seed in range(2):
        entry = example_frame(graph.inputs, seed, 96, 128)
        answers.append({name: array.copy() for name, array in graph.run(entry).items()})
        assert answers[-1]["frame_out"].shape == (1, 96, 128, 3)
        assert all(np.isfinite(array).all() for array in answers[-1].values())
    assert (answers[0]["frame_out"] != answers[1]["frame_out"]).mean() > 0.5
    graph.close()


def test_frame_graphs_of_before_take_one_frame_at_a_time(bundles: dict[str, Path], tmp_path: Path) -> None:
    """A bundle whose graphs were written without a free batch opens as it did."""
    table = (bundles["ganimation"] / "manifest.json").read_text()
    for path in bundles["ganimation"].iterdir():
        data = path.read_bytes()
        if path.name.startswith(FRAME):
            fixed = settled(data, 1)
            assert not is_free(fixed)
            table = table.replace(hashlib.sha256(data).hexdigest(), hashlib.sha256(fixed).hexdigest())
            table = table.replace(f'"bytes": {len(data)}', f'"bytes": {len(fixed)}')
            data = fixed
        (tmp_path / path.name).write_bytes(data)
    (tmp_path / "manifest.json").write_text(table)
    one = opened(tmp_path, (1, 2, 4))
    assert one.runner.batches == (1,)
    kept = states(one.generator)[:2]
    entries = [
        one.generator.inputs(state, drive)
        for state, drive in zip(kept, drives(one.generator, 0), strict=False)
    ]
    answers = one.runner.run(entries)
    assert [isinstance(answer, Exception) for answer in answers] == [False, False]
    assert one.ran == [(1, 121, 143, 3)] * 2
    one.runner.close()


def test_nothing_in_a_frame_graph_is_dead(bundles: dict[str, Path]) -> None:
    """Every node and every weight is needed for an output: a removal has no use for the donor's residual."""
    for name in bundles:
        for title, data in framed_bundle(open_bundle(bundles[name])).items():
            graph = onnx.load_from_string(data).graph
            read = {name for node in graph.node for name in node.input} | {one.name for one in graph.output}
            for node in graph.node:
                assert read.intersection(node.output), (title, node.name)
            assert {tensor.name for tensor in graph.initializer} <= read


class Counted:
    """What goes to a device and comes back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.up: list[tuple[int, ...]] = []
        self.down: list[tuple[int, ...]] = []
        kinds = onnxruntime.OrtValue
        update, numpy = kinds.update_inplace, kinds.numpy

        def goes_up(value: Any, array: Any) -> None:
            self.up.append(array.shape)
            update(value, array)

        def comes_down(value: Any) -> Any:
            found = numpy(value)
            self.down.append(found.shape)
            return found

        monkeypatch.setattr(kinds, "update_inplace", goes_up)
        monkeypatch.setattr(kinds, "numpy", comes_down)


def bound_frames(bundle: Path) -> FrameRunner:
    """The frame graphs by the binding of the GPU's providers, with the CPU's memory in the device's place."""

    def add(options: Any, capture: bool) -> Any:
        return [("CPUExecutionProvider", {})]

    class Nothing:
        def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
            return [PortError("no graph of the host is to run") for _ in batch]

        def close(self) -> None:
            pass

    files, runners = open_bundle(bundle), []
    for name in (FRAME, "frame_removal"):
        session, captured = device_session(
            Path(name), settled(files.data(name), 1), 1, "cpu", add, "CPUExecutionProvider"
        )
        assert not captured
        runners.append(GraphRunner(DeviceGraph("cpu", session, Place("cpu"), None, captured=captured)))
    return FrameRunner(Nothing(), runners)


@pytest.mark.parametrize("removes", [False, True])
def test_a_session_on_a_device_moves_its_frame_and_little_else(
    bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch, removes: bool
) -> None:
    """The pictures of the host's state ports, while maps and light stay where they are; so does all of the donor."""
    host = opened(bundles["geogan"], (1,))
    device = bound_frames(bundles["geogan"])
    copies = Counted(monkeypatch)
    kept = [one.begin(one.prepare(donor_source(90), Mode.EDIT)) for one in (host.generator, host.generator)]
    moved = []
    for number in range(3):
        drive = replace(drives(host.generator, number)[0])
        drive = replace(drive, controls=replace(drive.controls, remove=removes))
        pictures = []
        for state, runner in zip(kept, (host.runner, device), strict=True):
            del copies.up[:], copies.down[:]
            (answer,) = runner.run([host.generator.inputs(state, drive)])
            assert not isinstance(answer, Exception), answer
            assert ("steady_out" in answer) == (runner is host.runner)
            pictures.append(shown(host.generator, state, answer))
        np.testing.assert_array_equal(*pictures)
        moved.append((sorted(copies.up), sorted(copies.down)))
    large = [shape for shape in moved[0][0] if np.prod(shape) > 6 and shape != (1, 121, 143, 3)]
    assert large  # once
    few = [(1,), (1,), (1, 2, 3), (1, 121, 143, 3)]
    assert moved[1:] == [(few, [(1,), (1, 121, 143, 3)])] * 2
    host.runner.close()
    device.close()
