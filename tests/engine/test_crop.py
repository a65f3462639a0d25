"""The crop rules: closed forms on the canonical face, placed by known rigid motions."""

from __future__ import annotations

import numpy as np
import pytest

from engine import canonical
from engine.crop import (
    BUST_SIDE_CM,
    CELEBA_POINTS,
    CENTRE_CM,
    RULES,
    SIDE_CM,
    crop_of,
    cut,
    face_crop,
    factor_of,
    inside,
    kept_inside,
    points_in,
    resized,
)
from engine.errors import ConfigError, InputError
from engine.features.au_basis import deform
from engine.features.shape import fit_shape
from engine.geometry import invert_affine, pose_rotation
from engine.types import AU_NAMES, F32, Crop, FaceShape, HeadPose

SIZE = 128


def placed(local: F32 = canonical.VERTICES, roll: float = 0.0, yaw: float = 0.0, scale: float = 9.0) -> F32:
    where = np.array([210.0, 180.0, 0.0])
    return FaceShape(local, pose_rotation(HeadPose(yaw, 0.0, roll)), scale, where).points()


def test_the_face_crop_takes_the_roll_out_and_keeps_its_scale() -> None:
    """Rule `face`: CENTRE_CM in the middle, SIDE_CM across, the eye line level whatever the roll."""
    points = placed(roll=31.0)
    crop = crop_of("face", points, SIZE)
    seen = points_in(crop, points)
    assert factor_of(crop) == pytest.approx(SIZE / (SIDE_CM * 9.0), rel=1e-4)
    assert seen[33, 1] == pytest.approx(seen[263, 1], abs=0.05)
    eyes = canonical.VERTICES[[33, 263], :2].mean(0)
    expected = (eyes - CENTRE_CM[:2]) * SIZE / SIDE_CM + (SIZE - 1) / 2
    assert seen[[33, 263], :2].mean(0) == pytest.approx(expected, abs=0.1)


def test_the_face_crop_does_not_follow_the_expression() -> None:
    """A wide open mouth and raised brows change the crop by about a hundredth."""
    aus = np.zeros(len(AU_NAMES), np.float32)
    aus[[AU_NAMES.index(name) for name in ("AU01", "AU02", "AU25", "AU26")]] = 1.0
    rest = crop_of("face", placed(), SIZE)
    open_mouth = crop_of("face", placed(deform(canonical.VERTICES, aus)), SIZE)
    corners = np.array([[0.0, 0.0], [400.0, 0.0], [0.0, 400.0], [400.0, 400.0]])
    apart = points_in(rest, corners) - points_in(open_mouth, corners)
    assert np.abs(apart).max() < 0.015 * SIZE
    assert np.array_equal(face_crop(fit_shape(placed()), SIZE).matrix, rest.matrix)


def test_the_celeba_crop_brings_the_five_points_where_celeba_has_them() -> None:
    """A face that lies just as CelebA's mean does is cut by the central 178 pixels, 20 rows less at the top."""
    points = placed()
    crop = crop_of("celeba", points, 178)
    five = np.array(
        [
            points[[33, 133], :2].mean(0),
            points[[362, 263], :2].mean(0),
            points[4, :2],
            points[61, :2],
            points[291, :2],
        ]
    )
    seen = points_in(crop, five)
    assert seen.mean(0) == pytest.approx(CELEBA_POINTS.mean(0) - (0.0, 20.0), abs=1e-3)
    half = points_in(crop_of("celeba", points, 89), five)
    assert half == pytest.approx((seen + 0.5) / 2 - 0.5, abs=1e-3)


def test_the_box_crop_is_tight_square_and_upright() -> None:
    """The mesh's longer side fills the crop, edge to edge, and its middle is the crop's."""
    points = placed(roll=10.0)
    crop = crop_of("box", points, SIZE)
    mesh = points_in(crop, points)[: canonical.MESH_POINTS, :2]
    assert crop.matrix[0, 1] == 0.0
    assert mesh.min(0).min() == pytest.approx(-0.5, abs=0.01)
    assert np.ptp(mesh, axis=0).max() == pytest.approx(SIZE, abs=0.01)
    assert (mesh.min(0) + mesh.max(0)) / 2 == pytest.approx((SIZE - 1) / 2, abs=0.01)


@pytest.mark.parametrize("rule", RULES)
def test_a_crop_shows_the_same_at_every_size(rule: str) -> None:
    """Half the size is the same square: pixel edges stay where they are."""
    points = placed(roll=-12.0, yaw=15.0)
    large, small = crop_of(rule, points, 128), crop_of(rule, points, 64)
    assert resized(large, 64).matrix == pytest.approx(small.matrix)
    assert points_in(small, points)[:, :2] == pytest.approx(
        (points_in(large, points)[:, :2] + 0.5) / 2 - 0.5, abs=1e-3
    )


def test_a_cut_that_shrinks_averages_over_the_area() -> None:
    """A fine chequered picture becomes its mean, where sampling single pixels would give black or white."""
    chequered = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)
    crop = Crop(np.array([[1 / 8, 0.0, 1 / 16 - 0.5], [0.0, 1 / 8, 1 / 16 - 0.5]]), 64)
    small = cut(chequered, crop)
    assert small.shape == (64, 64)
    assert np.abs(small.astype(int) - 127).max() <= 1


