from __future__ import annotations

import numpy as np
import pytest

from engine import canonical
from engine.features.au_basis import deform
from engine.geometry import pose_rotation
from engine.mesh.cameras import on_screen
from engine.mesh.face import topology
from engine.mesh.face.bust import fit_bust, placed, skin, torso_of
from engine.mesh.face.topology import CAP, FACES, LAYOUT, LAYOUT_FACES, PARTS, POINTS, SHEET, Part
from engine.mesh.flow import ABSENT, corners_of, flow
from engine.mesh.raster import rasterise
from engine.types import AU_NAMES, FaceShape, HeadPose

SIZE = 128


def face(yaw=0.0, pitch=0.0, local=canonical.VERTICES, scale=SIZE / 30.0):
    middle = np.array([SIZE / 2.0, SIZE / 2.0 - 4.0, 0.0])
    return FaceShape(local, pose_rotation(HeadPose(yaw, pitch, 0.0)), scale, middle)


def drawn(shape, torso=None):
    bust = fit_bust(face())
    points = placed(skin(bust, shape, torso or torso_of(shape)), SIZE, float(shape.translation[2]))
    return points, rasterise(on_screen(points), FACES, SIZE)


def test_layout_holds_every_triangle_once():
    """Counter-clockwise with y up, within the square, and none over another: the area drawn is the areas' sum."""
    corners = LAYOUT[LAYOUT_FACES].astype(np.float64)
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    areas = 0.5 * (a[:, 1] * b[:, 0] - a[:, 0] * b[:, 1])
    assert (areas > 0).all()
    assert np.abs(LAYOUT).max() <= 1.0
    size = 512
    flat = np.column_stack([LAYOUT, np.zeros(len(LAYOUT))]).astype(np.float32)
    raster = rasterise(on_screen(flat), LAYOUT_FACES, size)
    covered = float((raster.index >= 0).mean()) * 4.0
    assert covered == pytest.approx(areas.sum(), rel=5e-3)
    assert len(np.unique(raster.index[raster.index >= 0])) > 0.95 * len(FACES)


def test_layout_names_every_part():
    """The flows' code gets every triangle in a part, and the texture's places of the mouth apart from the lips'."""
    given = topology.layout()
    assert set(given.parts) == {part.name.lower() for part in Part}
    assert sum(map(len, given.parts.values())) == given.count == len(FACES)
    assert set(given.groups["facial"].tolist()) < set(given.groups["head"].tolist())
    assert given.corners[given.parts["mouth"]].max() < given.corners[given.parts["lips"]].min()


def test_orientation_is_one_and_the_same():
    """No edge is walked twice in one direction, and every point but the rims of the irises is used."""
    edges = np.concatenate([FACES[:, [0, 1]], FACES[:, [1, 2]], FACES[:, [2, 0]]])
    assert len({tuple(edge) for edge in edges.tolist()}) == len(edges)
    unused = set(range(POINTS)) - set(np.unique(FACES).tolist())
    assert unused == set(canonical.RIGHT_IRIS[1:] + canonical.LEFT_IRIS[1:])


def test_face_that_looks_ahead_shows_every_part():
    """Seen from the front all parts but the shut mouth are there; from behind there is no brow, lip or eye."""
    _, front = drawn(face())
    assert set(PARTS[np.unique(front.index[front.index >= 0])]) >= set(Part) - {Part.MOUTH}
    points = placed(skin(fit_bust(face()), face(), torso_of(face())), SIZE)
    behind = on_screen(points * np.array([-1, 1, -1], np.float32))
    hind = rasterise(np.ascontiguousarray(behind), FACES, SIZE)
    seen = PARTS[np.unique(hind.index[hind.index >= 0])]
    assert not set(seen.tolist()) & {Part.BROWS, Part.EYES, Part.LIPS, Part.NECK}
    assert (PARTS[hind.index[hind.index >= 0]] == Part.SKIN).mean() < 0.02


