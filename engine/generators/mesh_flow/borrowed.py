"""What a puppet takes from the driver's picture when the operator asks for it by name: inner mouth, light on skin.

None of this is touched, and the driver's picture is not read, unless Controls.driver_pixels is on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from engine import canonical
from engine.compiled import compiled
from engine.generators.mesh_flow import mouth, shading
from engine.generators.mesh_flow.opening import (
    bilinear,
    box,
    contours,
    frame_between,
    height_at,
    mix,
    onto,
    place_of,
    ramp,
)
from engine.plug import Ports
from engine.types import F32, U8, Drive, FaceShape

_CHEEKS = np.array([50, 280, 205, 425, 117, 346])
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_SHRINK, _GROW = 0.03, 0.02
"""The driver's contour is read this much inside itself, and drawn this much beyond the source's."""


@dataclass(slots=True, eq=False)
class Reference:
    """The driver's frame nearest to rest so far: its shape, and the luma map that the runner read from it."""

    light: F32
    shape: FaceShape | None = None

    def offer(self, drive: Drive) -> bool:
        """True when this frame is clearly nearer to the neutral than the one that is kept, and is to replace it."""
        shape = drive.features.shape
        if shape is None:
            return False
        rest = drive.neutral.shape
        if self.shape is not None and _unlike(shape, rest) >= 0.8 * _unlike(self.shape, rest):
            return False
        self.shape = shape
        return True


def new_reference() -> Reference:
    """Nothing seen yet."""
    return Reference(np.zeros((shading.TEXELS, shading.TEXELS), np.float32))


def _unlike(shape: FaceShape, rest: FaceShape) -> float:
    """Centimetres of expression and of turning, mixed."""
    apart = (shape.local - rest.local)[: canonical.MESH_POINTS, :2]
    return float(np.sqrt((apart * apart).mean())) + 0.5 * float(np.abs(shape.rotation - rest.rotation).max())


@lru_cache(maxsize=1)
def surface() -> shading.Surface:
    """The unrolled canonical face, computed once."""
    return shading.unroll()


def ports(drive: Drive, reference: Reference) -> dict[str, np.ndarray]:
    """The driver's picture and where its face and mouth are in it."""
    points = drive.face.points
    frame = frame_between(points[78, :2], points[308, :2])
    return {
        "driver": drive.frame.rgb,
        "driver_points": np.ascontiguousarray(points[:, :2]),
        "driver_mouth": frame,
        "driver_lips": contours(points, mouth.UPPER, mouth.LOWER, frame),
        "driver_light": reference.light,
        "driver_at_rest": np.array([reference.offer(drive)]),
    }


def add(out: U8, given: Ports, feather: float) -> None:
    """Light and inner mouth of the driver into the finished patch `out` (S, S, 3)."""
    points, driver = given["driver_points"], given["driver"]
    face = surface()
    now = np.empty_like(given["driver_light"])
    shading.read_light(driver, points, face.corners, face.weights, now)
    if given["driver_at_rest"][0]:
        given["driver_light"][...] = now
    elif not shading.wears_glasses(given["driver_light"]):
        gain = shading.ratio(now, given["driver_light"], face)
        shading.shade(out, shading.onto_patch(gain, given["target"], face, out.shape[0]))
    skin = np.median([_around(driver, points[p]) for p in _CHEEKS], axis=0)
    draw_borrowed_mouth(
        out,
        driver,
        given["driver_mouth"],
        given["driver_lips"],
        _match(given["skin"], skin),
        given["mouth"],
        given["lips"],
        feather,
    )


def _around(picture: U8, point: F32) -> F32:
    height, width = picture.shape[:2]
    x = min(max(round(float(point[0])), 2), width - 3)
    y = min(max(round(float(point[1])), 2), height - 3)
    return np.asarray(picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(0), np.float32)


def _match(own: F32, driver: F32) -> F32:
    """Gain of luma, and of colour about it, from the driver's skin to the source's: float32 (2,)."""
    light, driver_light = float(own @ _LUMA), float(driver @ _LUMA)
    gain = min(1.8, max(0.4, light / max(1.0, driver_light)))
    own_colour, driver_colour = (
        float(np.ptp(own)) / max(1.0, light),
        float(np.ptp(driver)) / max(1.0, driver_light),
    )
    return np.array([gain, min(1.3, own_colour / max(0.02, driver_colour))], np.float32)


@compiled
def draw_borrowed_mouth(
    out: U8, driver: U8, source: F32, lips: F32, match: F32, row: F32, table: F32, feather: float
) -> None:
    """Fill the mouth in `out` (S, S, 3) with the driver's, strip by strip between the lips."""
    first_x, last_x, first_y, last_y = box(row, table, out.shape[0])
    for y in range(first_y, last_y + 1):
        for x in range(first_x, last_x + 1):
            u, v = onto(row, x, y)
            if u <= 0.0 or u >= 1.0:
                continue
            upper = height_at(table, 0, u)
            gap, depth = height_at(table, 1, u) - upper, v - upper
            margin = _GROW * gap + 0.5 * feather
            cover = ramp((depth + margin) / feather) * ramp((gap - depth + margin) / feather)
            cover *= ramp((gap - 0.4) / 1.5)
            if cover <= 0.0:
                continue
            t = min(1.0 - _SHRINK, max(_SHRINK, depth / gap))
            driver_upper = height_at(lips, 0, u)
            fx, fy = place_of(source, u, driver_upper + t * (height_at(lips, 1, u) - driver_upper))
            red, green, blue = (
                bilinear(driver, fx, fy, 0),
                bilinear(driver, fx, fy, 1),
                bilinear(driver, fx, fy, 2),
            )
            luma = 0.299 * red + 0.587 * green + 0.114 * blue
            mix(out, y, x, 0, match[0] * (luma + match[1] * (red - luma)), cover)
            mix(out, y, x, 1, match[0] * (luma + match[1] * (green - luma)), cover)
            mix(out, y, x, 2, match[0] * (luma + match[1] * (blue - luma)), cover)
