"""The fixtures of the parity folder: found, read, prepared. Nothing here knows a system.

A fixture is a folder with `case.json` (format 1) of the folder's README: arrays in, arrays out, weights by file or by
recipe. `discover` finds them by their files, so another root with other folder names, widths and seeds works alike.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.parity.recipes import filled

Array = NDArray[Any]
Weights = dict[str, Tensor]
OBJECTS = (
    "class_embedding_pickle",
    "torch_zip_with_class_embedding_object",
    "smpl_pickle",
    "npz_dense",
    "gmm_pickle",
)
"""Containers that are no state dict: only the adapter's own reader opens them."""
PROJECT = Path(__file__).resolve().parents[2]


def root() -> Path:
    """MAROTTE_PARITY, else ../shared/parity seen from the project."""
    return Path(os.environ.get("MAROTTE_PARITY", str(PROJECT.parent / "shared" / "parity")))


def discover(folder: Path) -> list[Fixture]:
    """Every `<folder>/*/*/case.json`, in order of its path."""
    return [
        Fixture(path.parent, f"{path.parent.parent.name}/{path.parent.name}", json.loads(path.read_text()))
        for path in sorted(folder.glob("*/*/case.json"))
    ]


@dataclass(frozen=True)
class Fixture:
    """One folder. title: `<system's folder>/<folder>`, for test ids. case: what `case.json` says."""

    folder: Path
    title: str
    case: Mapping[str, Any]

    @property
    def triple(self) -> tuple[str, str, str]:
        return self.case["system"], self.case["kind"], self.case["name"]

    @cached_property
    def inputs(self) -> dict[str, Array]:
        return self._arrays("inputs.npz") if (self.folder / "inputs.npz").exists() else {}

    @cached_property
    def outputs(self) -> dict[str, Array]:
        """outputs.npz, or what a dataset names in its `files`."""
        named = self.case.get("files", {}).get("expected")
        return self._arrays("outputs.npz" if named is None else named)

    def files(self) -> dict[str, Path]:
        """Role -> path, of the further files and folders."""
        return {role: self.folder / name for role, name in self.case.get("files", {}).items()}

    def weights(self, case: Mapping[str, Any]) -> dict[str, Weights]:
        """Network -> state dict of one case; the only network of a fixture is called ''."""
        entry = case.get("weights", self.case.get("weights"))
        if entry is None:
            return {}
        if "networks" in entry:
            return {name: self._state_dict(one) for name, one in entry["networks"].items()}
        return {"": self._state_dict(entry)}

    def weight_files(self, case: Mapping[str, Any]) -> dict[str, Path]:
        """Role "weights", or "weights of <network>" -> path, of a container that is read as it stands on the disk."""
        entry = case.get("weights", self.case.get("weights")) or {}
        named = {f"weights of {name}": one for name, one in entry.get("networks", {}).items()}
        given = {"weights": entry, **named}
        return {role: self.folder / one["file"] for role, one in given.items() if "file" in one}

    def state_dict(self, file: str) -> Weights:
        return torch.load(self.folder / file, weights_only=True, map_location="cpu")

    def _state_dict(self, entry: Mapping[str, Any]) -> Weights:
        if "recipe" in entry:
            return dict(_filled(json.dumps(entry["recipe"]), self.folder))
        if entry["container"] in OBJECTS:
            return {}
        stored = torch.load(self.folder / entry["file"], weights_only=True, map_location="cpu")
        containers = {
            "state_dict": lambda: stored,
            "dict_of_state_dicts": lambda: stored[entry["entry"]],
            "dict_with_state_dict": lambda: stored[entry["entry"]],
        }
        return dict(containers[entry["container"]]())

    def _arrays(self, file: str) -> dict[str, Array]:
        with np.load(self.folder / file) as arrays:
            return dict(arrays)


@lru_cache(maxsize=1)
def _filled(recipe: str, folder: Path) -> Weights:
    """The last recipe's weights are kept, because a fixture asks for the same ones in each of its cases."""
    return filled(json.loads(recipe), folder)


