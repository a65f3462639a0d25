"""Photos of a person, or a clip, to what their tuning reads, and to the pictures that their bundle holds.

WORK/looked.json        what was found; written last
     pictures/<n>.png   the chosen pictures, the one that moves first, as the bundle holds them
     data/              the person as one prepared clip (engine/annotate/clips.py)

Files are taken in the order of their contents, so that neither names nor order change anything.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from engine.annotate.busts import BustFrame, bust_frames
from engine.annotate.clips import ClipEntry, MeshFrame, write_clip, write_table
from engine.annotate.stills import StillFrame, still_frames
from engine.annotate.work import Stage
from engine.errors import InputError, NoFaceError, TooSmallError
from engine.features.likeness import MOST_APART_CM, shape_distance
from engine.features.shape import fit_shape
from engine.media import MediaReader, open_media, read_picture, write_picture
from engine.media.wording import one_line
from engine.mesh.face.topology import layout
from engine.several import (
    MOST_SOURCES,
    Look,
    check_one_person,
    choose,
    chosen_of_clip,
    look_of,
    telling_shape,
)
from engine.source import sources_from_picture
from engine.types import U8, FaceShape, Frame, Source
from engine.worker.sources import fitted
from export.enrol.progress import Tell
from trainers.checkpoint import write_text

SIDE: Final = 720
"""Longest side in pixels of the pictures that a bundle holds: that of what a live session sends."""
CLIP, PHOTOS = "clip", "photos"
PERSON: Final = "person"
"""The prepared clip's name."""
FEW: Final = 3
"""Photos from which on one of them can be held back; of fewer, expressions are drawn, and some of these are."""

_HELD = 0.15
_EXPRESSIONS = 6
_LOOKED, _PICTURES, _DATA = "looked.json", "pictures", "data"
_LONGEST_NAME = 120


class Sides(NamedTuple):
    """In pixels: of the pictures that are learnt from, and of the texture that they are read into."""

    picture: int
    texture: int


@dataclass(frozen=True)
class Looked:
    """kind: CLIP or PHOTOS. names: of the chosen pictures. left_out: why others are not among what is learnt from, by
    name. frames: that there are to learn from, `drawn` of them expressions that were drawn. held: what is held back
    (frame numbers), shown: what the tuning is given as sources."""

    kind: str
    names: tuple[str, ...]
    left_out: dict[str, str]
    frames: int
    drawn: int
    held: tuple[int, ...] = ()
    shown: tuple[int, ...] = ()

    @property
    def held_back(self) -> str:
        """Which sort of views is held back."""
        if not self.held:
            return "none"
        if self.kind == CLIP:
            return "frames"
        return "expressions" if self.drawn else "photos"


def pictures_of(work: Path, looked: Looked) -> list[U8]:
    """The chosen pictures (H, W, 3)."""
    return [read_picture(work / _PICTURES / f"{number}.png") for number in range(len(looked.names))]


def data_of(work: Path) -> Path:
    """The prepared folder."""
    return work / _DATA


def look(
    files: Sequence[Path],
    work: Path,
    *,
    size: int,
    texture: int,
    sources: int,
    most: int,
    accept: AbstractSet[str],
    backend: str,
    tell: Tell,
) -> Looked:
    """What was found before, or look now. size, texture: sides of the pictures that are learnt from, and of what they
    are read into. sources: most that are chosen. most: frames taken of a clip. Raises InputError where the files cannot
    be used."""
    if (found := _found(work)) is not None:
        return found
    for name in (_PICTURES, _DATA):
        shutil.rmtree(work / name, ignore_errors=True)
    (work / _PICTURES).mkdir(parents=True)
    sides = Sides(size, texture)
    with Stage(backend=backend) as stage:
        clip = _only_clip(files)
        if clip is None:
            looked = _photos(files, work, stage, sides, sources, accept, tell)
        else:
            looked = _clip(clip, work, stage, sides, sources, most, tell)
    write_text(work / _LOOKED, json.dumps(asdict(looked), indent=1) + "\n")
    return looked


