"""Liquid Warping live, with a network that shows its last source through the flow (see warp_files)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine import canonical
from engine.blend import paste
from engine.crop import bust_crop, factor_of, kept_inside, points_in
from engine.errors import ConfigError, InputError, ManifestError, PortError
from engine.features import extract
from engine.features.shape import fit_shape
from engine.generators import open_generator, takes_several
from engine.generators.liquid_warping.pasting import rim_of
from engine.generators.liquid_warping.reach import BEYOND, reach_of
from engine.geometry import head_pose, pose_rotation
from engine.mesh.face.topology import FACES, PARTS, Part
from engine.pipeline import PipelineConfig, Session
from engine.plug import Generator, Runner
from engine.types import U8, Controls, Drive, Face, FaceShape, HeadPose, Mode, Outcome, Patch, Source
from tests.engine.bundle_files import write_maskgan
from tests.engine.edit_scenes import HUE, Scripted, face_at, frame_at, rest
from tests.engine.warp_files import GREY, SIZE, write_warp

Opened = tuple[Generator, Runner]
SIDE = 160
SCALE = 4.0
"""Pixels per centimetre of the portraits: a bust is 120 pixels wide."""


def turned(yaw: float, x: float = 80.0, y: float = 76.0) -> Face:
    shape = FaceShape(canonical.VERTICES, pose_rotation(HeadPose(yaw, 0, 0)), SCALE, np.array([x, y, 0.0]))
    points = shape.points()
    box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]).astype(np.float32)
    return Face(box, points, 1.0, 1)


def portrait(tone: int = 200, yaw: float = 0.0, name: str = "portrait", face: Face | None = None) -> Source:
    """A person of one tone, with a ramp across, before a dark wall."""
    face = turned(yaw) if face is None else face
    y, x = np.mgrid[:SIDE, :SIDE]
    person = np.where(np.hypot((x - 80) / 46.0, (y - 70) / 58.0) < 1.0, 255, 0).astype(np.uint8)
    person[120:] = 255
    rgb = np.full((SIDE, SIDE, 3), 30, np.uint8)
    rgb[person > 0] = tone
    rgb[..., 0] = np.where(person > 0, tone - 60 + x * 60 // SIDE, 30).astype(np.uint8)
    return Source(rgb, face, person, name, name)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A bundle of two sources."""
    generator, runner = open_generator(str(write_warp(tmp_path_factory.mktemp("bundles") / "two")))
    yield generator, runner
    runner.close()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A bundle of one source."""
    generator, runner = open_generator(str(write_warp(tmp_path_factory.mktemp("bundles") / "one", sources=1)))
    yield generator, runner
    runner.close()


def drive_of(generator: Generator, face: Face, **controls: object) -> Drive:
    features = extract(face, frame_at(0), generator.needs, rest())
    return Drive(frame_at(0), face, features, rest(), Controls(**controls))  # type: ignore[arg-type]


def patch_of(opened: Opened, source: Source, face: Face, **controls: object) -> Patch:
    generator, runner = opened
    state = generator.begin(generator.prepare(source, Mode.PUPPET))
    (answer,) = runner.run([generator.inputs(state, drive_of(generator, face, **controls))])
    if isinstance(answer, Exception):
        raise answer
    return generator.patch(state, answer)


def shown(opened: Opened, source: Source, face: Face, **controls: object) -> U8:
    return paste(patch_of(opened, source, face, **controls))


def test_a_driver_at_rest_shows_the_portrait(single: Opened) -> None:
    """Flow, network, composition and paste-back give the picture back within a resampling's error."""
    source = portrait()
    picture = shown(single, source, face_at(100, 80))
    inner = (slice(40, 110), slice(50, 110))
    apart = np.abs(picture.astype(int) - source.rgb.astype(int))
    assert apart[inner].mean() < 2.5
    np.testing.assert_array_equal(picture[:8], source.rgb[:8])  # beyond the person nothing is touched


def test_the_head_moves_with_the_driver_and_the_torso_stays(single: Opened) -> None:
    """A head tilted by 20 degrees turns the ramp on the forehead; the lowest rows are the portrait's."""
    source = portrait()
    still, tilted = (shown(single, source, face_at(100, 80, roll=roll)).astype(int) for roll in (0, 20))
    assert np.abs(still - tilted)[30:90].max() > 40
    assert np.abs(still - tilted)[150:].mean() < 1.5


