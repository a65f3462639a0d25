"""Bodies off-line, with a network that shows its last source through the flow (see warp_files)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import marotte
from engine.body import skeleton as s
from engine.body.fitter import BodyFitter, standing
from engine.body.synthetic import synthetic_body
from engine.bundle import open_bundle
from engine.errors import ConfigError, InputError, ModelError, NoBodyError, PortError
from engine.generators import moves_bodies, open_generator
from engine.generators.batch_runner import open_runner
from engine.generators.graph_runner import GraphRunner
from engine.generators.liquid_warping.given import PersonGraphs
from engine.generators.liquid_warping.opening import open_graphs
from engine.imitation import mesh as meshes
from engine.imitation import run
from engine.imitation.mesh import PARTS, SYNTHETIC, open_mesh, synthetic_layout
from engine.imitation.opening import check_body
from engine.imitation.person import Wearing, prepare_body, read_picture
from engine.imitation.puppet import BodyPuppet, around
from engine.imitation.run import imitate
from engine.imitation.session import NO_BODY, BodySession
from engine.imitation.wearing import read_wear, shares
from engine.media import open_media, open_writer
from engine.media.picture import read_picture as read_file
from engine.media.picture import write_picture
from engine.mesh.flow import ABSENT
from engine.mesh.selection import faces_of
from engine.puppet import Opening
from engine.types import Body, Outcome
from tests.engine.imitation.scenes import (
    BLUE,
    CAMERA,
    RED,
    SIDE,
    WALL,
    Told,
    body_of,
    fitted,
    frame_at,
    mesh,
    picture_of,
    raised,
    write_smpl,
)
from tests.engine.warp_files import GREY, write_warp

SIZE = 128
GREY_TONE = round(127.5 * (GREY + 1.0))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For bodies, of two sources; it shows the last one."""
    return write_warp(tmp_path_factory.mktemp("bundles") / "body", SIZE, rule="box", facts={"mesh": "smpl"})


Opened = tuple[PersonGraphs, GraphRunner]


@pytest.fixture(scope="module")
def opened(bundle: Path) -> Iterator[Opened]:
    one = open_bundle(bundle)
    graphs = open_graphs(one, "onnxruntime", 1, synthetic_layout())
    runner = open_runner(one, "generator", "onnxruntime", 1, None, (1,))
    assert isinstance(runner, GraphRunner)
    yield graphs, runner
    runner.close()
    graphs.close()


def puppet_of(opened: Opened, worn: tuple[Wearing, ...] = ()) -> BodyPuppet:
    prepared = prepare_body([fitted(standing())], mesh(), BodyFitter(synthetic_body()), opened[0], worn)
    return BodyPuppet("bundle", prepared, mesh(), opened[1])


def shown(puppet: BodyPuppet, pose: np.ndarray) -> np.ndarray:
    return puppet.show(pose.astype(np.float32), puppet.prepared.camera).astype(int)


def hand(pose: np.ndarray) -> tuple[int, int]:
    """Row and column of the left hand's middle."""
    joints = synthetic_body().shaped().posed(pose.astype(np.float32)).joints
    x, y = CAMERA.seen(joints)[s.ELBOWS[0]]
    return round(float(y)), round(float(x))


def test_every_face_of_the_synthetic_body_has_a_place_in_its_texture_and_a_part() -> None:
    """Triangles run as seen from outside in the texture; ten parts share all faces, left as many as right."""
    layout = synthetic_layout()
    assert len(np.unique(layout.drawn(1024).index)) == layout.count + 1
    counted = {name: len(layout.parts[name]) for name in PARTS}
    assert sum(counted.values()) == layout.count
    assert all(
        counted[f"left_{name}"] == counted[f"right_{name}"] > 0 for name in ("arm", "hand", "leg", "foot")
    )
    assert set(layout.parts["facial"]) < set(layout.parts["head"]) == set(layout.groups["head"])


