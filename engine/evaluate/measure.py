"""One clip against its own first frame, and one portrait moved by one clip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from engine.errors import NoFaceError
from engine.evaluate import metrics, rules
from engine.evaluate.bounds import Facts, correlation_ceilings, identity_floor, open_eye_gaze
from engine.evaluate.clip import Clip, Cut, Tracker, stack_points
from engine.evaluate.reenact import Reenactor
from engine.evaluate.scores import Outputs, Scores, cross_scores, self_scores
from engine.evaluate.sheets import Columns, choose_columns
from engine.evaluate.signals import Course, Offset, course, mode_offset
from engine.features.shape import fit_shape
from engine.geometry import apply_affine, head_pose, invert_affine
from engine.media import read_picture
from engine.types import F32, U8, FaceShape, Outcome, Source


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A clip with its true frames re-tracked one by one: computed once, used by every run that it drives."""

    clip: Clip
    scored: Course
    video: Course
    window: F32
    spread: dict[str, float]
    yaw_range: float
    columns: Columns
    offset: Offset


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """One result. scores: without and with driver pixels, before any rule. facts: for the report."""

    scores: Scores
    driver_pixels: Scores
    facts: Facts
    spread: dict[str, float]
    yaw_range: float
    title: str
    source: U8
    rows: dict[str, list[U8]]


def truth_of(clip: Clip, tracker: Tracker) -> Truth:
    """Re-track the true frames that are scored."""
    known: dict[int, F32] = {}
    for index in sorted({*clip.scored, *clip.window}):
        known[index] = _retrack(clip.frames[index].rgb, tracker)
    scored = course(_pick(known, clip.scored))
    yaw = [head_pose(fit_shape(found[0].points).rotation).yaw for found in clip.faces if found]
    range_deg = max((abs((angle - yaw[0] + 180) % 360 - 180) for angle in yaw), default=0.0)
    video = course(clip.video[list(clip.scored)])
    return Truth(
        clip,
        scored,
        video,
        _pick(known, clip.window),
        rules.spreads(scored),
        range_deg,
        choose_columns(clip.scored, scored),
        mode_offset(scored.shapes, video.shapes),
    )


def _pick(known: dict[int, F32], indices: Sequence[int]) -> F32:
    if not indices:
        return stack_points([()])[:0]
    return np.stack([known[index] for index in indices])


def _retrack(rgb: U8, tracker: Tracker) -> F32:
    return np.asarray(stack_points([tracker.detect(rgb, thorough=False)])[0], np.float32)


def _own_points(source: Source, tracker: Tracker) -> F32:
    """The source's own points measured as every scored picture is; as the session has them where that fails."""
    points = _retrack(source.rgb, tracker)
    return points if np.isfinite(points[0, 0]) else source.face.points


