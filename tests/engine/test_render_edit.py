"""Editing from file to file: pictures and clips, donors, several faces, and what is refused."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

import marotte
from engine import puppet
from engine.errors import ConfigError, InputError, NoFaceError
from engine.generators import TAKE_DONORS, open_generator
from engine.marks import MarksConfig
from engine.media import open_media, read_picture
from engine.render import render
from engine.types import Mode, Outcome
from tests.engine.bundle_files import write_ganimation, write_geogan, write_maskgan

PLAIN = MarksConfig(badge=False, watermark=False)
"""Where what is generated is measured; the marks stand in tests/engine/marks."""
UNMARKED = ("--no-badge", "--no-watermark")

pytestmark = pytest.mark.usefixtures("opened_once")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "ganimation": str(write_ganimation(folder / "ganimation")),
        "covering": str(write_ganimation(folder / "covering", attention=0.0)),
        "geogan": str(write_geogan(folder / "geogan")),
        "plain": str(write_geogan(folder / "plain", removal=False)),
        "maskgan": str(write_maskgan(folder / "maskgan")),
    }


@pytest.fixture(scope="module")
def face(faces_root: Path) -> Path:
    return faces_root / "training" / "female_01.jpg"


@pytest.fixture(scope="module")
def donor(faces_root: Path) -> Path:
    return faces_root / "training" / "male_01.jpg"


def apart(one: Path, other: Path) -> np.ndarray:
    return np.abs(read_picture(one).astype(int) - read_picture(other)).max(2)


def test_a_picture_gives_an_edited_picture(bundles: dict[str, str], face: Path, tmp_path: Path) -> None:
    """The face changes as the action units and the expression say, everything beyond its square stays to the last bit;
    the report says what was asked for."""
    out, report = tmp_path / "o.png", tmp_path / "r.json"
    asked = {"AU12": 0.2}
    tally = render(
        None, face, out, mode="edit", bundle=bundles["ganimation"], au_offsets=asked, expression="fear",
        report=report, marks=PLAIN,
    )  # fmt: skip
    assert tally.outcomes == {"generated": 1}
    changed = apart(out, face)
    assert changed[100:140, 110:150].min() > 3
    assert changed[:8].max() == 0
    told = json.loads(report.read_text("utf-8"))
    assert (told["mode"], told["donors"], told["au_offsets"]["AU20"]) == ("edit", [], 1.0)


def test_a_layout_is_edited_with_and_without_donors(
    bundles: dict[str, str], face: Path, donor: Path, tmp_path: Path
) -> None:
    """The driver's own layout with other hair, a donor's layout, or a donor's look: three pictures."""
    line = ["render", *UNMARKED, "--mode", "edit", "--bundle", bundles["maskgan"], "--driver", str(face)]
    line.append("--out")
    given = ["--donor", str(donor)]
    lines = {
        "plain": [],
        "hair": ["--set-layout", "hair=-1", "--set-layout", "glasses=1"],
        "layout": given,
        "style": [*given, "--take", "style"],
    }
    for name, options in lines.items():
        assert marotte.main([*line, str(tmp_path / f"{name}.png"), *options]) == 0
    shown = {name: read_picture(tmp_path / f"{name}.png").astype(int) for name in lines}
    assert all(np.abs(shown[name] - shown["plain"]).max() > 50 for name in ("hair", "layout"))
    shift = shown["style"] - shown["plain"]
    assert 0 < np.abs(shift).max() < 60  # the same parts in another tone


def test_statues_and_paintings_are_edited_and_an_animal_is_refused(
    bundles: dict[str, str], faces_root: Path, tmp_path: Path
) -> None:
    """Whatever has a face that is found; a head turned far aside is noted, and without a face nothing is written."""
    options = {"mode": "edit", "bundle": bundles["ganimation"], "au_offsets": {"AU12": 0.8}}
    out = tmp_path / "o.png"
    for name in ("statue.jpg", "painting_half_length.jpg"):
        assert render(None, faces_root / "hard" / name, out, **options, marks=PLAIN).outcomes == {
            "generated": 1
        }
        assert apart(out, faces_root / "hard" / name).max() > 50
    tally = render(None, faces_root / "hard" / "painting_over_shoulder.jpg", out, **options, marks=PLAIN)
    assert any("turned 35 degrees" in note for note in tally.notes)
    out.unlink()
    with pytest.raises(NoFaceError, match="no face found"):
        render(None, faces_root / "hard" / "png_named_jpg_cat.jpg", out, **options, marks=PLAIN)
    assert not list(tmp_path.iterdir())


def test_two_faces_of_a_picture_are_edited(bundles: dict[str, str], faces_root: Path, tmp_path: Path) -> None:
    """faces=2: both; faces=1: the main one, and the other stays as it is."""
    driver, out = faces_root / "hard" / "two_faces_side_by_side.jpg", tmp_path / "o.png"
    for faces in (1, 2):
        render(None, driver, out, mode="edit", bundle=bundles["covering"], faces=faces, marks=PLAIN)
        changed = apart(out, driver)
        halves = [changed[200:300, x : x + 60].min() > 0 for x in (225, 735)]
        assert sum(halves) == faces