def test_a_body_as_it_was_gives_its_picture_back(opened: Opened) -> None:
    """Flow, network, composition and paste-back of the source's own pose and camera."""
    rgb, person = picture_of(standing())
    apart = np.abs(shown(puppet_of(opened), standing()) - rgb.astype(int)).mean(-1)
    assert apart[person > 0].mean() < 8
    assert apart[:4].max() == 0


def test_a_lifted_arm_is_drawn_where_it_is_and_leaves_the_background(opened: Opened) -> None:
    """At the elbow's new place is the arm's tone, at its old one what the background network made."""
    picture = shown(puppet_of(opened), raised())
    row, column = hand(raised())
    assert abs(picture[row, column, 0] - 140) < 12
    row, column = hand(standing())
    assert abs(picture[row, column, 0] - GREY_TONE) < 12


def test_a_body_is_seen_from_behind_and_from_the_side(opened: Opened) -> None:
    """A turned root turns the mesh: half a turn is as wide as none, a quarter is narrower."""
    puppet = puppet_of(opened)
    wide = []
    for turn in (0.0, 90.0, 180.0):
        puppet.show(around(standing().astype(np.float32), turn), puppet.prepared.camera)
        wide.append(puppet.drawn)
    assert wide[1] < 0.8 * wide[0]
    assert wide[2] == pytest.approx(wide[0], rel=0.05)


def test_a_pose_that_is_not_finite_is_not_drawn(opened: Opened) -> None:
    """Nothing is rasterised of it."""
    broken = standing().astype(np.float32)
    broken[0, 0, 0] = np.nan
    puppet = puppet_of(opened)
    with pytest.raises(PortError, match="not finite"):
        puppet.show(broken, puppet.prepared.camera)


def test_the_driver_moves_the_body_and_its_absence_holds_it(opened: Opened) -> None:
    """Generated while a body is seen, then held, faded; the still picture at last; stamps stay the driver's."""
    bodies = [body_of(raised(), 0.0), body_of(raised(), 0.1), *[None] * 20]
    session = BodySession(puppet_of(opened), Told(*bodies), BodyFitter(synthetic_body()))
    steps = [session.step(frame_at(number)) for number in range(22)]
    outcomes = [report.outcome for _, report in steps]
    assert outcomes[:3] == [Outcome.GENERATED, Outcome.GENERATED, Outcome.HELD]
    assert outcomes[-1] is Outcome.FADED
    assert {report.reason for _, report in steps[2:]} == {NO_BODY}
    assert [frame.pts for frame, _ in steps] == list(range(22))
    row, column = hand(raised())
    assert abs(int(steps[0][0].rgb[row, column, 0]) - 140) < 25
    np.testing.assert_array_equal(steps[-1][0].rgb, picture_of(standing())[0])


def test_a_small_body_in_an_empty_room_is_not_believed_at_once(opened: Opened) -> None:
    """After nobody was seen, somebody a third as large counts from the third frame in a row on; as large as before, at
    once."""
    small = replace(CAMERA, scale=CAMERA.scale / 3)

    def outcomes(*bodies: Body | None) -> str:
        session = BodySession(puppet_of(opened), Told(*bodies), BodyFitter(synthetic_body()))
        steps = [session.step(frame_at(number)) for number in range(len(bodies))]
        return "".join(report.outcome.value[0] for _, report in steps)

    here = [body_of(standing(), number / 10) for number in range(10)]
    ghost = [body_of(standing(), number / 10, small) for number in range(10)]
    assert outcomes(*here[:3], None, ghost[4], ghost[5], None, ghost[7], None, here[9]) == "ggghhhhhfg"
    assert outcomes(*here[:3], None, *ghost[4:7]) == "ggghhhg"
    assert outcomes(*here[:3], *ghost[3:5]) == "ggggg"  # who was never lost may come and go as they like


