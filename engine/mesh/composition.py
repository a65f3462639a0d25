"""What the networks of flows are given of a picture and a mesh: sources once, targets frame by frame.

    source   outline, filled picture + condition (6 channels), background + its mask (4), texture
    target   sampled texture + condition (6 channels), one flow per source

Points come in as a camera places them: float32 (V, 3), x and y in -1..1 with y down, z away from the camera. Pictures
are float32 (3, S, S) in -1..1, square and of the composer's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from engine.errors import ConfigError, InputError
from engine.mesh import selection
from engine.mesh.cameras import on_screen
from engine.mesh.fill import continued
from engine.mesh.flow import condition, corners_of, flow
from engine.mesh.layout import Layout
from engine.mesh.masks import dilated, eroded
from engine.mesh.raster import Raster, rasterise
from engine.mesh.sampling import sampled
from engine.mesh.selection import Numbers
from engine.mesh.texture import merged
from engine.types import F32


@dataclass(frozen=True, slots=True)
class Boxes:
    """Pixels of the boxes by which masks shrink and grow, odd; the published values of inference are the defaults."""

    trusted: int = 3
    """By how much a person's outline shrinks to what is surely theirs."""
    filled: int = 51
    """By how much outline and mesh together grow to where the picture is filled."""
    background: int = 11
    """By how much the background shrinks before it is shown to its network."""

    def __post_init__(self) -> None:
        for name in ("trusted", "filled", "background"):
            box = getattr(self, name)
            if box < 1 or box % 2 == 0:
                raise ConfigError(f"box {name}: expected an odd number of pixels, got {box}")


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A mesh as it stands in one picture.

    raster: what is seen where. condition: float32 (3, S, S). corners: float32 (F, 3, 2), y down. texture_raster and
    texture_corners: the same by the faces that the texture is read with; of a target they are those of the picture.
    """

    raster: Raster
    condition: F32
    corners: F32
    texture_raster: Raster
    texture_corners: F32

    @property
    def silhouette(self) -> F32:
        """float32 (S, S), 1 where the mesh is seen."""
        return np.asarray(1 - self.condition[-1], np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class SourceView:
    """One source, prepared.

    drawn: its mesh. trusted, wanted: float32 (S, S), 1 in the outline shrunk, and in the one grown. picture: float32
    (3, S, S), filled. background: float32 (4, S, S), the picture where no person is, and where that is.
    """

    drawn: Drawn
    trusted: F32
    wanted: F32
    picture: F32
    background: F32

    @property
    def ports(self) -> F32:
        """float32 (6, S, S), for the source network."""
        return np.concatenate([self.picture, self.drawn.condition])


@dataclass(eq=False)
class Target:
    """Memory for one frame, drawn over by the next.

    ports: float32 (6, S, S), sampled texture and condition, for the transfer network. flows: float32 (n, S, S, 2), one
    per source. drawn: the target's mesh; grid: float32 (S, S, 2), the flow to the texture.
    """

    ports: F32
    flows: F32
    drawn: Drawn
    grid: F32


NEIGHBOURS: Final = 3


class Composer:
    """Flows, textures and conditions of one mesh at one size. Holds nothing of a person; may be shared by threads.

    only_seen: flows find in a source only the faces that are seen there, and their neighbours.
    """

    def __init__(
        self, layout: Layout, size: int, boxes: Boxes | None = None, *, only_seen: bool = False
    ) -> None:
        self.layout = layout
        self.size = size
        self.boxes = boxes or Boxes()
        self.only_seen = only_seen
        self.texture = layout.drawn(size)

    @cached_property
    def neighbours(self) -> Numbers:
        return self.layout.neighbours(NEIGHBOURS)

    def draw(self, points: F32, *, for_texture: bool = False, out: Drawn | None = None) -> Drawn:
        """The mesh of one picture. for_texture: with what a source needs beside a target. out: memory drawn over."""
        layout = self.layout
        screen = on_screen(points)
        raster = rasterise(screen, layout.faces, self.size, out.raster if out else None)
        table = condition(raster, layout.condition, out.condition if out else None)
        corners = corners_of(points, layout.faces)
        if not for_texture or layout.texture_faces is layout.faces:
            return Drawn(raster, table, corners, raster, corners)
        read = rasterise(screen, layout.texture_faces, self.size)
        return Drawn(raster, table, corners, read, corners_of(points, layout.texture_faces))

    def source(
        self, points: F32, picture: F32, person: F32 | None = None, filled: F32 | None = None
    ) -> SourceView:
        """A source's picture and mesh, prepared.

        person: float32 (S, S), 1 = person; the mesh's silhouette without one. filled: (3, S, S), a picture that is
        already filled, taken as it is.
        """
        self._check(picture)
        drawn = self.draw(points, for_texture=True)
        own = drawn.silhouette if person is None else person
        trusted = eroded(own, self.boxes.trusted)
        wanted = dilated((own + drawn.silhouette > 0).astype(np.float32), self.boxes.filled)
        if filled is None:
            filled = continued(picture, trusted, wanted)
        free = eroded(1 - own, self.boxes.background)
        return SourceView(drawn, trusted, wanted, filled, np.concatenate([picture * free, free[None]]))

    def _check(self, picture: F32) -> None:
        if picture.shape != (3, self.size, self.size):
            raise InputError(
                f"source picture: expected (3, {self.size}, {self.size}), got {picture.shape}; resize it first"
            )

    def merged_texture(self, views: Sequence[SourceView]) -> F32:
        """float32 (3, S, S): the sources' texture, the first one's where it sees."""
        seen = [
            selection.visible(view.drawn.texture_corners, view.drawn.texture_raster.index, self.neighbours)
            for view in views
        ]
        places = [view.drawn.texture_corners for view in views]
        return merged([view.picture for view in views], places, seen, self.texture)

    def given(self, drawn: Drawn, faces: Numbers | None = None) -> F32:
        """float32 (F, 3, 2): the corners that flows find in a source. faces: only these."""
        corners = drawn.corners if faces is None else selection.only(drawn.corners, faces)
        return selection.visible(corners, drawn.raster.index, self.neighbours) if self.only_seen else corners

    def target(self, points: F32, texture: F32, sources: Sequence[F32], out: Target | None = None) -> Target:
        """One frame: points of the driven mesh, the texture of `merged_texture`, and `given` of every source.

        out: the target of an earlier frame with as many sources, drawn over and given back.
        """
        drawn = self.draw(points, out=out.drawn if out else None)
        if out is None:
            room = (self.size, self.size, 2)
            out = Target(
                np.empty((6, self.size, self.size), np.float32),
                np.empty((len(sources), *room), np.float32),
                drawn,
                np.empty(room, np.float32),
            )
        elif len(out.flows) != len(sources):
            raise InputError(f"target: expected memory for {len(sources)} sources, got {len(out.flows)}")
        out.drawn = drawn
        sampled(texture, flow(drawn.raster, self.layout.corners, out.grid), out.ports[:3])
        out.ports[3:] = drawn.condition
        for corners, grid in zip(sources, out.flows):
            flow(drawn.raster, corners, grid)
        return out
