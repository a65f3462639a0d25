"""What a generator does to the AUs that are asked of it, measured on pictures: the door for bundles and trainings.

    import numpy as np
    from pathlib import Path
    from engine.evaluate.changers import InCrop, Opened, Plain
    from engine.evaluate.requests import judge, lines, subjects_from

    people, refused = subjects_from(sorted(Path("held_back").glob("*.jpg")))

    def network(crop, aus):                     # uint8 (64, 64, 3) RGB, float32 (17,): as the exported graph
        with torch.inference_mode():            # colour (3, 64, 64) in -1..1, attention (1, 64, 64), 1 keeps
            image = torch.from_numpy(crop).permute(2, 0, 1)[None].float() / 127.5 - 1
            colour, attention = generator(image, torch.from_numpy(aus)[None])
        return colour[0].numpy(), attention[0].numpy()

    scores = judge(people, InCrop(network, size=64, rule="face"))
    print(lines(scores))                        # one figure a line; scores["mean"]["spearman"]["AU12"] and so on

``Plain(lambda rgb, aus: picture)`` takes a callable on whole pictures, ``Opened(*open_generator("mesh_flow"))`` a
generator. Twelve people take about a minute on one core beside the network's own time; ``aus`` and ``levels`` make it
quicker. Definitions: docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from engine.config import known
from engine.evaluate import effects
from engine.evaluate.changers import Answer, Changed, Changer, crop_of_subject
from engine.evaluate.metrics import oval_mask
from engine.evaluate.subjects import (
    MODE,
    MODES,
    Detector,
    Reading,
    Subject,
    number_of,
    read,
    read_subjects,
    with_au,
)
from engine.features.action_units import OBSERVABLE
from engine.types import AU_NAMES

Scores = dict[str, Any]
"""Plain data, as it stands in metrics.json."""

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Intensities that are asked for; the picture's other AUs stay as they are."""

JUDGED_AUS = OBSERVABLE
"""AUs that can be measured again on the output: all but AU06 and AU07."""

Progress = Callable[[int, int | None], None]

Watch = Callable[[str, float, Changed], None]
"""Is shown the AU, the intensity that was asked for, and the answer."""


@dataclass(frozen=True, slots=True, eq=False)
class _Base:
    """The picture asked for its own AUs, and its face there: what every request is compared with."""

    changed: Changed
    reading: Reading


class _Tally:
    """What is pooled over all requests of one picture."""

    def __init__(self, subject: Subject, base: Changed) -> None:
        points, shape = subject.source.face.points, (subject.rgb.shape[0], subject.rgb.shape[1])
        self.oval = oval_mask(points, shape)
        self._outside = effects.surroundings(points, crop_of_subject(subject, base), shape)
        self._rgb = subject.rgb
        self.outside_errors: list[float] = []
        self.kept: list[float] = []
        self.seen: list[bool] = []

    def add(self, changed: Changed, reading: Reading | None) -> None:
        self.outside_errors.append(effects.squared_error(changed.rgb, self._rgb, self._outside))
        if changed.generated is not None:
            self.kept.append(1.0 - float(changed.generated[self.oval].mean()) / 255.0)
        self.seen.append(reading is not None)


def judge(
    subjects: Sequence[Subject],
    changer: Changer,
    *,
    detector: Detector | None = None,
    aus: Sequence[str] = JUDGED_AUS,
    levels: Sequence[float] = LEVELS,
    mode: str = MODE,
    progress: Progress | None = None,
) -> Scores:
    """Sweep each of `aus` over `levels` on each picture and measure what came of it.

    detector: a FaceTracker that is open; one is opened where it is None. mode: "dynamic" or "static", as the AUs of the
    training were measured (engine.evaluate.subjects.Subject.aus_of). Returns {"mean": ..., "people": {name: ...}};
    see `measure` for the keys of a person and `mean_of` for those of the mean. Raises what the changer raises.
    """
    if detector is None:
        from engine.track.face import FaceTracker

        with closing(FaceTracker()) as opened:
            return judge(
                subjects, changer, detector=opened, aus=aus, levels=levels, mode=mode, progress=progress
            )
    people: dict[str, Scores] = {}
    for done, subject in enumerate(subjects):
        people[subject.name] = measure(subject, changer, detector, aus=aus, levels=levels, mode=mode)
        if progress is not None:
            progress(done + 1, len(subjects))
    return {"mean": mean_of(people.values()), "people": people}