def test_nobody_from_the_start_is_the_still_picture(opened: Opened) -> None:
    """No pixel of the driver is ever shown."""
    session = BodySession(puppet_of(opened), Told(None), BodyFitter(synthetic_body()))
    frame, report = session.step(frame_at(0, np.full((SIDE, SIDE, 3), 255, np.uint8)))
    assert report.outcome is Outcome.WAITING
    np.testing.assert_array_equal(frame.rgb, picture_of(standing())[0])


def test_a_driver_who_comes_nearer_makes_the_body_larger(opened: Opened) -> None:
    """The published strategy smooth: the source's camera, changed as the driver's since the first frame."""
    near = replace(CAMERA, scale=1.1 * CAMERA.scale)
    puppet = puppet_of(opened)
    still = BodySession(puppet, Told(body_of(standing())), BodyFitter(synthetic_body()))
    still.step(frame_at(0))
    first = puppet.drawn
    bodies = [body_of(standing(), 0.0), body_of(standing(), 10.0, near)]
    session = BodySession(puppet, Told(*bodies), BodyFitter(synthetic_body()))
    for number in (0, 100):
        session.step(frame_at(number))
    assert puppet.drawn == pytest.approx(1.21 * first, rel=0.06)


def test_parts_of_another_person_come_from_their_picture_alone(opened: Opened) -> None:
    """Torso and legs are the other one's in flows, texture and picture; the head stays. The last place is theirs."""
    faces = faces_of(synthetic_layout(), ("torso", "legs"))
    puppet = puppet_of(opened, (Wearing([fitted(raised(30.0), RED, "other")], faces),))
    one = puppet.prepared
    rest = np.setdiff1d(np.arange(synthetic_layout().count), faces)
    own, other = one.corners
    assert (own[faces] == ABSENT).all()
    assert (other[rest] == ABSENT).all()
    assert (own[rest] != ABSENT).any(axis=(1, 2)).all()
    assert (other[faces] != ABSENT).any(axis=(1, 2)).all()
    index = opened[0].texture.index
    blue = one.texture[2]
    assert blue[np.isin(index, faces)].mean() > 0.3
    assert blue[np.isin(index, rest) & (index >= 0)].mean() < -0.6
    picture = shown(puppet, standing())
    joints = CAMERA.seen(synthetic_body().shaped().posed(standing().astype(np.float32)).joints)
    spine, knee = joints[s.SPINE2].round().astype(int), joints[s.KNEES[0]].round().astype(int)
    assert abs(picture[spine[1], spine[0], 2] - RED) < 15
    assert abs(picture[knee[1], knee[0], 2] - RED) < 15
    assert BLUE == 0


def test_more_persons_than_places_are_refused(bundle: Path, opened: Opened) -> None:
    """A bundle of two sources puts two persons together."""
    layout = synthetic_layout()
    worn = tuple(Wearing([fitted(standing())], faces_of(layout, (name,))) for name in ("head", "torso"))
    with pytest.raises(InputError, match="3 persons are put together, and the bundle takes 2"):
        puppet_of(opened, worn)


def test_what_is_worn_is_read_and_checked() -> None:
    """Parts by name with a picture each; the same parts again are further pictures of the same person."""
    found = read_wear(["Torso,legs=a.jpg", "head=b.jpg", "torso,legs=c=d.jpg"])
    assert [(one.parts, one.pictures) for one in found] == [
        (("torso", "legs"), ("a.jpg", "c=d.jpg")),
        (("head",), ("b.jpg",)),
    ]
    for wrong in ("torso", "=a.jpg", "torso,=a.jpg", "torso="):
        with pytest.raises(ConfigError, match="expected parts and a picture"):
            read_wear([wrong])
    with pytest.raises(ConfigError, match="overlaps"):
        shares(synthetic_layout(), read_wear(["upper=a.jpg", "left_arm=b.jpg"]))
    with pytest.raises(ConfigError, match="did you mean torso"):
        shares(synthetic_layout(), read_wear(["torsa=a.jpg"]))


