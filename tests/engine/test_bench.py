"""The bench: what it writes, how it scales, how two are compared."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import marotte
from engine import backends, bench
from engine.backends import Port
from engine.bench import chart, run, versus
from engine.bench.clocks import DeviceClock, timed_run
from engine.bench.cost import Cost
from engine.bench.graphs import Figures, run_batches
from engine.bench.peak import Peak
from engine.bench.session import BLOCK, Rows
from engine.bundles import SHIPPED
from engine.errors import BackendError, ConfigError
from engine.generators.batch_runner import BatchRunner
from engine.generators.frame_runner import FrameRunner
from engine.generators.graph_runner import GraphRunner
from engine.media import read_picture
from engine.plans import policy
from engine.types import Mode
from export.frame import add
from export.frame.parity import FrameReport
from tests.engine.bundle_files import write_ganimation


@pytest.mark.usefixtures("models")
def test_every_stage_is_measured_and_scaled(tmp_path: Path) -> None:
    """bench.json holds median and p95 per stage, also scaled to the reference core, and what ran them."""
    result = bench.run_bench(tmp_path, frames=25)
    content = json.loads((tmp_path / "bench.json").read_text())
    assert content == result.content
    assert set(content["stages"]) == set(bench.STAGES)
    scale = bench.REFERENCE_REMAP_MS / content["calibration"]["remap_ms"]
    for stage, figures in content["stages"].items():
        assert 0 < figures["median_ms"] <= figures["p95_ms"] or stage == "occlusion"
        assert figures["median_scaled_ms"] == pytest.approx(figures["median_ms"] * scale)
    assert content["backend"]["reason"]
    (one,) = content["backends"]
    assert one["name"] == content["backend"]["name"]
    assert one["stages"] == content["stages"]
    assert [row["batch"] for row in one["batches"]] == [1, 2, 4, 8]
    (mesh,) = one["graphs"]
    assert mesh["clock"] == content["peak"]["clock"] == "cpu"
    assert mesh["share_of_floor"] == pytest.approx(mesh["floor_ms"] / mesh["median_ms"])
    assert one["host_share"] is None
    assert read_picture(tmp_path / "bench.png").shape[1] == chart.WIDTH
    assert content["versions"]["numpy"]
    assert "scaled" in str(result)


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("mode", [pytest.param("puppet", marks=pytest.mark.full), "edit"])
def test_a_bundle_is_measured_in_both_of_its_modes(mode: str, tmp_path: Path) -> None:
    """The same stages for a network's portrait and for the driver's own face, with what stands in front of it as live;
    what was measured stands in the file."""
    folder = str(write_ganimation(tmp_path / "closed_form"))
    content = bench.run_bench(tmp_path, bench.Request(folder, Mode(mode)), frames=25).content
    assert (content["bundle"], content["mode"], content["frames"]) == ("closed_form", mode, 25)
    assert content["stages"]["run"]["median_ms"] > 0
    assert content["stages"]["occlusion"]["median_ms"] > 0


@pytest.mark.usefixtures("models")
def test_a_bench_of_what_a_bundle_cannot_do_is_refused(tmp_path: Path) -> None:
    """Before anything is measured."""
    folder = str(write_ganimation(tmp_path / "closed_form"))
    with pytest.raises(ConfigError, match="cannot take an attribute away"):
        bench.run_bench(tmp_path, bench.Request(folder, Mode.EDIT, remove=True))


def test_the_calibration_is_a_few_positive_milliseconds() -> None:
    """The figure of this core is CPU time of real work."""
    seconds = bench.remap_seconds(5)
    assert len(seconds) == 5
    assert all(0 < one < 1 for one in seconds)


def written(path: Path, median: float) -> Path:
    stages = {stage: {"median_scaled_ms": median} for stage in bench.STAGES}
    path.write_text(json.dumps({"stages": stages}))
    return path


def test_comparing_gives_ratios(tmp_path: Path) -> None:
    """B / A per stage, on scaled figures, so that two machines can be compared."""
    table = bench.compare(written(tmp_path / "a.json", 4.0), written(tmp_path / "b.json", 5.0))
    rows = table.splitlines()[1:]
    assert len(rows) == len(bench.STAGES)
    assert all(row.split()[-1] == "1.250" for row in rows)


def test_an_older_file_is_compared(tmp_path: Path) -> None:
    """One that was written before a stage was measured: nothing was spent on that."""
    older = written(tmp_path / "older.json", 4.0)
    content = json.loads(older.read_text())
    del content["stages"]["occlusion"]
    older.write_text(json.dumps(content))
    table = bench.compare(older, written(tmp_path / "newer.json", 5.0))
    rows = {row.split()[0]: row.split()[1:] for row in table.splitlines()[1:]}
    assert rows["occlusion"] == ["0.00", "5.00", "-"]
    assert rows["all"][-1] == "1.250"


def test_comparing_something_else_is_refused(tmp_path: Path) -> None:
    """A file that is no bench is one line of error."""
    other = tmp_path / "other.json"
    other.write_text("{}")
    with pytest.raises(ConfigError, match="marotte bench"):
        bench.compare(other, tmp_path / "absent.json")
    with pytest.raises(ConfigError, match="frames"):
        bench.run_bench(tmp_path, frames=3)


@pytest.mark.parametrize("median", ['"4"', "null", "NaN", "-1", "true", "[]", "1" + "0" * 400])
def test_comparing_what_is_damaged_is_refused(median: str, tmp_path: Path) -> None:
    """What is no figure, or no table of them, is one line of error whatever it is instead."""
    damaged = written(tmp_path / "damaged.json", 4.0)
    damaged.write_text(damaged.read_text().replace("4.0", median))
    good = written(tmp_path / "good.json", 4.0)
    for name, text in (("deep", "[" * 100_000), ("flat", '{"stages": 3}'), ("list", "[]"), ("none", "null")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ConfigError, match=name):
            bench.compare(good, tmp_path / name)
    with pytest.raises(ConfigError, match="damaged"):
        bench.compare(damaged, damaged)


def test_comparing_reads_the_file_that_was_named(tmp_path: Path) -> None:
    """d.txt is d.txt, even beside a d.json."""
    good = written(tmp_path / "d.json", 4.0)
    (tmp_path / "d.txt").write_text("text")
    with pytest.raises(ConfigError, match=r"d\.txt"):
        bench.compare(good, tmp_path / "d.txt")


def test_memory_is_known_here_or_none() -> None:
    """Resident memory is in megabytes where the system tells it."""
    memory = bench.resident_mb()
    assert memory is None or 10 < memory < 100_000


# --- several at once --------------------------------------------------------------------------------------


class Turns:
    """A session that takes down when it was played."""

    def __init__(self, name: str, seen: list[tuple[str, int]]) -> None:
        self._name, self._seen = name, seen

    def play(self, frames: list[int]) -> None:
        self._seen.append((self._name, len(frames)))

    def detect(self, frames: list[int]) -> None:
        self._seen.append((self._name, -1))


def test_sessions_take_turns_by_blocks() -> None:
    """What else the machine does falls on all of them alike; every frame goes to each."""
    seen: list[tuple[str, int]] = []
    sessions: Any = [Turns(name, seen) for name in "ab"]
    told: list[tuple[int, int | None]] = []
    frames: Any = list(range(2 * BLOCK + 3))
    run.play_by_turns(sessions, frames, lambda done, total: told.append((done, total)))
    assert seen[:-2] == [(name, count) for count in (BLOCK, BLOCK, 3) for name in "ab"]
    assert seen[-2:] == [("a", -1), ("b", -1)]
    assert told[-1] == (2 * len(frames), 2 * len(frames))


def test_a_ratio_is_of_neighbours() -> None:
    """A machine that slows to a third in mid-run slows both: the ratio of each pair of blocks stays."""
    slower = [1.0] * BLOCK + [3.0] * BLOCK
    found = versus.ratio(slower, [2 * one for one in slower])
    assert found == {"median": 2.0, "p5": 2.0, "p95": 2.0}
    assert versus.ratio([0.0] * BLOCK, slower)["median"] is None


def test_what_is_compared_is_told_by_its_words(tmp_path: Path) -> None:
    """Backends and bundles are measured, anything else is a file to be read; one of each is refused."""
    folder = str(write_ganimation(tmp_path / "closed_form"))
    assert bench.live_pair("openvino", "onnxruntime") == ("backend", "backend")
    assert bench.live_pair("mesh_flow", folder) == ("bundle", "bundle")
    results = [str(written(tmp_path / name, 4.0)) for name in ("a.json", "b.json")]
    assert bench.live_pair(*results) is None
    with pytest.raises(ConfigError, match="two backends or two bundles to measure"):
        bench.run_versus(*results, tmp_path)
    with pytest.raises(ConfigError, match="openvino is a backend and mesh_flow is a bundle; expected two"):
        bench.live_pair("openvino", "mesh_flow")


def test_what_cannot_be_compared_is_told_for_what_it_is(tmp_path: Path) -> None:
    """A bundle beside a result, a folder with nothing in it and a slip are each told, with what is expected."""
    result, empty = str(written(tmp_path / "a.json", 4.0).parent), tmp_path / "empty"
    (tmp_path / "a.json").rename(tmp_path / "bench.json")
    empty.mkdir()
    with pytest.raises(
        ConfigError, match=r"mesh_flow is a bundle and .* is the result of an earlier run; .*--out"
    ):
        bench.live_pair("mesh_flow", result)
    with pytest.raises(ConfigError, match=r"folder .*empty has neither manifest.json, .* nor bench.json"):
        bench.live_pair("mesh_flow", str(empty))
    with pytest.raises(ConfigError, match=r"'geogan_smal' is no backend, .*did you mean geogan_small"):
        bench.live_pair("mesh_flow", "geogan_smal")


@pytest.mark.full
@pytest.mark.usefixtures("models")
def test_two_backends_are_measured_by_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ratios of both kinds in one run, by the command, and in the file."""
    assert (
        marotte.main(["bench", "--compare", *backends.BACKENDS[:2], "--frames", "50", "--out", str(tmp_path)])
        == 0
    )
    content = json.loads((tmp_path / "compare.json").read_text())
    assert (content["a"]["backend"], content["b"]["backend"]) == backends.BACKENDS[:2]
    assert content["ratios"]["track"]["median"] > 0
    assert "by turns" in capsys.readouterr().out


