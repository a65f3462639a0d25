"""Whose picture is changed, and how a face in a picture is read: everything measured here is measured one way.

A face is read as a still: tracked in its own picture alone, its AUs taken against a resting face estimated from
itself. What is asked of a generator, and what came of it, are both in that reading's terms.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from engine.bundle import Extractor
from engine.errors import InputError, NoFaceError
from engine.evaluate.clip import Cut
from engine.features import action_units
from engine.features.shape import fit_shape
from engine.features.still import neutral_behind, static_aus
from engine.media import read_picture
from engine.source import Segmenter, sources_from_picture
from engine.types import AU_NAMES, F32, U8, Face, FaceShape, Source

MODES = ("static", "dynamic")
"""What AUs are measured against: a resting face estimated from each picture itself, or from the source's."""

MODE = "dynamic"
"""The one that is taken where none is named: against itself, a picture explains half of its expression away."""

PASSES = 4
"""Passes of the mesh after which a still is read as a video's frames are."""


def mode_of(extractor: Extractor | None) -> str:
    """The mode in which a bundle's training measured AUs, MODE where its manifest names none."""
    return MODE if extractor is None or extractor.mode not in MODES else extractor.mode


class Detector(Protocol):
    """Finds faces in one picture, as engine.track.face.FaceTracker does."""

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One face of one picture. shape: its rigid fit. aus: float32 (17,) in [0, 1], order AU_NAMES, as of a still."""

    face: Face
    shape: FaceShape
    aus: F32


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One picture that is changed. person: whose it is; the means are over persons. reading: of the picture itself."""

    name: str
    person: str
    source: Source
    reading: Reading

    def aus_of(self, reading: Reading, mode: str) -> F32:
        """The AUs of another picture of this face, float32 (17,): "static" by itself, "dynamic" against the resting
        face estimated from the subject's own picture. On that picture itself both are the same."""
        if mode == "static":
            return reading.aus
        return action_units.measure(reading.shape, neutral_behind(self.reading.shape))

    @property
    def rgb(self) -> U8:
        """The whole picture, uint8 (H, W, 3)."""
        return self.source.rgb


def read(rgb: U8, detector: Detector) -> Reading | None:
    """The main face of a picture, or None where nobody is seen."""
    found = detector.detect(rgb, thorough=False, passes=PASSES)
    return reading_of(found[0]) if found else None


def reading_of(face: Face) -> Reading:
    """A face that is at hand."""
    shape = fit_shape(face.points)
    return Reading(face, shape, static_aus(shape))


def subject_of(
    rgb: U8, detector: Detector, *, name: str, person: str = "", segmenter: Segmenter | None = None
) -> Subject:
    """The main face of a picture, taken as it stands: no cut is made. Raises NoFaceError or TooSmallError."""
    source = sources_from_picture(rgb, detector, segmenter, name=name)[0]
    return Subject(name, person or name, source, reading_of(source.face))


def read_subject(
    path: Path, detector: Detector, *, name: str = "", person: str = "", segmenter: Segmenter | None = None
) -> Subject:
    """A picture file, cut to the square of 2.3 face ovals at 512 px on which everything is measured.

    Raises InputError: unreadable, nobody in it, too small.
    """
    rgb = read_picture(path)
    found = detector.detect(rgb)
    if not found:
        raise NoFaceError(f"{path.name}: no face found")
    cut = Cut.around(found[0].points, rgb.shape).of(rgb)
    return subject_of(cut, detector, name=name or path.stem, person=person, segmenter=segmenter)


def read_subjects(
    paths: Iterable[Path] | Mapping[str, Path], detector: Detector, *, segmenter: Segmenter | None = None
) -> tuple[list[Subject], dict[str, str]]:
    """The subjects of several files, each a person of its own, and by name why the others were refused.

    paths: by name, or files that go by their stems.
    """
    named = paths if isinstance(paths, Mapping) else {path.stem: path for path in paths}
    subjects, refused = [], {}
    for name, path in named.items():
        try:
            subjects.append(read_subject(path, detector, name=name, segmenter=segmenter))
        except InputError as error:
            refused[name] = str(error)
    return subjects, refused


def number_of(name: str) -> int:
    """Place of an AU in AU_NAMES."""
    return AU_NAMES.index(name)


def with_au(aus: F32, name: str, value: float) -> F32:
    """The AUs (17,) with one of them set."""
    asked = np.array(aus, np.float32)
    asked[number_of(name)] = value
    return asked
