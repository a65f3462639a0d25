"""MaskGAN live, with a network that paints its layout in colours (see bundle_files)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import canonical
from engine.crop import crop_of, cut
from engine.errors import ConfigError, InputError, ManifestError, PortError
from engine.features import extract
from engine.generators import check_asked, open_generator
from engine.generators.maskgan.changes import expressed, repainted, reshaped
from engine.generators.maskgan.template import moved, template_of
from engine.geometry import pose_rotation
from engine.parsing.classes import CELEBAMASK, Part
from engine.parsing.draw import draw_parsing
from engine.parsing.runs import KEEP, encode
from engine.pipeline import PipelineConfig, Session
from engine.plug import Generator, Ports, Runner
from engine.types import (
    U8,
    Controls,
    Drive,
    Face,
    FaceShape,
    Frame,
    HeadPose,
    Mode,
    Outcome,
    Source,
)
from tests.engine.bundle_files import write_maskgan
from tests.engine.edit_scenes import HUE, Covering, Scripted, face_at, frame_at, rest

Opened = tuple[Generator, Runner]
SIZE = 64
SIDE = 128
"""Of the portraits."""


class Standing:
    """A segmenter that sees a person in the middle columns."""

    def mask(self, rgb: U8) -> U8:
        return person_of(rgb.shape[0], rgb.shape[1])


def person_of(height: int, width: int) -> U8:
    mask = np.zeros((height, width), np.uint8)
    mask[height // 20 :, width // 8 : -width // 8] = 255
    return mask


def portrait(value: int = 90, name: str = "portrait", **aus: float) -> Source:
    """A grey portrait with hair, neck and clothes."""
    rgb = np.full((SIDE, SIDE, 3), value, np.uint8)
    return Source(rgb, face_at(64, 64, scale=4.0, **aus), person_of(SIDE, SIDE), name, name)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A bundle without parser and MaskVAE."""
    generator, runner = open_generator(str(write_maskgan(tmp_path_factory.mktemp("bundles") / "plain", SIZE)))
    yield generator, runner
    runner.close()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """One with both, whose backbone fails where there are glasses."""
    folder = tmp_path_factory.mktemp("bundles") / "full"
    write_maskgan(folder, SIZE, parser=True, mask_vae=32, poison=Part.EYE_G)
    generator, runner = open_generator(str(folder))
    yield generator, runner
    runner.close()


def drive_of(
    generator: Generator, face: Face, number: int = 0, controls: Controls | None = None, rgb: U8 | None = None
) -> Drive:
    frame = frame_at(number) if rgb is None else replace(frame_at(number), rgb=rgb)
    person = person_of(*frame.rgb.shape[:2])
    features = extract(face, frame, generator.needs, rest(), person=person)
    return Drive(frame, face, features, rest(), controls or Controls())


def layout_of(generator: Generator, source: Source | None, face: Face, **controls: Any) -> U8:
    """The layout that reaches the network for the first frame."""
    mode = Mode.EDIT if source is None else Mode.PUPPET
    state = generator.begin(generator.prepare(source, mode))
    ports = generator.inputs(state, drive_of(generator, face, controls=Controls(**controls)))
    assert ports["labels"].shape == (1, SIZE, SIZE)
    assert ports["labels"].dtype == np.uint8
    assert ports["labels"].max() < len(CELEBAMASK)
    return ports["labels"][0]


def session(
    opened: Opened, script: Scripted, sources: Sequence[Source] = (), mode: Mode = Mode.PUPPET, **more: Any
) -> Session:
    return Session(
        script,
        *opened,
        sources,
        config=PipelineConfig(mode=mode),
        neutral=rest(),
        segmenter=Standing(),
        **more,
    )


def count(labels: U8, *parts: Part) -> int:
    return int(np.isin(labels, parts).sum())


