"""New expressions of a still portrait, by the default generator, with what was asked and what came out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from engine.annotate.gates import Gates, Refused
from engine.annotate.labels import DYNAMIC, Labels, label
from engine.blend import paste
from engine.errors import MarotteError
from engine.features import action_units, gaze, landmarks68, openness
from engine.features.au_basis import deform
from engine.features.shape import fit_shape
from engine.features.still import still_neutral
from engine.geometry import eye_distance
from engine.plug import Generator, Runner
from engine.source import Detector, main_first
from engine.types import AU_NAMES, F32, U8, Controls, Drive, Face, Features, Frame, Mode, Neutral, Source

_JUDGED = tuple(AU_NAMES.index(name) for name in ("AU12", "AU25", "AU26", "AU45"))
_CLEARLY_ASKED = 0.5
_INNER = slice(17, 68)  # landmarks of brows, nose, eyes and mouth: the jaw's are tracked loosely


class Moved:
    """One still face that is moved by nobody but the AU offsets: its own driver, at rest."""

    def __init__(self, source: Source, generator: Generator, runner: Runner) -> None:
        self._source, self._generator, self._runner = source, generator, runner
        self._state: Any = generator.begin(generator.prepare(source, Mode.PUPPET))
        self._shape = fit_shape(source.face.points)
        self._rest = Neutral(
            self._shape, openness.measure(self._shape), gaze.measure(self._shape), confidence=1.0
        )
        self._still = Features(0.0, shape=self._shape, gaze=self._rest.gaze, openness=self._rest.openness)
        self._frame = Frame(source.rgb, 0, Fraction(1, 30), 0.0)

    def picture(self, offsets: F32) -> U8:
        """The whole picture with these offsets (17,), uint8 (H, W, 3). Raises MarotteError when it cannot be drawn."""
        controls = Controls(au_offsets=_named(offsets))
        drive = Drive(self._frame, self._source.face, self._still, self._rest, controls)
        output = self._runner.run([self._generator.inputs(self._state, drive)])[0]
        if isinstance(output, Exception):
            raise output
        return paste(self._generator.patch(self._state, output))

    def expected(self, offsets: F32) -> F32:
        """The 68 landmarks (68, 2) that these offsets ask for, in pixels of the picture."""
        return landmarks68.measure(replace(self._shape, local=deform(self._shape.local, offsets)))


@dataclass(frozen=True, slots=True, eq=False)
class Synthesis:
    """One synthesised picture. whole: uint8 (H, W, 3)."""

    whole: U8
    face: Face
    labels: Labels
    asked: F32


def synthesise(
    moved: Moved,
    base: Labels,
    face: Face,
    offsets: F32,
    detector: Detector,
    gates: Gates,
    rule: str,
    mode: str,
) -> Synthesis:
    """Ask for one expression and measure what came out, cut as its base is. Raises Refused when that is not it."""
    try:
        whole = moved.picture(offsets)
    except MarotteError as error:
        raise Refused("not drawn", str(error)) from error
    found = main_first(detector.detect(whole, thorough=False, passes=4), whole)
    if not found:
        raise Refused("face lost", f"after {_words(offsets)}")
    after = found[0]
    neutral = still_neutral(face) if mode == DYNAMIC else None
    labels = label(whole, after, rule, base.crop.size, neutral=neutral, crop=base.crop)
    _pass(moved, base, face, after, offsets, gates)
    return Synthesis(whole, after, labels, offsets)


def _pass(moved: Moved, base: Labels, before: Face, after: Face, offsets: F32, gates: Gates) -> None:
    seen = landmarks68.from_points(after.points)[_INNER]
    wanted = moved.expected(offsets)[_INNER]
    stray = float(np.linalg.norm(seen - wanted, axis=1).mean()) / eye_distance(before.points[:, :2])
    if stray > gates.stray:
        raise Refused("not as asked", f"landmarks stray {stray:.3f} eye distances after {_words(offsets)}")
    own = still_neutral(before)
    change = action_units.measure(fit_shape(after.points), own) - action_units.measure(
        fit_shape(before.points), own
    )
    for au in _JUDGED:
        asked = float(offsets[au])
        if asked >= _CLEARLY_ASKED and change[au] < gates.short * asked:
            raise Refused("not as asked", f"{AU_NAMES[au]} rose by {change[au]:.2f} after {_words(offsets)}")


def _named(offsets: F32) -> Mapping[str, float]:
    return {name: float(value) for name, value in zip(AU_NAMES, offsets) if value}


def _words(offsets: F32) -> str:
    return " ".join(f"{name}{value:+.2f}" for name, value in _named(offsets).items())
