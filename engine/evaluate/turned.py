"""A turned head against the truth: a person's generator of several pictures beside the default one.

A clip is cut in two in time. The enrolment part gives the pictures, and whatever a bundle was tuned on; of the part
that is held back, the frames whose head is turned are made again from those pictures and compared with what was
filmed. Both generators get the same pictures, the same motion and the same neutral, which is the face of the very
picture that moves: nothing of calibration is in the figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from engine import several
from engine.crop import factor_of
from engine.errors import InputError
from engine.evaluate import metrics
from engine.evaluate.clip import Clip, Tracker, first_face, read_clip, stack_points
from engine.evaluate.reenact import SessionReenactor
from engine.features.shape import fit_shape
from engine.geometry import head_pose
from engine.media import open_writer
from engine.plug import Generator
from engine.source import Segmenter
from engine.types import F32, F64, U8, Mode, Outcome, Source

BEYOND: Final = 15.0
"""Degrees of yaw past which a held-back frame is compared."""
HELD: Final = 0.4
"""Share of a clip that is held back, at its beginning or its end."""
GAP_S: Final = 0.5
"""Seconds between both parts that belong to neither."""
SIDE: Final = 256
"""Pixels a side at which pictures are compared: the protocol's square, halved."""

OURS, AHEAD, NEAREST, LIMIT = "bundle", "default_ahead", "default_nearest", "resolution"
"""What is compared: the bundle with all its pictures; the default generator with the picture that looks ahead most
calmly; the same with, for every frame, the picture nearest in yaw; and the true frames themselves, brought to the
pixels of the bundle's network and back."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Halves:
    """Frames of a clip, by number. scored: of `held`, those that are turned."""

    enrolment: range
    held: range
    scored: tuple[int, ...]


def halves(yaws: F64, times: F64, beyond: float = BEYOND) -> Halves:
    """The rule: the first or the last HELD of the clip's time is held back, whichever holds more turned frames, the
    last of equals; GAP_S beside it belong to nothing, the rest is enrolment. yaws: degrees, nan without a face.

    Raises InputError where neither end shows a turned head, or nobody is left to enrol.
    """
    there = np.isfinite(yaws)
    turned = np.abs(np.where(there, yaws, 0.0)) > beyond
    length = times[-1] - times[0]
    first, last = times <= times[0] + HELD * length, times >= times[-1] - HELD * length
    at_start = turned[first].sum() > turned[last].sum()
    held = np.flatnonzero(first if at_start else last)
    away = times > times[held[-1]] + GAP_S if at_start else times < times[held[0]] - GAP_S
    kept = np.flatnonzero(away)
    scored = tuple(int(k) for k in held if turned[k])
    if not scored or not there[kept].any():
        raise InputError(
            f"{len(scored)} frames of either end are turned by more than {beyond:g} degrees, {int(there[kept].sum())} "
            "frames with a face are left to enrol; expected one or more of both"
        )
    return Halves(range(int(kept[0]), int(kept[-1]) + 1), range(int(held[0]), int(held[-1]) + 1), scored)


def yaws_of(clip: Clip) -> F64:
    """Degrees per frame, nan without a face."""
    found = [head_pose(fit_shape(faces[0].points).rotation).yaw if faces else np.nan for faces in clip.faces]
    return np.asarray(found, np.float64)


def read(path: Path, tracker: Tracker) -> Clip:
    """A clip in the protocol's square (engine.evaluate.clip). Raises InputError."""
    return read_clip(path, path.stem, *first_face(path, tracker), tracker)


def write_enrolment(path: Path, clip: Clip, parts: Halves) -> None:
    """The enrolment part as a video: what a person is tuned on, to be compared here."""
    frames = [clip.frames[k] for k in parts.enrolment]
    length = frames[-1].time_s - frames[0].time_s
    rate = Fraction(max(1.0, (len(frames) - 1) / length if length else 1.0)).limit_denominator(1001)
    height, width = frames[0].rgb.shape[:2]
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_writer(path, (width, height), frames[0].time_base, rate) as writer:
        for frame in frames:
            writer.write(replace(frame, pts=frame.pts - frames[0].pts))


