"""Two backends, or two bundles, against each other in one run, so that both meet the machine in the same state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine import backends
from engine.bench.run import (
    FRAMES,
    Progress,
    batches_by_turns,
    check_frames,
    figures,
    one_thread,
    play_by_turns,
)
from engine.bench.session import BLOCK, STAGES, WARM, Request, Stepped
from engine.bundle import MANIFEST
from engine.errors import ConfigError
from engine.evaluate.parts import write_json
from engine.generators import names as generator_names
from engine.puppet import mode_of
from engine.types import Mode
from engine.versions import versions


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


def live_pair(a: str, b: str) -> tuple[str, str] | None:
    """("backend", "backend") or ("bundle", "bundle") where both words are such; None where they are files of earlier
    runs, or nothing that is known. Raises ConfigError where one is a backend and the other a bundle."""
    kinds = _kind(a), _kind(b)
    if None in kinds:
        return None
    if kinds[0] != kinds[1]:
        raise ConfigError(f"compare: {a} is a {kinds[0]} and {b} a {kinds[1]}; name two of a kind")
    return str(kinds[0]), str(kinds[1])


def _kind(word: str) -> str | None:
    if word in (*backends.GPU_BACKENDS, *backends.BACKENDS):
        return "backend"
    if word in generator_names() or (Path(word) / MANIFEST).is_file():
        return "bundle"
    return None


def run_versus(
    a: str,
    b: str,
    out: Path,
    *,
    driver: Path | None = None,
    bundle: str = "mesh_flow",
    mode: Mode | str = Mode.PUPPET,
    accept: Iterable[str] = (),
    remove: bool = False,
    backend: str = "auto",
    cache: Path | None = None,
    frames: int = FRAMES,
    progress: Progress | None = None,
) -> Versus:
    """Measure two backends with one bundle, or two bundles with one backend, and write `out`/compare.json. Options as
    of run_bench. Raises as run_bench does, and ConfigError for words that live_pair does not take."""
    check_frames(frames)
    pair = live_pair(a, b)
    if pair is None:
        raise ConfigError(f"compare: expected two backends or two bundles, got {a} and {b}")
    base = Request(bundle, mode_of(mode), frozenset(accept), remove, backend, cache)
    field = pair[0]
    asked = [replace(base, **{field: word}) for word in (a, b)]  # type: ignore[arg-type]
    with one_thread(), ExitStack() as stack:
        sessions = [stack.enter_context(Stepped(request)) for request in asked]
        pictures = sessions[0].driver_frames(driver, frames + WARM)
        play_by_turns(sessions, pictures, progress)
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
