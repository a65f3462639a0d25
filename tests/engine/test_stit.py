"""STIT live, with networks whose answers are closed forms (see stit_files)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.align.live import FaceAligner
from engine.crop import factor_of
from engine.errors import ConfigError, InputError, ManifestError
from engine.features import landmarks68
from engine.features.shape import fit_shape
from engine.generators import open_generator
from engine.generators.stit.neutral import NeutralCodes, nearness
from engine.generators.stit.runner import StitRunner
from engine.geometry import apply_affine, invert_affine
from engine.pipeline import Session, step_together
from engine.plug import Generator, Runner
from engine.render import check_heeded
from engine.types import Controls, Frame, Mode, Outcome, Signal
from engine.worker.changes import parse
from engine.worker.offers import offer
from tests.engine.edit_scenes import (
    HEIGHT,
    HUE,
    WIDTH,
    Covering,
    Scripted,
    donor_source,
    edit_session,
    face_at,
    frame_at,
    rest,
)
from tests.engine.stit_files import DISC, ENCODER, PERSON, SIZE, write_stit

Opened = tuple[Generator, Runner]
BIG = (320, 320)
FACE = face_at(160, 160)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    generator, runner = open_generator(str(write_stit(tmp_path_factory.mktemp("bundles") / "closed_form")))
    yield generator, runner
    runner.close()


def levels(codes: Any) -> np.ndarray:
    """What the closed form paints for codes."""
    return np.clip(127.5 * np.asarray(codes) + 127.5, 0, 255)


def middle(face: Any = FACE) -> tuple[np.ndarray, float]:
    """Middle of a face's square in the frame, and its side, both in frame pixels."""
    crop = FaceAligner(SIZE).follow(landmarks68.from_points(face.points), 0.0)
    centre = apply_affine(invert_affine(crop.matrix), np.array([[0.5 * SIZE - 0.5] * 2]))[0]
    return centre, SIZE / factor_of(crop)


def away(shape: tuple[int, ...], face: Any = FACE) -> np.ndarray:
    """How far each pixel lies from the middle of the face's square, in its sides."""
    (x, y), side = middle(face)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(np.hypot(columns - x, rows - y) / side)


def edited(opened: Opened, frame: Frame, face: Any = FACE, **controls: Any) -> np.ndarray:
    """One frame with the face in it edited."""
    session = edit_session(opened, Scripted((face,)), controls=Controls(**controls))
    result, report = session.step(frame)
    assert report.outcome is Outcome.GENERATED, report.reason
    return result.rgb


def test_strength_0_shows_the_reconstruction_and_only_inside_the_mask(opened: Opened) -> None:
    """The generator's own picture on the foreground, grain and all; beyond the border not one grey level changes."""
    frame = frame_at(0, BIG, seed=3)
    out, far = edited(opened, frame), away(frame.rgb.shape)
    assert np.abs(out[far < DISC - 0.02].astype(int) - HUE).max() <= 3
    assert frame.rgb[far < DISC - 0.02].std() > 5
    assert (out[far > DISC + 0.08] == frame.rgb[far > DISC + 0.08]).all()


def test_an_edit_moves_the_picture_by_half_its_strength(opened: Opened) -> None:
    """ws + strength / 2 * direction, several at once, each within its reach, and only inside the mask."""
    frame = frame_at(0, BIG)
    far = away(frame.rgb.shape)
    codes = np.array(HUE) / 127.5 - 1.0
    for asked, expected in (
        ({"warm": -1.0}, codes - (0.25, 0, 0)),
        ({"warm": -0.5, "blue": 0.8}, codes - (0.125, 0, 0.2)),
        ({"warm": -50.0, "blue": 90.0, "not here": 9.0}, codes - (0.5, 0, 0.25)),
    ):
        out = edited(opened, frame, directions=asked)
        assert np.abs(out[far < DISC - 0.02] - levels(expected)).max() <= 2
        assert (out[far > DISC + 0.08] == frame.rgb[far > DISC + 0.08]).all()


def test_the_pasted_border_of_a_still_face_stands_still(opened: Opened) -> None:
    """Frame after frame the same picture, to the grey level."""
    session = edit_session(opened, Scripted((FACE,)), controls=Controls(directions={"warm": -1.0}))
    shown = [
        session.step(replace(frame_at(k, BIG), rgb=frame_at(0, BIG, seed=5).rgb))[0].rgb for k in range(5)
    ]
    assert all((one == shown[0]).all() for one in shown)


