"""Other weights for a plan: which fit, what they compute, and that a wrong refit does not go live.

The refit itself needs a GPU; its calls are held against a stand-in here, and against the bindings' signatures in
test_tensorrt_calls.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from engine.backends import open_graph
from engine.errors import PlanError
from engine.plans.probe import Arrays, Probe, go_live, make_probe, stored
from engine.plans.structure import structure
from export.tensorrt import refit as refitting
from export.tensorrt.api import Lines, Toolkit
from export.tensorrt.refit import refit_engine, refit_graph, refitted
from export.tensorrt.timing import TimingCache
from export.tensorrt.versions import check_refit, keeps_refit, recorded
from export.tensorrt.weights import weight_map, with_weights
from tests.export.tensorrt_graphs import tiny


def _run(graph: bytes) -> Callable[[Arrays], Arrays]:
    opened = open_graph(Path("graph.onnx"), "onnxruntime", data=graph)

    def run(arrays: Arrays) -> Arrays:
        return {name: np.array(array) for name, array in opened.run(arrays).items()}

    return run


def _weights(graph: bytes) -> dict[str, NDArray[Any]]:
    return {w.name: numpy_helper.to_array(w) for w in onnx.load_from_string(graph).graph.initializer}


def _edited(graph: bytes, change: Callable[[onnx.ModelProto], None]) -> bytes:
    model = onnx.load_from_string(graph)
    change(model)
    data: bytes = model.SerializeToString()
    return data


def _noise() -> dict[str, NDArray[Any]]:
    return {"image": np.random.default_rng(3).integers(0, 256, (1, 8, 8, 3), np.uint8)}


def test_the_map_holds_what_differs_and_gives_the_other_graph() -> None:
    """Swapped initialisers on a CPU runtime: bit for bit what the other file computes, and not what it did."""
    base, other = tiny(1), tiny(2)
    found = weight_map(base, other)
    assert set(found) == {"first.weight", "first.bias", "last.weight"}
    swapped = refit_graph(base, other, "tiny")
    got, want, before = (_run(graph)(_noise())["out"] for graph in (swapped, other, base))
    assert np.array_equal(got, want)
    assert np.abs(got - before).max() > 0.1
    assert structure(swapped) == structure(base)


def test_equal_weights_are_not_exchanged() -> None:
    """One bias that differs is one entry."""
    weights = _weights(tiny(1))
    other = with_weights(tiny(1), {"first.bias": weights["first.bias"] + 1})
    assert list(weight_map(tiny(1), other)) == ["first.bias"]
    assert not weight_map(tiny(1), tiny(1))


def _rename(model: onnx.ModelProto) -> None:
    model.graph.node[4].op_type = "Tanh"


def _widen(model: onnx.ModelProto) -> None:
    bias = model.graph.initializer[2]
    bias.CopyFrom(numpy_helper.from_array(np.zeros(5, np.float32), bias.name))


def _drop(model: onnx.ModelProto) -> None:
    del model.graph.node[4]
    model.graph.node[4].input[0] = "seen"


def _call(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].name = "other.weight"
    model.graph.node[3].input[1] = "other.weight"


def _retitle(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "made_2"
    model.graph.node[6].output[0] = "made_2"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_rename, "its node 'relu_0' is another"),
        (_widen, r"its weight 'first.bias' is \[5\], expected \[4\]"),
        (_drop, "it has 6 nodes, expected 7"),
        (_call, "its node 'conv_0' is another"),
        (_retitle, "its node 'cast_1' is another"),
    ],
)
def test_another_graph_is_refused_by_what_differs(
    change: Callable[[onnx.ModelProto], None], said: str
) -> None:
    """Weights of another graph in this plan would be a wrong picture; the first difference is named."""
    with pytest.raises(PlanError, match=said) as caught:
        weight_map(tiny(1), _edited(tiny(2), change))
    assert "\n" not in str(caught.value)


def test_sizes_among_the_constants_belong_to_the_graph() -> None:
    """Whole numbers state shapes; another number there is another graph."""

    def shaped(to: int) -> bytes:
        def change(model: onnx.ModelProto) -> None:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray([to], np.int64), "size"))

        return _edited(tiny(1), change)

    assert structure(shaped(1)) != structure(shaped(2))
    with pytest.raises(PlanError, match="ports or constants"):
        weight_map(shaped(1), shaped(2))


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("first.weigth", np.zeros(1, np.float32), "there is no weight 'first.weigth'"),
        ("first.bias", np.zeros(5, np.float32), r"is \(5,\) float32, expected \(4,\) float32"),
        ("first.bias", np.zeros(4, np.float16), "float16, expected"),
        ("first.bias", np.full(4, np.nan, np.float32), "is not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(name: str, values: NDArray[Any], said: str) -> None:
    """Before TensorRT sees them."""
    with pytest.raises(PlanError, match=said):
        with_weights(tiny(1), {name: values})


def test_no_graph_at_all_is_one_line() -> None:
    """Rubbish in place of a file."""
    with pytest.raises(PlanError, match="is no ONNX file"):
        weight_map(tiny(1), b"rubbish")


# --- the stored question -----------------------------------------------------------------------------


def _probe(graph: bytes, precision: Any = "fp16") -> Probe:
    return make_probe(graph, "tiny", precision, {"image": (0.0, 255.0)})


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_the_right_weights_go_live(precision: Any) -> None:
    """What computes as the ONNX file does, by way of a file."""
    probe = stored(_probe(tiny(2), precision).store())
    assert probe.precision == precision
    go_live(probe, _run(refit_graph(tiny(1), tiny(2), "tiny")), "tiny")


def _lost_bias(graph: bytes) -> bytes:
    return with_weights(graph, {"first.bias": np.zeros(4, np.float32)})


def _one_channel(graph: bytes) -> bytes:
    bias = _weights(graph)["first.bias"].copy()
    bias[2] = 0
    return with_weights(graph, {"first.bias": bias})


def _turned(graph: bytes) -> bytes:
    kernel = _weights(graph)["first.weight"]
    return with_weights(graph, {"first.weight": np.ascontiguousarray(kernel.transpose(0, 1, 3, 2))})


def _not_at_all(graph: bytes) -> bytes:
    return tiny(1)


def _half(graph: bytes) -> bytes:
    return with_weights(graph, {"last.weight": _weights(tiny(1))["last.weight"]})


def _nothing(graph: bytes) -> bytes:
    return with_weights(graph, {name: 0 * value for name, value in _weights(graph).items() if "." in name})


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("wrong", [_lost_bias, _one_channel, _turned, _not_at_all, _half, _nothing])
def test_a_wrong_refit_does_not_go_live(wrong: Callable[[bytes], bytes], precision: Any) -> None:
    """A lost bias (the fault of 11.3), one of its channels, a turned kernel, old weights, half of the new, none."""
    probe = _probe(tiny(2), precision)
    with pytest.raises(PlanError, match="it does not go live") as caught:
        go_live(probe, _run(wrong(tiny(2))), "tiny")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_numbers_that_are_none_do_not_go_live(spoilt: float) -> None:
    """One NaN is enough."""
    probe = _probe(tiny(2))
    found = {name: array.copy() for name, array in probe.expected.items()}
    found["out"][0, 0, 0, 0] = spoilt
    with pytest.raises(PlanError, match="does not go live"):
        probe.check(found, "tiny")


def test_a_missing_or_misshapen_answer_does_not_go_live() -> None:
    """Nor does half an answer."""
    probe = _probe(tiny(2))
    with pytest.raises(PlanError, match="out gives nothing"):
        probe.check({}, "tiny")
    with pytest.raises(PlanError, match=r"gives the shape \(1, 2, 8, 7\)"):
        probe.check({"out": probe.expected["out"][..., 1:]}, "tiny")


def _small_change(graph: bytes) -> bytes:
    """`out` and the picture's own two first channels a thousand times over."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "change"
        first, loud = np.asarray([0, 1], np.int64), np.asarray(1000, np.float32)
        model.graph.initializer.extend(
            [numpy_helper.from_array(first, "two"), numpy_helper.from_array(loud, "loud")]
        )
        model.graph.node.extend([
            onnx.helper.make_node("Gather", ["scaled", "two"], ["channels"], axis=1),
            onnx.helper.make_node("Mul", ["channels", "loud"], ["picture"]),
            onnx.helper.make_node("Add", ["picture", "change"], ["out"]),
        ])  # fmt: skip

    return _edited(graph, change)


