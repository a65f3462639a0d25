"""From two folders to metrics.json, details.json, report.html and sheets."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from engine import backends
from engine.errors import ConfigError
from engine.evaluate.assembly import Assembly, Metrics
from engine.evaluate.clip import spread_pairs
from engine.evaluate.parts import PROTOCOL, Parts, code_digest, digest, folder_digest
from engine.evaluate.soundness import discard_damaged
from engine.evaluate.survey import Driver, Portrait, survey_drivers, survey_portraits
from engine.evaluate.work import Pair, Settings, ShippedStage, Stage, Task, carry_out, open_work
from engine.generators import find_bundle
from engine.processes import work_in_processes

DEFAULT_PAIRS = 36
"""Cross pairs where no number is asked for."""

Progress = Callable[[int, int | None], None]


def evaluate(
    drivers: Path,
    portraits: Path,
    out: Path,
    *,
    bundle: str = "mesh_flow",
    accept: frozenset[str] = frozenset(),
    pairs: int | None = None,
    backend: str = "auto",
    cache: Path | None = None,
    progress: Progress | None = None,
    jobs: int | None = None,
    stage: Stage | None = None,
) -> Metrics:
    """Measure a generator on every clip of `drivers` and on pairs of them with pictures of `portraits`.

    Writes into `out`: metrics.json, details.json (every figure before the rules, spreads, counts,
    exclusions), report.html and sheets/. bundle, accept: as of engine.generators.open_generator; it has to move
    portraits. pairs: how many, spread over both folders (default DEFAULT_PAIRS; 0
    for none). jobs: processes (default: two where there are two cores; each process starts anew, so a script
    that calls this needs its ``if __name__ == "__main__"``). stage: what to measure in place of the shipped
    session, in this process. progress: called with the results done and their number.

    Returns what stands in metrics.json. Raises ConfigError (a folder, a count, nothing to measure) and
    whatever opening the tracker or the bundle raises; a clip or picture that cannot be used is listed, not
    raised.
    """
    if pairs is not None and pairs < 0:
        raise ConfigError(f"pairs: got {pairs}, expected 0 or more")
    settings = Settings(out.resolve(), bundle, backend, cache, accept)
    parts = Parts(settings.folder / "parts")
    about = _about(settings, stage)
    jobs = min(2, os.cpu_count() or 1) if jobs is None else jobs
    with stage or ShippedStage(settings) as opened:
        clips, no_clips = survey_drivers(drivers, opened.tracker, parts, digest(*about.values()))
        pictures, no_pictures = survey_portraits(portraits, opened.tracker, parts, digest(*about.values()))
        if not clips:
            raise ConfigError(f"{drivers}: no clip with a face in it; expected at least one")
        tasks = _tasks(clips, pictures, DEFAULT_PAIRS if pairs is None else pairs, digest(*about.values()))
        pair_keys = [pair.key for task in tasks for pair in task.pairs]
        discard_damaged(parts, [task.key for task in tasks], pair_keys)
        looked = _counter(parts, tasks, progress)
        looked()
        alone = stage is not None or jobs < 2 or len(tasks) < 2
        for task in tasks if alone else ():
            carry_out(task, opened, settings.folder, looked)
    if not alone:
        work_in_processes(tasks, partial(open_work, settings), jobs, looked)
    return Assembly(settings.folder, parts, tasks, [*no_clips, *no_pictures], about).write()


def _about(settings: Settings, stage: Stage | None) -> dict[str, str]:
    """Everything beside the files themselves that decides a result, in words."""
    about = {
        "generator": bundle_words(settings.bundle),
        "code": code_digest()[:16],
        "protocol": str(PROTOCOL),
    }
    if stage is not None:
        return about | {"stage": type(stage).__qualname__}
    choice = backends.choose(settings.backend)
    return about | {"backend": f"{choice.name} ({choice.reason})"}


def bundle_words(bundle: str) -> str:
    """A bundle by name, and by its content where it is more than built-in code."""
    folder = find_bundle(bundle)
    return bundle if folder is None else f"{bundle} ({folder_digest(folder)[:16]})"


def _tasks(clips: Sequence[Driver], pictures: Sequence[Portrait], wanted: int, about: str) -> list[Task]:
    """The longest clips first, so that two processes end together."""
    pairs: dict[str, list[Pair]] = {clip.name: [] for clip in clips}
    for driver, picture in spread_pairs(len(clips), len(pictures), wanted):
        clip, portrait = clips[driver], pictures[picture]
        pairs[clip.name].append(Pair(portrait, digest("pair", clip.content, portrait.content, about)))
    tasks = [Task(clip, digest("clip", clip.content, about), tuple(pairs[clip.name])) for clip in clips]
    return sorted(tasks, key=lambda task: -task.driver.path.stat().st_size)


def _counter(parts: Parts, tasks: Sequence[Task], progress: Progress | None) -> Callable[[], None]:
    keys = [key for task in tasks for key in task.keys]

    def looked() -> None:
        if progress is not None:
            progress(parts.there(keys), len(keys))

    return looked