def wide(face: Face, factor: float) -> Face:
    """The same face, broader about its middle."""
    points = face.points.copy()
    middle = points[:, 0].mean()
    points[:, 0] = middle + factor * (points[:, 0] - middle)
    return replace(face, points=points)


def test_a_driver_at_rest_leaves_the_portraits_layout(opened: Opened) -> None:
    """Every part is where the portrait has it, hair, neck and clothes among them."""
    source = portrait()
    prepared = opened[0].prepare(source, Mode.PUPPET)
    labels = layout_of(opened[0], source, face_at(100, 80))
    assert np.mean(labels != prepared.template.labels) < 0.01
    assert all(count(labels, part) > 20 for part in (Part.HAIR, Part.NECK, Part.CLOTH, Part.SKIN))


def test_the_layout_has_the_drivers_mouth_and_the_sources_shape(opened: Opened) -> None:
    """A shut mouth opens as the driver's does; a broader driver does not broaden the face."""
    source = portrait()
    shut = layout_of(opened[0], source, face_at(100, 80))
    half, wide_open = (layout_of(opened[0], source, face_at(100, 80, AU25=au, AU26=au)) for au in (0.5, 1.0))
    assert count(shut, Part.MOUTH) == 0
    assert 10 < count(half, Part.MOUTH) < count(wide_open, Part.MOUTH)
    face_parts = (Part.SKIN, Part.NOSE, Part.L_EYE, Part.R_EYE, Part.L_LIP, Part.U_LIP)
    broad = opened[0].begin(opened[0].prepare(source, Mode.PUPPET))
    driver = wide(face_at(100, 80), 1.2)
    drive = drive_of(opened[0], driver)
    neutral = replace(drive.neutral, shape=drive.features.shape)
    labels = opened[0].inputs(broad, replace(drive, neutral=neutral))["labels"][0]
    columns = [np.flatnonzero(np.isin(one, face_parts).any(0)) for one in (shut, labels)]
    assert abs(np.ptp(columns[0]) - np.ptp(columns[1])) <= 1
    own = draw_parsing(drive.face.points, (201, 157))
    assert np.ptp(np.flatnonzero((own == Part.SKIN).any(0))) > 0


def test_a_blink_closes_the_eyes_of_the_layout(opened: Opened) -> None:
    """The driver's lids move the portrait's."""
    source = portrait()
    eyes = [
        count(layout_of(opened[0], source, face_at(100, 80, AU45=au)), Part.L_EYE, Part.R_EYE)
        for au in (0, 1.0)
    ]
    assert eyes[0] > 20
    assert eyes[1] < 0.6 * eyes[0]


def test_head_and_hair_turn_with_the_driver_and_clothes_stay(opened: Opened) -> None:
    """A tilted head tilts brows and hair; the labels along the rim of the square stay where they were."""
    source = portrait()
    straight = layout_of(opened[0], source, face_at(100, 80))
    tilted = layout_of(opened[0], source, face_at(100, 80, roll=20))
    slopes = []
    for labels in (straight, tilted):
        rows, columns = np.nonzero(np.isin(labels, (Part.L_EYE, Part.R_EYE)))
        slopes.append(np.polyfit(columns, rows, 1)[0])
    assert abs(slopes[0]) < 0.05
    assert slopes[1] == pytest.approx(np.tan(np.radians(20)), abs=0.1)
    assert np.mean(straight == tilted) < 0.98
    assert np.mean(straight[-1] != tilted[-1]) < 0.1
    assert count(tilted, Part.CLOTH) > 0.8 * count(straight, Part.CLOTH)


def test_a_face_does_not_leave_its_square(opened: Opened) -> None:
    """A driver who walks out of the picture's side takes the layout to the square's edge and no further."""
    labels = layout_of(opened[0], portrait(), face_at(170, 80))
    assert count(labels, Part.L_EYE) > 5
    assert count(labels, Part.R_EYE) > 5