def test_a_bundle_says_whether_it_moves_bodies(bundle: Path, tmp_path: Path) -> None:
    """A body model is asked for where it is needed, and refused where it is not."""
    face = write_warp(tmp_path / "face", 64)
    assert (moves_bodies(bundle), moves_bodies(face), moves_bodies("mesh_flow")) == (True, False, False)
    with pytest.raises(ConfigError, match="--body FILE"):
        check_body(str(bundle), None)
    with pytest.raises(ConfigError, match="its mesh is no body's"):
        check_body(str(face), SYNTHETIC)
    with pytest.raises(Exception, match="marotte render --body"):
        open_generator(str(bundle))


def test_a_body_file_and_its_maps_are_named_when_they_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The licensed file first, then the official maps that have to lie beside it; none of another model."""
    with pytest.raises(ModelError, match="there is no body model"):
        open_mesh(tmp_path / "smpl_model.pkl")
    monkeypatch.setattr(meshes, "read_body", lambda path: synthetic_body())
    with pytest.raises(InputError, match=r"missing smpl_faces\.npy, mapper_fim_enc\.txt"):
        open_mesh(tmp_path / "smpl_model.pkl")
    layout = synthetic_layout()
    large = replace(layout, faces=layout.faces + 10)
    monkeypatch.setattr(meshes, "read_folder", lambda folder: large)
    with pytest.raises(InputError, match="files of one body model"):
        open_mesh(tmp_path / "smpl_model.pkl")


def test_a_body_of_the_users_own_files_is_the_same_body(tmp_path: Path) -> None:
    """The model out of its file, its texture, parts and groups out of the official maps beside it."""
    own, layout = open_mesh(write_smpl(tmp_path)), synthetic_layout()
    assert not own.stand_in
    np.testing.assert_allclose(own.layout.corners, layout.corners, atol=1e-6)
    np.testing.assert_array_equal(own.layout.faces, layout.faces)
    assert {name: one.tolist() for name, one in own.layout.parts.items()} == {
        name: one.tolist() for name, one in layout.parts.items()
    }
    posed, expected = (
        model.shaped().posed(raised().astype(np.float32)).vertices for model in (own.model, synthetic_body())
    )
    np.testing.assert_allclose(posed, expected, atol=1e-5)


def test_a_picture_without_a_body_is_refused_by_its_name() -> None:
    """Nobody at all, and somebody of whom too little is seen."""
    rgb, _ = picture_of(standing())
    fitter = BodyFitter(synthetic_body())
    with pytest.raises(NoBodyError, match=r"wall\.jpg: no body found"):
        read_picture(rgb, "wall.jpg", Told(None), fitter, None)
    body = body_of(standing())
    body.points[:, 3] = 0.1
    with pytest.raises(NoBodyError, match=r"feet\.jpg: body: shoulders are hidden"):
        read_picture(rgb, "feet.jpg", Told(body), fitter, None)


class Masks:
    def mask(self, rgb: np.ndarray) -> np.ndarray:
        return np.where(rgb[..., 0] != WALL, 255, 0).astype(np.uint8)

    def close(self) -> None:
        pass


@pytest.fixture
def tracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody stands; a driver lifts an arm, and is gone in the last of five frames."""
    lifted = [body_of(raised(20.0 * k), k / 10) for k in range(4)]
    monkeypatch.setattr(Opening, "body", lambda self: Told(body_of(standing())))
    monkeypatch.setattr(Opening, "segmenter", lambda self: Masks())
    monkeypatch.setattr(run, "BodyTracker", lambda *args, **options: Told(*lifted, None))


def clip(path: Path, frames: int = 5) -> Path:
    with ExitStack() as stack:
        writer = stack.enter_context(
            open_writer(path, (SIDE, SIDE), frame_at(0).time_base, 1 / frame_at(0).time_base)
        )
        for number in range(frames):
            writer.write(frame_at(number, np.full((SIDE, SIDE, 3), 90, np.uint8)))
    return path