@pytest.mark.parametrize("wrong", [_lost_bias, _turned, _not_at_all, _half])
def test_a_picture_with_a_small_change_is_judged_by_the_change(wrong: Callable[[bytes], bytes]) -> None:
    """A network that adds little to its input would pass with any weights, were it judged by the whole picture."""
    graph = _small_change(tiny(2))
    probe, right = make_probe(graph, "tiny", "fp16"), _run(graph)
    go_live(probe, right, "tiny")
    assert probe.scales["out"] < probe.expected["out"].std() / 100
    with pytest.raises(PlanError, match="does not go live"):
        go_live(stored(probe.store()), _run(_small_change(wrong(tiny(2)))), "tiny")


def test_one_number_is_judged_by_its_own_size() -> None:
    """A mean has no spread; half precision of it is right, and another one is not."""
    probe = Probe({}, {"mean": np.array([0.3], np.float32)}, "fp16")
    probe.check({"mean": np.array([0.3], np.float16)}, "tiny")
    for wrong in (0.31, 0.0, np.nan):
        with pytest.raises(PlanError, match="does not go live"):
            probe.check({"mean": np.array([wrong], np.float32)}, "tiny")


@pytest.mark.parametrize("data", [b"", b"rubbish", b"PK\x03\x04 cut"])
def test_what_is_no_probe_is_refused(data: bytes) -> None:
    """One line, and nothing of it is run: a pickled array in it is not read."""
    with pytest.raises(PlanError, match="is no probe"):
        stored(data)