def test_a_clip_keeps_its_size_times_and_sound(
    bundles: dict[str, str], faces_root: Path, donor: Path, tmp_path: Path
) -> None:
    """An odd-sized clip with a donor from a picture: the driver's size and times, every frame edited."""
    driver, out = faces_root / "hard" / "odd_size_444.mp4", tmp_path / "o.mp4"
    tally = render([donor], driver, out, mode="edit", bundle=bundles["geogan"], marks=PLAIN)
    assert tally.outcomes == {"generated": 60}
    with open_media(driver) as given, open_media(out) as made:
        assert made.size == given.size == (333, 251)
        for before, after in islice(zip(given, made), 3):
            assert after.time_s == pytest.approx(before.time_s)
            assert np.abs(before.rgb[110:140, 150:180].astype(int) - after.rgb[110:140, 150:180]).mean() > 8


def test_where_no_face_is_found_nothing_of_the_driver_is_in_the_file(
    bundles: dict[str, str], faces_root: Path, tmp_path: Path
) -> None:
    """Frames before the first face are plain grey, and a note says how many failed and why."""
    out = tmp_path / "o.mp4"
    tally = render(
        None,
        faces_root / "hard" / "black_then_face.mp4",
        out,
        mode="edit",
        bundle=bundles["covering"],
        marks=PLAIN,
    )
    assert tally.outcomes == {"waiting": 25, "generated": 50}
    with open_media(out) as made:
        first = next(iter(made)).rgb
    assert np.ptp(first.reshape(-1, 3), axis=0).max() <= 2
    assert 80 < first.mean() < 110
    empty = render(
        None,
        faces_root / "hard" / "no_face.mp4",
        tmp_path / "n.mp4",
        mode="edit",
        bundle=bundles["covering"],
        marks=PLAIN,
    )
    assert any("no face in any of" in note and "card" in note for note in empty.notes)


def test_an_attribute_is_swapped_between_two_pictures(
    bundles: dict[str, str], faces_root: Path, donor: Path, tmp_path: Path
) -> None:
    """Both ways at full size by one command; a bundle that cannot remove, or names that collide, are refused before."""
    other = faces_root / "portraits" / "man_east_asian.jpg"
    one_out, other_out = tmp_path / "a.png", tmp_path / "b.png"
    line = ["render", *UNMARKED, "--mode", "edit", "--driver", str(donor), "--donor", str(other)]
    written = ["--out", str(one_out), "--swap-out", str(other_out)]
    assert marotte.main([*line, *written, "--bundle", bundles["geogan"]]) == 0
    assert (read_picture(one_out).shape, read_picture(other_out).shape) == ((256, 256, 3), (1024, 1024, 3))
    assert apart(one_out, donor).max() > 40
    assert apart(other_out, other).max() > 40
    one_out.unlink(), other_out.unlink()
    assert marotte.main([*line, *written, "--bundle", bundles["plain"]]) == 2
    assert marotte.main([*line, "--out", str(one_out), "--swap-out", str(one_out), "--bundle", "x"]) == 2
    assert not list(tmp_path.iterdir())


