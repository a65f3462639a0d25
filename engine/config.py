"""Typed configuration: dataclasses filled from plain mappings, and names checked against what exists."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from engine.errors import ConfigError

T = TypeVar("T")


def known(name: str, choices: Iterable[str], what: str) -> str:
    """`name`, when it is one of `choices`; else a ConfigError that says the nearest one and lists them all."""
    options = sorted(choices)
    if not isinstance(name, str):
        raise ConfigError(f"{what}: got {name!r}, expected one of {', '.join(options)}")
    if name in options:
        return name
    near = difflib.get_close_matches(name, options, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"{what}: got {name!r}; {hint}expected one of {', '.join(options)}")


def file_path(role: str, name: object) -> Path:
    """`name` as a path that every system, and a report, can hold. Raises ConfigError naming its `role`."""
    if not isinstance(name, (str, Path)):
        raise ConfigError(f"{role}: got {name!r}, expected the name of a file")
    text = str(name)
    if not text:  # a path would read it as the folder where one stands
        raise ConfigError(f"{role}: got an empty name, expected one")
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ConfigError(f"{role}: {text!a} is no name of a file; expected one in UTF-8, without NUL")
    return Path(name)


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """A dataclass from a mapping (a TOML table, say), nested dataclasses from nested mappings.

    Raises ConfigError for an unknown key (naming the nearest), a wrong type, or what the class itself rejects
    with ValueError in its __post_init__.
    """
    hints = get_type_hints(kind)
    prefix = f"{where}." if where else ""
    filled: dict[str, Any] = {}
    for key, value in values.items():
        known(key, hints, f"option {prefix}{key}")
        filled[key] = _value(hints[key], value, prefix + key)
    try:
        return kind(**filled)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where or kind.__name__}: {error}") from error


def _value(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"option {where}: expected a table, got {value!r}")
        return from_mapping(hint, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (
        not isinstance(value, hint) or (hint is not bool and isinstance(value, bool))
    ):
        raise ConfigError(f"option {where}: expected {hint.__name__}, got {value!r}")
    return value
