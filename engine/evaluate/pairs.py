"""Against the circle of our own estimator: one frame of a clip with another frame's AUs, beside that real frame.

    from engine.evaluate.pairs import ClipPairs, judge_pairs, pairs_from

    clips, refused = pairs_from(sorted(Path("held_back_clips").iterdir()))
    scores = judge_pairs(clips, [InCrop(network, size=64), Opened(*open_generator("mesh_flow"))])
    scores["mean"]["network"]["lip"], scores["mean"]["unchanged"]["lip"]

What a generator was asked for is measured by the estimator that labelled its training; whether the face then looks as
the real one did is not: lips and lids are compared in the face's own frontal view.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from engine.config import known
from engine.errors import InputError
from engine.evaluate import effects
from engine.evaluate.changers import Changer
from engine.evaluate.clip import FIRST_FRAMES, Cut, Tracker, first_face
from engine.evaluate.metrics import LIPS, pose_difference
from engine.evaluate.subjects import MODE, MODES, Detector, Reading, Subject, read, subject_of
from engine.media import open_media
from engine.source import Segmenter
from engine.types import F32, U8

CANDIDATES = 24
"""Frames of a clip that are looked at, spread evenly over its first 360."""
TARGETS = 5
"""Of these, the ones compared: those whose lips and lids differ most from the source frame's and from each other."""
MOST_TURN = 12.0
"""Degrees of yaw or pitch from the source frame beyond which a frame is no target: its own shape is seen otherwise."""
LEAST_MOTION = 0.03
"""Lip and lid error of the unchanged source, added up, below which a clip shows nothing but the tracker's noise."""
UNCHANGED = "unchanged"
"""Name of the source frame as it stands, beside the changers."""

_REGIONS = {"lip": LIPS, "lid": effects.LIDS}


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A real frame. index: among the clip's frames. aus: float32 (17,), what is asked for."""

    index: int
    rgb: U8
    reading: Reading
    aus: F32


@dataclass(frozen=True, slots=True, eq=False)
class ClipPairs:
    """A clip's source frame, its calmest, and the frames whose AUs are asked of it."""

    name: str
    source: Subject
    targets: tuple[Target, ...]


def pairs_from(paths: Iterable[Path], *, mode: str = MODE) -> tuple[list[ClipPairs], dict[str, str]]:
    """The pairs of several clips, and by file name why others were refused. Opens the tracker. mode: as of pairs_of."""
    from engine.track.face import FaceTracker

    clips, refused = [], {}
    with closing(FaceTracker()) as detector:
        for path in paths:
            try:
                clips.append(pairs_of(path, detector, mode=mode))
            except InputError as error:
                refused[path.name] = str(error)
    return clips, refused


def pairs_of(
    path: Path, detector: Tracker, *, mode: str = MODE, segmenter: Segmenter | None = None
) -> ClipPairs:
    """The pairs of one clip. mode: what the AUs that are asked for are measured against, "dynamic" (the source frame's
    estimated rest) or "static" (each frame's own). Raises InputError: unreadable, no face, or nothing in it moves."""
    known(mode, MODES, "mode")
    first, cut = first_face(path, detector)
    frames = _candidates(path, first, cut)
    read_frames = [(index, rgb, read(rgb, detector)) for index, rgb in frames]
    seen = [_Seen(index, rgb, reading) for index, rgb, reading in read_frames if reading is not None]
    if len(seen) < 2:
        raise InputError(f"{path.name}: {len(seen)} frames with a face; expected at least 2")
    calm = min(seen, key=lambda one: float(one.reading.aus.sum()))
    subject = subject_of(calm.rgb, detector, name=path.stem, segmenter=segmenter)
    near = [one for one in seen if one is not calm and _is_near(one.reading, subject.reading)]
    if not near:
        raise InputError(
            f"{path.name}: the head turns from frame to frame; expected a clip that looks one way"
        )
    targets = _varied(near, subject.reading)
    motion = float(np.mean([sum(errors(one.reading, subject.reading).values()) for one in targets]))
    if motion < LEAST_MOTION:
        raise InputError(
            f"{path.name}: lips and lids move by {motion:.3f} eye distances, expected {LEAST_MOTION} or more"
        )
    asked = [Target(one.index, one.rgb, one.reading, subject.aus_of(one.reading, mode)) for one in targets]
    return ClipPairs(path.stem, subject, tuple(asked))


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A frame with a face."""

    index: int
    rgb: U8
    reading: Reading


def _varied(near: Sequence[_Seen], source: Reading) -> list[_Seen]:
    """Up to TARGETS, one by one the frame whose lips and lids lie farthest from the source's and from those chosen."""
    chosen: list[_Seen] = []
    left = list(near)
    while left and len(chosen) < TARGETS:
        faces = [source, *(one.reading for one in chosen)]
        best = max(left, key=lambda one: min(sum(errors(one.reading, other).values()) for other in faces))
        chosen.append(best)
        left = [one for one in left if one is not best]
    return chosen


