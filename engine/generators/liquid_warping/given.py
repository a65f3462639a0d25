"""What pictures give to every frame: keys and values, places of the mesh, a texture. Of one person, or of several whose
parts are put together: each of them then gives only the faces that are taken from them, in flows and texture alike.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.backends import Graph
from engine.errors import InputError
from engine.generators.graph_runner import run_graph
from engine.mesh.flow import condition
from engine.mesh.layout import Layout
from engine.mesh.raster import Raster
from engine.mesh.texture import blended
from engine.mesh.views import View, given, known_background, texture_of
from engine.plug import Ports
from engine.types import F32

Numbers = NDArray[np.int64]


class PersonGraphs:
    """The graphs that are run once per person, for any thread: persons are prepared while frames are generated. size:
    side of the pictures. sources: how many the per-frame graph takes. layout: the mesh that the bundle is for. texture:
    that mesh drawn in its layout. box: by which the background shrinks to what is sure."""

    def __init__(
        self,
        source: Graph,
        background: Graph,
        *,
        size: int,
        sources: int,
        layout: Layout,
        texture: Raster,
        box: int,
    ) -> None:
        self._source, self._background, self._lock = source, background, threading.Lock()
        self.size, self.sources, self.layout, self.texture, self.box = size, sources, layout, texture, box

    def features(self, view: View) -> Ports:
        """A source's keys and values by port, (1, C, h, w) each, the caller's own."""
        with self._lock:
            entry = {"filled": view.filled[None], "condition": view.condition[None]}
            return run_graph(self._source, entry, keep=True)

    def behind(self, view: View) -> F32:
        """The picture without the person, float32 (S, S, 3) in 0..255."""
        with self._lock:
            found = run_graph(self._background, {"image": known_background(view, self.box)[None]}, keep=True)
        shown = 127.5 * (found["background"][0].transpose(1, 2, 0) + 1.0)
        return np.asarray(np.clip(shown, 0.0, 255.0), np.float32)

    def hidden(self, view: View) -> F32:
        """float32 (S, S): 1 where the picture shows the person and not what is behind them."""
        return np.asarray(1.0 - known_background(view, self.box)[3], np.float32)

    def close(self) -> None:
        self._source.close()
        self._background.close()


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One person's pictures. views: the first moves. faces: numbers of the mesh's faces that are taken from them; None
    is all. name: for messages."""

    views: Sequence[View]
    faces: Numbers | None = None
    name: str = "the source"


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """corners: per place of the graph, float32 (F, 3, 2). texture: float32 (3, U, U). further: the same with each
    further picture of the first person in the first one's place. constants: its ports."""

    corners: tuple[F32, ...]
    texture: F32
    further: tuple[F32, ...]
    constants: Ports


def given_by(persons: Sequence[Person], graphs: PersonGraphs, *, further: bool = False) -> Given:
    """Every place of the per-frame graph filled: in turn by the persons' first pictures, their second ones, and so on;
    what is left by the same again, as a source given twice changes no sum but by rounding.

    further: whether the textures that other pictures lead are wanted, too. Raises InputError where there are more
    persons than places.
    """
    places = _places(persons, graphs.sources)
    corners: list[F32] = []
    features: dict[tuple[int, int], Ports] = {}
    for person, view in places:
        one = persons[person]
        corners.append(given(one.views[view], graphs.layout, one.faces))
        if (person, view) not in features:
            features[person, view] = graphs.features(one.views[view])
    names = features[places[0]]
    constants = {name: np.stack([features[place][name] for place in places], axis=1) for name in names}
    led = _led(persons, graphs) if further else ()
    return Given(tuple(corners), _texture(persons, graphs), led, constants)


def _led(persons: Sequence[Person], graphs: PersonGraphs) -> tuple[F32, ...]:
    first, *others = persons
    found = []
    for view in first.views[1:]:
        views = [view, *(one for one in first.views if one is not view)]
        found.append(_texture([replace(first, views=views), *others], graphs))
    return tuple(found)


def _places(persons: Sequence[Person], count: int) -> list[tuple[int, int]]:
    """For each place of the graph the person and their picture."""
    if len(persons) > count:
        raise InputError(
            f"{persons[-1].name}: parts of {len(persons)} persons are put together, and the bundle takes {count} "
            f"picture{'s' if count > 1 else ''}; expected a bundle of {len(persons)} sources or more"
        )
    longest = max(len(one.views) for one in persons)
    turns = [(p, v) for v in range(longest) for p, one in enumerate(persons) if v < len(one.views)][:count]
    return [turns[k % len(turns)] for k in range(count)]


def _texture(persons: Sequence[Person], graphs: PersonGraphs) -> F32:
    textures = [texture_of(one.views, graphs.texture) for one in persons]
    if len(persons) == 1:
        return textures[0]
    every = np.arange(graphs.layout.count)
    tables = [graphs.layout.table(every if one.faces is None else one.faces) for one in persons]
    return blended(textures, [condition(graphs.texture, table)[0] for table in tables])