def test_what_the_person_leaves_is_the_background_networks(single: Opened) -> None:
    """Where the hair was and is no more, the background network is seen, and not the old picture."""
    source = portrait()
    aside = face_at(100 + 20, 80)
    picture = shown(single, source, aside)
    grey = round(127.5 * (GREY + 1.0))
    uncovered = np.abs(picture[60:80, 36:42].astype(int) - grey).mean()
    assert uncovered < 12


def test_several_sources_flow_each_from_its_own_picture(opened: Opened) -> None:
    """The last source's colours are drawn where its own face lies, which is not where the first one's lies."""
    aside = portrait(120, yaw=25.0, name="aside")
    both = replace(portrait(200), further=(aside,))
    picture = shown(opened, both, face_at(100, 80)).astype(int)
    assert abs(picture[60:90, 70:90, 1].mean() - 120) < 6
    generator = opened[0]
    prepared = generator.prepare(both, Mode.PUPPET)
    assert not np.allclose(prepared.corners[0], prepared.corners[1])
    assert prepared.constants["values_0"].shape == (1, 2, 3, SIZE, SIZE)


def test_one_picture_fills_every_place(opened: Opened) -> None:
    """A bundle of two sources takes one: it is given twice."""
    prepared = opened[0].prepare(portrait(), Mode.PUPPET)
    np.testing.assert_array_equal(prepared.corners[0], prepared.corners[1])
    values = prepared.constants["values_0"]
    np.testing.assert_array_equal(values[:, 0], values[:, 1])


def test_of_more_pictures_those_that_show_most_are_used(opened: Opened) -> None:
    """Of a copy of the first and a turned head the turned one is taken, and the note says so."""
    many = replace(portrait(), further=(portrait(name="copy"), portrait(yaw=30.0, name="turned")))
    prepared = opened[0].prepare(many, Mode.PUPPET)
    assert prepared.notes[0] == "pictures that are used: portrait, turned"


def test_target_and_flow_are_what_the_network_was_trained_with(single: Opened) -> None:
    """Condition is (u, v, 0) on the mesh and (0, 0, 1) beside it; the flow at rest is a pixel's own place."""
    generator = single[0]
    state = generator.begin(generator.prepare(portrait(), Mode.PUPPET))
    ports = generator.inputs(state, drive_of(generator, face_at(100, 80)))
    condition, grid = ports["target"][0, 3:], ports["flow"][0, 0]
    on = condition[2] == 0.0
    np.testing.assert_array_equal(
        condition[:, ~on], np.array([[0.0], [0.0], [1.0]]) @ np.ones((1, int((~on).sum())))
    )
    assert (grid[~on] == -2.0).all()
    rows, columns = np.nonzero(on)
    own = np.column_stack([2 * columns + 1 - SIZE, 2 * rows + 1 - SIZE]) / SIZE
    assert np.abs(grid[on] - own).mean() < 0.02


def test_an_open_mouth_of_the_driver_opens_the_mesh(single: Opened) -> None:
    """The mouth's own triangles are drawn between the lips as the driver opens them."""
    generator = single[0]
    state = generator.begin(generator.prepare(portrait(), Mode.PUPPET))
    counts = []
    for au in (0.0, 1.0):
        generator.inputs(state, drive_of(generator, face_at(100, 80, AU25=au, AU26=au)))
        index = state.raster.index
        counts.append(int((PARTS[index[index >= 0]] == Part.MOUTH).sum()))
    assert counts[1] > counts[0] + 15


def test_a_mask_that_hides_the_face_is_refused(tmp_path: Path) -> None:
    """A network whose mask calls the face background has failed: the frame is not shown."""
    both = open_generator(str(write_warp(tmp_path / "empty", sources=1, mask=1.0)))
    with pytest.raises(PortError, match="of the face"):
        patch_of(both, portrait(), face_at(100, 80))
    both[1].close()


def test_nan_never_leaves(tmp_path: Path) -> None:
    """A broken network shows the still portrait, and nothing of the driver."""
    generator, runner = open_generator(str(write_warp(tmp_path / "broken", sources=1, broken=True)))
    source = portrait()
    session = Session(
        Scripted([face_at(100, 80)]), generator, runner, [source], config=PipelineConfig(), neutral=rest()
    )
    picture, report = session.step(frame_at(0))
    assert report.outcome is not Outcome.GENERATED
    assert "finite" in str(report.reason)
    assert np.abs(picture.rgb.astype(int) - np.array(HUE)).sum(-1).min() > 60
    runner.close()