def test_a_trembling_face_is_pasted_by_a_calmer_square(opened: Opened) -> None:
    """The border's way from frame to frame is no longer than that of the tracked face."""
    noise = np.random.default_rng(2).normal(0.0, 0.8, (25, 2))
    faces = [(face_at(160 + x, 160 + y),) for x, y in noise]
    session = edit_session(opened, Scripted(*faces), controls=Controls(directions={"warm": -2.0}))
    centres = []
    for k in range(len(faces)):
        out, _ = session.step(frame_at(k, BIG))
        changed = np.argwhere((out.rgb.astype(int) - HUE)[..., 0] < -20)
        centres.append(changed.mean(0))
    assert np.std(np.diff(centres[5:], axis=0)) < np.std(np.diff(noise[5:], axis=0))


class Blind:
    """A runner whose parser finds nobody from the second frame on."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._ran, self.batches = inner, 0, (1,)

    def run(self, batch: Any) -> Any:
        answers = self._inner.run(batch)
        self._ran += 1
        return [one | {"labels": one["labels"] * (self._ran == 1)} for one in answers]


@pytest.mark.parametrize("strength", [0.0, -0.4])
def test_a_parser_that_finds_nobody_shows_nobody(opened: Opened, strength: float) -> None:
    """An empty mask would leave the driver as before, whether much was asked for, little or nothing; a face that is
    covered is not judged by it."""
    controls, runner = Controls(directions={"warm": strength}), Blind(opened[1])
    session = edit_session((opened[0], runner), Scripted((FACE,)), controls=controls)
    first, _ = session.step(frame_at(0, BIG))
    held, report = session.step(frame_at(1, BIG, seed=4))
    assert (report.outcome, str(report.reason).split(":")[0]) == (Outcome.HELD, "UneditedError")
    assert (held.rgb == first.rgb).all()
    covered = edit_session(
        (opened[0], runner), Scripted((FACE,)), controls=controls, occlusion=Covering("left")
    )
    assert covered.step(frame_at(2, BIG))[1].outcome is Outcome.GENERATED


def test_what_fails_is_not_shown(opened: Opened) -> None:
    """Codes that are no numbers, and a face that is lost: the last edited picture is held, no frame leaves."""
    session = edit_session(
        opened, Scripted((FACE,), (FACE,), ()), controls=Controls(directions={"warm": -1.0})
    )
    first, _ = session.step(frame_at(0, BIG))
    session.controls = Controls(directions={"warm": 3.5})
    held, report = session.step(frame_at(1, BIG))
    assert (report.outcome, "finite" in str(report.reason)) == (Outcome.HELD, True)
    assert (held.rgb == first.rgb).all()
    gone, report = session.step(frame_at(2, BIG))
    assert (report.outcome, report.reason) == (Outcome.HELD, "no face")
    assert (gone.rgb == first.rgb).all()


def test_points_that_are_no_numbers_fail_closed(opened: Opened) -> None:
    """No square can be laid through them."""
    broken = replace(FACE, points=np.full_like(FACE.points, np.nan))
    session = edit_session(opened, Scripted((broken,)))
    out, report = session.step(frame_at(0, BIG))
    assert report.outcome is not Outcome.GENERATED
    assert not (out.rgb == HUE).all(-1).any()


def test_a_direction_that_moves_nothing_is_a_fault(tmp_path: Path) -> None:
    """Half of the reach and more has to move the codes, however far the reconstruction is from the frame."""
    pair = open_generator(str(write_stit(tmp_path / "dead", directions=((0.0, 0.0, 0.0), (0.0, 0.0, 1.0)))))
    session = edit_session(pair, Scripted((FACE,)), controls=Controls(directions={"warm": 1.9}))
    assert session.step(frame_at(0, BIG, seed=1))[1].outcome is Outcome.GENERATED
    session.controls = Controls(directions={"warm": 2.1})
    _, report = session.step(frame_at(1, BIG, seed=1))
    assert report.outcome is Outcome.HELD
    assert str(report.reason).startswith("UneditedError")
    pair[1].close()


def test_a_puppet_holds_nothing_of_the_driver(opened: Opened) -> None:
    """Two drivers whose crops have one mean colour, and nothing else in common, make one picture; beyond the mask it is
    the portrait's, and at rest it shows the enrolled person."""
    source = donor_source(60)
    shown = []
    for seed in (None, 4):
        session = Session(Scripted((FACE,)), *opened, [source], neutral=rest())
        frame = frame_at(0, BIG, seed)
        shown.append(session.step(frame)[0].rgb)
    far = away(source.rgb.shape, source.face)
    assert (shown[0] == shown[1]).all()
    assert np.abs(shown[0][far < DISC - 0.02] - levels(PERSON)).max() <= 2
    assert (shown[0][far > DISC + 0.08] == 60).all()
    assert "own extension" in session.notes[0]