def _found(work: Path) -> Looked | None:
    try:
        told = json.loads((work / _LOOKED).read_text(encoding="utf-8"))
        lists = {name: tuple(told[name]) for name in ("names", "held", "shown")}
        return Looked(**told | lists)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None  # none yet, or cut short


def _only_clip(files: Sequence[Path]) -> Path | None:
    """The clip, where one is given and nothing else; None for photos."""
    clips = []
    for path in files:
        with open_media(path) as media:
            if not media.still:
                clips.append(path)
    if clips and len(files) > 1:
        raise InputError(
            f"{clips[0]}: is a clip, and {len(files)} files were given; expected one clip, or photos of one person"
        )
    return clips[0] if clips else None


# --- a clip ----------------------------------------------------------------------------------------


def _clip(path: Path, work: Path, stage: Stage, sides: Sides, sources: int, most: int, tell: Tell) -> Looked:
    with open_media(path) as media:
        told = _told(media, tell)
        found = chosen_of_clip(told, media.duration_s, stage.detector, None, name=path.name, count=sources)
    chosen = [one for _, one in found]
    _write_pictures(work, chosen)
    same = _Same(fit_shape(chosen[0].face.points))
    times: list[float] = []
    yaws: list[float] = []
    frames = bust_frames(path, sides.picture, stage, most=most, same=same, taken=times.append)
    count = _write(work, _counted(frames, tell, yaws), sides, path.name)
    held, shown = clip_parted(times, yaws, [time_s for time_s, _ in found])
    names = tuple(_named(f"{path.name}, picture {number}") for number in range(1, len(chosen) + 1))
    others = (
        {f"{same.others} of the frames": "by its shape their face may be another person's"}
        if same.others
        else {}
    )
    return Looked(CLIP, names, others, count, 0, held, shown)