@dataclass(frozen=True)
class Call:
    """What an adapter gets for one case. weights: by network, '' where there is one. inputs: prepared arrays.
    stored: inputs.npz as it is, for what a case takes over from another one. expected: outputs.npz as it is, for a
    stage that has to start from the official result of the one before it; never a source of results."""

    arguments: Mapping[str, Any]
    mode: str | None
    name: str
    network: str
    call: str
    weights: Mapping[str, Weights]
    inputs: Mapping[str, Any]
    options: Mapping[str, Any]
    files: Mapping[str, Path] = field(default_factory=dict)
    stored: Mapping[str, Array] = field(default_factory=dict)
    expected: Mapping[str, Array] = field(default_factory=dict)

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.inputs[name]))

    def state(self) -> Weights:
        """The weights of this case's network."""
        return self.weights[self.network]


def call_of(fixture: Fixture, case: Mapping[str, Any]) -> Call:
    network = case.get("network", "")
    arguments = fixture.case["arguments"]
    return Call(
        arguments=arguments.get(network, {}) if network else arguments,
        mode=fixture.case["mode"],
        name=case["name"],
        network=network,
        call=case.get("call", "forward"),
        weights=fixture.weights(case),
        inputs={
            name: prepared(_input(fixture, key), case.get("prepare", {}).get(name, []))
            for name, key in case["inputs"].items()
        },
        options=case.get("options", {}),
        files={**fixture.weight_files(case), **fixture.files()},
        stored=fixture.inputs,
        expected=fixture.outputs if fixture.case.get("cases") else {},
    )


def _input(fixture: Fixture, key: str | list[str]) -> Any:
    if isinstance(key, list):
        return [_input(fixture, one) for one in key]
    if key.startswith("outputs:"):
        return fixture.outputs[key.removeprefix("outputs:")]
    return fixture.inputs[key]


def prepared(value: Any, steps: list[str]) -> Any:
    """`value` after the README's steps, in order; the steps of a list go to each of its arrays."""
    if isinstance(value, list):
        return [prepared(one, steps) for one in value]
    for step in steps:
        verb, _, rest = step.partition(" ")
        value = STEPS[verb](value, rest)
    return value


def indexed(array: Array, expression: str) -> Array:
    """NumPy's own indexing from its text: `[:, 3::8]`, `[..., 0]`, `[-8:]`."""
    parts = []
    for part in expression.strip().removeprefix("[").removesuffix("]").split(","):
        part = part.strip()
        if part == "...":
            parts.append(Ellipsis)
        elif ":" in part:
            parts.append(slice(*(int(number) if number else None for number in part.split(":"))))
        else:
            parts.append(int(part))
    return array[tuple(parts)]


def _one_hot(labels: Array, rest: str) -> Array:
    classes = np.arange(int(rest)).reshape(1, -1, 1, 1)
    return (labels[:, None] == classes).astype(np.float32)


def _resized(array: Array, rest: str) -> Array:
    size = tuple(int(number) for number in rest.split())
    return torch.nn.functional.interpolate(
        torch.from_numpy(array), size=size, mode="bilinear", align_corners=True
    ).numpy()


def _unit_rows(array: Array, rest: str) -> Array:
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


STEPS = {
    "slice": indexed,
    "one_hot": _one_hot,
    "nhwc_to_nchw": lambda array, rest: np.ascontiguousarray(array.transpose(0, 3, 1, 2)),
    "divide": lambda array, rest: array.astype(np.float32) / np.float32(rest),
    "minus": lambda array, rest: array.astype(np.float32) - np.float32(rest),
    "times": lambda array, rest: array.astype(np.float32) * np.float32(rest),
    "resize_bilinear_corners": _resized,
    "normalize_rows": _unit_rows,
    "float32": lambda array, rest: array.astype(np.float32),
}
