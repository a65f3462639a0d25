"""Recipes: typed TOML files, their overrides, and the effective recipe as it is saved."""

from __future__ import annotations

import copy
import dataclasses
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainers.errors import RecipeError
from trainers.systems import find_system
from trainers.typed import at_least, from_mapping, hints_of, known, override, value_of


@dataclass(frozen=True)
class Run:
    """The `[run]` table: what the loop itself is told. Intervals are in steps, and 0 is never."""

    seed: int = 0
    """Of the weights, the data's order and every random number."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: the networks compute in it, weights and optimisers stay float32."""
    threads: int = 0
    """CPU threads of the networks; 0: as many as torch takes."""
    workers: int = 0
    """Processes that read pictures; 0: the training reads them itself."""
    weights: str = ""
    """A checkpoint (or a run's folder) whose weights the training starts from; its optimisers start fresh. A system may
    take the moving average of a network (System.starts_averaged)."""
    log_every: int = 20
    sample_every: int = 500
    sample_rows: int = 8
    validate_every: int = 500
    validate_pictures: int = 256
    """At most so many of the held-back pictures are looked at."""
    save_every: int = 500
    keep: int = 2
    """So many of the newest checkpoints stay, beside the milestones."""
    milestone_every: int = 0
    """Checkpoints at these steps stay for good."""
    tensorboard: bool = True

    def __post_init__(self) -> None:
        at_least(self, 1, "save_every", "log_every", "keep", "sample_rows")
        numbers = [
            field.name for field in dataclasses.fields(self) if isinstance(getattr(self, field.name), int)
        ]
        at_least(self, 0, *numbers)


@dataclass(frozen=True)
class Recipe:
    """What a training is to do: the system's name, the loop's options and the system's own (its `Recipe`)."""

    system: str
    run: Run
    options: Any

    def table(self) -> dict[str, Any]:
        """Every value in effect, as plain data: what TOML and JSON can hold."""
        return {"system": self.system, "run": plain(self.run), **plain(self.options)}


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from its file, with `a.b=value` overrides. Raises RecipeError in one line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise RecipeError(f"recipe {path}: cannot be read ({reason})") from error
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise RecipeError(f"recipe {path}: {error}") from error
    try:
        return from_table(values, overrides)
    except RecipeError as error:
        raise RecipeError(f"recipe {path}: {error}") from error


def from_table(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from plain data, such as the one that a checkpoint keeps."""
    rest = copy.deepcopy(dict(values))
    for text in overrides:
        if text.partition("=")[0].strip() == "system":
            raise RecipeError(f"--set {text}: a system cannot be set; name another recipe")
    name = rest.pop("system", None)
    if not isinstance(name, str):
        raise RecipeError('no system is named; expected a line such as system = "ganimation"')
    kind = find_system(name).Recipe
    hints = {"run": Run, **hints_of(kind)}
    for text in overrides:
        override(rest, hints, text)
    for key in rest:
        known(key, hints, f"option {key}")
    run = rest.pop("run", {})
    return Recipe(name, value_of(Run, run, "run"), from_mapping(kind, rest))


def plain(value: Any) -> Any:
    """Dataclasses as dicts without what is None, tuples as lists, paths as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: plain(inner) for name, inner in pairs if inner is not None}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (tuple, list)):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value


def to_toml(table: Mapping[str, Any], where: tuple[str, ...] = ()) -> str:
    """Plain data (`Recipe.table`) as TOML that reads back as the same."""
    lines = [
        f"{_key(key)} = {_text(value)}" for key, value in table.items() if not isinstance(value, Mapping)
    ]
    blocks = ["\n".join(lines)] if lines else []
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = (*where, _key(key))
            header = f"[{'.'.join(inner)}]\n" if value else f"[{'.'.join(inner)}]"
            own = any(not isinstance(entry, Mapping) for entry in value.values()) or not value
            blocks.append((header if own else "") + to_toml(value, inner).rstrip("\n"))
    return "\n\n".join(blocks) + "\n"


def differences(
    old: Mapping[str, Any], new: Mapping[str, Any], where: str = ""
) -> dict[str, tuple[Any, Any]]:
    """The options in which two tables differ: dotted name to (old, new), None where it is not there."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys((*old, *new)):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found |= differences(before, after, f"{where}{key}.")
        elif before != after:
            found[where + key] = (before, after)
    return found


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain_text = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda m: f"\\u{ord(m[0]):04x}", plain_text) + '"'
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_text(inner) for inner in value) + "]"
    return repr(value)
