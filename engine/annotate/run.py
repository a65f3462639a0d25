"""From inputs to a prepared folder: gather, work off, split, write the table and the report."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from engine.annotate.alone import Alone
from engine.annotate.inputs import Input, gather
from engine.annotate.labels import EXTRACTOR, EXTRACTOR_VERSION, MODES
from engine.annotate.ledger import Ledger
from engine.annotate.report import write_report
from engine.annotate.split import RULE, split
from engine.annotate.store import Store
from engine.annotate.table import FORMAT, REAL, SYNTHESISED, TRAIN, VALIDATION, write_table
from engine.annotate.twins import leaders
from engine.annotate.work import DRAWN_BY, Desk, Outcome, Settings, Stage
from engine.config import known
from engine.crop import RULES
from engine.errors import ConfigError, InputError, StateError
from engine.processes import stop_alone, work_in_processes

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
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs: got {jobs}, expected 1 or more")
    found = gather(inputs, persons=persons, licence=licence, origins=origins, out=out)
    if stage is None:
        Stage(backend=backend, cache=cache).check()
    store = Store(out, settings)
    with closing(Alone(out)):
        keys = _work(found, store, settings, jobs, backend, cache, progress, stage)
        ledger = Ledger()
        for outcome in _parts(store, keys):
            ledger.add(outcome)
        if not ledger.entries:
            reasons = ", ".join(f"{count} {reason}" for reason, count in ledger.reasons.items())
            raise InputError(
                f"prepare: no picture of {len(found)} inputs could be used ({reasons}); see docs/dataset.md"
            )
        known_as = leaders(out, ledger.entries)
        held = split(known_as.values(), validation)
        sides = {person: held[leader] for person, leader in known_as.items()}
        about = _about(len(found), ledger, sides, settings, persons, validation)
        about["persons"]["twins"] = _twins(known_as)
        write_table(
            out / "features.csv", (row for outcome in _parts(store, keys) for row in outcome.rows), sides
        )
        write_report(
            out, about, ledger, sides, (row for outcome in _parts(store, keys) for row in outcome.rows)
        )
        store.finish(about)
        store.keep_only({entry.image for entry in ledger.entries})
    return about


def _twins(known_as: Mapping[str, str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for person, leader in known_as.items():
        groups.setdefault(leader, []).append(person)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def _parts(store: Store, keys: Sequence[str]) -> Iterator[Outcome]:
    """One after the other: all of them together may not fit into memory."""
    for key in keys:
        outcome = store.load(key)
        if outcome is None:
            raise StateError(f"{store.folder}: a part that was written is gone; run the same command again")
        yield outcome


def _work(
    found: Sequence[Input],
    store: Store,
    settings: Settings,
    jobs: int | None,
    backend: str,
    cache: Path | None,
    progress: Progress | None,
    stage: Stage | None,
) -> list[str]:
    """The keys of the parts of all inputs, which are whole then."""
    keys = [store.key(one) for one in found]
    missing = [(one, key) for one, key in zip(found, keys) if not store.is_done(key)]

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
        opens = partial(open_work, store, settings, backend, cache)
        work_in_processes(missing, opens, jobs, looked)
    return keys


@contextmanager
def open_work(
    store: Store, settings: Settings, backend: str, cache: Path | None
) -> Iterator[Callable[[tuple[Input, str], Callable[[], None]], None]]:
    """What works off an input and its key into the store, in a process of its own."""
    with Stage(backend=backend, cache=cache) as stage:
        desk = Desk(stage, settings, store.folder, stop_alone)

        def carry_out(task: tuple[Input, str], finished: Callable[[], None]) -> None:
            one, key = task
            store.save(key, desk.work(one))

        yield carry_out


def _about(
    inputs: int,
    ledger: Ledger,
    sides: Mapping[str, str],
    settings: Settings,
    persons: str,
    validation: float,
) -> dict[str, Any]:
    counts = Counter((sides[entry.person], entry.kind) for entry in ledger.entries)
    people = Counter(sides.values())
    synthesis = {"generator": DRAWN_BY, "per_still": settings.synthesise} if settings.synthesise else None
    return {
        "format": FORMAT,
        "extractor": {"name": EXTRACTOR, "version": EXTRACTOR_VERSION, "mode": settings.mode},
        "crop": {"rule": settings.crop, "size": settings.size},
        "persons": {"rule": persons, TRAIN: people[TRAIN], VALIDATION: people[VALIDATION]},
        "split": {"rule": RULE, "validation": validation},
        "counts": {
            "inputs": inputs,
            "pictures": len(ledger.entries),
            TRAIN: {kind: counts[TRAIN, kind] for kind in (REAL, SYNTHESISED)},
            VALIDATION: {kind: counts[VALIDATION, kind] for kind in (REAL, SYNTHESISED)},
            "refused": ledger.reasons,
        },
        "synthesis": synthesis,
        "clips": {"per_second": settings.per_second, "most": settings.most},
        "gates": asdict(settings.gates),
        "origins": [
            {"origin": origin, "licence": licence, "pictures": count}
            for (origin, licence), count in sorted(ledger.origins.items())
        ],
    }
