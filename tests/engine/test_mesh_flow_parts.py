"""The parts of the default generator, each against what it must give in a case that is known in advance."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from engine import canonical
from engine.errors import InputError, TooSmallError
from engine.features.shape import fit_shape
from engine.generators.mesh_flow import layers, opening, patch_area, shading
from engine.generators.mesh_flow.fill import push_pull
from engine.generators.mesh_flow.raster import composite
from engine.generators.motion import limits, rings
from engine.generators.motion.flow import rasterise
from engine.geometry import head_pose, pose_rotation
from engine.types import FaceShape, HeadPose


def _flow(target, places, triangles, grid=32, size=64):
    flow_x, flow_y, depth = (np.empty((grid, grid), np.float32) for _ in range(3))
    rasterise(target, places, triangles, size / grid, flow_x, flow_y, depth)
    return flow_x, flow_y, depth


def _square(low, high, depth):
    corners = [[low, low, depth], [high, low, depth], [high, high, depth], [low, high, depth]]
    return np.array(corners, np.float32), np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def test_flow_of_a_mesh_moved_by_an_affine_map_is_that_map():
    """Inside a triangle the flow is exact, not interpolated from elsewhere."""
    target, triangles = _square(-1.0, 65.0, 0.0)
    places = (target[:, :2] @ np.array([[0.9, 0.1], [-0.2, 1.1]], np.float32) + [3, -2]).astype(np.float32)
    flow_x, flow_y, _ = _flow(target, places, triangles)
    x, y = np.meshgrid(*(2 * [(np.arange(32) + 0.5) * 2 - 0.5]))
    np.testing.assert_allclose(flow_x, 0.9 * x - 0.2 * y + 3, atol=1e-3)
    np.testing.assert_allclose(flow_y, 0.1 * x + 1.1 * y - 2, atol=1e-3)


def test_the_triangle_nearest_to_the_camera_wins():
    """A turned nose hides the far cheek, in whatever order they are drawn."""
    near, triangles = _square(20, 40, -5.0)
    far, _ = _square(-1, 65, 5.0)
    for first, second in ((near, far), (far, near)):
        target = np.concatenate([first, second])
        places = np.where(target[:, 2:] < 0, 100.0, 0.0).repeat(2, 1).astype(np.float32)
        flow_x, _, _ = _flow(target, places, np.concatenate([triangles, triangles + 4]))
        assert flow_x[15, 15] == 100.0
        assert flow_x[2, 2] == 0.0


def test_a_hole_shows_what_was_there():
    """A cell that no triangle covers keeps its own place, so that no foreign pixel leaks in."""
    target, triangles = _square(40, 60, 0.0)
    flow_x, flow_y, depth = _flow(target, np.zeros((4, 2), np.float32), triangles)
    assert depth[3, 5] > 1e38
    assert (flow_x[3, 5], flow_y[3, 5]) == (10.5, 6.5)


def test_layers_composite_by_their_alpha():
    """Straight alpha: 255 is the foreground, 0 the background, half is their mean."""
    foreground = np.full((1, 3, 4), 200, np.uint8)
    foreground[0, :, 3] = 0, 128, 255
    out = np.empty((1, 3, 3), np.uint8)
    composite(foreground, np.full((1, 3, 3), 100, np.uint8), out)
    assert out[0, :, 0].tolist() == [100, 150, 200]


@pytest.mark.parametrize(("size", "most"), [((300, 200), 1024), ((640, 480), 200), ((100, 90), 1024)])
def test_the_cut_and_its_crop_agree(size, most):
    """A pixel of the patch shows the picture at the place that the crop's matrix says."""
    width, height = size
    points = FaceShape(canonical.VERTICES, np.eye(3), 4.0, np.array([width / 2, height / 2, 0])).points()
    crop = patch_area.choose(points, size, most)
    ramp = np.tile(np.arange(width, dtype=np.float32) * 200 / width, (height, 1))
    patch = patch_area.cut(np.rint(ramp[:, :, None].repeat(3, 2)).astype(np.uint8), crop)
    assert patch.shape == (crop.size, crop.size, 3)
    middle = np.array([width / 2, height / 2])
    x, y = crop.matrix[:, :2] @ middle + crop.matrix[:, 2]
    assert abs(float(patch[round(y), round(x), 0]) - middle[0] * 200 / width) < 2.0


def test_points_that_are_no_face_are_refused():
    """Degenerate landmarks are an error that names them, never a crash further in."""
    points = FaceShape(canonical.VERTICES, np.eye(3), 4.0, np.zeros(3)).points()
    with pytest.raises(TooSmallError, match="expected at least"):
        patch_area.choose(points * 0.1, (100, 100), 512)
    points[7, 1] = np.nan
    with pytest.raises(InputError, match="finite"):
        patch_area.choose(points, (100, 100), 512)


