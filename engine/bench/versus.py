"""Two backends, or two bundles, against each other in one run, so that both meet the machine in the same state."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine import backends
from engine.bench.files import RESULT
from engine.bench.run import (
    FRAMES,
    Progress,
    batches_by_turns,
    by_turns,
    check_frames,
    figures,
)
from engine.bench.session import BLOCK, STAGES, Request
from engine.bundle import MANIFEST
from engine.errors import ConfigError
from engine.evaluate.parts import write_json
from engine.generators import names as generator_names
from engine.versions import versions

_BACKEND, _BUNDLE, _RESULT = "backend", "bundle", "result"
_ARTICLES: Final = {_BACKEND: "a backend", _BUNDLE: "a bundle", _RESULT: "the result of an earlier run"}


@dataclass(frozen=True, slots=True)
class Versus:
    """What was measured; `str()` is a table for people, `content` what stands in compare.json."""

    content: dict[str, Any]

    def __str__(self) -> str:
        a, b = self.content["a"], self.content["b"]
        lines = [
            f"A: {a['name']}, B: {b['name']}; {self.content['frames']} frames each, by turns",
            f"{'CPU ms':<12}{'A':>9}{'B':>9}{'B / A':>9}{'p5':>9}{'p95':>9}",
        ]
        for stage, ratio in self.content["ratios"].items():
            one, other = a["stages"][stage]["median_ms"], b["stages"][stage]["median_ms"]
            shown = "".join(f"{'-':>9}" if value is None else f"{value:>9.3f}" for value in ratio.values())
            lines.append(f"{stage:<12}{one:>9.2f}{other:>9.2f}{shown}")
        for first, second in zip(a["batches"], b["batches"]):
            ratio_of = second["ms_per_frame"] / max(first["ms_per_frame"], 1e-9)
            lines.append(
                f"batch {first['batch']:<6}{first['ms_per_frame']:>9.2f}{second['ms_per_frame']:>9.2f}"
                f"{ratio_of:>9.3f}"
            )
        return "\n".join(lines)


_EXPECTED: Final = "two backends, two bundles, or two folders or files that `marotte bench` wrote"


def live_pair(a: str, b: str) -> tuple[str, str] | None:
    """("backend", "backend") or ("bundle", "bundle") where both words are such, None where both are results of earlier
    runs. Raises ConfigError that says of each what it is where they are of two kinds, or where nothing is known of it.
    """
    kinds = _kind(a), _kind(b)
    if kinds[0] is not kinds[1]:
        told = " and ".join(f"{word} is {_ARTICLES[kind]}" for word, kind in zip((a, b), kinds))
        instead = "; measure the other one too, by marotte bench --out DIR" if _RESULT in kinds else ""
        raise ConfigError(f"compare: {told}; expected {_EXPECTED}{instead}")
    return None if kinds[0] is _RESULT else (kinds[0], kinds[1])


def _kind(word: str) -> str:
    if word in _backends():
        return _BACKEND
    if word in generator_names() or (Path(word) / MANIFEST).is_file():
        return _BUNDLE
    if Path(word).is_file() or (Path(word) / RESULT).is_file():
        return _RESULT
    if Path(word).is_dir():
        raise ConfigError(
            f"compare: the folder {word} has neither {MANIFEST}, as a bundle has, nor {RESULT}, as `marotte bench` "
            f"writes it; expected {_EXPECTED}"
        )
    near = difflib.get_close_matches(word, [*_backends(), *generator_names()], n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"compare: {word!r} is no backend, bundle, folder or file; expected {_EXPECTED}{hint}")


def _backends() -> tuple[str, ...]:
    return (*backends.GPU_BACKENDS, *backends.BACKENDS)


def run_versus(
    a: str,
    b: str,
    out: Path,
    request: Request | None = None,
    *,
    driver: Path | None = None,
    frames: int = FRAMES,
    progress: Progress | None = None,
) -> Versus:
    """Measure two backends with one bundle, or two bundles with one backend, and write `out`/compare.json. request:
    all else that both have in common; the rest as of run_bench. Raises as run_bench does, and ConfigError for words
    that live_pair does not take."""
    check_frames(frames)
    pair = live_pair(a, b)
    if pair is None:
        raise ConfigError(f"compare: expected two backends or two bundles to measure, got {a} and {b}")
    base = request or Request()
    asked = [base.on(word) if pair[0] is _BACKEND else replace(base, bundle=word) for word in (a, b)]
    with by_turns(asked, driver, frames, progress) as sessions:
        batches = batches_by_turns(sessions)
    sides = [
        {
            "name": word,
            "bundle": session.generator.name,
            "backend": session.choice.name,
            "stages": {stage: figures(session.rows.stages[stage], 1.0) for stage in STAGES},
            "batches": found,
        }
        for word, session, found in zip((a, b), sessions, batches)
    ]
    ratios = {
        stage: ratio(sessions[0].rows.stages[stage], sessions[1].rows.stages[stage]) for stage in STAGES
    }
    versus = Versus(
        {"frames": frames, "a": sides[0], "b": sides[1], "ratios": ratios, "versions": versions()}
    )
    write_json(out / "compare.json", versus.content)
    return versus


def ratio(a: Sequence[float], b: Sequence[float]) -> dict[str, float | None]:
    """B / A of the medians of each block of frames that both saw one after the other: its median and how far it goes.
    None where A takes no time."""
    pairs = [
        (float(np.median(a[start : start + BLOCK])), float(np.median(b[start : start + BLOCK])))
        for start in range(0, min(len(a), len(b)), BLOCK)
    ]
    found = [other / one for one, other in pairs if one > 0]
    if not found:
        return {"median": None, "p5": None, "p95": None}
    low, middle, high = (float(value) for value in np.percentile(found, (5, 50, 95)))
    return {"median": middle, "p5": low, "p95": high}
