"""The parity loop itself: that it finds what it is pointed to, and that every field of the fixtures' format bites."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.parity.fixtures import Call, Fixture, call_of, discover, indexed, prepared
from tests.parity.recipes import filled
from tests.parity.tolerance import complaint, forbidden_match

EXACT = {"key": "a", "atol": 0.0, "rtol": 0.0}


def _fixture(folder: Path, outputs: dict[str, Any], **case: Any) -> Fixture:
    np.savez(folder / "outputs.npz", **outputs)
    return Fixture(folder, "x/y", {"arguments": {}, "mode": None, "weights": None, **case})


def test_fixtures_are_found_by_their_file_under_any_name(tmp_path: Path) -> None:
    """Another root has other folder names; the test id carries the path."""
    for name in ("odd/one", "odd/two", "other/deep/three"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "case.json").write_text(json.dumps({"system": "s", "kind": "k", "name": "n"}))
    found = discover(tmp_path)
    assert [one.title for one in found] == ["odd/one", "odd/two"]
    assert found[0].triple == ("s", "k", "n")


@pytest.mark.parametrize(
    ("rules", "result", "passes"),
    [
        (EXACT, [1.0, 2.0, 4.0], True),
        (EXACT, [1.0, 2.0, 4.0001], False),
        (EXACT, [1.0, 2.0], False),
        (EXACT, [1.0, 2.0, np.nan], False),
        (EXACT | {"atol": 0.1}, [1.09, 2.0, 4.0], True),
        (EXACT | {"rtol": 0.1}, [1.0, 2.0, 4.39], True),
        (EXACT | {"rtol": 0.1}, [1.2, 2.0, 4.0], False),
        (EXACT | {"rtol_of_max": 0.1}, [1.4, 2.0, 4.0], True),
        (EXACT | {"rtol_of_max": 0.1}, [1.5, 2.0, 4.0], False),
        (EXACT | {"fraction_over": 0.4, "atol_hard": 1.0}, [1.9, 2.0, 4.0], True),
        (EXACT | {"fraction_over": 0.4, "atol_hard": 0.5}, [1.9, 2.0, 4.0], False),
        (EXACT | {"fraction_over": 0.4, "atol_hard": 1.0}, [1.9, 2.9, 4.0], False),
        (EXACT | {"atol": 9.0, "mean_atol": 0.2}, [1.5, 2.0, 4.0], True),
        (EXACT | {"atol": 9.0, "mean_atol": 0.1}, [1.5, 2.0, 4.0], False),
        (EXACT | {"where": {"key": "gap", "above": 0.5}}, [9.0, 2.0, 4.0], True),
        (EXACT | {"where": {"key": "gap", "above": 0.5}}, [1.0, 9.0, 4.0], False),
        (EXACT | {"skip_if_max_below": 5.0}, [9.0, 9.0, 9.0], True),
        (EXACT | {"skip_if_max_below": 4.0}, [9.0, 9.0, 9.0], False),
        (EXACT | {"squeeze": True}, [[1.0], [2.0], [4.0]], True),
        (EXACT | {"slice": "[0]"}, [[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]], True),
        (EXACT | {"slice": "[1]"}, [[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]], False),
        ({"key": "mean", "atol": 1e-6, "rtol": 0.0, "reduce": "mean"}, [1.0, 2.0, 4.0], True),
        ({"key": "mean", "atol": 1e-6, "rtol": 0.0, "reduce": "mean_abs"}, [-1.0, 2.0, -4.0], True),
        ({"key": "mean", "atol": 1e-6, "rtol": 0.0, "reduce": "mean"}, [-1.0, 2.0, -4.0], False),
        ({"key": "three", "atol": 0.0, "rtol": 0.0, "reduce": "shape"}, [0.0, 0.0, 0.0], True),
        ({"key": "a", "atol": 0.0, "rtol": 0.0, "reduce": "mean[0]"}, [[0, 2, 3], [2, 2, 5]], True),
        (EXACT | {"atoll": 1.0}, [1.0, 2.0, 4.0], False),
    ],
)
def test_a_tolerance_field_decides(tmp_path: Path, rules: Any, result: Any, passes: bool) -> None:
    """Each field lets through what it names and nothing more; a field without a reader is a failure."""
    stored = {"a": [1.0, 2.0, 4.0], "gap": [0.1, 0.9, 0.9], "mean": 7.0 / 3.0, "three": [3]}
    fixture = _fixture(tmp_path, stored)
    assert (complaint(fixture, "r", rules, np.array(result)) is None) is passes


@pytest.mark.parametrize("columns", ["[1:4]", "[:, 1:4]"])
def test_rotation_vectors_compare_as_rotations(tmp_path: Path, columns: str) -> None:
    """A turn of 2 pi - t about -axis is the turn of t about the axis; the other columns stay numbers."""
    turn = np.array([0.6, 0.0, 0.8])
    fixture = _fixture(tmp_path, {"a": np.r_[1.0, 0.5 * turn, 2.0][None]})
    rules = {"key": "a", "atol": 1e-6, "rtol": 0.0, "rotation_vectors": columns}
    same = np.r_[1.0, -(2 * np.pi - 0.5) * turn, 2.0][None]
    assert complaint(fixture, "r", rules, same) is None
    assert complaint(fixture, "r", rules, same + np.r_[0, 0, 0, 0, 1e-3]) is not None
    assert complaint(fixture, "r", rules, same + np.r_[0, 1e-2, 0, 0, 0]) is not None


def test_weights_after_a_step_are_held_where_they_had_a_gradient(tmp_path: Path) -> None:
    """Adam moves by the sign: where every gradient is rounding, the looser bound holds, and only there."""
    torch.save({"w": torch.zeros(3)}, tmp_path / "after.pth")
    fixture = _fixture(tmp_path, {"g1.w": [1.0, 1.0, 1e-9], "g2.w": [1.0, 1e-9, 1.0]})
    rules = {
        "file": "after.pth", "atol": 1e-6, "rtol": 0.0, "gradients": ["g1.", "g2."],
        "gradient_above_of_max": 1e-5, "atol_elsewhere": 1e-2,
    }  # fmt: skip
    assert complaint(fixture, "r", rules, {"w": torch.tensor([0.0, 1e-3, 1e-3])}) is None
    assert complaint(fixture, "r", rules, {"w": torch.tensor([1e-3, 0.0, 0.0])}) is not None
    assert complaint(fixture, "r", rules, {"w": torch.tensor([0.0, 0.1, 0.0])}) is not None
    assert complaint(fixture, "r", rules, {"v": torch.zeros(3)}) is not None
    silent = rules | {"gradient_max_above": 2.0}
    assert complaint(fixture, "r", silent, {"w": torch.tensor([1e-3, 0.0, 0.0])}) is None


def test_a_known_wrong_result_is_recognised(tmp_path: Path) -> None:
    """`must_not_match` compares by the result's own tolerance, and only arrays of its shape."""
    fixture = _fixture(tmp_path, {"a": [1.0, 2.0], "wrong": [5.0, 6.0], "other": [5.0, 6.0, 7.0]})
    rules = EXACT | {"atol": 0.1}
    assert forbidden_match(fixture, "r", rules, np.array([5.05, 6.0]), "wrong")
    assert not forbidden_match(fixture, "r", rules, np.array([1.0, 2.0]), "wrong")
    assert not forbidden_match(fixture, "r", rules, np.array([5.0, 6.0]), "other")