def test_nothing_of_the_portraits_own_head_looks_out(opened: Opened) -> None:
    """Where the portrait's head reaches beyond the synthesised one, that is covered too."""
    source = donor_source(60)
    prepared = opened[0].prepare(source, Mode.PUPPET)
    prepared.foreground[:, : SIZE // 2] = 255
    session = Session(Scripted((FACE,)), *opened, [source], neutral=rest(), prepared=[prepared])
    out = session.step(frame_at(0, BIG))[0].rgb
    (x, y), side = middle(source.face)
    left, right = round(x - 0.4 * side), round(x + 0.4 * side)
    assert np.abs(out[round(y), left] - levels(PERSON)).max() <= 2
    assert (out[round(y), right] == 60).all()


def test_a_puppet_shows_what_the_driver_changes_against_its_neutral(opened: Opened) -> None:
    """person + (driver - driver at rest), and edits on top."""
    source = donor_source(60)
    session = Session(
        Scripted((FACE,)), *opened, [source], neutral=rest(), controls=Controls(directions={"blue": 0.4})
    )
    for k in range(3):
        session.step(frame_at(k, BIG))
    other = frame_at(3, BIG)
    other.rgb[...] = np.array(HUE) - (30, 0, 0)
    out, _ = session.step(other)
    expected = levels(np.array(PERSON) - (30 / 127.5, 0.0, 0.1))
    far = away(source.rgb.shape, source.face)
    assert np.abs(out.rgb[far < DISC - 0.02] - expected).max() <= 2


def test_a_puppets_motion_has_a_gain(opened: Opened) -> None:
    """person + gain * (driver - driver at rest): none of it at 0, and twice as much at 2."""
    source = donor_source(60)
    far = away(source.rgb.shape, source.face)
    for gain in (0.0, 0.5, 2.0):
        session = Session(
            Scripted((FACE,)), *opened, [source], neutral=rest(), controls=Controls(motion=gain)
        )
        for k in range(3):
            session.step(frame_at(k, BIG))
        other = frame_at(3, BIG)
        other.rgb[...] = np.array(HUE) - (20, 0, 0)
        out, _ = session.step(other)
        expected = levels(np.array(PERSON) - (gain * 20 / 127.5, 0.0, 0.0))
        assert np.abs(out.rgb[far < DISC - 0.02] - expected).max() <= 2, gain


def test_the_size_of_the_picture_can_be_chosen(opened: Opened) -> None:
    """The smallest that is no smaller than asked; a size that the bundle has not is an error of its entry alone."""
    generator, runner = opened
    session = edit_session(opened, Scripted((FACE,)))
    asked = {0: SIZE, 1: SIZE // 2, SIZE // 2 + 1: SIZE, 4 * SIZE: SIZE}
    for wanted, side in asked.items():
        session.controls = Controls(output_size=wanted)
        (ports,) = session.observe(frame_at(0, BIG)).ports
        bad = {**ports, "output": np.array([7], np.int64)}
        short = {name: array for name, array in ports.items() if name != "image"}
        wrong, missing, answer = runner.run([bad, short, ports])
        assert isinstance(answer, dict)
        assert answer["picture"].shape == (1, 3, side, side)
        assert "expected one of 64, 32" in str(wrong)
        assert "'image': missing" in str(missing)
    assert {"directions", "output_size", "motion"} == generator.heeds
    small = edited(opened, frame_at(0, BIG), output_size=32, directions={"warm": -1.0})
    large = edited(opened, frame_at(0, BIG), directions={"warm": -1.0})
    assert np.abs(small.astype(int) - large).max() <= 8


def test_sessions_together_are_what_they_are_alone(opened: Opened) -> None:
    """Edits, sizes and a puppet in one batch, and one of them fails."""
    source = donor_source(60)

    def sessions() -> list[Session]:
        return [
            edit_session(opened, Scripted((FACE,)), controls=Controls(directions={"warm": -1.0})),
            edit_session(opened, Scripted((FACE,)), controls=Controls(directions={"warm": 3.9})),
            edit_session(opened, Scripted((FACE,)), controls=Controls(output_size=32)),
            Session(Scripted((FACE,)), *opened, [source], neutral=rest()),
        ]

    frames = [frame_at(0, BIG, seed) for seed in range(4)]
    together = step_together(sessions(), frames, opened[1])
    alone = [session.step(frame) for session, frame in zip(sessions(), frames)]
    assert [report.outcome is Outcome.GENERATED for _, report in together] == [True, False, True, True]
    for (one, _), (other, _) in zip(together, alone):
        assert (one.rgb == other.rgb).all()


def test_what_stands_in_front_of_the_face_stays(opened: Opened) -> None:
    """An edit leaves the frame's own pixels where something covers the face."""
    cover = Covering("left")
    controls = Controls(directions={"warm": -2.0})
    session = edit_session(opened, Scripted((FACE,)), occlusion=cover, controls=controls)
    out, report = session.step(frame_at(0, BIG))
    assert report.outcome is Outcome.GENERATED
    assert (out.rgb[:, :155] == HUE).all()
    assert (out.rgb[160, 170:180, 0] < HUE[0] - 40).all()


def test_without_a_parser_the_foreground_is_drawn(tmp_path: Path) -> None:
    """From tracked points and the person mask, in both modes; what they show as background stays."""
    generator, runner = open_generator(str(write_stit(tmp_path / "drawn", parser=False)))
    assert generator.needs == {Signal.SHAPE, Signal.OCCLUSION, Signal.PARSING}

    class Nobody:
        def mask(self, rgb: np.ndarray) -> np.ndarray:
            return np.zeros(rgb.shape[:2], np.uint8)

    frame = frame_at(0, BIG, seed=6)
    session = edit_session(
        (generator, runner),
        Scripted((FACE,)),
        segmenter=Nobody(),
        controls=Controls(directions={"warm": -2.0}),
    )
    out, report = session.step(frame)
    assert report.outcome is Outcome.GENERATED, report.reason
    changed = (out.rgb != frame.rgb).any(-1)
    (x, y), _ = middle()
    assert changed[round(y) - 5 : round(y) + 5, round(x) - 5 : round(x) + 5].all()
    rows, columns = np.nonzero(changed)
    low, high = FACE.points[:, :2].min(0) - 12, FACE.points[:, :2].max(0) + 12
    assert low[0] < columns.min() < columns.max() < high[0]
    assert low[1] < rows.min() < rows.max() < high[1]
    puppet = Session(
        Scripted((FACE,)), generator, runner, [donor_source(60)], neutral=rest(), segmenter=Nobody()
    )
    assert puppet.step(frame)[1].outcome is Outcome.GENERATED
    runner.close()


def test_a_small_frame_is_pasted_without_leaving_pixels_out(opened: Opened) -> None:
    """A square of fewer pixels than the picture has: averaged, and in its place."""
    face = face_at(100, 80, scale=0.9)
    out = edited(opened, frame_at(0), face, directions={"warm": -2.0})
    far = away((HEIGHT, WIDTH), face)
    assert (out[far < 0.15][:, 0] < HUE[0] - 40).all()
    assert (out[far > 0.5] == HUE).all()


def test_the_neutral_is_made_of_resting_frames() -> None:
    """Frames near the calibrated face count, others hardly; a neutral that is looked for anew begins anew."""
    neutral, resting = rest(), rest().shape
    talking = fit_shape(face_at(100, 80, AU26=1.0, AU25=1.0).points)
    assert nearness(resting, neutral.shape) == pytest.approx(1.0)
    assert nearness(talking, neutral.shape) < 0.2
    codes, found = np.ones((1, 2, 3), np.float32), NeutralCodes()
    found.calibrated(neutral)
    found.add(9 * codes, talking, neutral, 0.0)
    assert found.codes is not None
    assert found.codes.max() == 9
    for k in range(1, 60):
        shape, value = (resting, 1.0) if k % 2 else (talking, 9.0)
        found.add(value * codes, shape, neutral, k / 30)
    assert found.codes.max() < 2.5
    found.calibrated(replace(neutral, confidence=0.4))
    assert found.codes is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"without": ["moving"]}, "tuned to nobody; run: marotte enrol stit"),
        ({"without": ["synthesis_32"]}, "no graph 'synthesis_32'"),
        ({"facts": {"edits": ["warm"]}}, "as many numbers"),
        ({"facts": {"edits_low": [1.0, -1.0]}}, "has to hold 0"),
        ({"facts": {"outputs": [32, 64]}}, "falling sides"),
        ({"facts": {"alignment_scale": 0}}, "alignment_scale is 0"),
        ({"facts": {"classes": "others"}}, "classes are 'others'"),
        ({"facts": {"classes": ["bisenet"]}}, "classes are \\['bisenet'\\]"),
        ({"facts": {"edits": ["warm", ""]}}, "expected names"),
        ({"facts": {"edits": ["warm", "bl\nue"]}}, "expected names"),
        ({"facts": {"edits_low": [-1e40, 0.0]}}, "as many numbers"),
        ({"directions": ((0.0, 0.0, 0.0),)}, "2 edits and a port 'strengths' of"),
    ],
)
def test_a_bundle_that_does_not_fit_is_refused(tmp_path: Path, changes: Any, said: str) -> None:
    """When it is opened, by one line that says what."""
    with pytest.raises(ManifestError, match=said):
        open_generator(str(write_stit(tmp_path / "bundle", **changes)))


