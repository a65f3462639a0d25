"""A graph in a lower precision: its types, its picture, what stays, and what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engine.backends import open_graph
from engine.bundles import SHIPPED, names
from engine.errors import BackendError, BundleError, ConfigError
from engine.free_batch import settled
from export.batch import batched
from export.keep import RULES, Keep
from export.onnx import write_graph
from export.precision import lower
from export.quantise import OPSET as QUANTISED_OPSET
from export.rounding import rounded
from export.systems import EXPORTERS, plan_of
from export.wiring import Wiring, attribute
from tests.export.graphs import narrow, written
from tests.export.keep_cases import CASES
from tests.export.pictures import SHOWN, Array, Run, drawn, psnr, runner
from tests.export.test_systems import official_checkpoint

LOW = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
ENOUGH = 40.0  # dB
Models = dict[str, onnx.ModelProto]


TINY = """(uint8[1,16,16,3] image, float[1,8] shift) => (float[1,8,16,16] made)
    <float[8,3,3,3] w = {WEIGHTS}, float[1,8,1,1] b = {BIASES}> {
    wide = Cast <to = 1> (image)
    planes = Transpose <perm = [0, 3, 1, 2]> (wide)
    half = Constant <value_float = 127.5> ()
    scaled = Div (planes, half)
    one = Constant <value_float = 1.0> ()
    signed = Sub (scaled, one)
    felt = Conv <pads = [1, 1, 1, 1]> (signed, w)
    axes = Constant <value_ints = [2, 3]> ()
    mean = ReduceMean (felt, axes)
    centred = Sub (felt, mean)
    squares = Mul (centred, centred)
    variance = ReduceMean (squares, axes)
    little = Constant <value_float = 0.00001> ()
    raised = Add (variance, little)
    deviation = Sqrt (raised)
    normed = Div (centred, deviation)
    bent = Relu (normed)
    zero = Constant <value_ints = [0]> ()
    until = Constant <value_ints = [1]> ()
    along = Constant <value_ints = [1]> ()
    part = Slice (w, zero, until, along)
    again = Conv <pads = [1, 1, 1, 1], group = 8> (bent, part)
    columns = Unsqueeze (shift, axes)
    moved = Add (again, columns)
    made = Mul (moved, b)
}"""


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Of every tensor, as the file states it."""
    graph = model.graph
    stated = {tensor.name: tensor.data_type for tensor in graph.initializer}
    values = (*graph.input, *graph.output, *graph.value_info)
    return stated | {value.name: value.type.tensor_type.elem_type for value in values}


def _worst(system: str, exact: Run, lowered: Run, crops: list[Array]) -> float:
    """The lowest PSNR of any picture of any crop."""
    found = []
    for seed, image in enumerate(crops):
        other = crops[(seed + 1) % len(crops)]
        expected = SHOWN[system](exact, image, other, seed)
        made = SHOWN[system](lowered, image, other, seed)
        found += [psnr(expected[name], made[name]) for name in expected]
    return min(found)


def _size(models: Models) -> int:
    return int(next(iter(models.values())).graph.input[0].type.tensor_type.shape.dim[2].dim_value)


@pytest.fixture(scope="module")
def tiny() -> onnx.ModelProto:
    """A picture through two layers with a norm between them, and a shift."""
    weights = 0.2 * np.random.default_rng(2).standard_normal(216)
    numbers = ", ".join(f"{value:.4f}" for value in weights)
    return written(TINY.replace("WEIGHTS", numbers).replace("BIASES", ", ".join(["1.5"] * 8)))


