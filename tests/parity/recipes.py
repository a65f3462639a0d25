"""Weights by rule: the one reader of the vocabulary in the parity folder's RECIPES.md."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Entry = dict[str, Any]


def filled(recipe: Mapping[str, Any], folder: Path) -> dict[str, Tensor]:
    """The state dict of a recipe, its probes checked."""
    entries = _entries(recipe, folder)
    names = sorted(entries) if recipe["order"] == "sorted keys" else list(entries)
    arrays = {}
    for name, draw in zip(names, _draws(recipe, names), strict=True):
        arrays[name] = _value(recipe, name, entries[name], draw)
    for probe in _probes(recipe):
        _check(probe, arrays, folder)
    return {name: torch.from_numpy(arrays[name]) for name in entries}


def _entries(recipe: Mapping[str, Any], folder: Path) -> dict[str, Entry]:
    """Key -> {"shape", "dtype", ...}, from any of the three layouts of a keys file."""
    content = json.loads((folder / recipe["keys_file"]).read_text())
    if "keys_in" in recipe:
        return {entry["key"]: {"dtype": "float32", **entry} for entry in content[recipe["keys_in"]]}
    return {
        key: {"dtype": "float32", **entry}
        if isinstance(entry, dict)
        else {"shape": entry, "dtype": "float32"}
        for key, entry in content.items()
    }


def _draws(recipe: Mapping[str, Any], names: list[str]) -> Iterator[Any]:
    if recipe["rng"] == "PCG64":
        stream = np.random.Generator(np.random.PCG64(recipe["seed"]))
        yield from (stream.standard_normal for _ in names)
        return
    if recipe["rng"] != "RandomState_per_key":
        raise ValueError(f"rng: {recipe['rng']!r} is not in the vocabulary")
    for name in names:
        seed = zlib.crc32((recipe["salt"] + name).encode())
        yield np.random.RandomState(seed).standard_normal


def _value(recipe: Mapping[str, Any], name: str, entry: Entry, draw: Any) -> NDArray[Any]:
    shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"].removeprefix("torch."))
    for rule in recipe["skip"]:
        if re.search(rule["match"], name):
            return _constant(rule, shape, dtype)
    noise = np.asarray(draw(shape), np.float64)
    for rule in recipe["rules"]:
        if re.search(rule["match"], name) and len(shape) >= rule.get("min_ndim", 0):
            return np.asarray(_formula(rule, entry, noise), np.float64).astype(dtype)
    raise ValueError(f"no rule of the recipe fits {name}")


def _constant(rule: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    if rule["formula"] == "zero":
        return np.zeros(shape, dtype)
    if rule["formula"] == "kernel_1331":
        row = np.array([1.0, 3.0, 3.0, 1.0])
        return (rule["scale"] * np.outer(row, row) / 64).reshape(shape).astype(dtype)
    raise ValueError(f"formula {rule['formula']!r} is not in the vocabulary of skip")


def _formula(rule: Mapping[str, Any], entry: Entry, noise: NDArray[np.float64]) -> Any:
    fan_in = float(np.prod(noise.shape[1:]))
    formula = rule["formula"]
    if formula == "offset_scale":
        return rule["offset"] + rule["scale"] * noise
    if formula == "offset_scale_abs":
        return rule["offset"] + rule["scale"] * np.abs(noise)
    if formula == "over_sqrt_fan_in":
        return noise * rule["scale"] / np.sqrt(fan_in)
    if formula == "sqrt_gain_over_fan_in":
        return noise * np.sqrt(rule["gain"] / fan_in)
    if formula == "offset_scale_listed":
        return entry["offset"] + entry["scale"] * noise
    raise ValueError(f"formula {formula!r} is not in the vocabulary of rules")


def _probes(recipe: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    probe = recipe.get("probe", [])
    return [probe] if isinstance(probe, dict) else list(probe)


def _check(probe: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], folder: Path) -> None:
    """Raises ValueError where the fill is not the one that the fixture was made with."""
    if "abs_sum" in probe:
        total = np.abs(arrays[probe["tensor"]].astype(np.float64)).sum()
        if not np.isclose(total, probe["abs_sum"], rtol=1e-4, atol=0.0):
            raise ValueError(f"probe of {probe['tensor']}: sum {total}, expected {probe['abs_sum']}")
        return
    with np.load(folder / probe["npz"]) as stored:
        wanted = {probe["tensor"]: stored[probe["key"]]} if "tensor" in probe else dict(stored)
    for name, values in wanted.items():
        if not np.array_equal(_flat_slice(arrays[name], probe["slice"]), values):
            raise ValueError(f"probe of {name}: the recipe's values are not those of {probe['npz']}")


def _flat_slice(array: NDArray[Any], expression: str) -> NDArray[Any]:
    bounds = expression.strip("[] ").split(":")
    return array.reshape(-1)[slice(*(int(bound) if bound else None for bound in bounds))]