def subjects_from(paths: Iterable[Path]) -> tuple[list[Subject], dict[str, str]]:
    """The pictures of several files, each a person of its own, and why others were refused. Opens the tracker."""
    from engine.track.face import FaceTracker

    with closing(FaceTracker()) as detector:
        return read_subjects(paths, detector)


def measure(
    subject: Subject,
    changer: Changer,
    detector: Detector,
    *,
    aus: Sequence[str] = JUDGED_AUS,
    levels: Sequence[float] = LEVELS,
    mode: str = MODE,
    watch: Watch | None = None,
) -> Scores:
    """One picture's figures, null where nothing could be measured. watch: is shown every answer to a request.

    person; own (the picture's AUs by name); psnr_zero; psnr_outside; attention; detected; and per AU: asked, measured
    (lists), spearman, slope (both in `mode`), spearman_static, spearman_dynamic, direct, other, other_seen (landmark
    displacements), pixels_own, pixels_other, and leak, leak_seen, leak_pixels: see docs/evaluation.md.
    """
    answer = changer.begin(subject)
    changed = answer(subject.reading.aus)
    found = read(changed.rgb, detector)
    tally = _Tally(subject, changed)
    tally.add(changed, found)
    base = None if found is None else _Base(changed, found)
    known(mode, MODES, "mode")
    rows = {name: _sweep(subject, answer, base, name, levels, mode, detector, tally, watch) for name in aus}
    zero = effects.squared_error(changed.rgb, subject.rgb, tally.oval)
    return {
        "person": subject.person,
        "own": {name: float(value) for name, value in zip(AU_NAMES, subject.reading.aus)},
        "psnr_zero": effects.decibels(zero),
        "psnr_outside": effects.decibels(float(np.mean(tally.outside_errors))),
        "attention": float(np.mean(tally.kept)) if tally.kept else None,
        "detected": float(np.mean(tally.seen)),
        "aus": rows,
    }


def _sweep(
    subject: Subject,
    answer: Answer,
    base: _Base | None,
    name: str,
    levels: Sequence[float],
    mode: str,
    detector: Detector,
    tally: _Tally,
    watch: Watch | None,
) -> Scores:
    own = float(subject.reading.aus[number_of(name)])
    farthest = max(levels, key=lambda level: abs(level - own))
    asked: list[float] = []
    measured: dict[str, list[float]] = {one: [] for one in MODES}
    leak: Scores = dict.fromkeys(_LEAK_KEYS)
    for level in levels:
        changed = answer(with_au(subject.reading.aus, name, level))
        if watch is not None:
            watch(name, level, changed)
        found = read(changed.rgb, detector)
        tally.add(changed, found)
        if found is None:
            continue
        asked.append(float(level))
        for one, values in measured.items():
            values.append(float(subject.aus_of(found, one)[number_of(name)]))
        if level == farthest and base is not None:
            leak = _leak(name, base, changed, found, detector)
    return {
        "asked": asked,
        "measured": measured[mode],
        "spearman": effects.spearman(asked, measured[mode]),
        "slope": effects.slope(asked, measured[mode]),
        **{f"spearman_{one}": effects.spearman(asked, values) for one, values in measured.items()},
        **leak,
    }


_TERMS = {
    "leak": ("other", "direct"),
    "leak_seen": ("other_seen", "direct"),
    "leak_pixels": ("pixels_other", "pixels_own"),
}
"""Each leak's numerator and denominator."""

_LEAK_KEYS = (*_TERMS, "direct", "other", "other_seen", "pixels_own", "pixels_other")