def test_a_probe_is_never_unpickled(tmp_path: Path) -> None:
    """An array of objects is code of somebody else's."""

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "sprung"),))

    file = tmp_path / "trap.npz"
    np.savez(file, allow_pickle=True, precision=np.array("fp32"), **{"in.image": np.array([Trap()], object)})
    with pytest.raises(PlanError, match="is no probe"):
        stored(file.read_bytes())
    assert not (tmp_path / "sprung").exists()


# --- versions ------------------------------------------------------------------------------------------


def _toolkit(version: str, flavour: Any = "tensorrt", api: Any = None) -> Toolkit:
    numbers = tuple(int(part) for part in version.split(".")[:3])
    return Toolkit(api or SimpleNamespace(), flavour, version, numbers)


def test_a_version_known_to_refit_wrongly_is_refused_by_name() -> None:
    """11.3 drops a bias, as its own notes say; its neighbours do not."""
    with pytest.raises(PlanError, match=r"TensorRT 11\.3\.0\.99 cannot be trusted to refit: .* bias"):
        check_refit(_toolkit("11.3.0.99"))
    for sound in ("11.4.0.106", "11.2.1.2", "10.16.1.11", "10.3.0"):
        check_refit(_toolkit(sound))
    check_refit(_toolkit("1.3.0", "rtx"))


@pytest.mark.parametrize(("version", "kept"), [("10.13.3", False), ("10.14.1", True), ("11.4.0", True)])
def test_from_10_14_on_a_refitted_plan_stays_refittable(version: str, kept: bool) -> None:
    """The flag for it came with that version."""
    assert keeps_refit(_toolkit(version)) is kept
    assert recorded(_toolkit(version)) == {"flavour": "tensorrt", "tensorrt": version}


# --- the calls, against a stand-in ---------------------------------------------------------------------


class _Refitter:
    missing: tuple[str, ...] = ()
    done = True

    def __init__(self, engine: Any, logger: Any) -> None:
        engine.calls.append("refitter")
        self.engine = engine

    def get_missing_weights(self) -> list[str]:
        return list(self.missing)

    def refit_cuda_engine(self) -> bool:
        self.engine.calls.append("refit")
        return self.done


class _Reader:
    taken = True

    def __init__(self, refitter: _Refitter, logger: Any) -> None:
        self.refitter = refitter

    num_errors = 1

    def refit_from_bytes(self, model: bytes) -> bool:
        self.refitter.engine.calls.append(model)
        return self.taken

    def get_error(self, index: int) -> Any:
        return SimpleNamespace(desc=lambda: "weights of\nanother count")


class _Engine:
    def __init__(self, refittable: bool = True) -> None:
        self.refittable, self.calls = refittable, []
        self.flags: set[str] = {"EXCLUDE_WEIGHTS"}

    def create_serialization_config(self) -> Any:
        return SimpleNamespace(clear_flag=self.flags.discard, set_flag=self.flags.add)

    def serialize_with_config(self, config: Any) -> bytes:
        return b"refitted"


def _api(engine: Any, refitter: type = _Refitter, reader: type = _Reader) -> Any:
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda plan: engine if plan == b"plan" else None)
    return SimpleNamespace(
        ILogger=type("ILogger", (), {"ERROR": 1, "INTERNAL_ERROR": 0, "WARNING": 2}),
        Runtime=lambda logger: runtime,
        Refitter=refitter,
        OnnxParserRefitter=reader,
        SerializationFlag=SimpleNamespace(EXCLUDE_WEIGHTS="EXCLUDE_WEIGHTS", INCLUDE_REFIT="INCLUDE_REFIT"),
    )