@pytest.mark.full
@pytest.mark.usefixtures("models")
def test_every_backend_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command without --backend: auto's choice first, and a table of each."""
    assert marotte.main(["bench", "--frames", "25", "--out", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "bench.json").read_text())
    names = [one["name"] for one in content["backends"]]
    assert len(names) == len(set(names)) > 1
    assert names[0] == backends.choose().name == content["backend"]["name"]
    told = capsys.readouterr().out
    assert all(f"{name} (" in told for name in names)


def test_backends_of_a_gpu_are_tried_where_there_is_a_driver(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that cannot be used then is told with its reason; without a driver none is tried, and nothing is said."""
    tried: list[str] = []

    def choose(name: str = "auto") -> backends.Choice:
        tried.append(name)
        if name == "tensorrt":
            raise BackendError("backend tensorrt: it is not installed")
        return backends.Choice("openvino" if name == "auto" else name, "for the test")

    monkeypatch.setattr(backends, "choose", choose)
    caplog.set_level("INFO", "marotte.bench")
    monkeypatch.setattr(run, "driver", lambda: None)
    assert run.names_of(bench.EVERY) == ["auto", "tensorrt_rtx", "onnxruntime_cuda", "onnxruntime"]
    assert caplog.messages == ["not measured: backend tensorrt: it is not installed"]

    def none() -> None:
        raise BackendError("there is no NVIDIA driver here")

    monkeypatch.setattr(run, "driver", none)
    tried.clear()
    assert run.names_of(bench.EVERY) == ["auto", "onnxruntime"]
    assert not {*backends.GPU_BACKENDS} & {*tried}


def test_backends_that_cannot_be_used_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is measured; one that was asked for by name is not replaced."""
    choose = backends.choose

    def without_openvino(name: str = "auto") -> backends.Choice:
        if name == "openvino":
            raise BackendError("backend openvino is not installed")
        return (
            backends.Choice("onnxruntime", "the other one is not there") if name == "auto" else choose(name)
        )

    monkeypatch.setattr(backends, "choose", without_openvino)
    assert run.names_of(bench.EVERY)[0] == "auto"
    assert "openvino" not in run.names_of(bench.EVERY)
    assert run.names_of("openvino") == ["openvino"]


# --- a device beside the CPU ------------------------------------------------------------------------------


class DeviceGraph:
    """As a graph on a GPU: it tells what the device was busy for, once it is asked to."""

    def __init__(self, busy_ms: float) -> None:
        self.timed, self.device_ms, self._busy_ms = False, None, busy_ms

    def run(self) -> None:
        self.device_ms = self._busy_ms if self.timed else None


def test_a_devices_time_is_its_own_events() -> None:
    """Summed over the graphs that a runner holds, whatever it calls them; none where nothing ran on a device."""
    graphs = [DeviceGraph(2.0), DeviceGraph(3.0), DeviceGraph(7.0)]
    runner = SimpleNamespace(one=graphs[0], more={"a": graphs[1]}, rest=(graphs[2],), name="r")
    clock = DeviceClock(runner)
    assert clock
    assert clock.seconds() is None
    for _ in range(2):
        clock.begin()
        graphs[0].run()
        graphs[1].run()
        assert clock.seconds() == pytest.approx(0.005)
    graphs[1].run()
    assert clock.seconds() == pytest.approx(0.005)  # a second run of one is not added
    runner.more["a"] = SimpleNamespace(swapped=graphs[2])
    clock.begin()
    graphs[2].run()
    assert clock.seconds() == pytest.approx(0.007)  # what took another's place is seen
    assert not DeviceClock(SimpleNamespace(name="on the CPU"))
    assert DeviceClock().seconds() is None


def test_a_device_behind_a_frame_graph_tells_too() -> None:
    """However deep the runner of whole frames holds it: the graph that takes batches, behind a plan's stand-in."""

    class Timed:
        backend, inputs, outputs, rows = "tensorrt", (), (), False
        timed, device_ms = False, None

        def run(self, arrays: Any) -> dict[str, Any]:
            self.device_ms = 3.0 if self.timed else None
            return {"frame_out": np.zeros((1, 2, 2, 3), np.uint8)}

        def close(self) -> None:
            pass

    graph = Timed()
    ports = tuple(Port(name, (1,), np.dtype(np.uint8)) for name in ("frame", "hidden"))
    stand_in = SimpleNamespace(inputs=ports, _graph=graph, run=graph.run)
    runner = FrameRunner(FrameRunner(None, [GraphRunner(stand_in)]), [BatchRunner({1: stand_in})])  # type: ignore[arg-type]
    device = DeviceClock(runner)
    assert device
    (answer,) = runner.run([dict.fromkeys(("frame", "hidden"), np.zeros(1, np.uint8))])
    assert not isinstance(answer, Exception)
    assert device.seconds() == 0.003


@pytest.mark.full
@pytest.mark.usefixtures("models")
def test_whole_frames_are_measured_where_they_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the option: the session runs by the frame graph, the table says so, and the graph has a line of its own."""
    monkeypatch.setattr(add, "measure_frames", lambda bundle: FrameReport(1.0, {"none": ("0", {})}))
    add.add_frames(SHIPPED / "ganimation_small", tmp_path / "framed")
    asked = ["bench", "--bundle", str(tmp_path / "framed"), "--frames", "25", "--backend", "openvino"]
    assert marotte.main([*asked, "--frame-graph", "--out", str(tmp_path / "whole")]) == 0
    assert "whole frames in one graph" in capsys.readouterr().out
    (one,) = json.loads((tmp_path / "whole" / "bench.json").read_text())["backends"]
    assert one["frame_graph"]
    assert {row["graph"] for row in one["graphs"]} >= {"frame", "generator"}
    assert one["stages"]["all"]["median_ms"] > one["stages"]["run"]["median_ms"] > 0
    assert marotte.main(["bench", "--frame-graph", "--out", str(tmp_path / "none")]) == 2
    assert "no frame graph" in capsys.readouterr().err


def test_the_hosts_share_is_what_the_device_waits() -> None:
    """3 of 4 ms busy are a quarter idle."""
    assert run.host_share(Rows(render_wall=[0.004, 0.004], device=[0.003, 0.003])) == pytest.approx(0.25)
    assert run.host_share(Rows()) is None


def test_a_graph_stands_beside_its_floor() -> None:
    """6 GFLOP on a device of 3 TFLOP/s are 2 ms, of which 5 ms reach two fifths; of another clock nothing is told."""
    cost = Cost(flop=6_000_000_000, weight_bytes=1_000_000, port_bytes=0, traffic_bytes=9)
    figures = Figures("g", 1, "tensorrt", "device", [0.005] * 3, [0.006] * 3, cost)
    found = figures.content(Peak(3e12, 1e12, "tensorrt", "device"))
    assert found["floor_ms"] == pytest.approx(2.0)
    assert found["floor_by"] == "arithmetic"
    assert found["share_of_floor"] == pytest.approx(0.4)
    assert found["wall_median_ms"] == pytest.approx(6.0)
    assert figures.content(Peak(3e12, 1e8, "tensorrt", "device"))["floor_by"] == "memory"
    assert "floor_ms" not in figures.content(Peak(3e12, 1e12, "openvino", "cpu"))
    assert "floor_ms" in figures.content(Peak(3e12, 1e12, "onnxruntime_cuda", "wall"))


@pytest.mark.parametrize(
    ("backend", "busy_ms", "clock"),
    [("tensorrt", 2.0, "device"), ("onnxruntime_cuda", None, "wall"), ("openvino", None, "cpu")],
)
def test_a_run_is_timed_by_the_clock_that_tells_most(backend: str, busy_ms: float | None, clock: str) -> None:
    """The device's own events; the wall where a device tells none, for the CPU only waits; CPU time on a CPU."""

    class Sleeping:
        def __init__(self) -> None:
            self.backend = backend
            if busy_ms is not None:
                self.timed, self.device_ms = False, None

        def run(self, arrays: Any) -> dict[str, Any]:
            time.sleep(0.05)
            if busy_ms is not None:
                self.device_ms = busy_ms
            return {}

    graph: Any = Sleeping()
    seconds, wall, told = timed_run(graph, {})
    assert told == clock
    assert wall >= 0.05
    assert seconds == {"device": 0.002, "wall": wall}.get(clock, seconds)
    assert clock != "cpu" or seconds < 0.05


def test_plans_are_built_before_anything_is_measured() -> None:
    """And afterwards the process goes on as it did, also when the measurement fails."""
    before, seen = policy.current(), []

    def measured() -> None:
        with run.one_thread():
            seen.append(policy.current())
            raise InterruptedError

    with pytest.raises(InterruptedError):
        measured()
    assert seen == [replace(before, wait=True)]
    assert policy.current() is before


def test_a_batch_goes_to_the_runner_at_once() -> None:
    """So many frames in one call; a frame that fails is told and not timed."""
    sizes: list[int] = []

    class Counting:
        def run(self, batch: Any) -> list[Any]:
            sizes.append(len(batch))
            return [dict(ports) for ports in batch]

        def close(self) -> None: ...

    ports = [{"x": np.zeros(1)}]
    found = run_batches(Counting(), ports, (1, 4), runs=2)
    assert {batch: len(seconds) for batch, seconds in found.items()} == {1: 2, 4: 2}
    assert set(sizes) == {1, 4}

    class Failing(Counting):
        def run(self, batch: Any) -> list[Any]:
            return [ValueError("two\nlines")] * len(batch)

    with pytest.raises(BackendError, match="a batch of 4 was not generated"):
        run_batches(Failing(), ports, (4,), runs=1)


def test_batches_take_turns_too() -> None:
    """Round by round each session's runner, so that a slower minute is everybody's; all rounds count."""
    seen: list[str] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def run(self, batch: Any) -> list[Any]:
            seen.append(self.name)
            return [{} for _ in batch]

    def session(name: str) -> Any:
        choice = backends.Choice(name, "for the test")
        return SimpleNamespace(runner=Named(name), kept_ports=lambda: [{}], choice=choice)

    found = run.batches_by_turns([session("a"), session("b")], runs=8)
    turns = [name for place, name in enumerate(seen) if place == 0 or seen[place - 1] != name]
    assert "".join(turns) == "abababab"
    assert [[row["batch"] for row in rows] for rows in found] == [[1, 2, 4, 8]] * 2


# --- the chart --------------------------------------------------------------------------------------------


def chart_content(run_ms: float, floor_ms: float) -> dict[str, Any]:
    stages = {stage: {"median_ms": 1.0} for stage in bench.STAGES} | {"run": {"median_ms": run_ms}}
    row = {"graph": "g", "batch": 1, "median_ms": 4.0, "floor_ms": floor_ms, "share_of_floor": floor_ms / 4.0}
    every = [{"name": "one", "stages": stages, "graphs": [row]}]
    return {"bundle": "b", "mode": "puppet", "backends": every}


def test_the_chart_is_drawn_to_scale() -> None:
    """A stage's bar is as long as its share of the frame; a floor lies across its bar at its own time."""

    def pixels(picture: np.ndarray, colour: tuple[int, int, int], row: int) -> int:
        return int((picture[row] == colour).all(axis=1).sum())

    picture = chart.chart(chart_content(run_ms=5.0, floor_ms=1.0))
    assert picture.dtype == np.uint8
    row = next(row for row in range(80, len(picture)) if pixels(picture, chart.SHOWN["track"], row) > 20)
    assert pixels(picture, chart.SHOWN["run"], row) == pytest.approx(
        5 * pixels(picture, chart.SHOWN["track"], row), abs=6
    )
    lines = np.argwhere((picture == (200, 60, 40)).all(axis=2))
    bars = np.argwhere((picture == (120, 150, 200)).all(axis=2))
    start, end = bars[:, 1].min(), bars[:, 1].max()
    assert (lines[:, 1].mean() - start) / (end - start) == pytest.approx(0.25, abs=0.02)
    chart_without_floor = chart_content(5.0, 1.0)
    del chart_without_floor["backends"][0]["graphs"][0]["floor_ms"]
    assert not (chart.chart(chart_without_floor) == (200, 60, 40)).all(axis=2).any()
