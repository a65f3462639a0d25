"""What is measured on a tracked face: only the signals that a generator needs.

All of them are read from one fit of the canonical face (engine/features/shape.py), so a smoothed shape
gives signals that agree with it: see `derive`.
"""

from __future__ import annotations

import numpy as np

from engine.features import action_units, gaze, landmarks68, openness
from engine.features.shape import check_face, fit_shape
from engine.geometry import head_pose
from engine.types import AU_NAMES, U8, Body, Face, FaceShape, Features, Frame, Neutral, Signal


def extract(
    face: Face,
    frame: Frame,
    needs: frozenset[Signal],
    neutral: Neutral | None = None,
    *,
    person: U8 | None = None,
    body: Body | None = None,
    occlusion: U8 | None = None,
) -> Features:
    """Measure one face. The shape is always there, for calibration and smoothing need it.

    neutral: what AUs are relative to; without one they are zeros, to be derived again once there is one.
    person: uint8 (H, W), 255 = person, used by the parsing mask. body, occlusion: passed through when needed. Raises
    InputError when the points are no face.
    """
    parsing = None
    if Signal.PARSING in needs:
        from engine.parsing.classes import CELEBAMASK, Parsing
        from engine.parsing.draw import draw_parsing

        parsing = Parsing(draw_parsing(face.points, frame.size, person), CELEBAMASK)
    rest = Features(
        frame.time_s,
        parsing=parsing,
        body=body if Signal.BODY in needs else None,
        occlusion=occlusion if Signal.OCCLUSION in needs else None,
    )
    shape = fit_shape(face.points)
    check_face(shape, frame.size)
    return derive(shape, rest, needs, neutral)


def derive(shape: FaceShape, rest: Features, needs: frozenset[Signal], neutral: Neutral | None) -> Features:
    """Every signal in `needs` that follows from `shape`; time, parsing, body and occlusion are those of
    `rest`."""
    aus = None
    if Signal.AUS in needs:
        aus = np.zeros(len(AU_NAMES), np.float32) if neutral is None else action_units.measure(shape, neutral)
    return Features(
        rest.time_s,
        shape=shape,
        landmarks68=landmarks68.measure(shape) if Signal.LANDMARKS68 in needs else None,
        aus=aus,
        head_pose=head_pose(shape.rotation) if Signal.HEAD_POSE in needs else None,
        gaze=gaze.measure(shape) if Signal.GAZE in needs else None,
        openness=openness.measure(shape) if Signal.OPENNESS in needs else None,
        parsing=rest.parsing,
        body=rest.body,
        occlusion=rest.occlusion,
    )


def present(features: Features) -> frozenset[Signal]:
    """The signals that `features` holds."""
    return frozenset(signal for signal in Signal if getattr(features, signal.value) is not None)