def test_inputs_are_prepared_in_order(tmp_path: Path) -> None:
    """The README's steps, one after the other, in float32, and on every array of a list."""
    ramp = np.arange(6, dtype=np.int64).reshape(1, 2, 3)
    assert prepared(ramp, ["slice [:, 1:]", "minus 3", "divide 2"]).tolist() == [[[0.0, 0.5, 1.0]]]
    assert prepared(ramp, ["times 2", "divide 4"]).dtype == np.float32
    assert prepared([ramp, ramp], ["slice [0, 0]"])[1].tolist() == [0, 1, 2]
    assert prepared(ramp % 2, ["one_hot 2"])[0, 1].tolist() == [[0, 1, 0], [1, 0, 1]]
    assert prepared(np.zeros((1, 4, 5, 3)), ["nhwc_to_nchw"]).shape == (1, 3, 4, 5)
    assert prepared(np.array([[3.0, 4.0]]), ["normalize_rows"]).tolist() == [[0.6, 0.8]]
    edge = prepared(np.array([[[[0.0, 1.0]]]], np.float32), ["resize_bilinear_corners 1 3"])
    assert edge.tolist() == [[[[0.0, 0.5, 1.0]]]]
    with pytest.raises(KeyError):
        prepared(ramp, ["rotate 90"])


def test_an_index_reads_as_numpy_does() -> None:
    """Slices with steps, ellipses and negative numbers."""
    array = np.arange(24).reshape(2, 3, 4)
    for text, expected in (
        ("[:, 1::2]", array[:, 1::2]),
        ("[..., -1]", array[..., -1]),
        ("[-1:]", array[-1:]),
    ):
        assert np.array_equal(indexed(array, text), expected)