def _leak(name: str, base: _Base, changed: Changed, found: Reading, detector: Detector) -> Scores:
    """Displacements and pixel changes of the region that is asked for and of the one that is to stay."""
    own, other = effects.own_and_other(name)
    points = base.reading.face.points
    upper, lower = effects.region_masks(points, (changed.rgb.shape[0], changed.rgb.shape[1]))
    own_mask, other_mask = (upper, lower) if effects.is_upper(name) else (lower, upper)
    soft = 0.03 * float(np.linalg.norm(points[33, :2] - points[263, :2]))
    cured = read(effects.put_back(changed.rgb, base.changed.rgb, other_mask, soft), detector)
    terms: Scores = {
        "direct": effects.shift(found.shape, base.reading.shape, own),
        "other": None if cured is None else effects.shift(found.shape, cured.shape, other),
        "other_seen": effects.shift(found.shape, base.reading.shape, other),
        "pixels_own": effects.pixel_change(changed.rgb, base.changed.rgb, own_mask),
        "pixels_other": effects.pixel_change(changed.rgb, base.changed.rgb, other_mask),
    }
    return {key: _ratio(terms[part], terms[whole]) for key, (part, whole) in _TERMS.items()} | terms


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None


def mean_of(people: Iterable[Mapping[str, Any]]) -> Scores:
    """Over persons: of several pictures of one person the mean counts once.

    spearman, spearman_static, spearman_dynamic, slope, leak, leak_seen, leak_pixels by AU name; psnr_zero,
    psnr_outside, attention, detected; leak_upper and leak_lower (and leak_seen_upper, ...): over the AUs that are to
    leave the mouth, and eyes and brows. Leaks are pooled: displacements are added up before they are divided.
    """
    rows = list(people)
    names = [name for name in AU_NAMES if any(name in row["aus"] for row in rows)]
    mean: Scores = {"people": len({row["person"] for row in rows})}
    for key in ("psnr_zero", "psnr_outside", "attention", "detected"):
        mean[key] = by_person(rows, itemgetter(key))
    for key in ("spearman", "slope", "spearman_static", "spearman_dynamic"):
        mean[key] = {
            name: by_person(
                [row["aus"][name] | {"person": row["person"]} for row in rows if name in row["aus"]],
                itemgetter(key),
            )
            for name in names
        }
    for key in _TERMS:
        mean[key] = {name: _pooled(rows, key, (name,)) for name in names}
        mean[f"{key}_upper"] = _pooled(rows, key, effects.UPPER_AUS)
        mean[f"{key}_lower"] = _pooled(rows, key, effects.LOWER_AUS)
    return mean


def by_person(rows: Sequence[Mapping[str, Any]], value: Callable[[Mapping[str, Any]], Any]) -> float | None:
    """The mean over persons of the mean over each one's rows; None where no row has a value."""
    persons: dict[str, list[float]] = {}
    for row in rows:
        if (one := value(row)) is not None:
            persons.setdefault(row["person"], []).append(float(one))
    return float(np.mean([np.mean(values) for values in persons.values()])) if persons else None


def _pooled(rows: Sequence[Mapping[str, Any]], key: str, names: Sequence[str]) -> float | None:
    part, whole = _TERMS[key]
    pairs = [
        (row["aus"][name][part], row["aus"][name][whole])
        for row in rows
        for name in names
        if name in row["aus"] and None not in (row["aus"][name][part], row["aus"][name][whole])
    ]
    return _ratio(sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)) if pairs else None


def lines(scores: Mapping[str, Any]) -> str:
    """The mean as a table for a terminal."""
    mean = scores["mean"]
    head = f"{'':<6}{'spearman':>9}{'static':>9}{'dynamic':>9}{'slope':>9}{'leak':>9}{'seen':>9}{'pixels':>9}"
    keys = ("spearman", "spearman_static", "spearman_dynamic", "slope", "leak", "leak_seen", "leak_pixels")
    rows = [
        f"{name:<6}" + "".join(f"{_text(mean[key][name]):>9}" for key in keys) for name in mean["spearman"]
    ]
    whole = ("people", "psnr_zero", "psnr_outside", "attention", "detected", "leak_upper", "leak_lower")
    return "\n".join([head, *rows, *(f"{key:<14}{_text(mean[key])}" for key in whole)])


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
