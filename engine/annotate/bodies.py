"""One file to pictures of a person with a body's mesh on them, in a window that stands still.

A clip is read twice: first the body is followed through every frame, as a driver's is, then the frames that are taken
are cut. The window is the square that a live source is cut by, about the median body, and larger where the person moves
about; frames whose body leaves even the largest are passed over, and so are those in which nobody was seen. A still
gives itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.annotate.busts import head_box
from engine.annotate.clips import MeshFrame
from engine.body import skeleton as s
from engine.body.fitter import BodyFit, BodyFitter
from engine.crop import cut, kept_inside, points_in
from engine.errors import InputError, NoBodyError
from engine.geometry import square_crop
from engine.imitation.mesh import BodyMesh
from engine.imitation.person import ROOM
from engine.media import open_media, resize_within
from engine.media.opening import MediaReader
from engine.mesh.cameras import on_screen
from engine.mesh.raster import rasterise
from engine.source import MAX_SIDE, Segmenter
from engine.track.body import BodyTracker
from engine.track.person import PersonSegmenter
from engine.types import F32, F64, U8, Crop, Frame

RULE: Final = "box"
"""The crop's name, of engine.crop.RULES."""
_EDGE: Final = 1.05
"""Side of the window, in sides of the box about all that a clip's body does."""
_WIDEST: Final = 2.0
"""The same at most, in sides of the median body."""
_GROWN: Final = 2.0
"""Change of a body's size up to which it is the same person: trackers find small bodies in empty rooms."""
_SURE: Final = 0.02
"""Share of the picture by which the mesh's outline shrinks to what surely is the person: a fit is off by about that."""
_SHOWN: Final = 0.4
"""Share of the mesh in the picture that the segmenter has to call a person, too: trackers find bodies in furniture."""
_HEAD: Final = "head"


class BodyStage:
    """What follows bodies and tells them from the background, open while entered. mesh: that is laid on them."""

    def __init__(self, mesh: BodyMesh, *, backend: str = "auto", cache: Path | None = None) -> None:
        self.mesh, self.fitter = mesh, BodyFitter(mesh.model)
        self._backend, self._cache = backend, cache

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.tracker = BodyTracker(self._backend, self._cache, every_frame=True)
            stack.callback(self.tracker.close)
            segmenter = PersonSegmenter(self._backend, self._cache)
            stack.callback(segmenter.close)
            self.segmenter: Segmenter = segmenter
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


class BodyClip(NamedTuple):
    """frames: in order of time. skipped: how many were looked at and show nobody, or somebody else."""

    frames: Iterator[MeshFrame]
    skipped: int


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A body in frame `number` of size (width, height). box: float64 (2, 2), the least and greatest x, y, in pixels, of
    the mesh as far as it lies in the picture. shown: share of that which is a person's."""

    number: int
    size: tuple[int, int]
    fit: BodyFit
    box: F64
    shown: float


def body_frames(
    path: Path, size: int, stage: BodyStage, *, per_second: float = 6.0, most: int = 80
) -> BodyClip:
    """The frames of a clip, or a still, at `size` pixels; bodies are found before this returns, pictures are cut as
    they are asked for.

    stage: entered. per_second, most: frames taken from a clip. Raises InputError where the file cannot be read, and
    NoBodyError where nobody is seen in it.
    """
    with open_media(path) as media:
        looked, seen = _still(media, stage) if media.still else _followed(media, stage, per_second, most)
        name = media.name
    if not seen:
        frames = f"{looked} frames" if looked != 1 else "it"
        raise NoBodyError(
            f"{name}: no body found in {frames}; expected a clip or picture of one person from the waist up or more"
        )
    usual = float(np.median([one.fit.camera.scale for one in seen]))
    seen = [one for one in seen if 1 / _GROWN < one.fit.camera.scale / usual < _GROWN]
    window = _window([one.box for one in seen], seen[0].size, size)
    kept = [one for one in seen if _inside(window, one.box)]
    return BodyClip(_cut(path, kept, window, stage), looked - len(kept))


def _still(media: MediaReader, stage: BodyStage) -> tuple[int, list[_Seen]]:
    rgb = resize_within(next(iter(media)).rgb, MAX_SIDE)
    body = stage.tracker.picture(rgb)
    if body is None:
        return 1, []
    try:
        fit = stage.fitter.picture(body, (rgb.shape[1], rgb.shape[0]))
    except InputError:
        return 1, []
    return 1, _told(0, rgb, fit, stage)