def test_nothing_of_the_drivers_picture_enters_a_puppet(opened: Opened) -> None:
    """The same face in another room gives the same pictures to the bit, and none of the driver's colours."""
    faces = [(face_at(100 + k, 80, AU26=0.2 * k),) for k in range(4)]
    source, results = portrait(), []
    for seed in (None, 3):
        one = session(opened, Scripted(*faces), [source])
        results.append([one.step(frame_at(number, seed=seed))[0].rgb for number in range(4)])
    assert all((one == other).all() for one, other in zip(*results))
    assert not (results[0][0] == HUE).all(2).any()


def test_the_head_is_drawn_in_the_portraits_style_and_the_rest_stays(opened: Opened) -> None:
    """Skin is the palette's colour halfway to the portrait's mean; background and clothes are the portrait's own."""
    source = portrait(200)
    result, report = session(opened, Scripted((face_at(100, 80),)), [source]).step(frame_at(5))
    assert (report.outcome, result.pts) == (Outcome.GENERATED, 5)
    skin = 0.5 * (CELEBAMASK.palette[Part.SKIN].astype(float) + 200)
    cheek = source.face.points[205, :2].round().astype(int)
    assert np.abs(result.rgb[cheek[1], cheek[0]] - skin).max() <= 3
    assert (result.rgb[:2] == 200).all()
    assert (result.rgb[-6:, 20:-20] == 200).all()


def test_a_trembling_face_gives_a_standing_layout(opened: Opened) -> None:
    """Half a pixel of noise in the driver's frame changes hardly a label after the first frames."""
    state = opened[0].begin(opened[0].prepare(portrait(), Mode.PUPPET))
    noise = np.random.default_rng(4)
    layouts = []
    for number in range(12):
        x, y = noise.normal(0, 0.25, 2)
        drive = drive_of(opened[0], face_at(100 + x, 80 + y), number)
        layouts.append(opened[0].inputs(state, drive)["labels"][0])
    changed = [np.mean(one != other) for one, other in pairwise(layouts[3:])]
    assert np.mean(changed) < 0.006


def test_without_a_person_mask_hair_and_neck_stay_and_a_note_says_so(opened: Opened) -> None:
    """A layout that knows no hair leaves the portrait's own pixels there."""
    source = replace(portrait(200), person=None)
    one = session(opened, Scripted((face_at(100, 80),)), [source])
    assert any("hair and neck stay" in note for note in one.notes)
    assert (one.step(frame_at(0))[0].rgb[:8] == 200).all()


def test_the_bundles_parser_reads_portrait_and_frame(full: Opened) -> None:
    """Painted in levels that it reads as classes, a hat that no drawn mask has stays on the head in both modes."""
    drawn = draw_parsing(portrait().face.points, (SIDE, SIDE), person_of(SIDE, SIDE))
    drawn[drawn == Part.HAIR] = Part.HAT
    rgb = np.repeat(10 * drawn[..., None], 3, 2)
    source = replace(portrait(), rgb=rgb)
    assert count(layout_of(full[0], source, face_at(100, 80)), Part.HAT) > 100
    state = full[0].begin(full[0].prepare(None, Mode.EDIT))
    drive = drive_of(full[0], source.face, rgb=rgb)
    assert drive.features.parsing is None
    assert count(full[0].inputs(state, drive)["labels"][0], Part.HAT) > 100


def test_dark_glasses_have_no_eyes_drawn_over_them(full: Opened) -> None:
    """Where the parser sees glasses and no eye, none is drawn; an eye that is seen through them is."""
    points = portrait().face.points
    for seen in (True, False):
        labels = draw_parsing(points, (SIDE, SIDE), person_of(SIDE, SIDE))
        drawn = repainted(labels, points, {"glasses": 1.0})
        if not seen:
            drawn[np.isin(drawn, (Part.L_EYE, Part.R_EYE))] = Part.EYE_G
        again = moved(template_of(drawn, points), template_of(drawn, points).shape)
        assert (count(again, Part.L_EYE, Part.R_EYE) > 0) is seen


