"""Views: what networks are given of pictures and meshes; layouts and their files; parts, and who is a source."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import ConfigError, InputError
from engine.mesh import files, selection, texture, views
from engine.mesh.cameras import on_screen
from engine.mesh.flow import ABSENT, corners_of, flow
from engine.mesh.layout import Layout, layout_of, midpoints, nearest_in_part, samples, weights_of
from engine.mesh.raster import rasterise

STEPS = 5
SIZE = 40
PARTS = {"00_head": range(16), "01_torso": range(16, 32)}


def sheet() -> tuple[np.ndarray, np.ndarray]:
    """A grid of points in -1..1, y down, and its faces, which are seen from the front."""
    along = np.linspace(-1, 1, STEPS, dtype=np.float32)
    x, y = np.meshgrid(along, along)
    points = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    first = (np.arange(STEPS - 1)[:, None] * STEPS + np.arange(STEPS - 1)).reshape(-1, 1)
    lower, upper = np.array([0, STEPS, STEPS + 1]), np.array([0, STEPS + 1, 1])
    faces = np.concatenate([first + lower, first + upper], axis=1)
    return points, faces.reshape(-1, 3).astype(np.int32)


def layout() -> Layout:
    points, faces = sheet()
    corners = np.ascontiguousarray(0.9 * points[:, :2][faces])
    return layout_of(faces, corners, PARTS, groups={"front": range(8)})


def picture(seed: int) -> np.ndarray:
    rough = np.random.default_rng(seed).uniform(-1, 1, (3, 5, 5)).astype(np.float32)
    return np.repeat(np.repeat(rough, SIZE // 5, 1), SIZE // 5, 2)


def placed(scale: float, shift: float = 0.0) -> np.ndarray:
    points, _ = sheet()
    return (points * np.float32([scale, scale, 1]) + np.float32([shift, 0, 0])).astype(np.float32)


def person() -> np.ndarray:
    """The mask of a picture without anybody."""
    return np.zeros((SIZE, SIZE), np.float32)


def test_a_source_on_itself_gives_its_own_picture_back():
    """Source to texture to the same pose: what the sampled texture shows is the picture, within what sampling blurs."""
    held = layout()
    x, y = np.meshgrid(*[np.linspace(-1, 1, SIZE, dtype=np.float32)] * 2)
    ramp = np.stack([x, y, np.zeros_like(x)])
    view = views.prepared(ramp, person() + 1, placed(0.7), held, confident=1)
    inner = (view.raster.index >= 0) & (np.abs(ramp).max(0) < 0.6)
    assert inner.sum() > 200
    for filled in (False, True):
        skin = views.texture_of([view], held.drawn(SIZE), filled=filled)
        ports = views.target_of(view.raster, skin, held)
        np.testing.assert_allclose(ports[:3, inner], ramp[:, inner], atol=0.02)
        np.testing.assert_array_equal(ports[3:], view.condition)
    rows, columns = np.nonzero(inner)
    centres = (2 * np.stack([columns, rows], -1) + 1 - SIZE) / SIZE
    np.testing.assert_allclose(flow(view.raster, views.given(view, held))[inner], centres, atol=1e-5)


def test_a_view_knows_its_outline_and_its_background():
    """Inside the shrunk outline the picture itself, nothing beyond the grown one, the background without the person."""
    there = person()
    there[8:30, 10:28] = 1
    image = picture(0)
    view = views.prepared(image, there, placed(0.4), layout(), confident=3, reach=7)
    kept = view.trusted > 0
    assert kept.sum() == 20 * 16
    np.testing.assert_array_equal(view.filled[:, kept], image[:, kept])
    assert (view.filled[:, view.reach == 0] == 0).all()
    assert (view.reach >= there).all()
    assert (view.reach >= (view.raster.index >= 0)).all()
    known = views.known_background(view, 5)
    free = known[3] > 0
    assert not (free & (there > 0)).any()
    np.testing.assert_array_equal(known[:3, free], image[:, free])
    assert (known[:3, ~free] == 0).all()


def test_a_picture_that_is_already_filled_is_taken_as_it_is():
    """What is given as filled is what the texture and the network get."""
    filled = picture(4)
    view = views.prepared(picture(3), person() + 1, placed(0.6), layout(), filled=filled)
    np.testing.assert_array_equal(view.filled, filled)
    skin = views.texture_of([view], layout().drawn(SIZE), filled=True)
    other = views.texture_of([view], layout().drawn(SIZE))
    assert np.abs(skin - other).max() > 0.1


def test_pictures_of_bytes_and_of_numbers_give_the_same_view():
    """view_of is prepared after bytes have become numbers: 0..255 to -1..1, a mask by its half."""
    rng = np.random.default_rng(5)
    rgb = rng.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    mask = np.where(np.arange(SIZE)[:, None] < 20, 128, 127).astype(np.uint8) * np.ones((1, SIZE), np.uint8)
    one = views.view_of(rgb, mask, placed(0.5), layout())
    assert one.trusted[5, 5] == 1
    assert one.trusted[30, 5] == 0
    np.testing.assert_allclose(one.picture, rgb.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)
    with pytest.raises(InputError, match="view: expected a square picture"):
        views.view_of(rgb[:-1], mask, placed(0.5), layout())


def test_a_target_is_drawn_over_the_one_before():
    """Memory that is given holds the result, whatever stood in it."""
    held = layout()
    skin = picture(6)
    drawn = rasterise(on_screen(placed(0.8)), held.faces, SIZE)
    out = np.full((6, SIZE, SIZE), 7.0, np.float32)
    assert views.target_of(drawn, skin, held, out) is out
    np.testing.assert_array_equal(out, views.target_of(drawn, skin, held))


def test_other_sources_fill_what_the_first_does_not_see():
    """A place that source 0 hides comes from the ones that show it; one that it shows is its own."""
    laid = layout().drawn(SIZE)
    points, faces = sheet()
    corners = corners_of(0.9 * points, faces)
    red, blue = (np.full((3, SIZE, SIZE), value, np.float32) for value in (1.0, -1.0))
    shown = selection.only(corners, np.arange(8))
    first = texture.merged([red, blue], [corners] * 2, [shown, corners], laid)
    drawn = laid.index
    lowest = drawn == drawn.max()
    np.testing.assert_allclose(first[:, lowest], -1, atol=1e-4)
    np.testing.assert_allclose(first[:, drawn == 0], 1, atol=1e-4)
    alone = texture.merged([red], [corners], [shown], laid)
    np.testing.assert_allclose(alone[:, lowest], 1, atol=1e-4)


def test_persons_share_a_texture_by_what_each_gives():
    """Blended textures are weighted by shares; where nobody gives anything there is nothing."""
    one, two = np.ones((3, 2, 2), np.float32), np.full((3, 2, 2), 3.0, np.float32)
    shares = [np.array([[1, 0], [1, 0]], np.float32), np.array([[0, 1], [1, 0]], np.float32)]
    np.testing.assert_allclose(texture.blended([one, two], shares)[0], [[1, 3], [2, 0]], atol=1e-5)


def test_only_seen_faces_give_when_only_they_are_to():
    """A face hidden in the source is absent in the flow, unless it lies beside one that is seen."""
    held = layout()
    view = views.prepared(picture(0), person() + 1, placed(0.9), held)
    hidden = view.raster.index.copy()
    hidden[SIZE // 2 :] = -1
    half = replace(view, raster=replace(view.raster, index=hidden))
    kept = views.given(half, held, only_seen=True)
    assert (kept[selection.seen(hidden)] != ABSENT).all()
    assert (kept[held.count - 1] == ABSENT).all()
    np.testing.assert_array_equal(views.given(half, held), view.corners)
    chosen = views.given(view, held, np.array([3]))
    assert (chosen[3] != ABSENT).all()
    np.testing.assert_allclose(flow(view.raster, chosen)[view.raster.index == 5], ABSENT, atol=1e-6)


def test_faces_read_into_the_texture_may_be_others_than_those_drawn():
    """Where a mesh has two face lists, the texture reads by the second, and the flow by the first."""
    points, faces = sheet()
    corners = np.ascontiguousarray(0.9 * points[:, :2][faces])
    other = np.roll(faces, 1, axis=0)
    held = layout_of(faces, corners, PARTS, texture_faces=other)
    cut = (placed(0.9) + np.float32([0, 1.0, 0])).astype(np.float32)  # its lower half is below the picture
    view = views.prepared(picture(0), person() + 1, cut, held)
    np.testing.assert_array_equal(view.texture_corners, np.roll(view.corners, 1, axis=0))
    read = rasterise(on_screen(cut), other, SIZE).index
    expected = selection.visible(view.texture_corners, read, held.neighbours(views.NEIGHBOURS))
    np.testing.assert_array_equal(view.visible_corners, expected)
    same = layout_of(faces, corners, PARTS, texture_faces=faces.copy())
    assert same.texture_faces is same.faces


# --- layouts ---------------------------------------------------------------------------------------


def test_a_face_is_told_by_the_midpoint_of_its_first_two_corners():
    """Not by its barycentre; the background's row is (0, 0, 1)."""
    held = layout()
    np.testing.assert_allclose(held.condition[:-1, :2], held.corners[:, :2].mean(1), atol=1e-6)
    assert (held.condition[:-1, 2] == 0).all()
    assert held.condition[-1].tolist() == [0, 0, 1]
    assert held.table(held.groups["front"])[:, 0].sum() == 8


