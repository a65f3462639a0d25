"""Plain data as typed values: dataclasses filled from mappings, and `a.b=value` overrides put into them."""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from trainers.errors import RecipeError

T = TypeVar("T")


def from_mapping(kind: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """A dataclass from a mapping (a TOML table), nested dataclasses from nested mappings.

    Fields may be bool, int, float, str, Path, Literal, tuple, dict of str, another dataclass, and X | None. Raises
    RecipeError for an unknown key (naming the nearest), a missing or wrongly typed value, and what the class itself
    rejects by ValueError in its __post_init__.
    """
    hints = hints_of(kind)
    prefix = f"{where}." if where else ""
    filled: dict[str, Any] = {}
    for key, value in values.items():
        known(key, hints, f"option {prefix}{key}")
        filled[key] = value_of(hints[key], value, prefix + key)
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        without = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if without and field.name not in filled:
            raise RecipeError(f"option {prefix}{field.name} is missing: it has no default")
    try:
        return kind(**filled)
    except ValueError as error:
        raise RecipeError(f"{where}: {error}" if where else str(error)) from error


def hints_of(kind: type) -> dict[str, Any]:
    """The fields of a dataclass with their types."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def known(name: str, choices: Iterable[str], what: str) -> None:
    """Raise RecipeError when `name` is none of `choices`, naming the nearest and listing them all."""
    options = sorted(choices)
    if name not in options:
        near = difflib.get_close_matches(name, options, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise RecipeError(f"{what} is not known; {hint}expected one of {', '.join(options)}")


def within(table: Any, low: float, high: float, *names: str) -> None:
    """For a dataclass's __post_init__: raise ValueError where one of these numbers is not in low .. high."""
    for name in names:
        if not low <= getattr(table, name) <= high:
            raise ValueError(f"{name} is {getattr(table, name)}, expected {low} .. {high}")


def at_least(table: Any, least: float, *names: str) -> None:
    """The same where there is no upper limit."""
    for name in names:
        if not getattr(table, name) >= least:
            raise ValueError(f"{name} is {getattr(table, name)}, expected {least} or more")


def decays(table: Any, *names: str) -> None:
    """The same for what remains of a moving mean at each step: in 0 .. 1, and less than 1; each number of a tuple."""
    for name in names:
        value = getattr(table, name)
        if not all(0.0 <= one < 1.0 for one in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(f"{name} is {value}, expected 0 or more and less than 1")


def side(name: str, pixels: int, multiple: int) -> None:
    """Raise ValueError where the side of a picture does not fit a network that halves it so often."""
    if pixels % multiple or not 16 <= pixels <= 4096:
        raise ValueError(f"{name} is {pixels}, expected a multiple of {multiple} in 16 .. 4096")


def stage_names(names: Sequence[str], choices: Sequence[str]) -> None:
    """Raise ValueError where a recipe has no stages, or one that its system does not know."""
    if not names:
        raise ValueError(
            f"stages: none are named, expected one or more [[stages]] among {', '.join(choices)}"
        )
    for name in names:
        if name not in choices:
            raise ValueError(f"stage {name!r}: expected one of {', '.join(choices)}")


# --- one value of one type -------------------------------------------------------------------------


def value_of(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint` says; `where` is its dotted name, for the RecipeError."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of([kind for kind in inner if kind is not type(None)], value, where)
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in inner):
            near = difflib.get_close_matches(str(value), [str(choice) for choice in inner], n=1, cutoff=0.4)
            said = f"did you mean {near[0]!r}? " if near else ""
            choices = ", ".join(str(choice) for choice in inner)
            raise RecipeError(f"option {where}: got {value!r}; {said}expected one of {choices}")
        return value
    if origin is tuple:
        return _several(inner, value, where)
    if origin is dict or dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise RecipeError(f"option {where}: got {value!r}, expected a table")
        if origin is not dict:
            return from_mapping(hint, value, where)
        return {key: value_of(inner[1], entry, f"{where}.{key}") for key, entry in value.items()}
    return _single(hint, value, where)


def _single(hint: Any, value: Any, where: str) -> Any:
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
    if hint is not Any and (not isinstance(value, hint) or (hint is not bool and isinstance(value, bool))):
        name = {Path: "a path as text", str: "text", int: "a whole number", float: "a number"}.get(hint)
        raise RecipeError(f"option {where}: got {value!r}, expected {name or 'true or false'}")
    if isinstance(value, float) and not math.isfinite(value):
        raise RecipeError(f"option {where}: got {value!r}, expected a finite number")
    return value


def _one_of(kinds: Sequence[Any], value: Any, where: str) -> Any:
    for kind in kinds[:-1]:
        try:
            return value_of(kind, value, where)
        except RecipeError:
            continue
    return value_of(kinds[-1], value, where)


def _several(inner: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise RecipeError(f"option {where}: got {value!r}, expected a list")
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(value_of(inner[0], entry, f"{where}.{i}") for i, entry in enumerate(value))
    if len(value) != len(inner):
        raise RecipeError(f"option {where}: got {len(value)} values, expected {len(inner)}")
    return tuple(value_of(kind, entry, f"{where}.{i}") for i, (kind, entry) in enumerate(zip(inner, value)))


# --- overrides -------------------------------------------------------------------------------------


def override(values: dict[str, Any], hints: Mapping[str, Any], text: str) -> None:
    """Put one `a.b=value` into the plain values, the value read as the type that stands there."""
    name, equals, given = text.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(f"--set {text}: expected key=value, such as run.seed=1")
    known(keys[0], hints, f"--set {text}: option {keys[0]}")
    hint: Any = hints[keys[0]]
    place: Any = values
    for depth, (before, key) in enumerate(itertools.pairwise(keys), 2):
        if isinstance(place, list):
            place = place[int(before)]
        else:
            place = place.setdefault(before, [] if get_origin(hint) is tuple else {})
        if not isinstance(place, (dict, list)):
            raise RecipeError(f"--set {text}: {'.'.join(keys[: depth - 1])} is no table in the recipe")
        hint = _inner(hint, key, place, f"--set {text}: option {'.'.join(keys[:depth])}")
    place[int(keys[-1]) if isinstance(place, list) else keys[-1]] = _given(hint, given)


def _inner(hint: Any, key: str, place: Any, what: str) -> Any:
    """The type of what stands under `key` of a value of type `hint`."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        hint = next((kind for kind in get_args(hint) if dataclasses.is_dataclass(kind)), Any)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        known(key, hints_of(hint), what)
        return hints_of(hint)[key]
    if get_origin(hint) is tuple and isinstance(place, list):
        if not (key.isascii() and key.isdigit() and len(key) < 10) or int(key) >= len(place):
            raise RecipeError(f"{what}: expected a number below {len(place)}, the recipe's own entries")
        kinds = get_args(hint)
        return kinds[0] if kinds[1:] == (Ellipsis,) else kinds[int(key)]
    if get_origin(hint) is dict:
        return get_args(hint)[1]
    raise RecipeError(f"{what} is not known: what stands there holds no options")


def _given(hint: Any, text: str) -> Any:
    """The value of an override: text where text is expected, else as TOML writes it."""
    if hint in (str, Path) or (get_origin(hint) is Literal and isinstance(get_args(hint)[0], str)):
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
        return text[1:-1] if quoted else text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # no TOML, or a number of thousands of digits
        return text