def test_a_layout_is_cleaned_up_on_request(full: Opened, opened: Opened) -> None:
    """Through MaskVAE, which makes a hat of hair here; a bundle without one refuses the frame."""
    source = portrait()
    state = full[0].begin(replace(full[0].prepare(source, Mode.PUPPET), template=_template(source)))
    ports = full[0].inputs(state, drive_of(full[0], face_at(100, 80), controls=Controls(project=True)))
    (answer,) = full[1].run([ports])
    assert not isinstance(answer, Exception)
    assert count(ports["rough"][0], Part.HAIR) > 100
    assert (count(answer["labels"][0], Part.HAIR), count(answer["labels"][0], Part.HAT) > 100) == (0, True)
    assert full[0].patch(state, answer).mask.max() > 200
    assert "project" in full[0].heeds
    assert "project" not in opened[0].heeds
    one = session(opened, Scripted((face_at(100, 80),)), [source], controls=Controls(project=True))
    assert "no model of layouts" in str(one.step(frame_at(0))[1].reason)
    plain = opened[0].inputs(
        opened[0].begin(opened[0].prepare(source, Mode.PUPPET)), drive_of(opened[0], face_at(9, 9))
    )
    rough = {"rough": plain["labels"], "gamma": plain["gamma"], "beta": plain["beta"]}
    refused, drawn = opened[1].run([rough, plain])
    assert isinstance(refused, PortError)
    assert set(drawn) == {"image"}


def _template(source: Source) -> Any:
    crop = crop_of("celeba-hq", source.face.points, SIZE)
    points = source.face.points * crop.matrix[0, 0]
    points[:, :2] += crop.matrix[:, 2]
    return template_of(draw_parsing(points, (SIZE, SIZE), cut(source.person, crop)), points)


@pytest.mark.parametrize("mode", [Mode.PUPPET, Mode.EDIT])
def test_no_face_and_no_numbers_fail_closed(tmp_path: Path, opened: Opened, mode: Mode) -> None:
    """A lost face and an answer that is no number hold what was there; before it there is nothing of the driver."""
    folder = write_maskgan(tmp_path / "poison", SIZE, poison=Part.EYE_G)
    generator, runner = open_generator(str(folder))
    sources = [portrait()] if mode is Mode.PUPPET else []
    one = session((generator, runner), Scripted((face_at(100, 80),), (), (face_at(100, 80),)), sources, mode)
    first = one.step(frame_at(0))
    lost = one.step(frame_at(1))
    assert [report.outcome for _, report in (first, lost)] == [Outcome.GENERATED, Outcome.HELD]
    assert (lost[0].rgb == first[0].rgb).all()
    one.controls = Controls(layout={"glasses": 1.0})
    for number in range(2, 6):
        shown, report = one.step(frame_at(number))
    assert (report.outcome, str(report.reason).split(":")[0]) == (Outcome.HELD, "PortError")
    assert (shown.rgb == first[0].rgb).all()
    fresh = session((generator, runner), Scripted((face_at(100, 80),)), sources, mode, controls=one.controls)
    shown, report = fresh.step(frame_at(0))
    assert report.outcome is Outcome.WAITING
    assert not (shown.rgb == HUE).all(2).any()
    runner.close()


def test_points_that_are_no_numbers_are_refused(opened: Opened) -> None:
    """A tracker that has gone astray reaches no network, in either mode."""
    drive = drive_of(opened[0], face_at(100, 80))
    broken = replace(drive.features.shape, local=np.full((478, 3), np.nan, np.float32))
    drive = replace(drive, features=replace(drive.features, shape=broken))
    for source, mode in ((portrait(), Mode.PUPPET), (None, Mode.EDIT)):
        with pytest.raises(InputError, match="not finite"):
            opened[0].inputs(opened[0].begin(opened[0].prepare(source, mode)), drive)


