"""The drawn parsing mask: what is drawn where, and what is never drawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.canonical import LEFT_EYE, RIGHT_EYE, VERTICES
from engine.errors import InputError
from engine.parsing.classes import Part
from engine.parsing.draw import NEVER_DRAWN, draw_parsing
from engine.track.person import PersonSegmenter
from engine.types import F32, U8

SIZE = (240, 320)
CENTRE = np.array([120.0, 150.0, 0.0])


def _canonical(turn: float = 0.0, roll: float = 0.0, scale: float = 7.0) -> F32:
    """The canonical face in a 240 x 320 picture, turned by radians about the vertical and in the picture."""
    c, s = np.cos(turn), np.sin(turn)
    yaw = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(roll), np.sin(roll)
    tilt = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return (scale * VERTICES @ yaw.T @ tilt.T + CENTRE).astype(np.float32)


def _centre(mask: U8, part: Part) -> tuple[float, float]:
    y, x = np.nonzero(mask == part)
    return float(x.mean()), float(y.mean())


EVERYBODY = np.full((SIZE[1], SIZE[0]), 255, np.uint8)


@pytest.mark.parametrize("roll", [-0.6, 0.0, 0.6])
def test_the_parts_lie_in_the_order_of_a_face(roll: float) -> None:
    """Down the face's own axis: brows, eyes, nose, upper lip, lower lip, neck, however it is tilted."""
    mask = draw_parsing(_canonical(roll=roll), SIZE, EVERYBODY)
    down = np.array([-np.sin(roll), np.cos(roll)])
    order = (Part.L_BROW, Part.L_EYE, Part.NOSE, Part.U_LIP, Part.L_LIP, Part.NECK)
    heights = [np.dot(_centre(mask, part), down) for part in order]
    assert heights == sorted(heights)
    assert set(np.unique(mask)) >= {int(Part.HAIR), int(Part.CLOTH), int(Part.SKIN)}


def test_l_is_the_left_of_the_picture() -> None:
    """CelebAMask-HQ names sides as the viewer sees them: the person's right eye is L_EYE."""
    points = _canonical()
    mask = draw_parsing(points, SIZE)
    for part, ring in ((Part.L_EYE, RIGHT_EYE), (Part.R_EYE, LEFT_EYE)):
        assert _centre(mask, part) == pytest.approx(points[list(ring), :2].mean(axis=0), abs=1.0)
    assert _centre(mask, Part.L_EYE)[0] < _centre(mask, Part.R_EYE)[0]
    assert _centre(mask, Part.L_BROW)[0] < _centre(mask, Part.R_BROW)[0]


def test_a_mirrored_face_gives_the_mirrored_mask() -> None:
    """Neither side is favoured: mirroring swaps left and right and nothing else."""
    points = _canonical(turn=0.3)
    mirrored = _canonical(turn=-0.3)
    swap = np.arange(19, dtype=np.uint8)
    swap[[4, 5, 6, 7]] = swap[[5, 4, 7, 6]]
    flipped = swap[draw_parsing(mirrored, (241, 320))][:, ::-1]
    assert (flipped == draw_parsing(points, (241, 320))).mean() > 0.985


def test_without_a_person_mask_only_the_face_is_drawn() -> None:
    """Hair, neck and cloth cannot be told from the background, and are not guessed."""
    drawn = set(np.unique(draw_parsing(_canonical(), SIZE)))
    assert drawn.isdisjoint({int(Part.HAIR), int(Part.NECK), int(Part.CLOTH)})
    assert int(Part.SKIN) in drawn


@pytest.mark.parametrize("turn", [-1.2, -0.5, 0.0, 0.5, 1.2])
def test_what_cannot_be_known_is_never_drawn(turn: float) -> None:
    """Glasses, ears, hats and jewellery are not in the mesh."""
    drawn = set(np.unique(draw_parsing(_canonical(turn), SIZE, EVERYBODY)))
    assert drawn.isdisjoint({int(part) for part in NEVER_DRAWN})


def test_nothing_around_the_face_is_drawn_off_the_person() -> None:
    """Where the person mask is empty there is background, but the face itself stands on the mesh alone."""
    empty = draw_parsing(_canonical(), SIZE, np.zeros_like(EVERYBODY))
    alone = draw_parsing(_canonical(), SIZE)
    assert (empty == alone).mean() > 0.99