def test_the_layout_drawn_shows_every_face_at_its_place():
    """Every face of the layout is seen, in the rows that its places say."""
    held = layout()
    drawn = held.drawn(SIZE)
    assert set(np.unique(drawn.index)) >= set(range(held.count))
    rows = np.array([np.nonzero(drawn.index == face)[0].mean() for face in range(held.count)])
    middles = (held.corners.mean(1)[:, 1] + 1) * SIZE / 2 - 0.5
    np.testing.assert_allclose(rows, middles, atol=1.0)


def test_neighbours_are_of_the_same_part_and_nearest_first():
    """Each face is its own first neighbour; none is of another part; a part of fewer faces repeats its last."""
    held = layout()
    near = held.neighbours(3)
    np.testing.assert_array_equal(near // 16, np.repeat(np.arange(2), 16)[:, None].repeat(3, 1))
    places = midpoints(held.corners)
    distances = np.linalg.norm(places[near] - places[:, None], axis=-1)
    assert (np.diff(distances, axis=1) >= -1e-6).all()
    np.testing.assert_allclose(distances[:, 0], 0, atol=1e-3)
    few = nearest_in_part(places[:2], {"a": np.array([0, 1])}, 4)
    assert few[0].tolist() == [0, 1, 1, 1]


def test_places_on_a_face_run_between_its_corners():
    """The first is the third corner, and (1, 0) and (0, 1) are the first and the second; kept within the texture."""
    corners = np.array([[[0.5, 0], [0, 0.5], [-0.5, -0.5]]], np.float32)
    found = samples(corners, 3)[0]
    np.testing.assert_allclose(found[[0, 6, 2]], [[-0.5, -0.5], [0.5, 0], [0, 0.5]])
    assert np.abs(samples(2 * corners, 3)).max() <= 1
    assert weights_of(3).shape == (2, 9)


def test_a_layout_that_does_not_fit_is_refused():
    """Faces in no part, numbers beyond the faces and arrays of another shape are each one clear line."""
    points, faces = sheet()
    corners = np.ascontiguousarray(points[:, :2][faces])
    with pytest.raises(InputError, match="2 are in none, face 30 first"):
        layout_of(faces, corners, {"a": range(30)})
    with pytest.raises(InputError, match="part 'a' of a mesh: expected numbers of 32 faces"):
        layout_of(faces, corners, {"a": range(33)})
    with pytest.raises(InputError, match="corners of a mesh: expected"):
        layout_of(faces, corners[:5], PARTS)


# --- parts and choices -----------------------------------------------------------------------------


def test_parts_are_found_by_name_with_or_without_their_number():
    """Names of files, plain names, and names for several parts; a wrong one names the nearest."""
    held = layout()
    assert selection.faces_of(held, ["head"]).tolist() == list(range(16))
    assert selection.faces_of(held, ["00_head", "torso"]).tolist() == list(range(32))
    assert selection.faces_of(held, ["upper"]).tolist() == list(range(16, 32))
    assert selection.faces_of(held, ["body"]).tolist() == list(range(16, 32))
    assert len(selection.faces_of(held, ["all"])) == 32
    assert len(selection.faces_of(held, [])) == 0
    with pytest.raises(ConfigError, match=r"part 'torsoo': .*did you mean torso"):
        selection.faces_of(held, ["torsoo"])
    bust = replace(held, parts={"skin": np.arange(8), "hair": np.arange(8, 32)})
    with pytest.raises(ConfigError, match="part 'body': expected one of skin, hair, face, all"):
        selection.faces_of(bust, ["body"])
    with pytest.raises(ConfigError, match="part 'lower'"):
        selection.faces_of(held, ["lower"])


def test_what_nobody_gives_is_the_primary_persons():
    """Shares together cover the mesh, and each person gives what was asked of them."""
    first, second = selection.shared_out(layout(), [[], ["head"]])
    assert first.tolist() == list(range(16, 32))
    assert second.tolist() == list(range(16))


def test_sources_are_chosen_in_turn_from_front_and_back():
    """The most frontal frame comes first, then the one from behind; none twice, and no more than asked."""
    assert selection.ranked([5, 9, 0, 7], 3) == [1, 2, 3]
    assert selection.ranked([4], 8) == [0]
    index = np.array([[0, 3], [-1, 9]], np.int32)
    assert selection.frontness(index, np.arange(8)) == 2
    assert selection.seen(index).tolist() == [0, 3, 9]


# --- files -----------------------------------------------------------------------------------------


def write_files(folder: Path) -> None:
    points, faces = sheet()
    lines = [f"v {x} {y} {z}" for x, y, z in points]
    lines += [f"vt {(x + 1) / 2} {1 - (y + 1) / 2}" for x, y, _ in 0.9 * points]
    lines += ["s off"] + ["f " + " ".join(f"{n + 1}/{n + 1}/{n + 1}" for n in face) for face in faces]
    for role in ("fim_enc", "uv_map"):
        (folder / files.NAMES[role]).write_text("\n".join(lines))
    np.save(folder / files.NAMES["face"], faces)
    parts = {name: {"vertex": [], "face": list(numbers)} for name, numbers in PARTS.items()}
    (folder / files.NAMES["part"]).write_text(json.dumps(parts))
    for role in files.GROUPS:
        (folder / files.NAMES[role]).write_text(json.dumps({"face": [0, 1]}))


def test_the_official_files_make_the_same_layout(tmp_path: Path):
    """Obj texts with v up become places with y down; parts keep the order of their names."""
    write_files(tmp_path)
    held, expected = files.read_folder(tmp_path), layout()
    np.testing.assert_array_equal(held.faces, expected.faces)
    np.testing.assert_allclose(held.corners, expected.corners, atol=1e-6)
    assert list(held.parts) == list(PARTS)
    assert sorted(held.groups) == sorted(files.GROUPS)


def test_missing_files_are_all_named(tmp_path: Path):
    """Whoever has to bring files is told all of them at once."""
    write_files(tmp_path)
    for role in ("face", "part"):
        (tmp_path / files.NAMES[role]).unlink()
    with pytest.raises(InputError, match=r"missing smpl_faces.npy, smpl_part_info.json"):
        files.read_folder(tmp_path)


@pytest.mark.parametrize(
    ("role", "content", "message"),
    [
        ("face", b"no array", "expected a NumPy file of faces"),
        ("face", b"\x93NUMPY\x01\x00\x0a\x00{'descr': (\n", "expected a NumPy file of faces"),
        ("face", b"PK\x03\x04 no archive", "expected a NumPy file of faces"),
        ("fim_enc", b"v 1 2 3\nf 1/9 2/9 3/9\nvt 0 0\n", "a place that is not there"),
        ("uv_map", b"vt 0 0\nf 1 2 3\n", "expected an obj text"),
        ("uv_map", b"vt a b\nf 1/1 1/1 1/1\n", "expected an obj text"),
        ("part", b"{", "expected JSON"),
        ("part", b"[]", "expected a JSON object"),
        ("head", b'{"face": ["0"]}', 'expected {"face": [numbers]}'),
        ("head", b'{"face": [99]}', "expected numbers of 32 faces"),
    ],
)
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, role: str, content: bytes, message: str):
    """Each damaged file is one clear line; nothing is unpickled."""
    write_files(tmp_path)
    (tmp_path / files.NAMES[role]).write_bytes(content)
    with pytest.raises(InputError) as caught:
        files.read_folder(tmp_path)
    assert message in str(caught.value)
