"""The backends: named ports, honest choices, the same numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engine import backends
from engine.backends import BACKENDS, choose, open_graph
from engine.errors import BackendError, ModelError, PortError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A graph: total = a + b, double = 2 a; b has a free first size."""
    nodes = [
        helper.make_node("Add", ["a", "b"], ["total"]),
        helper.make_node("Add", ["a", "a"], ["double"]),
    ]
    ports = [("a", [1, 3]), ("b", ["n", 3]), ("total", ["n", 3]), ("double", [1, 3])]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ports]
    graph = helper.make_graph(nodes, "sums", infos[:2], infos[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)])
    model.ir_version = 8
    file = tmp_path / "sums.onnx"
    onnx.save(model, str(file))
    return file


def arrays(rows: int = 1) -> dict[str, Any]:
    """Fitting arrays."""
    return {"a": np.array([[1, 2, 3]], np.float32), "b": np.full((rows, 3), 10, np.float32)}


@pytest.mark.parametrize("backend", BACKENDS)
def test_ports_are_bound_by_name(path: Path, backend: str) -> None:
    """The order of the mapping means nothing, and free sizes may change from run to run."""
    graph = open_graph(path, backend)
    assert {port.name: port.shape for port in graph.inputs} == {"a": (1, 3), "b": (None, 3)}
    assert graph.backend == backend
    for rows in (1, 4, 2):
        given = dict(reversed(arrays(rows).items()))
        found = graph.run(given)
        np.testing.assert_array_equal(found["total"], np.tile([[11, 12, 13]], (rows, 1)))
        np.testing.assert_array_equal(found["double"], [[2, 4, 6]])
    graph.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_does_not_fit_a_port_is_refused(path: Path, backend: str) -> None:
    """Name, shape and dtype are checked before the runtime sees anything, and the message says what was
    expected.
    """
    graph = open_graph(path, backend)
    a, b = arrays()["a"], arrays()["b"]
    for given, message in (
        ({"a": a}, "port 'b'"),
        ({"a": a, "bb": b}, "did you mean 'bb'"),
        ({"a": a, "b": b, "c": b}, "port 'c' is not one"),
        ({"a": a[0], "b": b}, r"expected \(1, 3\) float32, got \(3,\) float32"),
        ({"a": a.astype(np.float64), "b": b}, "got .* float64"),
        ({"a": a, "b": b[:, :2]}, r"expected \(any, 3\)"),
    ):
        with pytest.raises(PortError, match=message):
            graph.run(given)
    np.testing.assert_array_equal(graph.run(arrays())["double"], [[2, 4, 6]])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_that_fails_raises_and_the_next_one_is_right(tmp_path: Path, backend: str) -> None:
    """Free sizes that do not go together are an error of that run: never the answer of the run before, which may be
    another session's, and nothing to the run that follows."""
    nodes = [
        helper.make_node("GridSample", ["a", "g"], ["s"], align_corners=1),
        helper.make_node("Mul", ["s", "b"], ["m"]),
        helper.make_node("Transpose", ["m"], ["y"], perm=[0, 2, 3, 1]),
    ]
    shapes = {"a": [1, 3, "h", "w"], "g": [1, "k", "l", 2], "b": [1, 1, "m", "n"], "y": [1, None, None, 3]}
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "g", infos[:3], infos[3:])
    file = tmp_path / "free.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))
    opened = open_graph(file, backend)

    def run(value: float, height: int, rows: int) -> Any:
        picture, grid = np.full((1, 3, height, 5), value, np.float32), np.zeros((1, height, 5, 2), np.float32)
        return opened.run({"a": picture, "g": grid, "b": np.ones((1, 1, rows, 5), np.float32)})["y"].copy()

    for value, height in ((2.0, 4), (3.0, 6), (4.0, 4)):
        np.testing.assert_array_equal(run(value, height, height), np.full((1, height, 5, 3), value))
        for _ in range(2):
            with pytest.raises(BackendError, match="failed while running"):
                run(9.0, 9, 7)
        np.testing.assert_array_equal(run(value + 1, height, height), np.full((1, height, 5, 3), value + 1))
    opened.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_the_wanted_outputs_are_computed(path: Path, backend: str) -> None:
    """A caller that needs one output gets that one; an unknown name is refused with the nearest."""
    graph = open_graph(path, backend, outputs=["double"])
    assert [port.name for port in graph.outputs] == ["double"]
    needed = {port.name: arrays()[port.name] for port in graph.inputs}
    assert set(graph.run(needed)) == {"double"}
    with pytest.raises(PortError, match=r"sums\.onnx: .*did you mean 'double'"):
        open_graph(path, backend, outputs=["doubel"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_of_any_layout_are_read(path: Path, backend: str) -> None:
    """A view with gaps gives the same numbers as its copy, and is not written to."""
    wide = np.arange(12, dtype=np.float32).reshape(2, 6)
    given = {"a": wide[:1, ::2], "b": wide[:, ::2]}
    before = wide.copy()
    found = open_graph(path, backend).run(given)["total"]
    np.testing.assert_array_equal(found, given["a"] + given["b"])
    np.testing.assert_array_equal(wide, before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_closed_graph_says_so(path: Path, backend: str) -> None:
    """Closing twice is harmless, running afterwards is an error."""
    graph = open_graph(path, backend)
    graph.close()
    graph.close()
    with pytest.raises(BackendError, match="closed"):
        graph.run(arrays())


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, backend: str) -> None:
    """Refused by the runtime means one line that names the file."""
    for name, data in (("text.onnx", b"no graph"), ("model.xml", b"<net></net>")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BackendError, match=name) as caught:
            open_graph(tmp_path / name, backend)
        assert "\n" not in str(caught.value)


def test_a_missing_file_names_the_command(tmp_path: Path) -> None:
    """Models are pulled, so that is what the message says."""
    with pytest.raises(ModelError, match="marotte models pull"):
        open_graph(tmp_path / "none.onnx")


def test_auto_says_what_it_took_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO where it is, ONNX Runtime where it is not, an error where neither is."""
    assert choose("auto").name == "openvino"
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "openvino" else True)
    choice = choose("auto")
    assert choice.name == "onnxruntime"
    assert "not installed" in choice.reason
    monkeypatch.setattr(backends, "find_spec", lambda _: None)
    with pytest.raises(BackendError, match="pip install"):
        choose("auto")


def test_a_backend_asked_for_by_name_is_never_replaced(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Unknown, absent and broken ones are errors that name the fix."""
    with pytest.raises(BackendError, match="did you mean openvino"):
        choose("openvno")
    with pytest.raises(BackendError, match="known are auto"):
        choose("zzz")
    monkeypatch.setattr(backends, "find_spec", lambda _: None)
    with pytest.raises(BackendError, match="pip install openvino"):
        open_graph(path, "openvino")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "engine.backends.openvino", None)
    with pytest.raises(BackendError, match="broken"):
        open_graph(path, "openvino")


def test_threads_have_to_be_counted(path: Path) -> None:
    """Zero threads is a mistake and not a wish for all of them."""
    with pytest.raises(BackendError, match="threads"):
        open_graph(path, threads=0)


def test_importing_the_door_imports_no_runtime() -> None:
    """A runtime costs time and memory: it is loaded when a graph is opened, and only the one that is used."""
    code = "import sys, engine.backends; print([m for m in ('openvino', 'onnxruntime') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_nobody_is_told_that_openvino_was_imported() -> None:
    """Nothing leaves the machine unasked: the runtime's telemetry is neither loaded nor given a thread."""
    code = (
        "import engine.backends.openvino, sys, threading\n"
        "loaded = [name for name in sys.modules if name.startswith('openvino_telemetry.')]\n"
        "print(loaded, threading.active_count())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "1"]
