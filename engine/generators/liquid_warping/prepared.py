"""A person taken apart for the per-frame graph: what their pictures give to every frame."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.backends import Graph
from engine.crop import bust_crop, cut, kept_inside, points_in
from engine.features import gaze
from engine.features.doubts import doubts
from engine.features.shape import fit_shape
from engine.generators.graph_runner import run_graph
from engine.generators.liquid_warping.reach import reach_of
from engine.generators.motion.transfer import Limit
from engine.geometry import head_pose
from engine.mesh.cameras import on_screen
from engine.mesh.face.bust import Bust, Torso, fit_bust, placed, skin, torso_of
from engine.mesh.face.topology import FACES, layout
from engine.mesh.raster import Raster, rasterise
from engine.mesh.views import View, known_background, texture_of, view_of
from engine.plug import Ports
from engine.several import choose, look_of
from engine.types import F32, U8, Crop, FaceShape, Gaze, Mode, Source


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPerson:
    """A puppet ready to move, in pixels of its crop. crop: picture to crop. shape, gaze: of the first picture's face.
    bust, torso, depth: its proxy, as engine.mesh.face.bust names them. limit: how far it turns. corners: per source,
    float32 (F, 3, 2). texture: float32 (3, U, U). constants: the ports that stay the same. background: float32
    (S, S, 3), 0..255. hidden: float32 (S, S), 1 where the picture shows the person and not what is behind them."""

    source: Source
    mode: Mode
    crop: Crop
    shape: FaceShape
    gaze: Gaze
    bust: Bust
    torso: Torso
    depth: float
    limit: Limit
    corners: tuple[F32, ...]
    texture: F32
    constants: Ports
    background: F32
    hidden: F32
    notes: tuple[str, ...] = ()


class PersonGraphs:
    """The graphs that are run once per person, for any thread: persons are prepared while frames are generated. size:
    side of the pictures. sources: how many the per-frame graph takes. texture: the mesh drawn in its layout. box: by
    which the background shrinks to what is sure."""

    def __init__(
        self, source: Graph, background: Graph, *, size: int, sources: int, texture: Raster, box: int
    ) -> None:
        self._source, self._background, self._lock = source, background, threading.Lock()
        self.size, self.sources, self.texture, self.box = size, sources, texture, box

    def features(self, view: View) -> Ports:
        """A source's keys and values by port, (1, C, h, w) each, the caller's own."""
        with self._lock:
            entry = {"filled": view.filled[None], "condition": view.condition[None]}
            return run_graph(self._source, entry, keep=True)

    def behind(self, view: View) -> F32:
        """The picture without the person, float32 (3, S, S) in -1..1."""
        with self._lock:
            found = run_graph(self._background, {"image": known_background(view, self.box)[None]}, keep=True)
        return np.asarray(found["background"][0], np.float32)

    def close(self) -> None:
        self._source.close()
        self._background.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """A source in its own crop."""

    source: Source
    crop: Crop
    rgb: U8
    points: F32
    shape: FaceShape
    person: U8 | None


def prepare(source: Source, mode: Mode, graphs: PersonGraphs) -> PreparedPerson:
    """Take a person apart: the first picture is moved, further ones give what it does not show. Raises InputError when
    a face cannot be used."""
    cuts = [_cut(one, graphs.size) for one in _taken(source, graphs.sources)]
    ahead = min(cuts, key=lambda one: abs(head_pose(one.shape.rotation).yaw))
    bust = fit_bust(ahead.shape, ahead.person)
    views = [_view(one, bust, graphs.size) for one in cuts]
    padded = [views[k % len(views)] for k in range(graphs.sources)]  # a source given twice changes no sum
    features = [graphs.features(view) for view in views]
    constants = {
        name: np.stack([features[k % len(views)][name] for k in range(graphs.sources)], axis=1)
        for name in features[0]
    }
    first = cuts[0]
    unsure = 1.0 - known_background(views[0], graphs.box)[3]
    return PreparedPerson(
        source,
        mode,
        first.crop,
        first.shape,
        gaze.measure(first.shape),
        bust,
        torso_of(first.shape),
        float(first.shape.translation[2]),
        reach_of([one.shape.rotation for one in cuts]),
        tuple(view.corners for view in padded),
        texture_of(views, graphs.texture),
        constants,
        np.clip(127.5 * (graphs.behind(views[0]).transpose(1, 2, 0) + 1.0), 0.0, 255.0).astype(np.float32),
        unsure.astype(np.float32),
        _notes(cuts, source),
    )


def _taken(source: Source, count: int) -> list[Source]:
    """The picture that moves, and of the further ones those that show most beside it."""
    given = [source, *source.further]
    if len(given) <= count:
        return given
    chosen = choose([look_of(one.rgb, one.face) for one in given], count)
    return [source, *(given[k] for k in chosen if k != 0)][:count]


def _cut(source: Source, size: int) -> _Cut:
    height, width = source.rgb.shape[:2]
    crop = kept_inside(bust_crop(fit_shape(source.face.points), size), (width, height))
    points = points_in(crop, source.face.points)
    person = None if source.person is None else cut(source.person, crop)
    return _Cut(source, crop, cut(source.rgb, crop), points, fit_shape(points), person)


def _view(one: _Cut, bust: Bust, size: int) -> View:
    """A source with the mesh on it; without a person mask the mesh's outline is the person's."""
    depth = float(one.shape.translation[2])
    mesh = placed(skin(bust, one.shape, torso_of(one.shape), one.points), size, depth)
    person = one.person
    if person is None:
        outline = rasterise(on_screen(mesh), FACES, size).index >= 0
        person = np.where(outline, 255, 0).astype(np.uint8)
    return view_of(one.rgb, person, mesh, layout())


def _notes(cuts: Sequence[_Cut], source: Source) -> tuple[str, ...]:
    found = [note for one in cuts for note in doubts(one.source.rgb, one.source.face, one.source.name)]
    if source.further:
        found.insert(0, f"pictures that are used: {', '.join(one.source.name for one in cuts)}")
    return tuple(found)