def test_a_call_takes_the_case_s_own_weights_and_stored_outputs(tmp_path: Path) -> None:
    """A case's weights win over the fixture's; `outputs:K` and lists of arrays are inputs like others."""
    for name, value in (("top", 1.0), ("own", 2.0)):
        torch.save({"w": torch.tensor(value)}, tmp_path / f"{name}.pth")
    np.savez(tmp_path / "inputs.npz", x=np.float32(3.0), y=np.float32(4.0))
    entry = {"container": "state_dict"}
    fixture = _fixture(tmp_path, {"k": 5.0}, weights={"file": "top.pth", **entry})
    case = {"name": "c", "inputs": {"a": "outputs:k", "b": ["x", "y"]}, "outputs": {}}
    call: Call = call_of(fixture, case)
    assert float(call.inputs["a"]) == 5.0
    assert [float(one) for one in call.inputs["b"]] == [3.0, 4.0]
    assert float(call.state()["w"]) == 1.0
    assert float(call_of(fixture, case | {"weights": {"file": "own.pth", **entry}}).state()["w"]) == 2.0


def _recipe(**changes: Any) -> dict[str, Any]:
    return {
        "rng": "PCG64",
        "seed": 7,
        "order": "sorted keys",
        "keys_file": "keys.json",
        "skip": [],
        **changes,
    }


def test_a_recipe_draws_in_order_and_skips_without_drawing(tmp_path: Path) -> None:
    """One stream over the sorted keys; a key of `skip` takes no number out of it."""
    (tmp_path / "keys.json").write_text(json.dumps({"b": [2], "a": {"shape": [2, 3]}, "an_k": [4, 4]}))
    recipe = _recipe(
        skip=[{"match": "_k$", "formula": "kernel_1331", "scale": 4.0}],
        rules=[
            {"match": ".", "min_ndim": 2, "formula": "sqrt_gain_over_fan_in", "gain": 2.0},
            {"match": "b", "formula": "offset_scale_abs", "offset": 1.0, "scale": 0.5},
        ],
    )
    weights = filled(recipe, tmp_path)
    stream = np.random.Generator(np.random.PCG64(7))
    assert list(weights) == ["b", "a", "an_k"]
    a = (stream.standard_normal((2, 3)) * np.sqrt(2.0 / 3.0)).astype(np.float32)
    assert np.array_equal(weights["a"].numpy(), a)
    b = (1.0 + 0.5 * np.abs(stream.standard_normal(2))).astype(np.float32)
    assert np.array_equal(weights["b"].numpy(), b)
    assert float(weights["an_k"].sum()) == pytest.approx(4.0)


def test_a_recipe_by_key_needs_no_order(tmp_path: Path) -> None:
    """Each key has a stream of its own, seeded by the CRC-32 of salt and key."""
    listed = {"g": [{"key": "w", "shape": [2], "offset": 1.0, "scale": 0.1}]}
    (tmp_path / "keys.json").write_text(json.dumps(listed))
    rules = [{"match": ".*", "formula": "offset_scale_listed"}]
    recipe = _recipe(rng="RandomState_per_key", salt="s:", order="any", keys_in="g", rules=rules)
    noise = np.random.RandomState(zlib.crc32(b"s:w")).standard_normal(2)
    assert np.array_equal(filled(recipe, tmp_path)["w"].numpy(), (1.0 + 0.1 * noise).astype(np.float32))


@pytest.mark.parametrize("probe", [{"tensor": "a", "abs_sum": 1.0}, {"npz": "probe.npz", "slice": "[:2]"}])
def test_a_recipe_that_misses_its_probe_is_refused(tmp_path: Path, probe: dict[str, Any]) -> None:
    """A wrong fill is told before a network runs on it."""
    (tmp_path / "keys.json").write_text(json.dumps({"a": [3]}))
    np.savez(tmp_path / "probe.npz", a=np.zeros(2, np.float32))
    recipe = _recipe(rules=[{"match": "a", "formula": "over_sqrt_fan_in", "scale": 2.0}], probe=[probe])
    with pytest.raises(ValueError, match="probe of a"):
        filled(recipe, tmp_path)


@pytest.mark.full
def test_every_recipe_of_the_fixtures_meets_its_probes(parity_root: Path) -> None:
    """One reader serves all systems, those too that are not built yet."""
    for fixture in discover(parity_root):
        for case in fixture.case["cases"] or [{}]:
            if "recipe" in json.dumps(case.get("weights", fixture.case["weights"])):
                assert fixture.weights(case)