def test_what_can_be_asked_for_is_told(opened: Opened, tmp_path: Path) -> None:
    """Edits with their reach, and sizes; what a bundle does not have, or does not reach, is refused off-line."""
    generator, _ = opened
    told = offer(str(write_stit(tmp_path / "person")), generator, edit=True)
    assert told.directions == (("warm", -2.0, 4.0), ("blue", -1.0, 1.0))
    assert told.outputs == (64, 32)
    assert told.modes == (Mode.PUPPET, Mode.EDIT)
    check_heeded(generator, Controls(directions={"warm": 1.0}, output_size=32))
    with pytest.raises(ConfigError, match="did you mean 'warm'"):
        check_heeded(generator, Controls(directions={"warmm": 1.0}))
    with pytest.raises(ConfigError, match=r"direction warm: got 4.5, expected -2 \.\. 4"):
        check_heeded(generator, Controls(directions={"warm": 4.5}))
    with pytest.raises(ConfigError, match="it has no remove"):
        check_heeded(generator, Controls(remove=True))


def test_directions_of_a_change_are_numbers_by_name() -> None:
    """Whatever the names; too many, too large and no numbers are refused as a whole."""
    found = parse({"controls": {"directions": {"any name": 4}, "output_size": 512.0}}).controls
    assert found == {"directions": {"any name": 4.0}, "output_size": 512}
    assert isinstance(found["output_size"], int)
    for wrong in (
        {"directions": {"a": 101}},
        {"directions": {"a": True}},
        {"directions": [1]},
        {"directions": {f"d{k}": 0 for k in range(65)}},
        {"output_size": -1},
    ):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            parse({"controls": wrong})


def test_ports_have_the_encoders_size(opened: Opened) -> None:
    """The crop is brought to it, and to the parser's, before anything runs."""
    (ports,) = edit_session(opened, Scripted((FACE,))).observe(frame_at(0, BIG)).ports
    assert isinstance(opened[1], StitRunner)
    assert (ports["image"].shape, ports["parsed"].shape) == ((1, ENCODER, ENCODER, 3), (1, SIZE, SIZE, 3))


def test_a_system_without_layouts_says_so(opened: Opened) -> None:
    """There is nothing to paint on."""
    with pytest.raises(InputError, match="choose a system that does"):
        edit_session(opened, Scripted((FACE,))).layout()