def test_a_turned_face_bulges_over_its_oval() -> None:
    """The far cheek of a three-quarter view is skin, not hair."""
    points = _canonical(turn=0.7)
    mask = draw_parsing(points, SIZE, EVERYBODY)
    x, y = points[:468, 0], points[:468, 1]
    cheek = (y > y.mean() - 20) & (y < y.mean() + 20)
    edge = points[:468][cheek][np.argmax(np.abs(x[cheek] - CENTRE[0]))]
    inward = np.sign(CENTRE[0] - edge[0]) * 3
    assert mask[round(float(edge[1])), round(float(edge[0] + inward))] in (Part.SKIN, Part.NOSE)


def test_closed_lips_show_no_mouth() -> None:
    """The inner contour of closed lips has two sides and nothing between them."""
    points = _canonical()
    mask = draw_parsing(points, SIZE)
    closed = points.copy()
    lower = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308]
    upper = [78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308]
    closed[lower] = closed[upper]
    assert not (draw_parsing(closed, SIZE) == Part.MOUTH).any()
    opened = points.copy()
    opened[lower[1:-1], 1] += 8
    assert (draw_parsing(opened, SIZE) == Part.MOUTH).sum() > (mask == Part.MOUTH).sum()


def test_a_face_outside_of_the_picture_leaves_it_empty() -> None:
    """Points far away, or partly outside, are no error and paint nothing inside."""
    away = _canonical() + np.array([1e6, 0, 0], np.float32)
    assert not draw_parsing(away, SIZE).any()
    assert draw_parsing(_canonical() - np.array([120, 0, 0], np.float32), SIZE).any()


def test_bad_input_is_refused() -> None:
    """Wrong counts, NaN and a mask of another picture are named, not drawn."""
    with pytest.raises(InputError, match=r"parsing: got points \(468, 3\)"):
        draw_parsing(_canonical()[:468], SIZE)
    lost = _canonical()
    lost[5] = np.nan
    with pytest.raises(InputError, match=r"finite"):
        draw_parsing(lost, SIZE)
    with pytest.raises(InputError, match=r"person mask \(4, 4\)"):
        draw_parsing(_canonical(), SIZE, np.zeros((4, 4), np.uint8))


@pytest.fixture(scope="module")
def segmenter(models: None) -> Iterator[PersonSegmenter]:
    one = PersonSegmenter()
    yield one
    one.close()


def test_real_portraits_have_plausible_areas(
    segmenter: PersonSegmenter, faces_root: Path, parity_root: Path
) -> None:
    """The share of each part in the face is what faces have, and the order of the parts holds."""
    tracks = parity_root / "mediapipe" / "portraits_static.npz"
    if not tracks.is_file():
        pytest.skip(f"no {tracks.name}: name its root in MAROTTE_PARITY")
    checked = 0
    with np.load(tracks, allow_pickle=False) as data:
        for path in sorted((faces_root / "portraits").iterdir())[::3]:
            if path.stem not in data or not np.isfinite(data[path.stem]).all():
                continue
            _check_portrait(path, data[path.stem], segmenter)
            checked += 1
    assert checked > 0


def _check_portrait(path: Path, points: F32, segmenter: PersonSegmenter) -> None:
    bgr = cv2.imread(str(path))
    assert bgr is not None
    rgb = np.ascontiguousarray(bgr[..., ::-1]).astype(np.uint8)
    mask = draw_parsing(points, (rgb.shape[1], rgb.shape[0]), segmenter.mask(rgb))
    area = np.bincount(mask.ravel(), minlength=19) / np.isin(mask, (1, 2, 4, 5, 6, 7, 10, 11, 12)).sum()
    assert 0.6 < area[Part.SKIN] < 0.95, path.stem
    assert 0.03 < area[Part.NOSE] < 0.15, path.stem
    assert 0.002 < area[[Part.L_EYE, Part.R_EYE]].sum() < 0.06, path.stem
    assert 0.01 < area[[Part.L_BROW, Part.R_BROW]].sum() < 0.08, path.stem
    assert 0.01 < area[[Part.U_LIP, Part.L_LIP]].sum() < 0.12, path.stem
    assert area[Part.HAIR] > 0.05, path.stem
    assert area[Part.NECK] + area[Part.CLOTH] > 0.05, path.stem
    heights = [
        _centre(mask, part)[1] for part in (Part.L_BROW, Part.L_EYE, Part.NOSE, Part.U_LIP, Part.L_LIP)
    ]
    assert heights == sorted(heights), path.stem
    assert _centre(mask, Part.L_EYE)[0] < _centre(mask, Part.R_EYE)[0], path.stem
