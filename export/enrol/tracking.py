"""A clip to its aligned crops and masks on disk, frame by frame: what trainers/stit/clip.py reads.

Two passes over the clip: landmarks of every frame, from which the smoothed squares follow; then crops and masks. Each
picture is written whole or not at all and found again, so an enrolment that is cut off goes on where it was.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engine.align import Squares, crop_of_quad, cut_quad, smoothed, squares_of
from engine.align.smoothing import AXES_SIGMA, CENTRE_SIGMA
from engine.crop import cut, points_in
from engine.errors import ConfigError, InputError, NoFaceError
from engine.features import landmarks68
from engine.media import open_media, write_picture
from engine.parsing.classes import Part
from engine.parsing.draw import draw_parsing
from engine.types import F32, F64, FACE_POINTS, U8, Frame
from export.enrol.progress import Tell
from trainers.arrays import DAMAGE, MAGIC

NOT_EDITED = (Part.BACKGROUND, Part.CLOTH, Part.HAT)
_MASK_SIDE = 512
_LANDMARKS = 68
_LEAST_EXTENT = 4.0  # pixels
Labels = Callable[[U8], U8]
"""A crop uint8 (S, S, 3) to its foreground, uint8 (M, M) of 0 and 1."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """Everything beside the clip that decides the crops. sigmas: frames. most: frames taken, evenly over the clip."""

    size: int
    scale: float = 1.0
    centre_sigma: float = CENTRE_SIGMA
    axes_sigma: float = AXES_SIGMA
    most: int = 300

    def __post_init__(self) -> None:
        if self.most < 1:
            raise ConfigError(f"frames: got {self.most}, expected 1 or more")
        if not 0.2 <= self.scale <= 5.0:
            raise ConfigError(f"scale: got {self.scale}, expected .2 .. 5")


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """frames: numbers of those with a face. landmarks: float64 (N, 68, 2). points: float32 (N, 478, 3), or None where
    landmarks came from a file. total: frames of the clip."""

    frames: list[int]
    landmarks: F64
    points: F32 | None
    total: int


def track(
    clip: Path, folder: Path, tell: Tell, landmarks: Path | None = None, backend: str = "auto"
) -> Tracked:
    """Landmarks of every frame that shows a face, found or from a file. Kept in `folder`, and read from there when they
    are those of the same clip.

    landmarks: .npy (frames, 68, 2) in pixels, rows of NaN where nobody is. Raises NoFaceError where no frame has one.
    """
    kept, mark = folder / "track.npz", _mark_of(clip, landmarks)
    tracked = _kept(kept, mark)
    if tracked is None:
        tracked = _tracked(clip, tell, backend) if landmarks is None else _given(clip, landmarks)
        folder.mkdir(parents=True, exist_ok=True)
        _save(kept, mark, tracked)
    if not tracked.frames:
        raise NoFaceError(
            f"{clip}: no face in any of its {tracked.total} frames; take another clip, or give landmarks by a file"
        )
    return tracked


def track_again(clip: Path, folder: Path, tell: Tell, backend: str = "auto") -> Tracked:
    """For an enrolment that is over: what was tracked then, by landmarks of a file or not, where this is its clip.
    Another clip is tracked into `folder`/clips. Raises as `track` does."""
    mark = _mark_in(folder / "track.npz")
    found = _kept(folder / "track.npz", mark) if mark.partition("|")[0] == _mark_of(clip, None) else None
    return found or track(clip, folder / "clips" / clip.name, tell, None, backend)


def write_crops(
    clip: Path,
    tracked: Tracked,
    folder: Path,
    alignment: Alignment,
    tell: Tell,
    labels: Labels | None = None,
    backend: str = "auto",
) -> F64:
    """Crops and masks of the frames that are enrolled, and `clip.json` last. Returns the quads (N, 4, 2).

    labels: a network's foreground of a crop; without one it is drawn from the tracked points. Squares are smoothed over
    all frames with a face, as their neighbours in time, and only then thinned out.
    """
    quads = smooth_squares(tracked, alignment).quads()
    chosen = np.unique(
        np.linspace(0, len(tracked.frames) - 1, min(alignment.most, len(tracked.frames))).astype(int)
    )
    wanted = {tracked.frames[index]: int(index) for index in chosen}
    about = {"format": 1, "size": alignment.size, "frames": sorted(wanted), "alignment": asdict(alignment)}
    about["mask"] = "network" if labels is not None else "drawn"
    mark = hashlib.sha256(quads[chosen].tobytes()).hexdigest()
    about["quads"] = mark
    _begin(folder, about)
    with _Drawn(tracked, backend, needed=labels is None) as drawn:
        done = 0
        for number, frame in _frames(clip):
            if number not in wanted:
                continue
            crop_path, mask_path = (folder / name / f"{number:06d}.png" for name in ("crops", "masks"))
            if not (crop_path.exists() and mask_path.exists()):
                quad = quads[wanted[number]]
                crop = cut_quad(frame.rgb, quad, alignment.size)
                mask = labels(crop) if labels else drawn.of(frame, wanted[number], quad)
                write_picture(crop_path, crop)
                write_picture(mask_path, np.repeat((255 * mask)[..., None], 3, axis=2))
            done += 1
            tell("align", done, len(wanted))
    _write_text(folder / "clip.json", json.dumps(about) + "\n")
    return np.asarray(quads[chosen], np.float64)


def smooth_squares(tracked: Tracked, alignment: Alignment) -> Squares:
    """The smoothed square of every frame with a face. Where frames without one lie between, the stretches before and
    behind are smoothed apart: they are no neighbours in time."""
    squares = squares_of(tracked.landmarks, alignment.scale)
    numbers = np.array(tracked.frames)
    edges = [0, *(np.flatnonzero(np.diff(numbers) > 1) + 1).tolist(), len(numbers)]
    parts = [
        smoothed(
            Squares(squares.centre[a:b], squares.along[a:b], squares.down[a:b]),
            alignment.centre_sigma,
            alignment.axes_sigma,
        )
        for a, b in itertools.pairwise(edges)
    ]
    return Squares(
        np.concatenate([part.centre for part in parts]),
        np.concatenate([part.along for part in parts]),
        np.concatenate([part.down for part in parts]),
    )


# --- tracking --------------------------------------------------------------------------------------


def _frames(clip: Path) -> Iterator[tuple[int, Frame]]:
    with open_media(clip) as media:
        yield from enumerate(media)


def _tracked(clip: Path, tell: Tell, backend: str) -> Tracked:
    from engine.track.face import FaceTracker

    numbers: list[int] = []
    points: list[F32] = []
    total = 0
    tracker = FaceTracker(max_faces=1, backend=backend)
    try:
        for number, frame in _frames(clip):
            total = number + 1
            faces = tracker.track(frame)
            if faces:
                numbers.append(number)
                points.append(faces[0].points)
            tell("track", total, None)
    finally:
        tracker.close()
    stacked = np.stack(points) if points else np.zeros((0, FACE_POINTS, 3), np.float32)
    marks = [landmarks68.from_points(one).astype(np.float64) for one in stacked]
    landmarks = np.stack(marks) if marks else np.zeros((0, _LANDMARKS, 2))
    return Tracked(numbers, landmarks, stacked, total)


def _given(clip: Path, path: Path) -> Tracked:
    """Landmarks of a file, for drawn characters that no detector finds."""
    try:
        if not path.is_file():
            raise ValueError("there is no such file")
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ValueError("it does not begin as one")
        stored = np.load(
            path, allow_pickle=False, mmap_mode="r"
        )  # what states more than it holds takes no memory
    except DAMAGE as error:
        raise InputError(f"{path}: not readable as .npy of plain numbers ({error})") from error
    if (
        not isinstance(stored, np.ndarray)
        or stored.dtype.kind not in "fiu"
        or stored.shape[1:] != (_LANDMARKS, 2)
    ):
        shape = getattr(stored, "shape", None)
        raise InputError(f"{path}: landmarks of shape {shape}, expected (frames, {_LANDMARKS}, 2) in pixels")
    total, sides = 0, (0, 0)
    for number, frame in _frames(clip):
        total, sides = number + 1, frame.size
    if len(stored) != total:
        raise InputError(
            f"{path}: landmarks of {len(stored)} frames, and {clip} has {total}; expected as many"
        )
    there = np.isfinite(stored).all((1, 2))
    frames, found = np.flatnonzero(there).tolist(), stored[there].astype(np.float64)
    _check_places(path, frames, found, sides)
    return Tracked(frames, found, None, total)


def _check_places(path: Path, frames: list[int], landmarks: F64, sides: tuple[int, int]) -> None:
    """A face may reach out of the frame, and no further than the frame is wide; it has an extent. Raises InputError."""
    limits = np.array(sides, np.float64)
    far = ((landmarks < -limits) | (landmarks > 2.0 * limits)).any((1, 2))
    small = (np.ptp(landmarks, axis=1) < _LEAST_EXTENT).any(1)
    for number in np.flatnonzero(far | small)[:1].tolist():
        (left, top), (right, bottom) = landmarks[number].min(0), landmarks[number].max(0)
        raise InputError(
            f"{path}: landmarks of frame {frames[number]} lie at x {left:.6g} .. {right:.6g}, y {top:.6g} .. "
            f"{bottom:.6g}, expected a face in pixels of {sides[0]} x {sides[1]}, rows of NaN where nobody is"
        )


def _mark_of(clip: Path, landmarks: Path | None) -> str:
    """What tells another clip, or other landmarks, from those of the enrolment that is resumed."""
    marks = []
    for path in (clip, landmarks):
        if path is not None:
            try:
                stat = path.stat()
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror})") from error
            marks.append(f"{path.name}:{stat.st_size}:{stat.st_mtime_ns}")
    return "|".join(marks)


def _mark_in(path: Path) -> str:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return str(stored["mark"])
    except DAMAGE:
        return ""


def _kept(path: Path, mark: str) -> Tracked | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if str(stored["mark"]) != mark:
                return None
            points = stored["points"] if "points" in stored.files else None
            return Tracked(stored["frames"].tolist(), stored["landmarks"], points, int(stored["total"]))
    except DAMAGE:
        return None  # none yet, or cut short: it is tracked anew


def _save(path: Path, mark: str, tracked: Tracked) -> None:
    partial = path.with_name(f".{path.name}.partial")
    arrays: dict[str, Any] = {} if tracked.points is None else {"points": tracked.points}
    frames = np.array(tracked.frames, np.int64)
    with partial.open("wb") as file:
        np.savez(file, mark=mark, frames=frames, landmarks=tracked.landmarks, total=tracked.total, **arrays)
    os.replace(partial, path)


# --- masks -----------------------------------------------------------------------------------------


def drawing(tracked: Tracked, backend: str, needed: bool) -> _Drawn:
    """As a context: what gives the drawn foreground of a frame, opened where it is needed."""
    return _Drawn(tracked, backend, needed)


class _Drawn:
    """The foreground drawn from tracked points and the person mask; from landmarks alone it is their hull."""

    def __init__(self, tracked: Tracked, backend: str, needed: bool) -> None:
        self._tracked, self._backend = tracked, backend
        self._needed = needed and tracked.points is not None

    def __enter__(self) -> _Drawn:
        from engine.track.person import PersonSegmenter

        self._segmenter = PersonSegmenter(backend=self._backend) if self._needed else None
        return self

    def __exit__(self, *_: object) -> None:
        if self._segmenter is not None:
            self._segmenter.close()

    def of(self, frame: Frame, index: int, quad: F64) -> U8:
        crop = crop_of_quad(quad, _MASK_SIDE)
        if self._tracked.points is None or self._segmenter is None:
            return _hull(points_in(crop, self._tracked.landmarks[index].astype(np.float32)))
        person = cut(self._segmenter.mask(frame.rgb), crop)
        points = points_in(crop, self._tracked.points[index])
        labels = draw_parsing(points, (_MASK_SIDE, _MASK_SIDE), person)
        return np.asarray(~np.isin(labels, [int(part) for part in NOT_EDITED]), np.uint8)


def _hull(landmarks: F32) -> U8:
    """Landmarks have no forehead: the brows count once more, raised by their distance to the nose's base."""
    up = landmarks[17:27] + (landmarks[17:27].mean(0) - landmarks[33])
    outline = cv2.convexHull(np.concatenate([landmarks, up]).astype(np.float32))
    mask = np.zeros((_MASK_SIDE, _MASK_SIDE), np.uint8)
    cv2.fillConvexPoly(mask, np.rint(outline).astype(np.int32), 1)
    return mask


# --- files -----------------------------------------------------------------------------------------


def _begin(folder: Path, about: dict[str, Any]) -> None:
    """Clears away what was cut by other rules; these are noted before the first picture."""
    rules = folder / "rules.json"
    wanted = json.dumps(about, sort_keys=True)
    try:
        same = rules.read_text(encoding="utf-8") == wanted
    except (OSError, UnicodeDecodeError):
        same = False
    for name in ("crops", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for old in () if same else (folder / name).glob("*.png"):
            old.unlink()
    if not same:
        (folder / "clip.json").unlink(missing_ok=True)
        _write_text(rules, wanted)


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
