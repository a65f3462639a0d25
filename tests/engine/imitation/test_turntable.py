"""Persons from around: bodies all round, heads within their reach; parts of other heads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import marotte
from engine.backends import Choice
from engine.body.fitter import standing
from engine.errors import ConfigError
from engine.features.shape import fit_shape
from engine.generators import open_generator
from engine.generators.liquid_warping.reach import BEYOND
from engine.geometry import head_pose
from engine.imitation import faces, turntable
from engine.imitation.faces import dressed
from engine.imitation.mesh import SYNTHETIC
from engine.imitation.puppet import upright
from engine.imitation.wearing import read_wear
from engine.media import open_media
from engine.media.picture import read_picture, write_picture
from engine.mesh import rotations as forms
from engine.mesh.face.bust import PIVOT
from engine.mesh.face.topology import layout
from engine.mesh.flow import ABSENT
from engine.mesh.selection import faces_of
from engine.puppet import Loaded, Opening
from engine.types import Mode
from tests.engine.imitation.scenes import SIDE, Told, body_of, picture_of
from tests.engine.imitation.test_imitation import Masks
from tests.engine.test_liquid_warping import portrait, turned
from tests.engine.warp_files import write_warp

SIZE = 64


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bundle of two sources for heads, and a portrait that was found."""
    folder = str(write_warp(tmp_path / "head", SIZE))

    def loaded(source: object, opening: Opening, *, bundle: str, accept: object) -> Loaded:
        generator, runner = open_generator(bundle, backend="onnxruntime", frames=False)
        return Loaded(generator, runner, (portrait(),), Choice("onnxruntime", "asked for"))

    monkeypatch.setattr(turntable, "load", loaded)
    return folder


def test_a_head_is_seen_from_as_far_as_its_pictures_and_a_stretch_beyond(head: str, tmp_path: Path) -> None:
    """A clip of so many views at the picture's size, from one side to the other, and a sheet of eight."""
    out, sheet = tmp_path / "out.mp4", tmp_path / "sheet.png"
    made = turntable.turntable(_portrait(tmp_path), out, bundle=head, frames=6, fps=12, sheet=sheet)
    assert made.frames == 6
    assert made.span == pytest.approx((-BEYOND[0], BEYOND[0]), abs=0.5)
    with open_media(out) as media:
        assert (media.size, media.rate) == ((160, 160), 12)
        frames = [frame.rgb.astype(int) for frame in media]
    assert len(frames) == 6
    assert np.abs(frames[1] - frames[4]).max() > 40  # one side, the other
    assert read_picture(sheet).shape == (2 * 276, 4 * 256, 3)


def _portrait(folder: Path) -> Path:
    """A file whose contents nobody reads but for their hash."""
    path = folder / "a.jpg"
    path.write_bytes(b"somebody")
    return path


def test_a_head_turns_about_its_neck() -> None:
    """The lower end of the neck stays where it is."""
    shape = fit_shape(turned(10.0).points)
    away = turntable._turned(shape, -30.0)
    assert head_pose(away.rotation).yaw == pytest.approx(-30.0, abs=1e-6)
    necks = [one.translation + one.scale * (one.rotation @ PIVOT) for one in (shape, away)]
    np.testing.assert_allclose(*necks, atol=1e-9)