def test_open_mouth_shows_its_inside():
    """Where the lips part, the mouth's own triangles are drawn between them."""
    opened = np.zeros(len(AU_NAMES), np.float32)
    opened[[AU_NAMES.index("AU25"), AU_NAMES.index("AU26")]] = 1.0
    shown = [
        int((PARTS[raster.index[raster.index >= 0]] == Part.MOUTH).sum())
        for _, raster in (drawn(face()), drawn(face(local=deform(canonical.VERTICES, opened))))
    ]
    assert shown[1] > max(100, 5 * shown[0])


@pytest.mark.parametrize("yaw", [0.0, 40.0, -40.0])
def test_flow_of_a_face_onto_itself_is_the_identity(yaw):
    """T is a pixel's own place where anything is drawn, for any turn: drawing and placing agree on pixel centres."""
    points, raster = drawn(face(yaw))
    grid = flow(raster, corners_of(points, FACES))
    rows, columns = np.nonzero(raster.index >= 0)
    wanted = np.column_stack([(2 * columns + 1 - SIZE) / SIZE, (2 * rows + 1 - SIZE) / SIZE])
    np.testing.assert_allclose(grid[rows, columns], wanted, atol=1e-4)
    assert (grid[raster.index < 0] == ABSENT).all()


def test_torso_stands_while_the_head_turns():
    """The lowest row has no share in the head's turn, the cap all of it, and rows between share falling."""
    bust, still = fit_bust(face()), face()
    torso = torso_of(still)
    before, after = skin(bust, still, torso), skin(bust, face(30.0, 10.0), torso)
    moved = np.linalg.norm(after - before, axis=1)
    sheet = moved[SHEET:].reshape(topology.ROWS, topology.COLUMNS)
    assert sheet[-1].max() < 1e-3
    turned = face(30.0, 10.0)
    rigid = turned.scale * bust.cap @ turned.rotation.T + turned.translation
    np.testing.assert_allclose(after[CAP:SHEET], rigid, atol=1e-2)


def test_cap_gives_way_to_the_jaw():
    """What the oval does beside the rigid motion, the ring next to it does too, and the last one does not."""
    local = canonical.VERTICES.copy()
    local[152, 1] += 2.0
    bust = fit_bust(face())
    opened = skin(bust, face(local=local), torso_of(face())) - skin(bust, face(), torso_of(face()))
    chin = canonical.FACE_OVAL.index(152)
    rings = opened[CAP:SHEET].reshape(topology.RINGS, -1, 3)[:, chin, 1] / face().scale
    assert rings[0] == pytest.approx(1.6, abs=1e-3)
    assert rings[-1] == pytest.approx(0.0, abs=1e-3)


def test_hair_reaches_as_far_as_the_person():
    """A mask with much hair widens the cap, one without narrows it; a turned head's mask is not asked."""
    shape = face()
    y, x = np.mgrid[:SIZE, :SIZE]
    away = np.hypot(x - shape.translation[0], 0.9 * (y - shape.translation[1])) / shape.scale
    wide, narrow = (np.where(away < most, 255, 0).astype(np.uint8) for most in (11.5, 8.0))
    sides = [np.abs(fit_bust(shape, mask).cap[36:72, 0]).max() for mask in (wide, narrow)]
    assert sides[0] > sides[1] + 2.0
    turned = face(40.0)
    np.testing.assert_array_equal(fit_bust(turned, wide).cap, fit_bust(turned).cap)


def test_sheet_ends_where_the_person_does():
    """Shoulders of a narrow person are narrow; where the picture ends first, they reach at least as far as usual."""
    shape = face()
    usual = fit_bust(shape).sheet.reshape(topology.ROWS, topology.COLUMNS, 3)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:, SIZE // 2 - 38 : SIZE // 2 + 38] = 255
    narrow = fit_bust(shape, mask).sheet.reshape(topology.ROWS, topology.COLUMNS, 3)
    assert np.ptp(narrow[3, :, 0]) < 0.75 * np.ptp(usual[3, :, 0])
    everywhere = fit_bust(shape, np.full((SIZE, SIZE), 255, np.uint8)).sheet.reshape(usual.shape)
    assert np.ptp(everywhere[4, :, 0]) >= np.ptp(usual[4, :, 0])