def test_from_file_to_file(tracked: None, bundle: Path, tmp_path: Path) -> None:
    """As many frames at the driver's rate and the source's size; the report counts the frame without a person."""
    source, out, report = tmp_path / "person.png", tmp_path / "out.mp4", tmp_path / "out.json"
    write_picture(source, picture_of(standing())[0])
    driver = clip(tmp_path / "driver.mp4")
    tally = imitate(
        source, driver, out, bundle=str(bundle), body=SYNTHETIC, backend="onnxruntime", report=report
    )
    assert dict(tally.outcomes) == {"generated": 4, "held": 1}
    with open_media(out) as media:
        assert media.size == (SIDE, SIDE)
        assert media.rate == 10
        assert len(list(media)) == 5
    told = json.loads(report.read_text())
    assert (told["mode"], told["body"], told["reasons"]) == ("imitation", SYNTHETIC, {NO_BODY: 1})
    assert {"track", "features", "render"} <= set(told["stages"])
    assert any("stands in for SMPL" in note for note in tally.notes)


def test_a_picture_as_driver_gives_one_picture_with_parts_of_another(
    tracked: None, bundle: Path, tmp_path: Path
) -> None:
    """Appearance transfer from files: the torso is red as the other one's."""
    source, other, pose = tmp_path / "a.png", tmp_path / "b.png", tmp_path / "pose.png"
    write_picture(source, picture_of(standing())[0])
    write_picture(other, picture_of(standing(), RED)[0])
    write_picture(pose, picture_of(standing())[0])
    wear = read_wear([f"torso={other}"])
    marotte.render(
        source,
        pose,
        tmp_path / "out.png",
        bundle=str(bundle),
        body=SYNTHETIC,
        backend="onnxruntime",
        wear=wear,
    )
    made = read_file(tmp_path / "out.png").astype(int)
    joints = CAMERA.seen(synthetic_body().shaped().posed(standing().astype(np.float32)).joints)
    x, y = joints[s.SPINE2].round().astype(int)
    assert abs(made[y, x, 2] - RED) < 20


def test_no_file_is_read_and_written(tracked: None, bundle: Path, tmp_path: Path) -> None:
    """Source, other person and driver stay what they are."""
    source = tmp_path / "person.png"
    write_picture(source, picture_of(standing())[0])
    with pytest.raises(ConfigError, match="also the"):
        imitate(source, source, source, bundle=str(bundle), body=SYNTHETIC)
    wear = read_wear([f"head={tmp_path / 'o.png'}"])
    with pytest.raises(ConfigError, match="also the wear 1"):
        imitate(source, source, tmp_path / "o.png", bundle=str(bundle), body=SYNTHETIC, wear=wear)


def test_the_command_asks_for_a_body_and_has_no_use_for_a_faces_options(
    tracked: None, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and exit status 2; with a body the clip is made."""
    source, out = tmp_path / "person.png", tmp_path / "out.mp4"
    write_picture(source, picture_of(standing())[0])
    driver = clip(tmp_path / "driver.mp4")
    line = ["render", "--source", str(source), "--driver", str(driver), "--out", str(out)]
    body = ["--bundle", str(bundle), "--body", SYNTHETIC, "--backend", "onnxruntime"]
    for asked, told in (
        (["--bundle", str(bundle)], "expected --body FILE"),
        (["--body", SYNTHETIC], "its mesh is no body's"),
        ([*body, "--set-au", "AU12=0.5", "--driver-pixels"], "no use for --set-au, --driver-pixels"),
        ([*body, "--faces", "2"], "no use for --mode edit or --faces"),
        ([*body, "--wear", "torso"], "expected parts and a picture"),
    ):
        assert marotte.main([*line, *asked]) == 2
        assert told in capsys.readouterr().err
        assert not out.exists()
    assert marotte.main([*line, *body]) == 0
    assert "5 frames (4 generated, 1 held)" in capsys.readouterr().out