def test_a_body_is_seen_all_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First views from ahead, later ones from the side; by the command line, with arms stretched out."""
    bundle = write_warp(tmp_path / "body", SIZE, rule="box", sources=1, facts={"mesh": "smpl", "sources": 1})
    monkeypatch.setattr(Opening, "body", lambda self: Told(body_of(standing())))
    monkeypatch.setattr(Opening, "segmenter", lambda self: Masks())
    source, out = tmp_path / "person.png", tmp_path / "out.mp4"
    write_picture(source, picture_of(standing())[0])
    asked = ["turntable", str(source), "--bundle", str(bundle), "--body", SYNTHETIC, "--out", str(out)]
    assert marotte.main([*asked, "--frames", "4", "--pose", "t", "--backend", "onnxruntime"]) == 0
    with open_media(out) as media:
        assert media.size == (SIDE, SIDE)
        frames = [frame.rgb.astype(int) for frame in media]
    assert len(frames) == 4
    arm = np.s_[46:52, 130:150]  # at shoulder height, where only a stretched arm reaches
    ahead, aside = np.abs(frames[0][arm] - frames[1][arm]), np.abs(frames[1][arm] - frames[3][arm])
    assert ahead.mean() > 20 > aside.mean()


def test_a_body_that_leans_is_stood_upright_where_it_looks() -> None:
    """20 degrees of lean and of yaw: the lean goes, the yaw and all other joints stay."""
    pose = standing().astype(np.float32)
    lean, yaw = (
        forms.from_vectors(np.radians(np.array(turn, np.float32))) for turn in ((20.0, 0, 0), (0, 20.0, 0))
    )
    leaning = pose.copy()
    leaning[0] = yaw @ lean @ pose[0]
    found = upright(leaning)
    np.testing.assert_allclose(found[0], yaw @ pose[0], atol=1e-5)
    np.testing.assert_array_equal(found[1:], pose[1:])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pose": "sitting"}, "pose"),
        ({"pose": "t"}, "expected 'own' of a head"),
        ({"frames": 1}, "frames: got 1"),
        ({"fps": 0}, "fps: got 0"),
        ({"out": "out.png"}, "expected a name that ends in"),
        ({"sheet": "sheet.mp4"}, "sheet: got"),
        ({"body": SYNTHETIC}, "its mesh is no body's"),
    ],
)
def test_what_cannot_be_turned_is_told_before_anything_is_written(
    head: str, tmp_path: Path, options: dict[str, object], told: str
) -> None:
    """Names, numbers and files are looked at first."""
    out = tmp_path / str(options.pop("out", "out.mp4"))
    if "sheet" in options:
        options["sheet"] = tmp_path / str(options["sheet"])
    with pytest.raises(ConfigError, match=told):
        turntable.turntable(_portrait(tmp_path), out, bundle=head, **options)  # type: ignore[arg-type]
    assert not out.exists()


def test_hair_of_another_head_comes_from_their_picture(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In texture and flows alike: their own place of the graph gives the hair, and nothing else does."""
    generator, runner = open_generator(head, backend="onnxruntime")
    other = portrait(90, name="other")
    monkeypatch.setattr(faces, "find_given", lambda *given, **options: (other,))
    loaded = Loaded(generator, runner, (portrait(),), Choice("onnxruntime", "asked for"))
    worn = dressed(loaded, read_wear(["hair=other.jpg"]), Opening())
    one, plain = (made.generator.prepare(portrait(), Mode.PUPPET) for made in (worn, loaded))
    hair = faces_of(layout(), ("hair",))
    rest = np.setdiff1d(np.arange(layout().count), hair)
    own, theirs = one.corners
    assert (own[hair] == ABSENT).all()
    assert (theirs[rest] == ABSENT).all()
    np.testing.assert_array_equal(own[rest], plain.corners[0][rest])
    index = layout().drawn(SIZE).index
    tones = [127.5 * (one.texture[1][np.isin(index, some)].mean() + 1.0) for some in (hair, rest)]
    assert tones[0] < 130 < tones[1]
    runner.close()


def test_only_a_mesh_has_parts() -> None:
    """The default generator refuses them in one line, and nothing asked for is nothing done."""
    generator, runner = open_generator("mesh_flow")
    loaded = Loaded(generator, runner, (portrait(),), Choice("onnxruntime", "asked for"))
    assert dressed(loaded, (), Opening()) is loaded
    with pytest.raises(ConfigError, match="no parts that another person could give"):
        dressed(loaded, read_wear(["hair=other.jpg"]), Opening())


def test_a_face_part_is_one_of_the_mesh(head: str) -> None:
    """Arms are no part of a head."""
    generator, runner = open_generator(head, backend="onnxruntime")
    loaded = Loaded(generator, runner, (portrait(),), Choice("onnxruntime", "asked for"))
    with pytest.raises(ConfigError, match="'left_arm': expected one of"):
        dressed(loaded, read_wear(["left_arm=other.jpg"]), Opening())
    runner.close()


def test_a_picture_that_is_worn_is_not_written_over(head: str, tmp_path: Path) -> None:
    """By render as by turntable: what another person gives is read. Nor is a clip by its own sheet."""
    other = tmp_path / "other.mp4"
    wear = read_wear([f"hair={other}"])
    with pytest.raises(ConfigError, match="also the wear 1"):
        marotte.render("a.jpg", "driver.mp4", other, bundle=head, wear=wear)
    with pytest.raises(ConfigError, match="also the source 2"):
        turntable.turntable("a.jpg", other, bundle=head, wear=wear)
    with pytest.raises(ConfigError, match=r"sheet: .* is also the out"):
        turntable.turntable("a.jpg", other, bundle=head, sheet=other)
