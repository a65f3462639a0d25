"""What tells a face's shape from another's: fitted on portraits and clips, as engine/data/self_check.npz.

    python -m export.self_check_model --faces DIR [--out FILE]

A shape is the vector of engine.features.likeness.telling, reduced to the directions in which faces differ most. In them
who somebody is and what differs between two pictures of them are both taken for normal (two-covariance model; Brümmer
and de Villiers, "The speaker partitioning problem", 2010): the score of a pair is the logarithm of how many times
likelier it is that one person was measured twice than that two were.

Between people: the generated faces of DIR/training, one picture each. Within a person: the frames of the clips of
DIR/drivers and the six pictures of one woman in DIR/portraits, and beside them what another distance from the camera
does, from NEAR_CM to FAR_CM, which no clip shows because nobody there was recorded by two cameras.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from engine.errors import MarotteError
from engine.features.likeness import telling
from engine.features.shape import fit_shape
from engine.geometry import head_pose
from engine.media import open_media
from engine.self_check.likeness import DATA, MOST_PITCH, MOST_YAW, Model
from engine.source import find_faces, source_picture
from engine.track.face import FaceTracker
from engine.types import F64, FaceShape

SIZE: Final = 12
"""Directions. More fit the noise of sixteen people; see docs/self_check.md."""
NEAR_CM: Final = 35.0
FAR_CM: Final = 200.0
PERSPECTIVE: Final = 1.0
"""How much of it is put beside what was measured, in its own variance."""
_EVERY = 2
_LEAST = 1e-3
_STILL = (".jpg", ".png")


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """portrait: as a source is read. frames: of the frontal frames of a clip, or of other pictures; (N, 956) each of
    engine.features.likeness.telling."""

    name: str
    portrait: F64
    frames: F64
    near: F64
    """What another distance does to the portrait, (956,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """people: of whom there is more than one picture. strangers: one picture each, for whom to be taken for. training:
    those by which people differ."""

    people: tuple[Person, ...]
    strangers: F64
    training: F64


def measured(faces: Path) -> Measured:
    """Of a folder like the test data's. Takes minutes."""
    with closing(FaceTracker()) as detector:
        training = [telling(shape) for _, shape in _pictures(faces / "training", detector)]
        portraits = list(_pictures(faces / "portraits", detector))
        people = [_clip(path, detector) for path in clips(faces)]
    several = [(name, shape) for name, shape in portraits if "black_background" in name]
    first = next(shape for name, shape in several if "neutral" in name)
    frames = np.stack([telling(shape) for name, shape in several if "neutral" not in name])
    people.append(Person("several portraits", telling(first), frames, perspective(first)))
    strangers = [telling(shape) for name, shape in portraits if "black_background" not in name]
    return Measured(tuple(people), np.stack(strangers + training), np.stack(training))


def clips(faces: Path) -> list[Path]:
    """Of one person each, but for the one that is a still picture moved about."""
    found = sorted((faces / "drivers").iterdir())
    return [path for path in found if path.suffix in (".mp4", ".mpg") and "synthetic" not in path.name]


def _pictures(folder: Path, detector: FaceTracker) -> list[tuple[str, FaceShape]]:
    found = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in _STILL:
            continue
        try:
            with open_media(path) as media:
                faces = find_faces(next(iter(media)).rgb, detector)
        except MarotteError as error:
            print(f"{path.name} is left out: {error}")
            continue
        if faces:
            found.append((path.name, fit_shape(faces[0].points)))
    return found


def _clip(path: Path, detector: FaceTracker) -> Person:
    with open_media(path) as media:
        first = fit_shape(find_faces(source_picture(media, detector), detector)[0].points)
    frames = []
    with closing(FaceTracker(max_faces=1)) as tracker, open_media(path) as media:
        for number, frame in enumerate(media):
            followed = tracker.track(frame)
            if followed and number % _EVERY == 0:
                shape = fit_shape(followed[0].points)
                if is_frontal(shape):
                    frames.append(telling(shape))
    return Person(path.stem, telling(first), np.stack(frames), perspective(first))


def is_frontal(shape: FaceShape) -> bool:
    """Whether a frame counts for the likeness."""
    pose = head_pose(shape.rotation)
    return abs(pose.yaw) <= MOST_YAW and abs(pose.pitch) <= MOST_PITCH


def perspective(shape: FaceShape) -> F64:
    """How a face's shape differs between NEAR_CM and FAR_CM from a pinhole camera, (956,)."""
    seen = [telling(replace(shape, local=_from(shape, distance))) for distance in (NEAR_CM, FAR_CM)]
    return np.asarray(seen[0] - seen[1])


def _from(shape: FaceShape, distance_cm: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    nearer = shape.local[:, 2:] / distance_cm
    return np.asarray(shape.local / (1.0 + nearer), np.float32)


def fit(people: Sequence[Person], training: F64, size: int = SIZE, perspective: float = PERSPECTIVE) -> Model:
    """The model of these people's differences. training: (N, 956). perspective: how much of what another distance does
    counts as a difference within a person."""
    mean = training.mean(0)
    basis = np.linalg.svd(training - mean, full_matrices=False)[2][:size]
    spread = (training - mean) @ basis.T
    within = np.zeros((size, size))
    for person in people:
        rows = np.vstack([person.frames, person.portrait])
        rows = (rows - rows.mean(0)) @ basis.T
        near = person.near @ basis.T
        within += (rows.T @ rows / len(rows) + perspective * np.outer(near, near) / 12.0) / len(people)
    within += _LEAST * np.trace(within) / size * np.eye(size)
    values, vectors = np.linalg.eigh(spread.T @ spread / len(spread) - within)
    between = (vectors * np.maximum(values, _LEAST * values.max())) @ vectors.T
    total = between + within
    same = np.block([[total, between], [between, total]])
    apart = np.block([[total, 0 * between], [0 * between, total]])
    weights = 0.5 * (np.linalg.inv(apart) - np.linalg.inv(same))
    offset = 0.5 * (np.linalg.slogdet(apart)[1] - np.linalg.slogdet(same)[1])
    return Model(mean.astype(np.float32), basis.astype(np.float32), weights, float(offset))


def arrays(model: Model) -> Mapping[str, np.ndarray]:
    """As the file holds them."""
    offset = np.array(model.offset)
    return {"mean": model.mean, "basis": model.basis, "weights": model.weights, "offset": offset}


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=DATA)
    options = parser.parse_args()
    found = measured(options.faces)
    np.savez_compressed(options.out, allow_pickle=False, **arrays(fit(found.people, found.training)))
    print(f"{options.out}: of {len(found.people)} people and {len(found.training)} faces")


if __name__ == "__main__":
    main()