def clip_parted(
    times: Sequence[float], yaws: Sequence[float], chosen: Sequence[float]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Numbers of the frames that are held back, and of those that are sources: at the times, or next to them, of the
    pictures that the bundle holds. times, yaws: of the frames, seconds and degrees. chosen: times of the pictures.

    What is held back is spread over the yaws of the others. Of so few frames that none would be left the last sources
    are none; of two nothing is held back.
    """
    shown: list[int] = []
    for wanted in chosen:
        nearest = min(range(len(times)), key=lambda k: (abs(times[k] - wanted), k))
        if nearest not in shown:
            shown.append(nearest)
    if len(times) < FEW:
        return (), tuple(shown)
    shown = shown[: len(times) - 1]
    others = sorted((k for k in range(len(times)) if k not in shown), key=lambda k: (yaws[k], k))
    return tuple(sorted(_spread(others, len(times)))), tuple(shown)


class _Same:
    """Whether a face is the first picture's, and how many were not: a cut, or somebody who walks by."""

    def __init__(self, first: FaceShape) -> None:
        self._first, self.others = first, 0

    def __call__(self, shape: FaceShape) -> bool:
        mine = shape_distance(self._first, shape) <= MOST_APART_CM
        self.others += not mine
        return mine


def _told(media: MediaReader, tell: Tell) -> Iterator[Frame]:
    """The frames at the size of the pictures that are kept of them."""
    for number, frame in enumerate(media, 1):
        tell("look", number, None)
        yield dataclasses.replace(frame, rgb=fitted(frame.rgb, SIDE))


def _counted(frames: Iterator[BustFrame], tell: Tell, yaws: list[float]) -> Iterator[BustFrame]:
    """yaws: takes theirs."""
    for number, frame in enumerate(frames, 1):
        tell("prepare", number, None)
        yaws.append(frame.yaw)
        yield frame


# --- photos ----------------------------------------------------------------------------------------


def _photos(
    files: Sequence[Path],
    work: Path,
    stage: Stage,
    sides: Sides,
    sources: int,
    accept: AbstractSet[str],
    tell: Tell,
) -> Looked:
    found, shapes, left_out = _seen(files, stage, tell)
    check_one_person(shapes, [one.name for one in found], accept)
    looks = [look_of(one.rgb, one.face) for one in found]
    chosen = choose(looks, sources)
    _write_pictures(work, [found[k] for k in chosen])
    order = [chosen[0], *(k for k in range(len(found)) if k != chosen[0])]
    people, looks = [found[k] for k in order], [looks[k] for k in order]
    tell("prepare", 0, 1)
    stills = still_frames(people, sides.picture, stage, _EXPRESSIONS if len(people) < FEW else 0)
    count = _write(work, (one.frame for one in stills), sides, f"{len(people)} photos")
    tell("prepare", 1, 1)
    held, shown = parted(stills, looks, sources)
    names = tuple(_named(found[k].name) for k in chosen)
    return Looked(PHOTOS, names, left_out, count, sum(one.drawn for one in stills), held, shown)


def _seen(
    files: Sequence[Path], stage: Stage, tell: Tell
) -> tuple[list[Source], list[FaceShape], dict[str, str]]:
    """The photos that show somebody, the shapes that tell whom, and why the others are left out."""
    found: list[Source] = []
    shapes: list[FaceShape] = []
    left_out: dict[str, str] = {}
    fault: InputError | None = None
    for number, path in enumerate(files, 1):
        large = read_picture(path)
        rgb = fitted(large, SIDE)
        try:
            found += sources_from_picture(rgb, stage.detector, stage.segmenter, name=path.name)[:1]
            shapes.append(telling_shape(large, found[-1], stage.detector))
        except (NoFaceError, TooSmallError) as error:
            left_out[_named(path.name)], fault = str(error), error
        tell("look", number, len(files))
    if not found and fault is not None:
        raise fault
    return found, shapes, left_out


def parted(
    stills: Sequence[StillFrame], looks: Sequence[Look], sources: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Numbers of the frames that are held back, and of those that are sources. looks: of the photos, by their number.

    Of enough photos some are held back that are neither the first nor the farthest from it. Of fewer none is, as each
    shows what no other does: some of the expressions that were drawn of them are.
    """
    places = {one.photo: number for number, one in enumerate(stills) if not one.drawn}
    if len(places) >= FEW:
        away = sorted(range(1, len(looks)), key=lambda k: (abs(looks[k].yaw - looks[0].yaw), k))
        photos = _spread(away, len(looks))
        held = tuple(sorted(places[k] for k in photos))
        free = [k for k in range(len(looks)) if k not in photos]
    else:
        drawn = [number for number, one in enumerate(stills) if one.drawn]
        held = tuple(_spread(drawn, len(stills))) if len(drawn) > 1 else ()
        free = list(range(len(looks)))
    chosen = choose([looks[k] for k in free], sources)
    return held, tuple(places[free[k]] for k in chosen)


def _spread(candidates: Sequence[int], of: int) -> list[int]:
    """The share of `of` that is held back, one at least: middles of equal stretches of the candidates."""
    count = min(max(1, round(_HELD * of)), len(candidates))
    middles = (np.arange(count) + 0.5) * len(candidates) / count
    return [candidates[int(place)] for place in middles]


# --- files -----------------------------------------------------------------------------------------


def _named(name: str) -> str:
    return one_line(name)[:_LONGEST_NAME]


def _write_pictures(work: Path, sources: Sequence[Source]) -> None:
    for number, one in enumerate(sources[:MOST_SOURCES]):
        write_picture(work / _PICTURES / f"{number}.png", one.rgb)


def _write(work: Path, frames: Iterator[BustFrame], sides: Sides, origin: str) -> int:
    """The prepared folder; its frames."""
    data = work / _DATA
    drawn = (MeshFrame(*frame) for frame in frames)
    count = write_clip(data / "clips" / PERSON, drawn, layout(), sides.texture)
    entry = ClipEntry(PERSON, PERSON, count, "train", origin, "")
    crop = {"rule": "bust", "size": sides.picture}
    write_table(data, [entry], layout(), mesh="face", size=sides.picture, texture=sides.texture, crop=crop)
    return count