def pictures(clip: Clip, parts: Halves, tracker: Tracker, segmenter: Segmenter | None, count: int) -> Source:
    """The person, of at most `count` frames of the enrolment part, chosen as of any enrolment clip."""
    frames = [clip.frames[k] for k in parts.enrolment]
    start, length = frames[0].pts, frames[-1].time_s - frames[0].time_s
    own = (replace(frame, pts=frame.pts - start) for frame in frames)
    return several.from_clip(own, length, tracker, segmenter, name=f"{clip.name}, enrolment", count=count)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The frames that are compared. video: their numbers within `clip`, the held-back part. pictures: at SIDE pixels.
    points: float32 (T, 478, 3), each found in its picture alone. yaws: degrees."""

    clip: Clip
    video: tuple[int, ...]
    pictures: tuple[U8, ...]
    points: F32
    yaws: F64


def truth_of(clip: Clip, parts: Halves, tracker: Tracker) -> Truth:
    """Raises InputError where no face is found in any of them."""
    held = Clip(
        clip.name,
        clip.frames[parts.held.start : parts.held.stop],
        clip.faces[parts.held.start : parts.held.stop],
        (),
        (),
    )
    yaws = yaws_of(held)
    small = {k - parts.held.start: smaller(clip.frames[k].rgb) for k in parts.scored}
    points = {k: found_in(picture, tracker) for k, picture in small.items()}
    kept = tuple(k for k in small if np.isfinite(points[k][0, 0]))
    if not kept:
        raise InputError(f"{clip.name}: no face is found in its held-back frames at {SIDE} pixels")
    return Truth(
        held, kept, tuple(small[k] for k in kept), np.stack([points[k] for k in kept]), yaws[list(kept)]
    )


def smaller(rgb: U8) -> U8:
    """A picture of the protocol's square at half its size."""
    size = max(1, rgb.shape[1] // 2), max(1, rgb.shape[0] // 2)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def found_in(picture: U8, tracker: Tracker) -> F32:
    """The main face's points (478, 3), nan where there is none."""
    return np.asarray(stack_points([tracker.detect(picture, thorough=False)])[0], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What a generator made of the frames of a Truth, at SIDE pixels. shown: of those, how many it generated."""

    pictures: tuple[U8, ...]
    shown: int


def made_by(reenactor: SessionReenactor, source: Source, truth: Truth) -> Made:
    """The whole held-back part played, as live; what is compared of it, kept."""
    wanted, found, shown = set(truth.video), [], 0
    for k, played in enumerate(reenactor.play(source, truth.clip, driver_pixels=False, pin_first=True)):
        if k in wanted:
            found.append(smaller(played.rgb))
            shown += played.outcome is Outcome.GENERATED
    return Made(tuple(found), shown)


def nearest(made: Sequence[Made], yaws: Sequence[float], truth: Truth) -> tuple[Made, tuple[int, ...]]:
    """Per frame, what was made of the picture nearest to it in yaw; and which one that is. yaws: of the pictures."""
    which = tuple(int(np.argmin(np.abs(np.asarray(yaws) - yaw))) for yaw in truth.yaws)
    return Made(
        tuple(made[n].pictures[k] for k, n in enumerate(which)), min(one.shown for one in made)
    ), which


def each_picture(source: Source) -> list[Source]:
    """A person's pictures as persons of one picture."""
    return [replace(source, further=()), *source.further]


def yaw_of(source: Source) -> float:
    """Degrees by which a picture's face is turned."""
    return head_pose(fit_shape(source.face.points).rotation).yaw


def at_the_networks_pixels(generator: Generator, source: Source, truth: Truth) -> Made | None:
    """The true frames as finely as the generator's network could show them, were it perfect; None for a generator that
    does not tell its crop."""
    crop = getattr(generator.prepare(source, Mode.PUPPET), "crop", None)
    if crop is None:
        return None
    factor = min(1.0, factor_of(crop))
    found = []
    for k in truth.video:
        rgb = truth.clip.frames[k].rgb
        size = max(1, round(factor * rgb.shape[1])), max(1, round(factor * rgb.shape[0]))
        coarse = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        again = cv2.resize(coarse, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR)
        found.append(smaller(np.asarray(again, np.uint8)))
    return Made(tuple(found), len(found))


def scored(made: Made, truth: Truth, tracker: Tracker) -> tuple[Row, list[Row]]:
    """The figures of all frames, and of each; keys as in engine.evaluate.scores."""
    points = np.stack([found_in(picture, tracker) for picture in made.pictures])
    masks = [metrics.oval_mask(own, true.shape[:2]) for own, true in zip(truth.points, truth.pictures)]
    trios = list(zip(made.pictures, truth.pictures, masks))
    frames: list[Row] = [
        {
            "psnr_face": metrics.psnr(*trio),
            "ssim_face": metrics.ssim(*trio),
            "akd": metrics.landmark_error(points[k : k + 1], truth.points[k : k + 1]),
        }
        for k, trio in enumerate(trios)
    ]
    means: Row = {key: float(np.mean([one[key] for one in frames])) for key in ("psnr_face", "ssim_face")}
    means["akd"] = metrics.landmark_error(points, truth.points)
    means["akd_lip"] = metrics.landmark_error(points, truth.points, metrics.LIPS)
    there = np.isfinite(points[:, 0, 0])
    means["detected"] = float(there.mean())
    turns = [
        metrics.pose_difference(fit_shape(a).rotation, fit_shape(b).rotation)
        for a, b in zip(points[there], truth.points[there])
    ]
    means["yaw_error"] = float(np.mean([turn[0] for turn in turns])) if turns else None
    means["shown"] = made.shown / len(made.pictures)
    return means, frames


def floor_of(truth: Truth) -> float | None:
    """`akd` between the truth as followed through the video and as found in single pictures."""
    video = 0.5 * (truth.clip.video[list(truth.video)] + 0.5) - 0.5
    return metrics.landmark_error(video.astype(np.float32), truth.points)


def wins(scores: Mapping[str, Row], rival: str) -> bool:
    """Whether the bundle is better than a rival both in PSNR of the face and in akd."""
    ours, theirs = scores[OURS], scores[rival]
    if ours["akd"] is None or theirs["akd"] is None:
        return ours["akd"] is not None and theirs["akd"] is None
    return bool(ours["psnr_face"] > theirs["psnr_face"] and ours["akd"] < theirs["akd"])
