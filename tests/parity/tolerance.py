"""How near a result has to be: the tolerance fields of the parity folder's README, each array by its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.parity.fixtures import Fixture, indexed

Array = NDArray[Any]
Rules = Mapping[str, Any]
KNOWN = frozenset(
    [
        "key",
        "file",
        "atol",
        "rtol",
        "rtol_of_max",
        "slice",
        "reduce",
        "squeeze",
        "mean_atol",
        "fraction_over",
        "atol_hard",
        "where",
        "skip_if_max_below",
        "rotation_vectors",
        "gradients",
        "gradient_above_of_max",
        "gradient_max_above",
        "atol_elsewhere",
        "notes",
    ]
)


def complaint(fixture: Fixture, name: str, rules: Rules, result: Any) -> str | None:
    """What is wrong with one result, None when it is near enough. An unknown field is a complaint, too."""
    if unknown := set(rules) - KNOWN:
        return f"{name}: no reader for the tolerance fields {sorted(unknown)}"
    if "file" in rules:
        return _weights_complaint(fixture, name, rules, result)
    got, expected = _view(_array(result), rules), fixture.outputs[rules["key"]]
    if rules.get("squeeze"):
        got, expected = got.squeeze(), expected.squeeze()
    if got.shape != expected.shape:
        return f"{name}: shape {got.shape}, expected {expected.shape}"
    if "skip_if_max_below" in rules and _largest(expected) < rules["skip_if_max_below"]:
        return None
    if "rotation_vectors" in rules:
        got, expected = (_as_matrices(array, rules["rotation_vectors"]) for array in (got, expected))
    kept = _kept(fixture, rules, expected.shape)
    return _distance_complaint(name, got[kept], expected[kept], rules)


def forbidden_match(fixture: Fixture, name: str, rules: Rules, result: Any, wrong: str) -> bool:
    """Whether a result is within its tolerance of a well-known wrong array of the same shape."""
    if "file" in rules:
        return False
    got, expected = _view(_array(result), rules), fixture.outputs[wrong]
    if rules.get("squeeze"):
        got, expected = got.squeeze(), expected.squeeze()
    return got.shape == expected.shape and _distance_complaint(name, got, expected, rules) is None


def _array(result: Any) -> Array:
    return result.detach().cpu().numpy() if isinstance(result, torch.Tensor) else np.asarray(result)


def _view(array: Array, rules: Rules) -> Array:
    if "slice" in rules:
        array = indexed(array, rules["slice"])
    reduce = rules.get("reduce")
    if reduce is None:
        return array
    if reduce == "shape":
        return np.array(array.shape)
    wide = array.astype(np.float64)
    if reduce in ("mean", "sum"):
        return np.asarray(getattr(wide, reduce)())
    if reduce == "mean_abs":
        return np.asarray(np.abs(wide).mean())
    if reduce.startswith("mean["):
        return wide.mean(axis=tuple(int(axis) for axis in reduce[5:-1].split(",")))
    raise ValueError(f"reduce {reduce!r} is not in the vocabulary")


def _largest(array: Array) -> float:
    return float(np.abs(array.astype(np.float64)).max(initial=0.0))


def _kept(fixture: Fixture, rules: Rules, shape: tuple[int, ...]) -> Array:
    if "where" not in rules:
        return np.ones(shape, bool)
    where = rules["where"]
    return np.broadcast_to(fixture.outputs[where["key"]] > where["above"], shape)


def _distance_complaint(name: str, got: Array, expected: Array, rules: Rules) -> str | None:
    if got.dtype == object or expected.dtype.kind in "US":
        return None if np.array_equal(got, expected) else f"{name}: {got!r}, expected {expected!r}"
    expected = expected.astype(np.float64)
    distance = np.abs(got.astype(np.float64) - expected)
    if not np.isfinite(distance).all() and not np.array_equal(got, expected, equal_nan=True):
        return f"{name}: values that are not finite"
    bound = (
        rules["atol"] + rules["rtol"] * np.abs(expected) + rules.get("rtol_of_max", 0.0) * _largest(expected)
    )
    over = distance > bound
    allowed = rules.get("fraction_over", 0.0)
    if over.mean() > allowed if over.size else False:
        worst = float((distance - bound).max())
        return f"{name}: {int(over.sum())} of {over.size} beyond the tolerance, by {worst:.3g} at most"
    if "atol_hard" in rules and distance.max(initial=0.0) > rules["atol_hard"]:
        return f"{name}: off by {distance.max():.3g}, at most {rules['atol_hard']} anywhere"
    if "mean_atol" in rules and distance.size and distance.mean() > rules["mean_atol"]:
        return f"{name}: off by {distance.mean():.3g} in the mean, at most {rules['mean_atol']}"
    return None


def _as_matrices(array: Array, columns: str) -> Array:
    """Rows (N, C): the listed columns as rotation matrices (N, 9 per vector), the others behind them as they are.

    columns: of one row, `[3:75]`, or of the array, `[:, 3:75]`.
    """
    which = np.zeros(array.shape[-1], bool)
    indexed(which, columns.strip("[] ").rpartition(",")[2])[...] = True
    vectors = array[..., which].astype(np.float64).reshape(-1, 3)
    matrices = np.stack([_rotation(vector) for vector in vectors]).reshape(*array.shape[:-1], -1)
    return np.concatenate((matrices, array[..., ~which].astype(np.float64)), axis=-1)


def _rotation(vector: Array) -> Array:
    """Rodrigues' formula."""
    angle = math.sqrt(float(vector @ vector))
    x, y, z = vector / angle if angle > 0.0 else vector
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * cross @ cross


def _weights_complaint(fixture: Fixture, name: str, rules: Rules, result: Any) -> str | None:
    """A state dict after a step against a file: entries with a real gradient to atol, the others to atol_elsewhere."""
    wanted = fixture.state_dict(rules["file"])
    if set(result) != set(wanted):
        return f"{name}: other keys than {rules['file']}: {sorted(set(result) ^ set(wanted))}"
    for tensor, expected in wanted.items():
        distance = np.abs(_array(result[tensor]).astype(np.float64) - _array(expected).astype(np.float64))
        bound = np.where(
            _has_gradient(fixture, rules, tensor, distance.shape),
            rules["atol"] + rules["rtol"] * np.abs(_array(expected)),
            rules.get("atol_elsewhere", rules["atol"]),
        )
        if (distance > bound).any():
            over = float((distance - bound).max())
            return f"{name}: {tensor}: {int((distance > bound).sum())} entries off, by {over:.3g} at most"
    return None


def _has_gradient(fixture: Fixture, rules: Rules, tensor: str, shape: tuple[int, ...]) -> Array:
    """Where every stored gradient of the tensor is well above rounding; everywhere where no `gradients` are named.

    A step without a stored gradient for the tensor did not move it.
    """
    if "gradients" not in rules:
        return np.ones(shape, bool)
    stored = [
        np.abs(fixture.outputs[prefix + tensor])
        for prefix in rules["gradients"]
        if prefix + tensor in fixture.outputs
    ]
    clear = np.ones(shape, bool)
    for gradient in stored:
        largest = _largest(gradient)
        if largest <= rules.get("gradient_max_above", 0.0):
            return np.zeros(shape, bool)
        clear &= gradient > rules["gradient_above_of_max"] * largest
    return clear