def test_only_a_patch_inside_a_larger_picture_has_a_soft_rim():
    """The rim hides the change of sharpness; at the picture's own border there is nothing to hide."""
    points = FaceShape(canonical.VERTICES, np.eye(3), 4.0, np.array([200.0, 200.0, 0])).points()
    assert patch_area.edge_mask(patch_area.choose(points, (100, 100), 512), (100, 100)) is None
    mask = patch_area.edge_mask(patch_area.choose(points, (400, 400), 512), (400, 400))
    assert mask is not None
    assert mask[0].max() < 40
    assert mask[mask.shape[0] // 2, mask.shape[0] // 2] == 255


def test_filling_keeps_what_is_known_and_continues_it():
    """Push-pull gives back known pixels and fills the rest from their neighbourhood."""
    picture = np.full((40, 50, 3), 90.0, np.float32)
    weight = np.ones((40, 50), np.float32)
    weight[10:30, 15:40] = 0.0
    hidden = np.where(weight[:, :, None] > 0, picture, 255.0).astype(np.float32)
    np.testing.assert_allclose(push_pull(hidden, weight), 90.0, atol=1e-3)


def test_layers_give_back_the_picture_at_rest():
    """Nothing may change in a portrait that does not move, however poor its person mask is."""
    rng = np.random.default_rng(1)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (120, 120, 3), np.uint8), (0, 0), 1.5)
    person = cv2.GaussianBlur(rng.integers(0, 2, (120, 120), np.uint8) * 255, (0, 0), 8)
    face = np.array([[40, 30], [80, 30], [85, 80], [60, 95], [35, 80]], np.float32)
    moving, standing = layers.split(picture, person, face)
    out = np.empty_like(picture)
    assert standing is not None
    composite(moving, standing, out)
    assert np.abs(out.astype(int) - picture).max() <= 2


def test_soft_limits_are_exact_first_and_never_passed():
    """Small motion is transferred as it is; large motion slows down without a jump."""
    values = np.linspace(-300, 300, 2001)
    limited = np.array([limits.soft(float(value), (20.0, 35.0)) for value in values])
    inside = np.abs(values) <= 20
    np.testing.assert_array_equal(limited[inside], values[inside])
    assert np.abs(limited).max() <= 35.0
    assert (np.diff(limited) >= 0).all()
    assert np.diff(limited).max() <= 0.31


def test_a_turned_source_shows_its_hidden_cheek_only_so_far():
    """The limit is relative to looking straight: a near-profile source may not turn all the way back."""
    start = pose_rotation(HeadPose(50.0, 0.0, 0.0))
    back = head_pose(limits.limit_rotation(pose_rotation(HeadPose(-20.0, 0.0, 0.0)), start))
    away = head_pose(limits.limit_rotation(pose_rotation(HeadPose(90.0, 0.0, 0.0)), start))
    assert 50.0 - limits.reveal(50.0)[1] <= back.yaw < 50.0 - limits.REVEAL[1]
    assert away.yaw <= limits.YAW[1]


def test_translation_is_limited_in_face_widths():
    """A driver who stands up must not give the portrait a giraffe's neck."""
    shift = limits.limit_shift(np.array([0.0, -500.0]), 100.0)
    assert -100.0 * limits.SHIFT[1] <= shift[1] < -100.0 * limits.SHIFT[0]


def test_outer_rings_rest_with_the_head_and_stand_on_the_rim():
    """A head at rest moves nothing; a moved one moves what is near it and leaves the patch's border alone."""
    shape = FaceShape(canonical.VERTICES, np.eye(3), 6.0, np.array([128.0, 128.0, 0.0]))
    points = shape.points()
    fitted = fit_shape(points)
    outer = rings.surround(points, fitted, 256)
    np.testing.assert_allclose(
        rings.follow_head(outer, points, fitted, fitted.local), outer.places, atol=1e-2
    )
    moved = FaceShape(
        fitted.local, fitted.rotation, fitted.scale, fitted.translation + np.array([12.0, 0, 0])
    )
    shift = rings.follow_head(outer, moved.points(), moved, fitted.local)[:, 0] - outer.places[:, 0]
    assert shift[:36].min() > 5.0
    np.testing.assert_allclose(shift[-40:], 0.0, atol=1e-4)


def test_frame_coordinates_go_there_and_back():
    """`place_of` undoes `onto` for any tilt of the opening."""
    frame = opening.frame_between(np.array([10.0, 20.0]), np.array([40.0, 35.0]))
    u, height = opening.onto(frame, 25, 31)
    np.testing.assert_allclose(opening.place_of(frame, u, height), (25.0, 31.0), atol=1e-4)


def test_equal_light_changes_nothing_and_any_light_is_clipped():
    """A driver at rest leaves the source's skin alone, and no shadow or glare goes past the limits."""
    surface = shading.unroll()
    rest = np.full((shading.TEXELS, shading.TEXELS), 120.0, np.float32)
    np.testing.assert_allclose(shading.ratio(rest, rest, surface), 1.0, atol=1e-4)
    glare = rest.copy()
    glare[40:48, 30:40] = 255.0
    gain = shading.ratio(glare, rest, surface)
    assert gain.max() <= shading.HIGHEST + 1e-4
    assert gain.min() >= shading.LOWEST - 1e-4


def test_a_bar_across_the_nose_is_taken_for_glasses():
    """Light is not borrowed from a driver whose frame crosses the bridge of the nose."""
    light = np.full((shading.TEXELS, shading.TEXELS), 150.0, np.float32)
    assert not shading.wears_glasses(light)
    row = round(float(canonical.VERTICES[33, 1]) * shading.TEXELS / 17.0 + 0.5 * (shading.TEXELS - 1))
    light[row : row + 2] = 40.0
    assert shading.wears_glasses(light)