def _followed(media: MediaReader, stage: BodyStage, per_second: float, most: int) -> tuple[int, list[_Seen]]:
    """How many frames were taken, and those with a body that was measured in them and not held from before."""
    step, due, taken = max(1.0 / per_second, (media.duration_s or 0.0) / most), 0.0, 0
    seen = list[_Seen]()
    stage.tracker.reset()
    stage.fitter.reset()
    for number, frame in enumerate(media):
        if taken >= most:
            break
        rgb = resize_within(frame.rgb, MAX_SIDE)
        body = stage.tracker.track(Frame(rgb, frame.pts, frame.time_base, frame.arrived_s))
        fit = None if body is None else stage.fitter.follow(body, (rgb.shape[1], rgb.shape[0]))
        if frame.time_s < due:
            continue
        due, taken = frame.time_s + step - 1e-6, taken + 1
        if fit is not None and body is not None and fit.time_s == body.time_s:
            seen += _told(number, rgb, fit, stage)
    return taken, seen


def _told(number: int, rgb: U8, fit: BodyFit, stage: BodyStage) -> list[_Seen]:
    """The body of a frame, or nothing where little of it is a person's."""
    height, width = rgb.shape[:2]
    flat = fit.camera.seen(stage.fitter.posed(fit).vertices)
    places = np.rint(flat).astype(int)
    inside = ((places >= 0) & (places < (width, height))).all(axis=1)
    if not inside.any():
        return []
    columns, rows = places[inside].T
    shown = float((stage.segmenter.mask(rgb)[rows, columns] > 127).mean())
    within = flat[inside]
    box = np.stack([within.min(axis=0), within.max(axis=0)])
    return [_Seen(number, (width, height), fit, box, shown)] if shown >= _SHOWN else []


def _window(boxes: list[F64], picture: tuple[int, int], size: int) -> Crop:
    """About all that the body does; narrowed and moved so that as much of it as can be lies in the picture."""
    usual = float(np.median([float((box[1] - box[0]).max()) for box in boxes]))
    low, high = np.min([box[0] for box in boxes], axis=0), np.max([box[1] for box in boxes], axis=0)
    least, middle = _EDGE * float((high - low).max()), 0.5 * (low + high)
    if least > _WIDEST * usual:
        least, middle = _WIDEST * usual, np.median([box.mean(axis=0) for box in boxes], axis=0)
    side = max(ROOM * usual, least)
    return kept_inside(square_crop(middle, side, size), picture, least / side)


def _inside(window: Crop, box: F64) -> bool:
    corners = points_in(window, box.astype(np.float32))
    return bool(corners.min() >= -0.5 and corners.max() <= window.size - 0.5)


def _cut(path: Path, kept: list[_Seen], window: Crop, stage: BodyStage) -> Iterator[MeshFrame]:
    waiting = {one.number: one for one in kept}
    with open_media(path) as media:
        for number, frame in enumerate(media):
            if (one := waiting.pop(number, None)) is not None:
                yield _framed(resize_within(frame.rgb, MAX_SIDE), one.fit, window, stage)
            if not waiting:
                return


def _framed(rgb: U8, fit: BodyFit, window: Crop, stage: BodyStage) -> MeshFrame:
    layout, size = stage.mesh.layout, window.size
    vertices = stage.fitter.posed(fit).vertices
    flat = points_in(window, fit.camera.seen(vertices).astype(np.float32))
    points = np.column_stack([(2 * flat + 1) / np.float32(size) - 1, vertices[:, 2]]).astype(np.float32)
    drawn = rasterise(on_screen(points), layout.faces, size).index >= 0
    person = joined(cut(stage.segmenter.mask(rgb), window), drawn.astype(np.uint8))
    person[_beyond(window, rgb)] = 0
    head = np.unique(layout.faces[layout.groups[_HEAD]])
    yaw = turn(fit.rotations[s.PELVIS])
    return MeshFrame(cut(rgb, window), person, points, yaw, head_box(flat[head], size))


def _beyond(window: Crop, rgb: U8) -> NDArray[np.bool_]:
    """(S, S): pixels of the window that no pixel of the picture lies under; the window is upright."""
    (factor, _, left), (_, _, top) = window.matrix
    at = np.arange(window.size)
    columns, rows = (at - left) / factor, (at - top) / factor
    height, width = rgb.shape[:2]
    out = [(places < -0.5) | (places > most - 0.5) for places, most in ((rows, height), (columns, width))]
    return np.asarray(out[0][:, None] | out[1][None])


def joined(person: U8, drawn: U8) -> U8:
    """A person's mask (S, S), 255 = person, with what the drawn mesh (S, S), 1 = drawn, surely covers: segmenters that
    were made for heads and shoulders leave out legs."""
    box = 2 * round(_SURE * len(person)) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (box, box))
    surely = cv2.erode(drawn, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.maximum(person, 255 * surely), np.uint8)


def turn(root: F32) -> float:
    """Degrees by which a body whose root is turned by (3, 3) looks away from the camera, -180..180; a head's yaw has
    the same sign."""
    ahead = root[:, 2]
    return float(np.degrees(np.arctan2(ahead[0], -ahead[2])))
