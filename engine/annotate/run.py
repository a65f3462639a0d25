"""From inputs to a prepared folder: gather, work off, split, write the table and the report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.annotate.inputs import Input, gather
from engine.annotate.labels import EXTRACTOR, EXTRACTOR_VERSION, MODES
from engine.annotate.processes import work_in_processes
from engine.annotate.report import write_report
from engine.annotate.split import RULE, split
from engine.annotate.store import Store
from engine.annotate.table import FORMAT, REAL, SYNTHESISED, TRAIN, VALIDATION, table_text
from engine.annotate.work import DRAWN_BY, Desk, Outcome, Settings, Stage
from engine.config import known
from engine.crop import RULES
from engine.errors import ConfigError, InputError
from engine.evaluate.parts import write_text

Progress = Callable[[int, int | None], None]


def prepare(
    inputs: Sequence[Path],
    out: Path,
    settings: Settings | None = None,
    *,
    persons: str = "file",
    licence: str = "",
    origins: Path | None = None,
    validation: float = 0.1,
    backend: str = "auto",
    cache: Path | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
    stage: Stage | None = None,
) -> dict[str, Any]:
    """Prepare pictures and clips into the folder `out`, docs/dataset.md; returns what stands in dataset.json.

    persons, licence, origins: see engine.annotate.inputs.gather. validation: share of the persons that are held back.
    jobs: processes (default: two where there are two cores; a script that calls this needs its
    ``if __name__ == "__main__"``). progress: called with the inputs done and their number. stage: what measures, in
    this process. Ended in the middle, the same call goes on where it stopped. Raises ConfigError (names, settings, a
    folder of another job) and whatever opening the networks raises; a file that cannot be used is counted, not raised.
    """
    settings = settings or Settings()
    known(settings.crop, RULES, "crop")
    known(settings.mode, MODES, "mode")
    if not 0.0 <= validation < 1.0:
        raise ConfigError(f"validation: got {validation!r}, expected a share in 0 .. 1, below 1")
    found = gather(inputs, persons=persons, licence=licence, origins=origins)
    store = Store(out, settings)
    outcomes = _work(found, store, settings, jobs, backend, cache, progress, stage)
    rows = [row for outcome in outcomes for row in outcome.rows]
    if not rows:
        reasons = ", ".join(f"{count} {reason}" for reason, count in _reasons(outcomes).items())
        raise InputError(
            f"prepare: no picture of {len(found)} inputs could be used ({reasons}); see docs/dataset.md"
        )
    parts = split([row["person"] for row in rows], validation)
    rows = [row | {"split": parts[row["person"]]} for row in rows]
    about = _about(found, outcomes, rows, settings, persons, validation)
    write_text(out / "features.csv", table_text(rows))
    write_report(out, about, rows, [refused for outcome in outcomes for refused in outcome.refused])
    store.finish(about)
    store.keep_only({row["image"] for row in rows})
    return about


def _work(
    found: Sequence[Input],
    store: Store,
    settings: Settings,
    jobs: int | None,
    backend: str,
    cache: Path | None,
    progress: Progress | None,
    stage: Stage | None,
) -> list[Outcome]:
    keys = [store.key(one) for one in found]
    outcomes = {key: store.load(key) for key in keys}
    missing = [(one, key) for one, key in zip(found, keys) if outcomes[key] is None]

    def looked() -> None:
        if progress is not None:
            progress(store.there(keys), len(set(keys)))

    for _, key in missing:
        store.discard(key)
    looked()
    jobs = min(2, os.cpu_count() or 1) if jobs is None else jobs
    if missing and (stage is not None or jobs < 2 or len(missing) < 2):
        with stage or Stage(backend=backend, cache=cache) as opened:
            desk = Desk(opened, settings, store.folder, lambda: None)
            for one, key in missing:
                store.save(key, desk.work(one))
                looked()
    elif missing:
        work_in_processes(missing, store, settings, {"backend": backend, "cache": cache}, jobs, looked)
    return [outcomes[key] or store.load(key) or Outcome() for key in keys]


def _about(
    found: Sequence[Input],
    outcomes: Sequence[Outcome],
    rows: Sequence[Mapping[str, str]],
    settings: Settings,
    persons: str,
    validation: float,
) -> dict[str, Any]:
    counts = Counter((row["split"], row["kind"]) for row in rows)
    sides = {side: {row["person"] for row in rows if row["split"] == side} for side in (TRAIN, VALIDATION)}
    origins = Counter((row["origin"], row["licence"]) for row in rows)
    return {
        "format": FORMAT,
        "extractor": {"name": EXTRACTOR, "version": EXTRACTOR_VERSION, "mode": settings.mode},
        "crop": {"rule": settings.crop, "size": settings.size},
        "persons": {"rule": persons, "train": len(sides[TRAIN]), "validation": len(sides[VALIDATION])},
        "split": {"rule": RULE, "validation": validation},
        "counts": {
            "inputs": len(found),
            "pictures": len(rows),
            **{
                side: {kind: counts[side, kind] for kind in (REAL, SYNTHESISED)}
                for side in (TRAIN, VALIDATION)
            },
            "refused": _reasons(outcomes),
        },
        "synthesis": {"generator": DRAWN_BY, "per_still": settings.synthesise}
        if settings.synthesise
        else None,
        "clips": {"per_second": settings.per_second, "most": settings.most},
        "gates": asdict(settings.gates),
        "origins": [
            {"origin": origin, "licence": licence, "pictures": count}
            for (origin, licence), count in sorted(origins.items())
        ],
    }


def _reasons(outcomes: Sequence[Outcome]) -> dict[str, int]:
    counted = Counter(reason for outcome in outcomes for _, reason, _ in outcome.refused)
    return dict(sorted(counted.items()))