def test_a_cut_at_the_pictures_own_scale_copies_its_pixels() -> None:
    """A shift by whole pixels changes nothing."""
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    crop = Crop(np.array([[1.0, 0.0, -7.0], [0.0, 1.0, -3.0]]), 32)
    assert np.array_equal(cut(picture, crop), picture[3:35, 7:39])


def test_inside_is_the_share_of_the_crop_that_the_picture_has() -> None:
    """1 where the crop lies in the picture, a half where half of it does."""
    crop = Crop(np.array([[1.0, 0.0, 32.0], [0.0, 1.0, 0.0]]), 64)
    assert inside(crop, (100, 100)) == pytest.approx(0.5, abs=0.02)
    assert inside(Crop(np.array([[1.0, 0.0, -9.0], [0.0, 1.0, -9.0]]), 64), (100, 100)) == 1.0


def test_an_unknown_rule_is_answered_with_the_nearest() -> None:
    """A misspelt rule is refused by name."""
    with pytest.raises(ConfigError, match="did you mean 'celeba'"):
        crop_of("celebra", placed(), SIZE)


@pytest.mark.parametrize("rule", RULES)
def test_points_that_are_no_face_are_refused(rule: str) -> None:
    """NaN, and 478 points on one spot."""
    with pytest.raises(InputError, match="track the face"):
        crop_of(rule, np.full((478, 3), np.nan, np.float32), SIZE)
    with pytest.raises((InputError, ConfigError)):
        crop_of(rule, np.zeros((478, 3), np.float32), SIZE)


def test_a_size_below_one_pixel_is_refused() -> None:
    """A crop has at least one pixel."""
    with pytest.raises(ConfigError, match="size of 0 px"):
        crop_of("face", placed(), 0)


def test_a_crop_is_the_same_square_at_another_size() -> None:
    """Edge to edge: what lies at a quarter of one lies at a quarter of the other."""
    crop = crop_of("face", placed(roll=20.0), SIZE)
    corners = np.array([[-0.5, -0.5], [SIZE - 0.5, 0.25 * SIZE - 0.5]])
    larger = resized(crop, 3 * SIZE)
    frame = points_in(Crop(invert_affine(crop.matrix), 1), corners)
    assert points_in(larger, frame) == pytest.approx(3 * (corners + 0.5) - 0.5, abs=1e-3)


@pytest.mark.parametrize("roll", [0.0, 25.0])
def test_the_celeba_hq_crop_is_the_square_of_its_paper(roll: float) -> None:
    """By the published formula: middle, axis and half a side from eyes and mouth, in the picture's own pixels."""
    points = placed(roll=roll).astype(np.float64)
    eyes = [points[list(ring), :2].mean(0) for ring in ((33, 133), (362, 263))]
    mouth = points[[61, 291], :2].mean(0)
    across, down = eyes[1] - eyes[0], mouth - (eyes[0] + eyes[1]) / 2
    x = across - np.array([-down[1], down[0]])
    x *= max(2.0 * np.hypot(*across), 1.8 * np.hypot(*down)) / np.hypot(*x)
    y = np.array([-x[1], x[0]])
    middle = (eyes[0] + eyes[1]) / 2 + 0.1 * down
    corners = np.array([middle - x - y, middle + x - y, middle + x + y, middle - x + y])
    edge = SIZE - 0.5
    seen = points_in(crop_of("celeba-hq", points.astype(np.float32), SIZE), corners)
    assert seen == pytest.approx(np.array([[-0.5, -0.5], [edge, -0.5], [edge, edge], [-0.5, edge]]), abs=0.02)


def test_the_bust_crop_stands_upright_around_head_and_shoulders() -> None:
    """Rule `bust`: 30 cm across, level whatever the roll, the whole oval in it with room for hair above."""
    points = placed(roll=25.0)
    crop = crop_of("bust", points, SIZE)
    assert crop.matrix[0, 1] == crop.matrix[1, 0] == 0.0
    assert factor_of(crop) == pytest.approx(SIZE / (BUST_SIDE_CM * 9.0), rel=1e-4)
    seen = points_in(crop, points)
    assert seen[10, 1] > 0.08 * SIZE
    assert seen[152, 1] < 0.8 * SIZE


def test_a_bust_stays_within_its_picture_where_that_is_large_enough() -> None:
    """It is moved inside first, narrowed to two thirds at most, and never further."""
    wide = crop_of("bust", placed(), SIZE)  # 270 pixels about (210, 189)
    for size, side in (((1000, 1000), 270.0), ((340, 330), 270.0), ((240, 400), 240.0), ((100, 90), 180.0)):
        kept = kept_inside(wide, size)
        assert kept.size / factor_of(kept) == pytest.approx(side, abs=0.1)
        if side <= min(size):
            corners = points_in(kept, np.array([[-0.5, -0.5], [size[0] - 0.5, size[1] - 0.5]], np.float32))
            assert corners[0].max() <= -0.49
            assert corners[1].min() >= SIZE - 0.51