@pytest.mark.parametrize("precision", LOW)
def test_types_are_written_into_the_graph(tiny: onnx.ModelProto, precision: Any) -> None:
    """Ports as they were; layers low in all that they read and give; the norm in float32; no Cast after a Cast."""
    lowered = lower(tiny, precision)
    assert list(lowered.graph.input) == list(tiny.graph.input)
    assert list(lowered.graph.output) == list(tiny.graph.output)
    types = _types(lowered)
    makers = {name: node for node in lowered.graph.node for name in node.output}
    assert all(name in types for node in lowered.graph.node for name in (*node.input, *node.output) if name)
    for node in lowered.graph.node:
        kinds = {types[name] for name in (*node.input, *node.output) if name}
        if node.op_type == "Conv":
            assert kinds == {LOW[precision]}
        if node.op_type == "ReduceMean":
            assert LOW[precision] not in kinds
        if node.op_type == "Cast" and node.input[0] in makers:
            assert makers[node.input[0]].op_type != "Cast"
    casts = Counter(
        (node.input[0], attribute(node, "to")) for node in lowered.graph.node if node.op_type == "Cast"
    )
    assert set(casts.values()) == {1}
    assert lowered.opset_import == tiny.opset_import


def test_float32_is_what_it_was(tiny: onnx.ModelProto) -> None:
    """Nothing but constants is changed, and the graph that was given never is."""
    before = tiny.SerializeToString()
    assert [node.op_type for node in lower(tiny, "fp32").graph.node] == [
        node.op_type for node in Wiring(tiny).nodes
    ]
    lower(tiny, "fp16")
    assert tiny.SerializeToString() == before


def test_every_system_says_what_its_picture_is() -> None:
    """Or its precision is measured by nobody."""
    assert SHOWN.keys() == EXPORTERS.keys()


@pytest.mark.parametrize("precision", LOW)
@pytest.mark.parametrize("system", sorted(EXPORTERS))
def test_the_picture_stays(system: str, precision: Any, request: pytest.FixtureRequest) -> None:
    """40 dB or more between the pictures of the graphs in float32 and lowered."""
    models = dict(narrow(system, request))
    lowered = {name: rounded(lower(model, precision)) for name, model in models.items()}
    crops = [drawn(_size(models), seed) for seed in range(3)]
    worst = _worst(system, runner(models), runner(lowered), crops)
    assert worst >= ENOUGH
    assert np.isfinite(worst)  # a graph that was not lowered at all would be the same


@pytest.mark.parametrize("precision", LOW)
def test_the_lowered_graph_runs_where_it_can(tiny: onnx.ModelProto, precision: Any) -> None:
    """Both runtimes take float16, OpenVINO bfloat16; the numbers are near."""
    arrays = {"image": drawn(16, 1), "shift": np.full((1, 8), 0.5, np.float32)}
    expected = runner({"tiny": tiny})("tiny", arrays)["made"]
    for backend in ("openvino", "onnxruntime") if precision == "fp16" else ("openvino",):
        made = runner({"tiny": lower(tiny, precision)}, backend)("tiny", arrays)["made"]
        assert made.dtype == np.float32
        assert np.abs(made - expected).max() < (0.01 if precision == "fp16" else 0.1)


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_worth_its_place(rule: str) -> None:
    """Left out, it costs what it is there for."""
    kept, dropped = CASES[rule].errors(rule)
    assert np.isfinite(kept)
    assert dropped > CASES[rule].worth * kept + 1e-6


def test_moves_between_float32_are_not_lowered() -> None:
    """What only moves numbers from float32 to float32 would round them for nothing."""
    model = written(
        """(float[1,4,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] z) {
            tall = Transpose <perm = [0, 1, 3, 2]> (x)
            y = Exp (tall)
            wide = Transpose <perm = [0, 1, 3, 2]> (x)
            z = Relu (wide)
        }"""
    )
    found = {node.output[0]: node.op_type for node in lower(model, "fp16", keep=Keep()).graph.node}
    assert "Cast" not in found.values()


def test_a_constant_is_stored_once_in_each_type() -> None:
    """Shared by a layer and by something that stays, it is there twice; by two layers, once."""
    model = written(
        """(float[1,4,4,4] x) => (float[4,4,4,4] y)
           <float[4,4,1,1] w = {WEIGHTS}> {
            once = Conv (x, w)
            twice = Conv (once, w)
            eight = Add (twice, w)
            y = Softmax <axis = 1> (eight)
        }""".replace("WEIGHTS", ", ".join("0.25" for _ in range(16)))
    )
    lowered = lower(model, "fp16", keep=Keep().plus(["eight"]))
    stored = {tensor.name: tensor.data_type for tensor in lowered.graph.initializer}
    assert stored == {"w": TensorProto.FLOAT16, "w_fp32": TensorProto.FLOAT}


