"""People for tests: the synthetic body, drawn part by part in tones of its own before a dark wall."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np

from engine.body import skeleton as s
from engine.body.camera import Camera
from engine.body.fitter import BodyFit, BodyFitter, standing
from engine.body.synthetic import synthetic_body
from engine.imitation.mesh import SYNTHETIC, BodyMesh, open_mesh, synthetic_layout
from engine.imitation.person import BodyPicture
from engine.mesh import rotations as forms
from engine.mesh.cameras import on_screen, project_with_depth
from engine.mesh.files import NAMES
from engine.mesh.raster import rasterise
from engine.types import F64, U8, Body, Frame

SIDE = 192
WALL = 30
CAMERA = Camera(88.0, 96.0, 88.0)
"""Pixels a metre, and where the model's own middle is seen: a body is 156 pixels high."""
BLUE, RED = 0, 200
"""Tones of the two persons' blue channel."""


def mesh() -> BodyMesh:
    return open_mesh(SYNTHETIC)


def raised(degrees: float = 70.0) -> F64:
    """Standing, the left arm lifted sideways by so many degrees."""
    pose = standing()
    lift = forms.from_vectors(np.array([0.0, 0.0, np.radians(degrees)]))
    pose[s.SHOULDERS[0]] = pose[s.SHOULDERS[0]] @ lift
    return pose


def picture_of(pose: F64, blue: int = BLUE, camera: Camera = CAMERA) -> tuple[U8, U8]:
    """The body's picture (SIDE, SIDE, 3) and its mask: head 220, torso 180, arms 140, legs 100, in red and green."""
    posed = synthetic_body().shaped().posed(pose.astype(np.float32))
    seen = project_with_depth(posed.vertices, camera.in_square(-0.5, -0.5, SIDE))
    layout = synthetic_layout()
    index = rasterise(on_screen(seen), layout.faces, SIDE).index
    tones = np.full(layout.count + 1, WALL, np.uint8)
    for part, tone in (
        ("head", 220),
        ("torso", 180),
        ("arm", 140),
        ("hand", 140),
        ("leg", 100),
        ("foot", 100),
    ):
        for name, faces in layout.parts.items():
            if name.endswith(part):
                tones[faces] = tone
    person = np.where(index >= 0, 255, 0).astype(np.uint8)
    flat = tones[index]
    rgb = np.stack([flat, flat, np.where(person > 0, blue, WALL).astype(np.uint8)], axis=-1)
    return np.ascontiguousarray(rgb), person


def body_of(pose: F64, time_s: float = 0.0, camera: Camera = CAMERA) -> Body:
    """What a perfect tracker tells of it."""
    fitter = BodyFitter(synthetic_body())
    points = fitter.landmarks.of(synthetic_body().shaped().posed(pose.astype(np.float32))).astype(np.float64)
    sure = np.ones((s.POINTS, 1))
    world = points - points[list(s.POINT_HIPS)].mean(0)
    flat = np.column_stack([camera.seen(points), camera.scale * points[:, 2]])
    return Body(
        np.hstack([flat, sure]).astype(np.float32), np.hstack([world, sure]).astype(np.float32), time_s
    )


def fitted(pose: F64, blue: int = BLUE, name: str = "person") -> BodyPicture:
    """A picture whose mesh is known exactly."""
    rgb, person = picture_of(pose, blue)
    moving = np.ones(s.COUNT, bool)
    fit = BodyFit(pose.astype(np.float32), np.zeros(10, np.float32), CAMERA, moving, False, 0.0)
    return BodyPicture(rgb, person, fit, name)


def frame_at(number: int, rgb: U8 | None = None) -> Frame:
    return Frame(np.zeros((SIDE, SIDE, 3), np.uint8) if rgb is None else rgb, number, Fraction(1, 10), 0.0)


def write_smpl(folder: Path) -> Path:
    """The synthetic body as files of SMPL's kind: the model, and the official maps beside it."""
    model, layout = synthetic_body(), synthetic_layout()
    shape = (len(model.pose_shapes), len(model.template), 3)
    bends = model.pose_shapes.reshape(shape).transpose(1, 2, 0)
    parents = np.array(model.parents, np.int64)
    parents[0] = 2**32 - 1
    np.savez(
        folder / "smpl.npz",
        v_template=model.template,
        shapedirs=model.shapes,
        posedirs=bends,
        J_regressor=model.regressor,
        weights=model.weights,
        kintree_table=np.stack([parents, np.arange(len(parents))]),
        f=model.faces,
    )
    np.save(folder / NAMES["face"], layout.faces)
    places = 0.5 * (layout.corners.reshape(-1, 2) + 1.0)
    lines = [f"vt {x:.7f} {1.0 - y:.7f}" for x, y in places]
    for number, face in enumerate(layout.faces):
        lines.append("f " + " ".join(f"{face[k] + 1}/{3 * number + k + 1}" for k in range(3)))
    for role in ("fim_enc", "uv_map"):
        (folder / NAMES[role]).write_text("\n".join(lines) + "\n")
    parts = {name: {"face": faces.tolist()} for name, faces in layout.parts.items()}
    (folder / NAMES["part"]).write_text(json.dumps(parts))
    for role in ("front", "head", "facial"):
        (folder / NAMES[role]).write_text(json.dumps({"face": layout.groups[role].tolist()}))
    return folder / "smpl.npz"


class Told:
    """A tracker that is told what it sees, frame by frame; the last one stays."""

    def __init__(self, *bodies: Body | None) -> None:
        self._bodies, self._next = bodies, 0

    def track(self, frame: Frame) -> Body | None:
        body = self._bodies[min(self._next, len(self._bodies) - 1)]
        self._next += 1
        return body

    def picture(self, rgb: U8) -> Body | None:
        return self._bodies[0]

    def close(self) -> None:
        self._next = 0
