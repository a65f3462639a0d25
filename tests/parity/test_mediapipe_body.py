"""The body tracker against what MediaPipe Pose gave for the same clips and pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine.track.body import BodyTracker
from engine.types import F32, U8, Frame

PROJECT = Path(__file__).resolve().parents[2]
STEP = Fraction(33333, 1_000_000)
"""The reference's clock: it stamps every frame so, whatever the clip says."""


def _reference() -> Path:
    root = Path(os.environ.get("MAROTTE_PARITY", str(PROJECT.parent / "shared" / "parity")))
    return root / "mediapipe" / "bodies_pose.npz"


def _stems() -> list[str]:
    if not _reference().is_file():
        return []
    with np.load(_reference(), allow_pickle=False) as data:
        return sorted(key.removesuffix(".image") for key in data if key.endswith(".image"))


def _still(path: Path) -> U8:
    bgr = cv2.imread(str(path))
    assert bgr is not None
    return np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8)


def _frames(path: Path, count: int) -> Iterator[Frame]:
    with av.open(str(path)) as container:
        for index, picture in enumerate(islice(container.decode(video=0), count), start=1):
            rgb = np.ascontiguousarray(picture.to_ndarray(format="rgb24"))
            yield Frame(rgb, index, STEP, float(index * STEP))


def _found(tracker: BodyTracker, path: Path, count: int) -> tuple[F32, F32]:
    """Points and world points of every frame, (count, 33, 4) each, NaN where nobody was found."""
    if path.suffix in {".jpg", ".png"}:
        bodies = [tracker.picture(_still(path))]
    else:
        bodies = [tracker.track(frame) for frame in _frames(path, count)]
    nobody = np.full((33, 4), np.nan, np.float32)
    points = np.stack([nobody if body is None else body.points for body in bodies])
    return points, np.stack([nobody if body is None else body.world for body in bodies])


def _heights(image: F32, seen: NDArray[np.bool_]) -> F32:
    """Pixels from the highest to the lowest seen point of each frame, (frames,)."""
    low = np.where(seen, image[..., 1], np.inf).min(axis=1)
    high = np.where(seen, image[..., 1], -np.inf).max(axis=1)
    return np.where(seen.any(axis=1), high - low, 1.0).astype(np.float32)


@pytest.fixture(scope="module")
def tracker(models: None) -> Iterator[BodyTracker]:
    one = BodyTracker(every_frame=True)
    yield one
    one.close()


@pytest.mark.skipif(
    not _stems(), reason="no mediapipe/bodies_pose.npz: name the data's folder in MAROTTE_PARITY"
)
@pytest.mark.parametrize("stem", _stems())
def test_bodies_are_where_mediapipe_has_them(stem: str, tracker: BodyTracker, faces_root: Path) -> None:
    """No body missed; the median error of seen points is .5 % of the body's height, in the world 1 cm."""
    path = next(iter(sorted((faces_root / "bodies").glob(f"{stem}.*"))), None)
    if path is None:
        pytest.skip(f"no bodies/{stem} in the test data: name its folder in MAROTTE_FACES")
    with np.load(_reference(), allow_pickle=False) as data:
        image, world = data[f"{stem}.image"], data[f"{stem}.world"]
    tracker.reset()
    points, metres = _found(tracker, path, len(image))
    assert len(points) == len(image)
    known = np.isfinite(image[:, 0, 0])
    assert np.isfinite(points[known]).all(), "a body was missed"
    seen = known[:, None] & (image[..., 3] >= 0.5)
    error = np.linalg.norm(points[..., :2] - image[..., :2], axis=-1) / _heights(image, seen)[:, None]
    assert float(np.median(error[seen])) <= 0.005
    assert float(np.median(np.linalg.norm(metres - world, axis=-1)[seen])) <= 0.01
    assert float(np.median(np.abs(points - image)[..., 3][known])) <= 0.01