def test_weights_stored_in_float16_keep_their_names() -> None:
    """The Cast behind them is computed away, so that the weights of two bundles of one graph pair up by name."""
    model = written(
        """(float[1,4,4,4] x) => (float[1,4,4,4] y)
           <float16[4,4,1,1] w = {WEIGHTS}, float[4] b = {1.0, 2.0, 3.0, 4.0}> {
            wide = Cast <to = 1> (w)
            y = Conv (x, wide, b)
        }""".replace("WEIGHTS", ", ".join(["13312"] * 16))
    )
    lowered = lower(model, "bf16")
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in lowered.graph.initializer}
    assert stored.keys() == {"w", "b"}
    assert stored["w"].dtype == stored["b"].dtype != np.float16
    assert (stored["w"].astype(np.float32) == 0.25).all()


@pytest.mark.parametrize(("value", "kind"), [("1e9", 1), ("1e-9", 1), ("0.5", 10)])
def test_a_constant_that_the_type_cannot_hold_keeps_its_node(value: str, kind: int) -> None:
    """A threshold must not become infinite, nor an epsilon zero."""
    model = written(
        """(float[1,4,16,16] x) => (float[1,4,16,16] y)
           <float[4,4,1,1] w = {WEIGHTS}, float c = {VALUE}> {
            one = Conv (x, w)
            two = Add (one, c)
            y = Conv (two, w)
        }""".replace("WEIGHTS", ", ".join("0.5" for _ in range(16))).replace("VALUE", value)
    )
    assert _types(lower(model, "fp16"))["c"] == kind


def test_a_free_batch_may_be_lowered(tiny: onnx.ModelProto) -> None:
    """Batched first, lowered afterwards: the plans with several profiles are made so."""
    lowered = lower(batched(tiny, None), "bf16")
    assert lowered.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    arrays = {"image": np.concatenate([drawn(16, 1), drawn(16, 2)]), "shift": np.ones((2, 8), np.float32)}
    opened = open_graph(Path("tiny.onnx"), "openvino", data=lowered.SerializeToString())
    assert opened.run(arrays)["made"].shape == (2, 8, 16, 16)


def _cases(count: int) -> Iterator[dict[str, Array]]:
    for seed in range(count):
        yield {"x": np.random.default_rng(seed).uniform(-1, 1, (1, 8, 16, 16)).astype(np.float32)}