def _candidates(path: Path, first: int, cut: Cut) -> list[tuple[int, U8]]:
    """CANDIDATES frames from `first` on, cut; only these are kept while the clip is read."""
    with open_media(path) as media:
        count = media.frame_count or sum(1 for _ in islice(media, FIRST_FRAMES))
    places = np.linspace(first, min(count, FIRST_FRAMES) - 1, CANDIDATES).round().astype(int)
    wanted = set(places[places >= first].tolist())
    with open_media(path) as media:
        frames = enumerate(islice(media, FIRST_FRAMES))
        return [(index, cut.of(frame.rgb)) for index, frame in frames if index in wanted]


def _is_near(one: Reading, other: Reading) -> bool:
    yaw, pitch, _ = pose_difference(one.shape.rotation, other.shape.rotation)
    return bool(max(yaw, pitch) <= MOST_TURN)


def errors(one: Reading, truth: Reading) -> dict[str, float]:
    """Mean distance of the points of lips and of lids in the frontal view, over the eye distance."""
    return {name: effects.shift(one.shape, truth.shape, points) for name, points in _REGIONS.items()}


Watch = Callable[[str, Target, U8], None]
"""Is shown the changer's name, the target and the answer."""


def measure_pairs(
    clip: ClipPairs, changers: Sequence[Changer], detector: Detector, watch: Watch | None = None
) -> dict[str, Any]:
    """One clip: by changer, and under "unchanged", the mean of `lip` and `lid` over its targets, null where the output
    never showed a face; and how many targets there were."""
    own = [(clip.source.reading, target.reading) for target in clip.targets]
    rows: dict[str, Any] = {"targets": len(clip.targets), UNCHANGED: _mean(own)}
    for changer in changers:
        answer, made = changer.begin(clip.source), []
        for target in clip.targets:
            rgb = answer(target.aus).rgb
            made.append((read(rgb, detector), target.reading))
            if watch is not None:
                watch(changer.name, target, rgb)
        rows[changer.name] = _mean(made)
    return rows


def _mean(found: Sequence[tuple[Reading | None, Reading]]) -> dict[str, float | None]:
    rows = [errors(made, truth) for made, truth in found if made is not None]
    return {name: float(np.mean([row[name] for row in rows])) if rows else None for name in _REGIONS}


def judge_pairs(
    clips: Sequence[ClipPairs], changers: Sequence[Changer], *, detector: Detector | None = None
) -> dict[str, Any]:
    """{"mean": {changer: {"lip": ..., "lid": ...}}, "clips": {name: ...}}; every clip counts once."""
    if detector is None:
        from engine.track.face import FaceTracker

        with closing(FaceTracker()) as opened:
            return judge_pairs(clips, changers, detector=opened)
    rows = {clip.name: measure_pairs(clip, changers, detector) for clip in clips}
    return {"mean": mean_of_clips(rows.values()), "clips": rows}


def mean_of_clips(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Per changer the mean of `lip` and `lid` over the clips that have one."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row if name != "targets")
    return {
        name: {
            region: float(np.mean(there)) if there else None
            for region in _REGIONS
            for there in [[row[name][region] for row in rows if row.get(name, {}).get(region) is not None]]
        }
        for name in names
    }