def test_an_edit_draws_the_drivers_own_face(opened: Opened) -> None:
    """In the look of its first frame: the layout is the driver's, and the frame stays around the head."""
    result, report = session(opened, Scripted((face_at(100, 80),)), mode=Mode.EDIT).step(frame_at(0))
    assert report.outcome is Outcome.GENERATED
    skin = 0.5 * (CELEBAMASK.palette[Part.SKIN].astype(float) + np.mean(HUE))
    cheek = face_at(100, 80).points[205, :2].round().astype(int)
    assert np.abs(result.rgb[cheek[1], cheek[0]] - skin).max() <= 3
    assert (result.rgb[:, :10] == HUE).all()


def test_what_stands_before_the_face_stays(opened: Opened) -> None:
    """An occluded half of the face keeps the frame's own pixels."""
    one = session(
        opened, Scripted((face_at(100, 80),)), mode=Mode.EDIT, occlusion=Covering("left")
    )  # fmt: skip
    result = one.step(frame_at(0))[0]
    assert (result.rgb[:, :97] == HUE).all()
    assert not (result.rgb[80, 110] == HUE).all()


@pytest.mark.parametrize(
    ("controls", "parts", "grows"),
    [
        ({"au_offsets": {"AU26": 0.8}}, (Part.MOUTH,), True),
        ({"layout": {"hair": 1.0}}, (Part.HAIR,), True),
        ({"layout": {"hair": -1.0}}, (Part.HAIR,), False),
        ({"layout": {"brows": 1.0}}, (Part.L_BROW, Part.R_BROW), True),
        ({"layout": {"brows": -1.0}}, (Part.L_BROW, Part.R_BROW), False),
        ({"layout": {"eyes": 1.0}}, (Part.L_EYE, Part.R_EYE), True),
        ({"layout": {"nose": 1.0}}, (Part.NOSE,), True),
        ({"layout": {"lips": 1.0}}, (Part.U_LIP, Part.L_LIP), True),
        ({"layout": {"glasses": 0.5}}, (Part.EYE_G,), True),
    ],
)
def test_a_control_changes_its_part_of_the_layout(
    opened: Opened, controls: dict[str, Any], parts: tuple[Part, ...], grows: bool
) -> None:
    """In an edit and on a portrait: the named part grows or shrinks by a twentieth at least, and it has to be seen."""
    face = face_at(100, 80)
    for source in (None, portrait()):
        before, after = (layout_of(opened[0], source, face, **one) for one in ({}, controls))
        ratio = (count(after, *parts) + 1) / (count(before, *parts) + 1)
        assert ratio > 1.05 if grows else ratio < 0.95
    state = opened[0].begin(opened[0].prepare(None, Mode.EDIT))
    asked = drive_of(opened[0], face, controls=Controls(**controls))
    opened[0].inputs(state, asked)
    assert opened[0].asks(state, asked)
    still = drive_of(opened[0], face)
    opened[0].inputs(state, still)
    assert not opened[0].asks(state, still)


class Idle:
    """A runner that gives every face back as the frame has it."""

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        picture = np.broadcast_to(np.array(HUE, np.float32).reshape(1, 3, 1, 1), (1, 3, SIZE, SIZE))
        return [{"image": np.ascontiguousarray(picture / 127.5 - 1.0, np.float32)} for _ in batch]

    def close(self) -> None:
        """Nothing is held."""