def _still_points(source: Source, tracker: Tracker) -> F32:
    """The source's own points as the moved pictures show them: re-tracked on small turns and zooms of it, brought
    back and averaged, because one reading depends on where the detector happens to place its box."""
    height, width = source.rgb.shape[:2]
    found = []
    for turn, zoom in product((-4.0, 0.0, 4.0), (0.94, 1.0, 1.06)):
        matrix = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), turn, zoom), np.float64)
        moved = cv2.warpAffine(source.rgb, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        points = _retrack(np.asarray(moved, np.uint8), tracker)
        if np.isfinite(points[0, 0]):
            flat = apply_affine(invert_affine(matrix), points)
            found.append(np.column_stack([flat, points[:, 2] / zoom]))
    return np.mean(found, axis=0, dtype=np.float32) if found else source.face.points


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What one pass of the reenactor over a clip left."""

    outputs: Outputs
    pictures: dict[int, U8]


def _run(
    truth: Truth, source: Source, reenactor: Reenactor, tracker: Tracker, *, driver_pixels: bool, own: bool
) -> _Run:
    clip = truth.clip
    wanted = {*clip.scored, *clip.window}
    scored, points, pictures = set(clip.scored), {}, {}
    neutrals: dict[int, FaceShape | None] = {}
    outcomes: Counter[Outcome] = Counter()
    played = reenactor.play(source, clip, driver_pixels=driver_pixels, pin_first=own)
    for index, one in enumerate(played):
        outcomes[one.outcome] += 1
        if index in wanted:
            points[index] = _retrack(one.rgb, tracker)
        if index in scored:
            neutrals[index], pictures[index] = one.neutral, one.rgb
    outputs = Outputs(
        course(_pick(points, clip.scored)),
        _pick(points, clip.window),
        [truth.offset.on(neutrals[index]) for index in clip.scored],
        dict(outcomes),
    )
    return _Run(outputs, pictures)


def measure_clip(truth: Truth, tracker: Tracker, reenactor: Reenactor) -> Measured:
    """The clip's source frame moved by the clip. Raises InputError when that frame cannot be moved."""
    clip = truth.clip
    source = reenactor.source(clip.frames[0].rgb, clip.name)
    own = _own_points(source, tracker)
    baseline = {
        index: metrics.similarity_picture(source.rgb, own, points)
        for index, points in zip(clip.scored, truth.scored.points)
        if np.isfinite(points[0, 0])
    }
    runs = [_run(truth, source, reenactor, tracker, driver_pixels=asked, own=True) for asked in (False, True)]
    scores = [
        self_scores(
            truth.scored, truth.window, truth.video.points, run.outputs, _errors(truth, run, baseline)
        )
        for run in runs
    ]
    left = [
        metrics.similarity_error(own, points) for points in truth.scored.points if np.isfinite(points[0, 0])
    ]
    facts = _facts(truth, runs[0]) | {"similarity_error": float(np.mean(left)) if left else None}
    true = {index: clip.frames[index].rgb for index in clip.scored}
    rows = _rows(truth, source, {"driver": true, "output": runs[0].pictures, "similarity": baseline})
    rows["error"] = [metrics.error_picture(a, b) for a, b in zip(rows["output"], rows["driver"])]
    rows |= _rows(truth, source, {"driver pixels": runs[1].pictures})
    return Measured(scores[0], scores[1], facts, truth.spread, truth.yaw_range, clip.name, source.rgb, rows)


def _errors(truth: Truth, run: _Run, baseline: dict[int, U8]) -> list[tuple[float, float, float]]:
    rows = []
    for index, points in zip(truth.clip.scored, truth.scored.points):
        if index not in baseline:
            continue
        true, made = truth.clip.frames[index].rgb, run.pictures[index]
        mask = metrics.oval_mask(points, (true.shape[0], true.shape[1]))
        quality = metrics.psnr(made, true, mask)
        gain = quality - metrics.psnr(baseline[index], true, mask)
        rows.append((quality, gain, metrics.ssim(made, true, mask)))
    return rows


def measure_pair(truth: Truth, portrait: Path, name: str, tracker: Tracker, reenactor: Reenactor) -> Measured:
    """A portrait moved by a clip. Raises InputError when the portrait cannot be read or moved."""
    source = reenactor.source(cut_portrait(portrait, tracker), name)
    own = fit_shape(_still_points(source, tracker))
    runs = [
        _run(truth, source, reenactor, tracker, driver_pixels=asked, own=False) for asked in (False, True)
    ]
    scores = [cross_scores(own, truth.scored, truth.window, run.outputs) for run in runs]
    true = {index: truth.clip.frames[index].rgb for index in truth.clip.scored}
    rows = _rows(
        truth, source, {"driver": true, "output": runs[0].pictures, "driver pixels": runs[1].pictures}
    )
    title = f"{name} moved by {truth.clip.name}"
    floor = identity_floor(fit_shape(source.face.points), own, runs[0].outputs.neutrals)
    facts = _facts(truth, runs[0]) | floor
    return Measured(scores[0], scores[1], facts, truth.spread, truth.yaw_range, title, source.rgb, rows)


def cut_portrait(path: Path, tracker: Tracker) -> U8:
    """A picture, cut about its main face. Raises InputError: unreadable, or nobody in it."""
    rgb = read_picture(path)
    found = tracker.detect(rgb)
    if not found:
        raise NoFaceError(f"{path.name}: no face found")
    return Cut.around(found[0].points, rgb.shape).of(rgb)


def _facts(truth: Truth, run: _Run) -> Facts:
    facts: Facts = {
        "frames": len(truth.clip.frames),
        "scored_frames": len(truth.clip.scored),
        "scored_without_face": sum(shape is None for shape in truth.scored.shapes),
    }
    for outcome, count in sorted(run.outputs.outcomes.items(), key=lambda item: item[0].value):
        facts[f"frames_{outcome.value}"] = count
    facts |= correlation_ceilings(truth.scored, truth.video)
    return facts | open_eye_gaze(truth.scored, run.outputs.scored)


def _rows(truth: Truth, source: Source, pictures: dict[str, dict[int, U8]]) -> dict[str, list[U8]]:
    blank = np.full_like(source.rgb, 96)
    return {
        label: [made.get(index, blank) for index in truth.columns.indices] for label, made in pictures.items()
    }