def test_the_command_edits(bundles: dict[str, str], face: Path, donor: Path, tmp_path: Path) -> None:
    """Sliders, expressions, donors and removal by their options."""
    line = ["render", *UNMARKED, "--mode", "edit", "--driver", str(face), "--out", str(tmp_path / "o.png")]
    for options in (
        ["--bundle", bundles["ganimation"], "--set-au", "AU12=0.5", "--set-au", "au26=.2"],
        ["--bundle", bundles["ganimation"], "--expression", "surprise"],
        ["--bundle", bundles["geogan"], "--donor", str(donor), "--donor", str(face)],
        ["--bundle", bundles["geogan"], "--remove"],
    ):
        assert marotte.main([*line, *options]) == 0
        assert apart(tmp_path / "o.png", face).max() > 30


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--mode", "edti"], "did you mean 'edit'"),
        (["--mode", "edit", "--source", "a.jpg"], "an edit moves none"),
        (["--donor", "a.jpg"], "add --mode edit"),
        ([], "source: got none"),
        (["--mode", "edit", "--set-au", "AU12"], "expected an action unit and a number"),
        (["--mode", "edit", "--set-au", "AU12=.1", "--set-au", "au12=.2"], "set-au: got AU12 twice"),
        (["--mode", "edit", "--set-au", "AU13=1"], "au_offsets: got 'AU13'"),
        (["--mode", "edit", "--set-au", "AU12=3"], "expected a number in -1 .. 1"),
        (["--mode", "edit", "--expression", "feer"], "did you mean 'fear'"),
        (["--mode", "edit", "--set-layout", "hiar=1"], "did you mean 'hair'"),
        (["--mode", "edit", "--set-layout", "hair=2"], "layout hair: expected a number in -1 .. 1"),
        (["--mode", "edit", "--set-layout", "hair"], "set-layout: got 'hair', expected a part and a number"),
        (["--mode", "edit", "--take", "stlye"], "did you mean 'style'"),
        (["--mode", "edit", "--take", "both"], "take: got both of no donor"),
        (["--mode", "edit", "--swap-out", "o.png"], "expected one --donor"),
        (["--mode", "edit"], "mesh_flow: got mode 'edit', expected one of puppet"),
        (["--mode", "edit", "--bundle", ""], "bundle: got an empty name"),
    ],
)
def test_a_wrong_line_is_one_line(
    options: list[str], told: str, face: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What, got, expected; nothing written."""
    line = ["render", "--driver", str(face), "--out", str(tmp_path / "o.png"), *options]
    assert marotte.main(line) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_control_that_would_be_ignored_is_refused(
    bundles: dict[str, str], face: Path, donor: Path, tmp_path: Path
) -> None:
    """GeoGAN has no action units, GANimation removes nothing, and neither shows the driver's pixels."""
    out = tmp_path / "o.png"
    with pytest.raises(ConfigError, match=r"it has no au_offsets, expected controls among: remove"):
        render(
            [donor], face, out, mode="edit", bundle=bundles["geogan"], au_offsets={"AU12": 1.0}, marks=PLAIN
        )
    with pytest.raises(ConfigError, match="it has no remove"):
        render(None, face, out, mode="edit", bundle=bundles["ganimation"], remove=True, marks=PLAIN)
    with pytest.raises(ConfigError, match="it has no driver_pixels"):
        render(donor, face, out, bundle=bundles["ganimation"], driver_pixels=True, marks=PLAIN)
    assert not list(tmp_path.iterdir())


def test_an_edit_without_a_donor_is_refused_before_it_begins(
    bundles: dict[str, str], face: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No grey picture is written as if it were a result; removal needs none."""
    line = ["render", "--driver", str(face), "--out", str(tmp_path / "o.png"), "--bundle", bundles["geogan"]]
    assert marotte.main([*line, "--mode", "edit"]) == 2
    assert "got no donor" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())
    assert marotte.main([*line, "--mode", "edit", "--remove"]) == 0


@pytest.mark.parametrize(
    ("bundle", "told"), [("ganimation", "got a donor, expected none"), ("mesh_flow", "got mode 'edit'")]
)
def test_a_donor_for_whom_there_is_no_use_is_refused_before_it_is_looked_at(
    bundles: dict[str, str], bundle: str, told: str, face: Path, donor: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """No network is opened and no face looked for: the manifest tells."""
    looked: list[str] = []
    monkeypatch.setattr(puppet, "find_given", lambda *_: looked.append("for a face"))
    line = ["render", "--driver", str(face), "--out", str(tmp_path / "o.png"), "--donor", str(donor)]
    assert marotte.main([*line, "--mode", "edit", "--bundle", bundles.get(bundle, bundle)]) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert not looked
    assert not list(tmp_path.iterdir())


def test_what_a_system_takes_is_told_alike_before_it_is_opened(bundles: dict[str, str]) -> None:
    """The manifest's answer about donors is the generator's own."""
    for system in ("ganimation", "geogan", "maskgan"):
        generator, runner = open_generator(bundles[system])
        runner.close()
        assert generator.takes_source(Mode.EDIT) == (system in TAKE_DONORS)


def test_a_mode_that_a_bundle_has_not_is_told_with_the_option(
    bundles: dict[str, str], face: Path, donor: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Puppet is the default, so whoever forgot to ask for an edit reads how."""
    line = ["render", "--driver", str(face), "--source", str(donor), "--out", str(tmp_path / "o.png")]
    assert marotte.main([*line, "--bundle", bundles["geogan"]]) == 2
    assert "expected one of edit; ask for it by --mode edit" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_the_api_edits_frame_by_frame(bundles: dict[str, str], faces_root: Path, donor: Path) -> None:
    """`puppet(mode="edit")`: no source or donors, sliders by name, the driver's size, donors changed while running."""
    frames = list(islice(marotte.frames(faces_root / "hard" / "five_fps.mp4"), 4))
    with marotte.puppet(bundle=bundles["ganimation"], mode="edit") as edit:
        edit.set(au_offsets={"AU12": 0.7})
        shown = [edit(frame.rgb, frame.time_s) for frame in frames]
        assert all(np.abs(one.astype(int) - frame.rgb).max() > 40 for one, frame in zip(shown, frames))
        with pytest.raises(ConfigError, match="got a donor, expected none"):
            edit.swap(donor)
    with marotte.puppet(donor, bundle=bundles["geogan"], mode="edit") as edit:
        first = edit(frames[0].rgb, 0.0).copy()
        edit.swap([donor, donor])
        with pytest.raises(InputError):
            edit.swap(faces_root / "hard" / "noise.jpg")
        edit(frames[1].rgb, 0.2)
        assert edit.report is not None
        assert edit.report.outcome is Outcome.GENERATED
        assert first.shape == frames[0].rgb.shape
    with pytest.raises(ConfigError, match="got none, expected one portrait"):
        marotte.puppet(bundle=bundles["ganimation"])
