"""Compile everything before the first frame."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np

from engine import canonical
from engine.features import gaze, openness
from engine.features.shape import fit_shape
from engine.generators.mesh_flow.generator import MeshFlow
from engine.generators.mesh_flow.runner import MeshFlowRunner
from engine.types import Controls, Drive, Face, FaceShape, Features, Frame, Mode, Neutral, Source


@lru_cache(maxsize=1)
def warm_up() -> None:
    """Move a small grey face once along every path that a frame can take, so that no frame waits for the compiler."""
    size = 96
    shape = FaceShape(canonical.VERTICES, np.eye(3), 3.0, np.full(3, size / 2.0))
    points = shape.points()
    face = Face(np.array([0, 0, size, size], np.float32), points, 1.0, 0)
    rgb = np.full((size, size, 3), 128, np.uint8)
    shared = rgb.copy()
    shared.setflags(write=False)  # another type to the compiler
    frames = [Frame(picture, 0, Fraction(1, 30), 0.0) for picture in (rgb, shared)]
    rest = Neutral(fit_shape(points), openness.measure(shape), gaze.measure(shape), 1.0)
    features = Features(0.0, shape=rest.shape, gaze=rest.gaze, openness=rest.openness)
    generator, runner = MeshFlow(), MeshFlowRunner()
    for person in (None, rgb[:, :, 0].copy()):
        state = generator.begin(generator.prepare(Source(rgb, face, person, "", "warm-up"), Mode.PUPPET))
        for frame in (*frames, *frames):  # the first with driver pixels is the reference of the next
            controls = Controls(driver_pixels=True, au_offsets={"AU26": 1.0})
            answer = runner.run([generator.inputs(state, Drive(frame, face, features, rest, controls))])[0]
            if isinstance(answer, Exception):
                raise answer
