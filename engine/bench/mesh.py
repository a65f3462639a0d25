"""The rasteriser by itself: a face's mesh and one of a body's size, on one thread, beside what they take at least.

The floor counts every input and output once at the rate of a copy, and at the rate of scalar code (`SCALAR`) the
arithmetic that no rasteriser of these rules gets around: the turn of every face, corners and edges of those that show a
pixel, weights and depth of each pixel that is seen; the longer one counts. Overdraw, pixels tried in vain and faces
behind others lie above it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from engine.bench.clocks import percentiles_ms
from engine.bench.run import check_frames
from engine.evaluate.parts import write_json
from engine.mesh.cameras import EYE
from engine.mesh.flow import condition, corners_of, flow
from engine.mesh.raster import I32, Raster, rasterise
from engine.types import F32
from engine.versions import versions

RESULT: Final = "mesh.json"
SIZE: Final = 256
BODY_GRID: Final = (84, 82)
"""2 x 84 x 82 = 13 776 triangles, as many as SMPL has."""
FACE_GRID: Final = (18, 25)
"""900 triangles, about as many as the canonical face."""
COPY_BYTES: Final = 64 << 20
SCALAR: Final = 12e9
"""Operations per second that a core does at most without vectors: four a cycle at 3 GHz."""
PER_FACE: Final = 7
PER_SEEN_FACE: Final = 62
PER_PIXEL: Final = 53
"""Operations of raster.py's inner lines: 7 to tell a face's turn; 18 for its corners in pixels, 8 for its area, 27 for
its planes, 9 for its edges; of a pixel 15 for edges, 12 for planes, 6 comparisons, 5 for weights, 15 for depth."""


@dataclass(frozen=True, slots=True)
class MeshFigures:
    """One mesh. seconds: CPU time of every drawing by this thread. flow_s, condition_s: of what is read from it."""

    name: str
    faces: int
    points: int
    size: int
    seen_faces: int
    seen_pixels: int
    seconds: Sequence[float]
    flow_s: Sequence[float]
    condition_s: Sequence[float]

    @property
    def least_bytes(self) -> int:
        """Points and faces once, index, weights and depth once."""
        return 12 * (self.points + self.faces) + 20 * self.size**2

    @property
    def operations(self) -> int:
        return PER_FACE * self.faces + PER_SEEN_FACE * self.seen_faces + PER_PIXEL * self.seen_pixels

    def content(self, bytes_per_s: float) -> dict[str, Any]:
        floor = max(self.least_bytes / bytes_per_s, self.operations / SCALAR)
        median, p95 = percentiles_ms(self.seconds)
        return {
            "mesh": self.name,
            "faces": self.faces,
            "size": self.size,
            "seen_faces": self.seen_faces,
            "seen_pixels": self.seen_pixels,
            "best_ms": 1000 * min(self.seconds),
            "median_ms": median,
            "p95_ms": p95,
            "flow_best_ms": 1000 * min(self.flow_s),
            "condition_best_ms": 1000 * min(self.condition_s),
            "least_mb": self.least_bytes / 1e6,
            "mflop": self.operations / 1e6,
            "floor_ms": 1000 * floor,
        }


def ellipsoid(rows: int, columns: int) -> tuple[F32, I32]:
    """A closed surface that fills most of a picture: points ((rows + 1) * columns, 3) as the rasteriser takes them, and
    2 * rows * columns faces, half of which look away."""
    down = np.linspace(0.0, np.pi, rows + 1)[:, None]
    around = np.linspace(0.0, 2.0 * np.pi, columns, endpoint=False)[None]
    x, z = np.sin(down) * np.sin(around), -np.sin(down) * np.cos(around)
    y = np.broadcast_to(np.cos(down), x.shape)
    points = np.stack([0.7 * x, 0.9 * y, 0.6 * z + EYE], axis=-1).reshape(-1, 3).astype(np.float32)
    first = np.arange(rows)[:, None] * columns
    left, right = np.arange(columns)[None], (np.arange(columns)[None] + 1) % columns
    a, b, c, d = first + left, first + right, first + columns + right, first + columns + left
    faces = np.concatenate([np.stack([a, d, c], -1).reshape(-1, 3), np.stack([a, c, b], -1).reshape(-1, 3)])
    return points, faces.astype(np.int32)


def measure(name: str, points: F32, faces: I32, size: int, frames: int) -> MeshFigures:
    """Draw a mesh `frames` times into the same memory."""
    drawn = rasterise(points, faces, size)
    corners, table = corners_of(points, faces), np.zeros((len(faces) + 1, 3), np.float32)
    grid, planes = np.empty((size, size, 2), np.float32), np.empty((3, size, size), np.float32)
    times: list[list[float]] = [[], [], []]
    for _ in range(frames):
        _draw_once(points, faces, drawn, corners, table, grid, planes, times)
    seen = np.unique(drawn.index)
    return MeshFigures(
        name,
        len(faces),
        len(points),
        size,
        int((seen >= 0).sum()),
        int((drawn.index >= 0).sum()),
        *times,
    )


def _draw_once(
    points: F32,
    faces: I32,
    drawn: Raster,
    corners: F32,
    table: F32,
    grid: F32,
    planes: F32,
    times: list[list[float]],
) -> None:
    started = time.thread_time()
    rasterise(points, faces, drawn.size, drawn)
    rasterised = time.thread_time()
    flow(drawn, corners, grid)
    flown = time.thread_time()
    condition(drawn, table, planes)
    ended = time.thread_time()
    for spent, one in zip((rasterised - started, flown - rasterised, ended - flown), times):
        one.append(spent)


def copy_rate() -> float:
    """Bytes per second of a copy, both ways counted, the best of several."""
    source, target = np.ones(COPY_BYTES, np.uint8), np.zeros(COPY_BYTES, np.uint8)
    seconds = []
    for _ in range(8):
        started = time.thread_time()
        np.copyto(target, source)
        seconds.append(time.thread_time() - started)
    return 2 * COPY_BYTES / max(min(seconds), 1e-9)


@dataclass(frozen=True, slots=True)
class MeshBench:
    """What was measured, as it is in mesh.json."""

    content: dict[str, Any]

    def __str__(self) -> str:
        lines = [
            f"{'mesh':<10}{'faces':>8}{'size':>6}{'best ms':>9}{'median':>8}{'floor':>8}{'flow':>8}{'cond.':>8}"
        ]
        lines += [
            f"{row['mesh']:<10}{row['faces']:>8}{row['size']:>6}{row['best_ms']:>9.3f}{row['median_ms']:>8.3f}"
            f"{row['floor_ms']:>8.3f}{row['flow_best_ms']:>8.3f}{row['condition_best_ms']:>8.3f}"
            for row in self.content["meshes"]
        ]
        return "\n".join(lines)


def run_mesh_bench(out: Path, frames: int) -> MeshBench:
    """Measure, and write `out`/mesh.json: the two grids and the project's own mesh of a head and its bust.

    Raises ConfigError for too few frames.
    """
    check_frames(frames)
    meshes = [("face", *ellipsoid(*FACE_GRID)), ("bust", *_bust()), ("body", *ellipsoid(*BODY_GRID))]
    rows = [measure(name, points, faces, SIZE, frames) for name, points, faces in meshes]
    rate = copy_rate()
    bench = MeshBench(
        {
            "frames": frames,
            "gbyte_per_s": rate / 1e9,
            "meshes": [row.content(rate) for row in rows],
            "versions": versions(),
        }
    )
    write_json(out / RESULT, bench.content)
    return bench


def _bust() -> tuple[F32, I32]:
    """The canonical face with its bust, upright in the picture."""
    from engine import canonical
    from engine.mesh.cameras import on_screen
    from engine.mesh.face.bust import fit_bust, placed, skin, torso_of
    from engine.mesh.face.topology import FACES
    from engine.types import FaceShape

    scale = SIZE / 45.0  # the picture is 45 cm high
    shape = FaceShape(canonical.VERTICES, np.eye(3), scale, np.array([0.5, 0.45, 0.0]) * SIZE)
    points = skin(fit_bust(shape), shape, torso_of(shape))
    return on_screen(placed(points, SIZE)), FACES