def test_a_head_that_is_nowhere_in_the_layout_is_held(full: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that sees nobody, and a brush that paints the drawn one away: nothing would be pasted, and the driver
    would leave as before. Either alone is drawn."""
    nobody = ((int(Part.BACKGROUND), 64 * 64),)
    controls, face = Controls(painted=nobody), Scripted((face_at(100, 80),))
    drawn = session(full, face, mode=Mode.EDIT, controls=controls).step(frame_at(0))[1]
    monkeypatch.setattr(full[0]._pictures, "parse", lambda image: np.zeros((SIZE, SIZE), np.uint8))
    seen = session(full, face, mode=Mode.EDIT).step(frame_at(0))[1]
    assert [report.outcome for report in (drawn, seen)] == [Outcome.GENERATED] * 2
    shown, report = session(full, face, mode=Mode.EDIT, controls=controls).step(frame_at(0))
    assert (report.outcome, str(report.reason).split(":")[0]) == (Outcome.WAITING, "UneditedError")
    assert not (shown.rgb == HUE).all(2).any()


def test_a_dead_edit_is_held(opened: Opened) -> None:
    """A face that comes back unchanged though glasses were asked for is not shown; asked for nothing, it is."""
    one = session((opened[0], Idle()), Scripted((face_at(100, 80),)), mode=Mode.EDIT)
    assert one.step(frame_at(0))[1].outcome is Outcome.GENERATED
    one.controls = Controls(layout={"glasses": 1.0})
    report = one.step(frame_at(1))[1]
    assert (report.outcome, str(report.reason).split(":")[0]) == (Outcome.HELD, "UneditedError")


def test_the_style_of_an_edit_is_that_of_its_first_clear_frame(opened: Opened) -> None:
    """It stays with the face; a frame that was covered gives way to a clearer one, and another face has its own."""
    generator = opened[0]
    state = generator.begin(generator.prepare(None, Mode.EDIT))

    def tone(level: int, track_id: int = 1, hidden: bool = False) -> float:
        rgb = np.full((157, 201, 3), level, np.uint8)
        drive = drive_of(generator, face_at(100, 80, track_id), rgb=rgb)
        if hidden:
            half = np.zeros((157, 201), np.uint8)
            half[:, :100] = 255
            drive = replace(drive, features=replace(drive.features, occlusion=half))
        gamma: float = generator.inputs(state, drive)["gamma"].mean()
        return round(127.5 * gamma + 127.5)

    assert [tone(50, hidden=True), tone(90), tone(130), tone(170, 2), tone(210, 2)] == [50, 90, 90, 170, 170]


def test_donors_give_layout_and_look(opened: Opened) -> None:
    """The first donor's layout in the driver's pose, the last one's look where it is asked for."""
    generator, face = opened[0], face_at(100, 80, roll=15)
    bald = replace(portrait(40, "bald"), person=None)
    first, second = (generator.prepare(one, Mode.EDIT) for one in (bald, portrait(220, "bright")))
    state = generator.begin(first, second)
    seen = {}
    for name, controls in (
        ("layout", Controls()),
        ("both", Controls(donor_style=True)),
        ("neither", Controls(donor_layout=False)),
    ):
        drive = drive_of(generator, face, controls=controls)
        state.layout.reset()
        ports = generator.inputs(state, drive)
        seen[name] = (
            count(ports["labels"][0], Part.HAIR) > 0, round(127.5 * float(ports["gamma"].mean()) + 127.5)
        )  # fmt: skip
        assert generator.asks(state, drive) is (name != "neither")
    own = round(np.mean(HUE))
    assert seen == {"layout": (False, own), "both": (False, 220), "neither": (True, own)}


def test_a_donors_layout_has_the_drivers_expression(opened: Opened) -> None:
    """A donor with a shut mouth opens it where the driver does."""
    generator = opened[0]
    mouths = []
    for aus in ({}, {"AU25": 0.8, "AU26": 0.8}):
        state = generator.begin(generator.prepare(portrait(), Mode.EDIT))
        labels = generator.inputs(state, drive_of(generator, face_at(100, 80, **aus)))["labels"][0]
        mouths.append(count(labels, Part.MOUTH))
    assert mouths[0] == 0
    assert mouths[1] > 10


def test_sources_and_modes_are_told_before_anything_is_opened(opened: Opened, tmp_path: Path) -> None:
    """A puppet needs a portrait, an edit takes donors and does without; a mode that is not there is refused."""
    with pytest.raises(InputError, match="got no source"):
        opened[0].prepare(None, Mode.PUPPET)
    assert opened[0].prepare(None, Mode.EDIT).source is None
    assert opened[0].edits_alone
    folder = write_maskgan(tmp_path / "puppets", SIZE, modes=("puppet",))
    check_asked(folder, Mode.PUPPET, donors=True)
    with pytest.raises(ConfigError, match="got mode 'edit'"):
        check_asked(folder, Mode.EDIT, donors=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"classes": "bisenet"}, "its classes are 'bisenet'"), ({"size": 96}, "port 'labels' is")],
)
def test_a_bundle_that_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """Another order of classes is never taken for this one, nor another size than the crop's."""
    folder = write_maskgan(tmp_path / "other", **({"size": SIZE} | changes))
    if "size" in changes:
        path = folder / "manifest.json"
        path.write_text(
            path.read_text().replace(
                '"crop": {"rule": "celeba-hq", "size": 96}', '"crop": {"rule": "celeba-hq", "size": 64}'
            )
        )
    with pytest.raises(ManifestError, match=message):
        open_generator(str(folder))


