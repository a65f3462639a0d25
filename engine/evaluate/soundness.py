"""Whether what is read back from disk is what was once written: a damaged result is measured anew."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from engine.errors import InputError
from engine.evaluate.parts import Parts
from engine.evaluate.rules import LEAST_SPREAD
from engine.evaluate.scores import CROSS_KEYS, RATIOS, SELF_KEYS
from engine.media import read_picture

_HUGE = 1e300


def discard_damaged(parts: Parts, clips: Iterable[str], pairs: Iterable[str]) -> None:
    """Remove the results that are there and not whole. clips, pairs: the keys of their parts."""
    for keys, scored in ((clips, SELF_KEYS), (pairs, CROSS_KEYS)):
        for key in keys:
            if not _is_whole(parts, key, scored):
                parts.discard(key)


def is_refusal(row: dict[str, Any]) -> bool:
    """Says why a file or a pair was refused."""
    return isinstance(row.get("refused"), str)


def is_number(value: Any) -> bool:
    """A finite real number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _HUGE


def are_numbers(values: Any, count: int) -> bool:
    """A list of so many finite numbers."""
    return isinstance(values, list) and len(values) == count and all(map(is_number, values))


def _is_whole(parts: Parts, key: str, scored: Collection[str]) -> bool:
    part = parts.load(key)
    if part is None:
        return False
    return is_refusal(part) or (_is_result(part, scored) and _is_picture(parts, key))


def _is_result(part: dict[str, Any], scored: Collection[str]) -> bool:
    tables = [part.get(name) for name in ("scores", "driver_pixels", "facts", "spread")]
    if not all(isinstance(table, dict) for table in tables):
        return False
    scores, pixels, facts, spread = (dict(table or {}) for table in tables)
    return (
        all(_are_scores(one, scored) for one in (scores, pixels))
        and all(_is_figure(value) for value in facts.values())
        and all(is_number(spread.get(name)) for name in LEAST_SPREAD)
        and is_number(part.get("yaw_range"))
    )


def _are_scores(scores: dict[str, Any], scored: Collection[str]) -> bool:
    terms = scores.get(RATIOS, {})
    return (
        all(key in scores and _is_figure(scores[key], axes=key == "pose_error_deg") for key in scored)
        and isinstance(terms, dict)
        and all(are_numbers(pair, 2) for pair in terms.values())
    )


def _is_figure(value: Any, *, axes: bool = False) -> bool:
    if axes and isinstance(value, list):
        return len(value) == 3 and all(_is_figure(one) for one in value)
    return value is None or is_number(value)


def _is_picture(parts: Parts, key: str) -> bool:
    try:
        read_picture(parts.path(key).with_suffix(".png"))
    except InputError:
        return False
    return True