@pytest.fixture(scope="module")
def chain() -> onnx.ModelProto:
    """Four convolutions; the two in the middle are away from the ends."""
    weights = [0.2 * np.random.default_rng(k).standard_normal((8, 8, 3, 3)) for k in range(4)]
    weights[1][0] *= 30  # one channel is much larger than the others
    nodes = []
    for place in range(4):
        given = "x" if place == 0 else f"r{place - 1}"
        nodes.append(helper.make_node("Conv", [given, f"w{place}"], [f"c{place}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{place}"], ["y" if place == 3 else f"r{place}"]))
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 16, 16])],
        [numpy_helper.from_array(weight.astype(np.float32), f"w{k}") for k, weight in enumerate(weights)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_what_rounds_is_what_a_runtime_rounds(chain: onnx.ModelProto) -> None:
    """OpenVINO computes bfloat16 graphs with every result rounded: so does the twin by which all are measured."""
    lowered = lower(chain, "bf16")
    (case,) = _cases(1)
    twin = runner({"chain": rounded(lowered)})("chain", case)["y"]
    itself = runner({"chain": lowered}, "openvino")("chain", case)["y"]
    exact = runner({"chain": chain})("chain", case)["y"]
    assert np.abs(itself - twin).mean() < 0.2 * np.abs(exact - twin).mean()
    with pytest.raises(BackendError, match="bfloat16"):
        runner({"chain": lowered}, "onnxruntime")


@pytest.mark.parametrize(
    ("precision", "kind", "step"),
    [("int8", TensorProto.INT8, 127.0), ("fp8", TensorProto.FLOAT8E4M3FN, 448.0)],
)
def test_layers_are_quantised_where_there_is_a_calibration(
    chain: onnx.ModelProto, precision: Any, kind: int, step: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Symmetric pairs in front of the middle layers, a scale per output channel, float16 elsewhere; near in numbers."""
    lowered = lower(chain, precision, calibration=_cases(4))
    assert capsys.readouterr().out == ""
    assert lowered.opset_import[0].version == QUANTISED_OPSET
    stored = {tensor.name: tensor for tensor in lowered.graph.initializer}
    quantisers = [node for node in lowered.graph.node if node.op_type == "QuantizeLinear"]
    assert {node.input[0] for node in quantisers} == {"r0", "w1", "r1", "w2"}
    for node in quantisers:
        zero = stored[node.input[2]]
        assert zero.data_type == kind
        assert not np.frombuffer(zero.raw_data, np.uint8).any()
    scale = numpy_helper.to_array(stored["w1_scale"]).astype(np.float64)
    weight = numpy_helper.to_array(stored["w1"]).astype(np.float64)
    assert scale.shape == (8,)
    np.testing.assert_allclose(scale, np.abs(weight).max(axis=(1, 2, 3)) / step, rtol=2e-3)
    types = _types(lowered)
    assert all(
        types[node.output[0]] == TensorProto.FLOAT16 for node in lowered.graph.node if node.op_type == "Conv"
    )
    (case,) = _cases(1)
    expected = runner({"chain": chain})("chain", case)["y"]
    made = runner({"chain": rounded(lowered)})("chain", case)["y"]
    apart = np.abs(made - expected).mean() / np.abs(expected).mean()
    assert 1e-4 < apart < 0.1


def test_the_scales_of_a_pair_are_the_same_number(chain: onnx.ModelProto) -> None:
    """In float32 in front of what stays, in float16 behind it."""
    lowered = lower(chain, "int8", keep=Keep().plus(["r0"]), calibration=_cases(2))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in lowered.graph.initializer}
    found = {name: value for name, value in stored.items() if name.startswith("r0_scale")}
    assert {value.dtype for value in found.values()} == {np.dtype(np.float32), np.dtype(np.float16)}
    assert {value.shape for value in found.values()} == {()}
    assert len({float(value) for value in found.values()}) == 1


@pytest.mark.parametrize(
    ("precision", "calibration", "said"),
    [
        ("int8", None, "precision int8: no calibration set was given"),
        ("fp8", [], "precision fp8: the calibration set is empty"),
        ("int8", [{}], "a calibration case has no 'x', expected all inputs"),
        (
            "int8",
            [{"x": np.zeros((1, 8, 16, 15), np.float32)}],
            r"calibration input 'x' is \(1, 8, 16, 15\) float32",
        ),
        ("int8", [{"x": np.zeros((1, 8, 16, 16), np.float64)}], "calibration input 'x' is .* float64"),
        ("int4", None, "precision: got 'int4', expected one of fp32, fp16, bf16, int8, fp8"),
    ],
)
def test_what_is_asked_wrongly_is_told(
    chain: onnx.ModelProto, precision: Any, calibration: Any, said: str
) -> None:
    """One clear line each."""
    with pytest.raises(ConfigError, match=said):
        lower(chain, precision, calibration=calibration)


def test_what_cannot_be_quantised_is_told() -> None:
    """A graph whose only layers are its ends, and one of an older opset."""
    ends = "(float[1,4,4,4] x) => (float[1,4,4,4] y) <float[4,4,1,1] w = {%s}> { y = Conv (x, w) }"
    model = written(ends % ", ".join("0.5" for _ in range(16)))
    with pytest.raises(ConfigError, match="no layer between its ends to quantise; take fp16"):
        lower(model, "int8", calibration=[{"x": np.zeros((1, 4, 4, 4), np.float32)}])
    model.opset_import[0].version = 17
    with pytest.raises(ConfigError, match="the graph is of opset 17, expected 18"):
        lower(model, "int8", calibration=[])


def test_a_lowered_graph_is_not_lowered_again(tiny: onnx.ModelProto) -> None:
    """Twice would round twice, and nobody would know."""
    with pytest.raises(BundleError, match="is FLOAT16 already; expected a graph in float32"):
        lower(lower(tiny, "fp16"), "fp16")


def test_entries_of_the_keep_list_are_known() -> None:
    """A rule, a type of node, or the beginning of a name that is there; else the nearest one is told."""
    with pytest.raises(ConfigError, match="got the rule 'norm', expected one of norms"):
        Keep(frozenset({"norm"}))
    model = written(
        "(float[1,4,16,16] x) => (float[1,4,16,16] y) { shade = Elu (x) tone = Elu (shade) y = Elu (tone) }"
    )
    bare = Keep(frozenset())
    assert bare.plus(["Elu"]).nodes(Wiring(model)) == {"shade", "tone", "y"}
    assert bare.plus(["ton"]).nodes(Wiring(model)) == {"tone"}
    assert bare.plus(["ends"]).rules == {"ends"}
    with pytest.raises(ConfigError, match="is called 'shape'; did you mean 'shade'"):
        lower(model, "fp16", keep=bare.plus(["shape"]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: model.graph.node[0].__setattr__("domain", "ours"), "is of the domain ours"),
        (lambda model: model.graph.node[0].__setattr__("op_type", "Shrunk"), "graph small: "),
        (lambda model: model.functions.add(name="twice", domain="ours"), "calls the function twice"),
    ],
)
def test_a_graph_that_is_not_understood_is_refused(change: Any, said: str) -> None:
    """Rather than lowered by guess."""
    model = written("(float[1,4] x) => (float[1,4] y) { y = Elu (x) }")
    change(model)
    with pytest.raises(BundleError, match=said):
        lower(model, "fp16")


# --- full sizes, real faces ------------------------------------------------------------------------


def _official(system: str, root: Path, folder: Path) -> Models:
    """The graphs at full width, weights by rule."""
    loaded = official_checkpoint(system, root, folder)
    return {
        graph.name: onnx.load_from_string(settled(write_graph(graph), 1)) for graph in plan_of(loaded).graphs
    }


@pytest.mark.full
@pytest.mark.parametrize("precision", LOW)
@pytest.mark.parametrize("system", sorted(EXPORTERS))
def test_the_picture_stays_at_the_official_width(
    system: str, precision: Any, parity_root: Path, tmp_path: Path
) -> None:
    """The published size, weights by rule."""
    models = _official(system, parity_root, tmp_path)
    lowered = {name: rounded(lower(model, precision)) for name, model in models.items()}
    crops = [drawn(_size(models), seed) for seed in range(2)]
    assert _worst(system, runner(models), runner(lowered), crops) >= ENOUGH


@pytest.mark.full
@pytest.mark.parametrize("precision", LOW)
def test_the_picture_of_a_shipped_bundle_stays(precision: Any, faces_root: Path) -> None:
    """Trained weights on real faces."""
    from engine.bundle import open_bundle
    from tests.export.precision_figures import crops

    if not names():
        pytest.skip("no bundle is shipped")
    for name in names():
        bundle = open_bundle(SHIPPED / name)
        manifest = bundle.manifest
        models = {graph: onnx.load_from_string(settled(bundle.data(graph), 1)) for graph in manifest.graphs}
        lowered = {graph: rounded(lower(model, precision)) for graph, model in models.items()}
        crop = manifest.parameters.crop
        given = crops(faces_root / "portraits", crop.rule, crop.size, 6)
        assert _worst(manifest.system, runner(models), runner(lowered), given) >= ENOUGH