@pytest.mark.parametrize(("version", "flags"), [("11.4.0", {"INCLUDE_REFIT"}), ("10.13.3", set())])
def test_a_plan_is_refitted_and_written_whole(
    version: str, flags: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights are read, then exchanged, and written with the plan; refittable again where the version can."""
    monkeypatch.setattr(refitting, "check_driver", lambda toolkit, refit: None)
    engine = _Engine()
    assert refitted(_toolkit(version, api=_api(engine)), b"plan", b"weights", "tiny") == b"refitted"
    assert engine.calls == ["refitter", b"weights", "refit"]
    assert engine.flags == flags


class _Missing(_Refitter):
    missing = ("first.bias", "last.weight")


class _Failing(_Refitter):
    done = False


class _Refusing(_Reader):
    taken = False


@pytest.mark.parametrize(
    ("engine", "parts", "said"),
    [
        (_Engine(refittable=False), {}, "was not built for refit; run: marotte plan BUNDLE --refit"),
        (_Engine(), {"reader": _Refusing}, "refused the weights: weights of another count"),
        (_Engine(), {"refitter": _Missing}, "2 of its weights are not in the graph, such as 'first.bias'"),
        (_Engine(), {"refitter": _Failing}, "did not refit: no reason given"),
    ],
)
def test_every_way_to_fail_is_one_line(engine: _Engine, parts: dict[str, Any], said: str) -> None:
    """And the weights are not exchanged by halves: what is missing is asked for before."""
    toolkit = _toolkit("11.4.0", api=_api(engine, **parts))
    with pytest.raises(PlanError, match=said) as caught:
        refit_engine(toolkit, engine, b"weights", "tiny", Lines())  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert "refit" not in engine.calls or parts.get("refitter") is _Failing


def test_a_plan_that_does_not_load_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another version or GPU, say."""
    monkeypatch.setattr(refitting, "check_driver", lambda toolkit, refit: None)
    with pytest.raises(PlanError, match="does not load it"):
        refitted(_toolkit("11.4.0", api=_api(_Engine())), b"another", b"weights", "tiny")


# --- timings -------------------------------------------------------------------------------------------


class _Config:
    """Of a builder: takes timings of its own GPU only."""

    def __init__(self, measured: bytes) -> None:
        self.measured, self.given = measured, []

    def create_timing_cache(self, data: bytes) -> bytes:
        return data

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        if cache not in (b"", b"mine"):
            return False
        self.given.append(cache)
        return True

    def get_timing_cache(self) -> Any:
        return SimpleNamespace(serialize=lambda: self.measured)


def test_timings_last_and_foreign_ones_do_not_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Kept per version under an HMAC; changed by anybody, cut, or of another GPU: measured anew."""
    toolkit, timing = _toolkit("11.4.0"), TimingCache(tmp_path / "timings")
    first = _Config(b"mine")
    timing.lend(toolkit, first)
    timing.keep(toolkit, first)
    again, older = _Config(b""), _Config(b"")
    timing.lend(toolkit, again)
    timing.lend(_toolkit("11.2.1"), older)
    assert (first.given, again.given, older.given) == ([b""], [b"mine"], [b""])
    timing.write(timing.name(toolkit), b"of another GPU")
    elsewhere = _Config(b"")
    timing.lend(toolkit, elsewhere)
    assert elsewhere.given == [b""]
    (file,) = (tmp_path / "timings").glob("timing-*.cache")
    for planted in (b"x" * 40, file.read_bytes()[:-1], b""):
        file.write_bytes(planted)
        assert timing.read(timing.name(toolkit)) == b""
    assert "measured again" in caplog.text


def test_rtx_has_no_timings(tmp_path: Path) -> None:
    """It measures when the plan meets its card."""
    timing, config = TimingCache(tmp_path / "timings"), _Config(b"mine")
    timing.lend(_toolkit("1.7.1", "rtx"), config)
    timing.keep(_toolkit("1.7.1", "rtx"), config)
    assert not config.given
    assert not (tmp_path / "timings").exists()


def test_a_disk_that_refuses_costs_no_plan(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The plan is there already; only the next build takes as long."""
    (tmp_path / "timings").write_text("in the way")
    TimingCache(tmp_path / "timings").keep(_toolkit("11.4.0"), _Config(b"mine"))  # type: ignore[arg-type]
    assert "cannot be kept" in caplog.text
