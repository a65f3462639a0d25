"""What a face carries from frame to frame stays on the device, and what belongs to a source lies there once."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from engine.backends import open_graph
from engine.backends.carried import Carried, for_graph
from engine.backends.onnxruntime import DeviceGraph, Place, device_session
from engine.backends.tensorrt import TensorRtGraph
from engine.errors import BackendError, PortError
from engine.free_batch import settled
from engine.generators.batch_runner import BatchRunner
from engine.plans.background import Stage, SwapGraph
from engine.plug import Ports
from tests.engine.batch_graphs import growing_graph
from tests.engine.gpu_fakes import Gpu, TensorRt, fake_plan
from tests.engine.test_backends_tensorrt import fakes  # noqa: F401

LIMIT_S = 20.0


@dataclass
class Face:
    """Its donor is the source's, which nobody can write to. frame: the ports of its next one."""

    donor_level: float
    carried: Carried = field(default_factory=lambda: Carried((1, 3)))
    expected: float = 0.0

    def __post_init__(self) -> None:
        self.donor = np.full((1, 3), self.donor_level, np.float32)
        self.donor.setflags(write=False)

    def frame(self, gain: float) -> Ports:
        self.gain = gain
        return {"grown": self.carried, "gain": np.full((1, 3), gain, np.float32), "donor": self.donor}

    def check(self, answer: Any, *, shown: bool = True) -> None:
        """That the answer is of this face's own past, which this frame now belongs to where it was shown."""
        np.testing.assert_allclose(answer["sum"], self.expected + self.gain + self.donor_level)
        if shown:
            self.expected += self.gain
            self.carried.settle(answer.get("grown_out"))


@dataclass
class Device:
    """A graph of a device. up, down: copies to it and from it so far."""

    graph: Any
    copies: dict[str, int]


def on_tensorrt(gpu: Gpu) -> Device:
    return Device(TensorRtGraph(fake_plan(growing_graph(), (1, 2, 4)), "growing"), gpu.copies)


