"""JSON checked against a JSON schema, of which this reads the words below and no others.

type (a name or a list), enum, const, required, properties, additionalProperties, propertyNames, minProperties,
maxProperties, items, minItems, maxItems, uniqueItems, minLength, maxLength, pattern, minimum, maximum, and $ref to
"#/$defs/...". A message says where, what stands there and what was expected, with the nearest name for a key or word
that is not known.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from engine.errors import ManifestError

Schema = Mapping[str, Any]

_MOST_SHOWN: Final = 60  # characters of a wrong value
_COMMENTS: Final = {"$schema", "$id", "$defs", "title", "description"}
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def strict_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError for what is none, for a key that stands twice, for NaN and the
    infinities, which are no JSON though Python reads them, and for numbers beyond a float's range."""
    return json.loads(
        text, object_pairs_hook=_unique, parse_constant=_refused, parse_float=_finite, parse_int=_whole
    )


def _finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(f"{word[:_MOST_SHOWN]} is larger than any number may be")
    return number


def _whole(word: str) -> int:
    _finite(word)
    return int(word)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is no JSON number")


def check(value: Any, schema: Schema) -> None:
    """Raises ManifestError where a JSON value does not follow the schema, ValueError for a schema with words that
    are not read."""
    _check(value, schema, "", schema)


def _check(value: Any, schema: Schema, where: str, root: Schema) -> None:
    if "$ref" in schema:
        _check(value, _resolved(schema["$ref"], root), where, root)
    for word, rule in schema.items():
        if word in _COMMENTS or word == "$ref":
            continue
        if word not in _WORDS:
            raise ValueError(f"the schema uses {word!r}, which is not read here")
        _WORDS[word](value, rule, where, root, schema)


def _resolved(reference: str, root: Schema) -> Schema:
    found: Any = root
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def _fault(where: str, value: Any, expected: str) -> ManifestError:
    shown = json.dumps(value)
    if len(shown) > _MOST_SHOWN:
        shown = shown[:_MOST_SHOWN] + "..."
    return ManifestError(f"{where or 'the whole'}: got {shown}, expected {expected}")


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS[kind])


def _type(value: Any, rule: Any, where: str, _root: Schema, _schema: Schema) -> None:
    kinds = [rule] if isinstance(rule, str) else list(rule)
    if not any(_is(value, kind) for kind in kinds):
        raise _fault(where, value, " or ".join(kinds))


def _enum(value: Any, rule: Any, where: str, _root: Schema, _schema: Schema) -> None:
    if not any(value == entry and isinstance(value, bool) == isinstance(entry, bool) for entry in rule):
        near = _nearest(value, [word for word in rule if isinstance(word, str)])
        raise _fault(where, value, f"one of {', '.join(map(json.dumps, rule))}{near}")


def _const(value: Any, rule: Any, where: str, _root: Schema, _schema: Schema) -> None:
    if value != rule or isinstance(value, bool) != isinstance(rule, bool):
        raise _fault(where, value, json.dumps(rule))


def _required(value: Any, rule: Any, where: str, _root: Schema, _schema: Schema) -> None:
    if not isinstance(value, dict):
        return
    for name in rule:
        if name not in value:
            near = _nearest(name, [key for key in value if key not in rule])
            raise ManifestError(f"{_join(where, name)} is not there{near}")


def _properties(value: Any, rule: Any, where: str, root: Schema, _schema: Schema) -> None:
    if isinstance(value, dict):
        for name, inner in rule.items():
            if name in value:
                _check(value[name], inner, _join(where, name), root)


def _additional(value: Any, rule: Any, where: str, root: Schema, schema: Schema) -> None:
    if not isinstance(value, dict):
        return
    known = schema.get("properties", {})
    for name in value:
        if name in known:
            continue
        if rule is False:
            near = _nearest(name, [key for key in known if key not in value]) or _nearest(name, known)
            raise ManifestError(f"{_join(where, name)} is not a known key{near}")
        if rule is not True:
            _check(value[name], rule, _join(where, name), root)


def _property_names(value: Any, rule: Any, where: str, root: Schema, _schema: Schema) -> None:
    if isinstance(value, dict):
        for name in value:
            _check(name, rule, f"{where or 'the whole'}: the key", root)


def _items(value: Any, rule: Any, where: str, root: Schema, _schema: Schema) -> None:
    if isinstance(value, list):
        for index, entry in enumerate(value):
            _check(entry, rule, f"{where}[{index}]", root)


def _unique_items(value: Any, rule: Any, where: str, _root: Schema, _schema: Schema) -> None:
    if rule and isinstance(value, list):
        shown = [json.dumps(entry, sort_keys=True) for entry in value]
        if len(set(shown)) < len(shown):
            raise _fault(where, value, "no entry twice")


def _bound(kinds: tuple[str, ...], good: Callable[[Any, Any], bool], text: str) -> Callable[..., None]:
    def bounded(value: Any, rule: Any, where: str, _root: Schema, _schema: Schema) -> None:
        if any(_is(value, kind) for kind in kinds) and not good(value, rule):
            raise _fault(where, value, text.format(rule))

    return bounded


_WORDS: Final[Mapping[str, Callable[..., None]]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "required": _required,
    "additionalProperties": _additional,
    "propertyNames": _property_names,
    "properties": _properties,
    "items": _items,
    "uniqueItems": _unique_items,
    "minProperties": _bound(("object",), lambda value, rule: len(value) >= rule, "{} entries or more"),
    "maxProperties": _bound(("object",), lambda value, rule: len(value) <= rule, "{} entries or fewer"),
    "minItems": _bound(("array",), lambda value, rule: len(value) >= rule, "{} entries or more"),
    "maxItems": _bound(("array",), lambda value, rule: len(value) <= rule, "{} entries or fewer"),
    "minLength": _bound(("string",), lambda value, rule: len(value) >= rule, "{} characters or more"),
    "maxLength": _bound(("string",), lambda value, rule: len(value) <= rule, "{} characters or fewer"),
    "pattern": _bound(("string",), lambda value, rule: bool(re.search(rule, value)), "text that fits {}"),
    "minimum": _bound(("number",), lambda value, rule: value >= rule, "{} or more"),
    "maximum": _bound(("number",), lambda value, rule: value <= rule, "{} or less"),
}


def _join(where: str, name: str) -> str:
    shown = name if re.fullmatch(r"[\w.-]{1,60}", name) else json.dumps(name[:_MOST_SHOWN])
    return f"{where}.{shown}" if where else shown


def _nearest(name: Any, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1) if isinstance(name, str) else []
    return f"; did you mean {near[0]!r}?" if near else ""