def test_a_layout_is_carried_in_three_dimensions() -> None:
    """A head turned to the side hides its far eye behind the nose's side, and hair comes after."""
    points = portrait().face.points
    template = template_of(draw_parsing(points, (SIDE, SIDE), person_of(SIDE, SIDE)), points)
    shape = template.shape
    turned = FaceShape(shape.local, pose_rotation(HeadPose(35, 0, 0)), shape.scale, shape.translation)
    labels = moved(template, turned)
    areas = [count(one, Part.L_EYE) / count(one, Part.R_EYE) for one in (template.labels, labels)]
    assert areas[0] == pytest.approx(1.0, abs=0.15)
    assert abs(np.log(areas[1])) > 0.15
    assert count(labels, Part.HAIR) > 0.7 * count(template.labels, Part.HAIR)


def test_gains_scale_the_drivers_own_expression() -> None:
    """0 brings the mouth to rest, 1 leaves the face to the bit, and lips never cross."""
    rest_face = canonical.VERTICES
    talking = face_at(0, 0, scale=1.0, AU25=0.8, AU26=0.8).points
    assert expressed(talking, rest_face, Controls()) is talking
    shut = expressed(talking, rest_face, Controls(mouth=0.0, eyes=0.0, brows=0.0))
    assert np.abs(shut - rest_face).max() < 0.02
    crossed = expressed(rest_face, talking, Controls(mouth=4.0))
    assert (crossed[14, 1] - crossed[13, 1]) > -1e-5


def test_amounts_of_nothing_change_nothing() -> None:
    """The very same arrays come back."""
    labels = draw_parsing(portrait().face.points, (SIDE, SIDE))
    assert reshaped(canonical.VERTICES, {"hair": 1.0}) is canonical.VERTICES
    assert repainted(labels, portrait().face.points, {"nose": 1.0}) is labels
    glasses = repainted(labels, portrait().face.points, {"glasses": 0.4})
    assert count(glasses, Part.L_EYE) == count(labels, Part.L_EYE)
    assert (repainted(glasses, portrait().face.points, {"glasses": -1.0}) != Part.EYE_G).all()


def test_further_entries_are_drawn_together(tmp_path: Path, opened: Opened) -> None:
    """A wrong entry is refused alone, and the others are what they are by themselves."""
    generator, runner = opened
    state = generator.begin(generator.prepare(portrait(), Mode.PUPPET))
    good = generator.inputs(state, drive_of(generator, face_at(100, 80)))
    bad = {**good, "labels": good["labels"].astype(np.float32)}
    answers = runner.run([good, bad, good])
    assert isinstance(answers[1], PortError)
    assert all(np.isfinite(answers[index]["image"]).all() for index in (0, 2))
    frame = Frame(np.zeros((8, 8, 3), np.uint8), 0, frame_at(0).time_base, 0.0)
    assert frame.size == (8, 8)