def on_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> Device:
    """The binding of the GPU's providers, with the CPU's memory in the device's place. The side sizes are free, so that
    nothing is recorded."""
    copies = {"up": 0, "down": 0}
    kinds = onnxruntime.OrtValue

    def counted(way: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def copy(*given: Any) -> Any:
            copies[way] += 1
            return call(*given)

        return copy

    monkeypatch.setattr(kinds, "update_inplace", counted("up", kinds.update_inplace))
    monkeypatch.setattr(kinds, "numpy", counted("down", kinds.numpy))

    def add(options: Any, capture: bool) -> Any:
        return [("CPUExecutionProvider", {})]

    data = settled(growing_graph(), 1)
    session, _ = device_session(Path("growing"), data, 1, "cpu", add, "CPUExecutionProvider")
    graph = DeviceGraph("cpu", session, Place("cpu"), None, captured=False)
    copies.update(up=0, down=0)
    return Device(graph, copies)


@pytest.fixture(params=["tensorrt", "onnxruntime"])
def device(
    request: pytest.FixtureRequest,
    fakes: tuple[Gpu, TensorRt],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Device]:
    opened = on_tensorrt(fakes[0]) if request.param == "tensorrt" else on_onnxruntime(monkeypatch)
    yield opened
    opened.graph.close()


def spent(device: Device, run: Callable[[], object]) -> tuple[int, int]:
    """Copies up and down."""
    before = dict(device.copies)
    run()
    return device.copies["up"] - before["up"], device.copies["down"] - before["down"]


def test_a_frame_costs_the_way_of_what_is_its_own(device: Device) -> None:
    """State and constants go up once; from then on a frame's own input goes up, and its picture comes down."""
    face = Face(100.0)
    costs = [
        spent(device, lambda: face.check(device.graph.run(face.frame(gain))))  # noqa: B023 - called at once
        for gain in (1.0, 2.0, 4.0, 8.0)
    ]
    assert costs == [(3, 1), (1, 1), (1, 1), (1, 1)]
    assert face.expected == 15.0


def test_a_frame_that_was_not_shown_leaves_the_state_as_it_was(device: Device) -> None:
    """What came out goes in only when it counts, however often it was computed."""
    face = Face(0.0)
    face.check(device.graph.run(face.frame(1.0)))
    for gain in (50.0, 60.0):
        face.check(device.graph.run(face.frame(gain)), shown=False)
    face.check(device.graph.run(face.frame(2.0)))
    face.check(device.graph.run(face.frame(4.0)))
    assert face.expected == 7.0


def test_faces_by_turns_keep_their_own(device: Device) -> None:
    """Each its state and its source's constants, none of which goes up twice."""
    faces = [Face(100.0), Face(200.0), Face(300.0)]

    def round_of(gain: float) -> None:
        for number, face in enumerate(faces):
            face.check(device.graph.run(face.frame(gain + number)))

    assert spent(device, lambda: round_of(1.0)) == (9, 3)
    assert [spent(device, lambda: round_of(2.0)) for _ in range(3)] == [(3, 3)] * 3


def test_the_numbers_come_back_where_somebody_else_needs_them(device: Device) -> None:
    """To a graph of the host, and when the device's is closed: the face goes on from where it was."""
    face = Face(10.0)
    host = open_graph(Path("growing"), "onnxruntime", data=settled(growing_graph(), 1))
    for gain in (1.0, 2.0, 4.0):
        face.check(device.graph.run(face.frame(gain)))
        face.check(host.run(for_graph(host, face.frame(8.0))))
    face.check(device.graph.run(face.frame(1.0)))
    device.graph.close()
    face.check(host.run(for_graph(host, face.frame(1.0))))
    assert face.expected == 33.0
    host.close()


def test_plain_arrays_are_answered_as_ever(device: Device) -> None:
    """After a face that is carried, a state that is given as numbers is, and is answered as numbers."""
    face = Face(10.0)
    face.check(device.graph.run(face.frame(1.0)))
    plain = face.frame(1.0) | {"grown": np.full((1, 3), 5.0, np.float32)}
    found = device.graph.run(plain)
    np.testing.assert_allclose(found["grown_out"], 6.0)
    np.testing.assert_allclose(found["sum"], 16.0)
    face.check(device.graph.run(face.frame(2.0)))


def test_rows_lie_beside_each_other_on_the_device(fakes: tuple[Gpu, TensorRt]) -> None:  # noqa: F811
    """Batches of changing faces in changing order: each from its own past, constants up once, state never."""
    device = on_tensorrt(fakes[0])
    runner = BatchRunner(dict.fromkeys((1, 2, 4), device.graph))
    faces = [Face(100.0 * number) for number in range(4)]

    def together(*order: int) -> None:
        entries = [faces[number].frame(1.0 + number) for number in order]
        for number, answer in zip(order, runner.run(entries), strict=True):
            faces[number].check(answer)

    assert spent(device, lambda: together(0, 1, 2)) == (9, 1)
    assert spent(device, lambda: together(2, 0, 1)) == (3, 1)
    assert spent(device, lambda: together(3, 2, 1, 0)) == (6, 1)
    assert spent(device, lambda: together(1, 3)) == (2, 1)
    assert spent(device, lambda: together(3)) == (1, 1)
    assert spent(device, lambda: together(0, 3, 1)) == (3, 1)
    device.graph.close()


def test_rows_stay_where_their_constants_lie(fakes: tuple[Gpu, TensorRt]) -> None:  # noqa: F811
    """The same faces in another order move nothing on the device but what they carry."""
    device = on_tensorrt(fakes[0])
    faces = [Face(100.0 * number) for number in range(3)]
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        before = device.copies["beside"]
        answers = device.graph.run_rows([faces[number].frame(1.0) for number in order], 4)
        for number, answer in zip(order, answers, strict=True):
            faces[number].check(answer)
    assert device.copies["beside"] - before == 6  # each face's state in, and out
    device.graph.close()


def test_a_failing_run_takes_nobodys_state(fakes: tuple[Gpu, TensorRt]) -> None:  # noqa: F811
    """The device fails in the midst of a batch: each face goes on from its last shown frame, constants anew."""
    gpu, _ = fakes
    device = on_tensorrt(gpu)
    runner = BatchRunner(dict.fromkeys((1, 2, 4), device.graph))
    faces = [Face(100.0), Face(200.0)]

    def together() -> list[Any]:
        return runner.run([face.frame(1.0) for face in faces])

    for face, answer in zip(faces, together(), strict=True):
        face.check(answer)
    del gpu.calls[:]
    gpu.fail["cudaGraphLaunch"] = gpu.cudaError_t.cudaErrorIllegalAddress
    assert all(isinstance(answer, BackendError) for answer in together())
    gpu.fail.clear()
    for face, answer in zip(faces, together(), strict=True):
        face.check(answer)
    device.graph.close()


def test_rows_that_do_not_fit_are_refused(fakes: tuple[Gpu, TensorRt]) -> None:  # noqa: F811
    """More than there are, and an entry that is no entry, by one line."""
    graph = on_tensorrt(fakes[0]).graph
    with pytest.raises(PortError, match="expected up to 2 of one shape"):
        graph.run_rows([Face(1.0).frame(1.0) for _ in range(3)], 2)
    with pytest.raises(PortError, match="'gain'"):
        graph.run_rows([Face(1.0).frame(1.0) | {"gain": np.ones((1, 4), np.float32)}], 2)
    graph.close()


def test_what_a_lost_face_had_is_given_back(fakes: tuple[Gpu, TensorRt]) -> None:  # noqa: F811
    """Memory of faces and sources that are no more is not kept."""
    gpu, _ = fakes
    graph = on_tensorrt(gpu).graph
    stays = Face(1.0)
    stays.check(graph.run(stays.frame(1.0)))
    held = len(gpu.device)
    for number in range(5):
        passing = Face(float(number))
        passing.check(graph.run(passing.frame(1.0)))
    del passing
    gc.collect()
    stays.check(graph.run(stays.frame(1.0)))
    last = Face(1.0)
    last.check(graph.run(last.frame(1.0)))
    assert len(gpu.device) == held + 3  # the last one's state, twice, and its donor
    graph.close()


def test_a_plan_that_takes_over_goes_on_from_where_the_other_was(
    fakes: tuple[Gpu, TensorRt],  # noqa: F811
) -> None:
    """While it is tried the numbers are seen by the host; then they stay on the device."""
    device = on_tensorrt(fakes[0])
    serving = open_graph(Path("growing"), "onnxruntime", data=settled(growing_graph(), 1))
    graph = SwapGraph(serving, lambda progress, cancel: device.graph)
    graph.wait(LIMIT_S)
    runner, face = BatchRunner({1: graph, 2: graph}), Face(10.0)
    frames = 0
    while graph.status.stage is not Stage.SERVING:
        assert not graph.carries
        assert not graph.rows
        (answer,) = runner.run([face.frame(2.0**-10)])  # exact, however many
        face.check(answer)
        frames += 1
        assert frames < 10**6
    assert graph.carries
    assert graph.rows
    other = Face(20.0)
    for _ in range(3):
        for one, answer in zip((face, other), runner.run([face.frame(1.0), other.frame(2.0)]), strict=True):
            assert "grown_out" not in answer
            one.check(answer)
    graph.close()