def test_a_lost_face_holds_the_puppet(single: Opened) -> None:
    """Two frames with a face, then none: what is shown stays the puppet."""
    source = portrait()
    face = face_at(100, 80)
    session = Session(
        Scripted([face], [face], []), *single, [source], config=PipelineConfig(), neutral=rest()
    )
    outcomes = [session.step(frame_at(number))[1].outcome for number in range(3)]
    assert outcomes == [Outcome.GENERATED, Outcome.GENERATED, Outcome.HELD]


def test_outputs_before_inputs_are_refused(single: Opened) -> None:
    """A patch needs the drive that it answers."""
    generator = single[0]
    state = generator.begin(generator.prepare(portrait(), Mode.PUPPET))
    with pytest.raises(PortError, match="before any inputs"):
        generator.patch(state, {})


def test_a_puppet_needs_a_source_and_edits_nothing(single: Opened) -> None:
    """No portrait, or the mode edit, is refused in one line."""
    with pytest.raises(InputError, match="got no source"):
        single[0].prepare(None, Mode.PUPPET)
    with pytest.raises(ConfigError, match="expected 'puppet'"):
        single[0].prepare(portrait(), Mode.EDIT)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rule": "face"}, "crop rule is 'face'"),
        ({"facts": {"mesh": "smpl"}}, "its mesh is 'smpl'"),
        ({"facts": {"sources": 3}}, "expected one of 1, 2, 4, 8"),
        ({"facts": {"sources": 4}}, "port 'flow'"),
        ({"facts": {"background_erosion": 0}}, "background_erosion is 0"),
        ({"facts": {"texture": True}}, "texture is True"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(tmp_path: Path, options: dict[str, object], told: str) -> None:
    """Rule, mesh, number of sources and ports are looked at before anything runs."""
    with pytest.raises(ManifestError, match=told):
        open_generator(str(write_warp(tmp_path / "bad", **options)))  # type: ignore[arg-type]


def test_which_bundles_take_several_pictures(tmp_path: Path) -> None:
    """It is known by the manifest, before anything is opened."""
    assert takes_several(str(write_warp(tmp_path / "warp")))
    assert not takes_several(str(write_maskgan(tmp_path / "layout", 64)))
    assert not takes_several("mesh_flow")


def test_a_head_turns_as_far_as_its_pictures_and_a_stretch_beyond() -> None:
    """Between the pictures' yaws the motion is exact, past them it is limited."""
    limit = reach_of([pose_rotation(HeadPose(yaw, 0, 0)) for yaw in (-30.0, 10.0)])
    start = pose_rotation(HeadPose(0, 0, 0))

    def yaw_for(goal: float) -> float:
        return head_pose(limit(pose_rotation(HeadPose(goal, 0, 0)), start)).yaw

    for goal in (-50.0, -30.0, 0.0, 10.0, 34.0):
        assert yaw_for(goal) == pytest.approx(goal, abs=1e-6)
    assert 10.0 + BEYOND[0] < yaw_for(70.0) < 10.0 + BEYOND[1]
    assert -30.0 - BEYOND[1] < yaw_for(-85.0) < -30.0 - BEYOND[0]


def test_the_square_fades_only_inside_the_picture() -> None:
    """An edge of the crop that is the picture's own edge stays whole, any other fades to nothing."""
    source = portrait()
    crop = kept_inside(bust_crop(fit_shape(source.face.points), SIZE), (SIDE, SIDE))
    assert (rim_of(crop, (SIDE, SIDE))[0] == 0).all()
    corner = points_in(crop, np.array([[SIDE - 0.5, SIDE - 0.5]], np.float32))[0]
    assert (corner > SIZE).all()
    low = replace(source, face=turned(0.0, x=80.0, y=SIDE - 60.0))
    touching = kept_inside(bust_crop(fit_shape(low.face.points), SIZE), (SIDE, SIDE))
    rim = rim_of(touching, (SIDE, SIDE))
    assert (rim[-1, SIZE // 4 : -SIZE // 4] == 1).all()
    assert (rim[0] == 0).all()
    assert factor_of(touching) == pytest.approx(factor_of(crop), rel=1e-3)


def test_faces_that_count_as_face_are_not_hair_or_neck() -> None:
    """What the mask has to show is skin, eyes, lips and mouth."""
    from engine.generators.liquid_warping.generator import _FACE_FACES

    assert (PARTS[:_FACE_FACES] < Part.HAIR).all()
    assert (PARTS[_FACE_FACES:] >= Part.HAIR).all()
    assert len(FACES) > _FACE_FACES