def test_a_brush_paints_on_the_layout_and_moves_with_the_head(opened: Opened) -> None:
    """A patch on the cheek is that class in the layout of both modes, goes along with the portrait's head, and has to
    be seen; without it nothing is left of it."""
    painted = np.full((32, 32), KEEP, np.uint8)
    painted[18:21, 11:14] = Part.EAR_R
    controls = Controls(painted=encode(painted))
    generator = opened[0]
    for source in (None, portrait()):
        state = generator.begin(generator.prepare(source, Mode.PUPPET if source else Mode.EDIT))
        drive = drive_of(generator, face_at(100, 80), controls=controls)
        labels = generator.inputs(state, drive)["labels"][0]
        assert (labels[36:42, 22:28] == Part.EAR_R).all()
        assert count(labels, Part.EAR_R) == 36
        assert source is not None or generator.asks(state, drive)
    further = layout_of(generator, portrait(), face_at(110, 80), painted=controls.painted)
    rows, columns = np.nonzero(further == Part.EAR_R)
    assert len(rows) >= 25
    assert columns.mean() > 26.5
    assert not count(layout_of(generator, portrait(), face_at(110, 80)), Part.EAR_R)
    with pytest.raises(InputError, match="painted"):
        layout_of(generator, portrait(), face_at(100, 80), painted=((1, 7),))


def test_what_a_brush_paints_on_is_what_was_drawn_without_the_painting(opened: Opened) -> None:
    """Of an edit the picture's own square; of a puppet the portrait as it moved, and on request as it lies there."""
    painted = np.full((32, 32), KEEP, np.uint8)
    painted[18:21, 11:14] = Part.EAR_R
    controls = Controls(painted=encode(painted))
    edit = session(opened, Scripted((face_at(100, 80),)), mode=Mode.EDIT, controls=controls)
    with pytest.raises(InputError, match="nothing was drawn yet"):
        edit.layout()
    edit.step(frame_at(0))
    layout = edit.layout()
    assert layout.rgb.shape == (SIZE, SIZE, 3)
    assert not count(layout.labels, Part.EAR_R)
    assert (layout.labels == layout_of(opened[0], None, face_at(100, 80))).mean() > 0.99
    expected = 0.5 * CELEBAMASK.palette[Part.EAR_R].astype(float)
    assert np.abs(np.diff(layout.rgb[38, 24] - expected)).max() <= 3, "the picture has the painting in it"

    source = portrait()
    puppet = session(opened, Scripted((face_at(130, 80),)), [source], controls=controls)
    still = puppet.layout(rest=True)
    puppet.step(frame_at(0))
    assert (puppet.layout(rest=True).labels == still.labels).all()
    assert (still.rgb == 90).all()
    assert count(still.labels, Part.SKIN) > 200
    now = puppet.layout()
    assert (now.labels == Part.SKIN).sum() == pytest.approx(count(still.labels, Part.SKIN), rel=0.1)
    assert np.abs(now.rgb[38, 24] - 0.5 * (CELEBAMASK.palette[Part.EAR_R] + 90.0)).max() <= 8


def test_labels_that_come_with_a_picture_are_taken_for_its_layout(full: Opened, opened: Opened) -> None:
    """Before the parser and before what is drawn from points; cut as the picture is, by whole classes."""
    given = np.full((SIDE, SIDE), Part.HAT, np.uint8)
    given[:, : SIDE // 2] = Part.SKIN
    for one in (full, opened):
        prepared = one[0].prepare(replace(portrait(), labels=given), Mode.PUPPET)
        assert set(np.unique(prepared.template.labels)) == {Part.SKIN, Part.HAT}
        assert prepared.template.labels[SIZE // 2, 2] == Part.SKIN
        assert prepared.template.labels[SIZE // 2, -3] == Part.HAT
        assert prepared.style["beta"].mean() == pytest.approx((1 + 14) / 2 / 18, abs=0.05)
