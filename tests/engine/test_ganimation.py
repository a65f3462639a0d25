"""GANimation live and off-line, with a network whose answer is a closed form (see bundle_files)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.bundle import open_bundle
from engine.crop import crop_of, cut
from engine.errors import BundleError, ConfigError, InputError, ManifestError
from engine.evaluate.clip import Clip
from engine.evaluate.reenact import SessionReenactor, resting
from engine.expressions import expression
from engine.features.shape import fit_shape
from engine.features.still import static_aus
from engine.generators import open_generator
from engine.generators.ganimation import paint
from engine.generators.ganimation.units import gains
from engine.pipeline import PipelineConfig, Session
from engine.plug import Generator, Runner
from engine.types import AU_NAMES, Controls, Frame, Mode, Outcome, Source
from tests.engine.bundle_files import with_bytes, write_ganimation
from tests.engine.edit_scenes import (
    HEIGHT,
    HUE,
    ONLY_OFFSETS,
    WIDTH,
    Covering,
    Scripted,
    donor_source,
    edit_session,
    face_at,
    frame_at,
    rest,
)

Opened = tuple[Generator, Runner]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ganimation(tmp_path_factory.mktemp("bundles") / "closed_form")


@pytest.fixture(scope="module")
def opened(bundle: Path) -> Iterator[Opened]:
    generator, runner = open_generator(str(bundle))
    yield generator, runner
    runner.close()


@pytest.fixture(scope="module")
def covering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """It paints over everything, whatever is asked for."""
    folder = write_ganimation(tmp_path_factory.mktemp("bundles") / "covering", attention=0.0)
    generator, runner = open_generator(str(folder))
    yield generator, runner
    runner.close()


def colour(au12: float, au26: float = 0.0, au01: float = 0.0) -> np.ndarray:
    """What the closed form paints."""
    return np.clip(127.5 * (2 * np.array([au12, au26, au01]) - 1) + 127.5, 0, 255)


def edited(opened: Opened, frame: Frame, face: object, **controls: object) -> np.ndarray:
    """One frame with the face in it edited."""
    session = edit_session(opened, Scripted((face,)), controls=Controls(**{**ONLY_OFFSETS, **controls}))
    result, report = session.step(frame)
    assert report.outcome is Outcome.GENERATED, report.reason
    return result.rgb


def test_the_middle_of_an_edited_face_is_the_networks_blend(opened: Opened) -> None:
    """A * frame + (1 - A) * C with the colour and attention that the offsets ask for, and nothing beyond the crop."""
    frame, face = frame_at(0), face_at(100, 80)
    out = edited(opened, frame, face, au_offsets={"AU12": 0.6, "AU26": 0.3})
    expected = 0.1 * np.array(HUE) + 0.9 * colour(0.6, 0.3)
    assert np.abs(out[80, 100] - expected).max() <= 2
    crop = crop_of("face", face.points, 32)
    side = 32 / np.linalg.norm(crop.matrix[0, :2])
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    beyond = np.maximum(np.abs(x - 100), np.abs(y - 82)) > side / 2 + 2
    assert (out[beyond] == frame.rgb[beyond]).all()
    assert (out.shape, out.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)


def test_the_measured_aus_are_the_ground_that_offsets_are_added_to(opened: Opened) -> None:
    """gain * (the face's own static AUs) + offset, clipped to the trained range."""
    face = face_at(100, 80, AU12=0.8)
    own = dict(zip(AU_NAMES, static_aus(fit_shape(face.points))))
    assert own["AU12"] > 0.5
    for gain, offset in ((1.0, -0.2), (0.5, 0.1), (1.0, 1.0)):
        controls = {"mouth": gain, "eyes": 0.0, "brows": 0.0, "au_offsets": {"AU12": offset}}
        out = edited(opened, frame_at(0), face, **controls)
        asked = {au: float(np.clip(gain * own[au] + offset * (au == "AU12"), 0, 1)) for au in own}
        kept = max(0.0, 1 - asked["AU12"] - asked["AU26"])
        expected = kept * np.array(HUE) + (1 - kept) * colour(asked["AU12"], asked["AU26"])
        assert np.abs(out[80, 100] - expected).max() <= 3


def test_an_edit_of_nothing_is_the_drivers_own_picture(opened: Opened) -> None:
    """Where the network keeps every pixel (A = 1) nothing is resampled: the frame leaves as it is, which is an edit."""
    frame = frame_at(0, seed=1)
    assert (edited(opened, frame, face_at(100, 80)) == frame.rgb).all()


def test_skin_keeps_its_detail_at_full_resolution(opened: Opened) -> None:
    """With A = .5 the frame's own grain comes through at half its strength, though the network saw 32 pixels."""
    frame = frame_at(0, (500, 500), seed=3)
    out = edited(opened, frame, face_at(250, 250, scale=18.0), au_offsets={"AU12": 0.5})
    middle = np.s_[200:280, 200:280]
    grain = frame.rgb[middle].astype(float) - np.array(HUE)
    left = out[middle].astype(float) - out[middle].mean((0, 1))
    assert np.sum(left * grain) / np.sum(grain * grain) == pytest.approx(0.5, abs=0.03)


def test_painted_skin_gets_its_grain_back(covering: Opened) -> None:
    """Painted in the colour that was there (A = 0), the frame's grain returns; in another colour nothing of it does."""
    frame = frame_at(0, (500, 500), seed=3)
    grain = frame.rgb.astype(float) - np.array(HUE)
    middle = np.s_[200:280, 200:280]
    face = face_at(250, 250, scale=18.0)
    for value, kept in ((0.69, 1.0), (0.3, 0.0)):
        rgb = (colour(0.69, 0.31, 0.73) + grain).clip(0, 255).astype(np.uint8)
        one = replace(frame, rgb=rgb)
        out = edited(covering, one, face, au_offsets={"AU12": value, "AU26": 0.31, "AU01": 0.73})[middle]
        left = out - out.mean((0, 1))
        assert np.sum(left * grain[middle]) / np.sum(grain[middle] ** 2) == pytest.approx(kept, abs=0.06)


def test_a_portrait_moves_by_its_own_aus_and_the_drivers_change(opened: Opened) -> None:
    """Puppet: source AUs + gain * (driver - neutral) + offset; the canvas is the portrait, and the head stays."""
    source = donor_source(60, AU12=0.4)
    own = float(static_aus(fit_shape(source.face.points))[AU_NAMES.index("AU12")])
    driver = face_at(30, 120, roll=25.0, scale=3.0, AU12=0.9)
    session = Session(
        Scripted((driver,)), *opened, [source], neutral=rest(), controls=Controls(au_offsets={"AU26": 0.1})
    )
    result, report = session.step(frame_at(5))
    assert (report.outcome, result.pts) == (Outcome.GENERATED, 5)
    assert result.rgb.shape == source.rgb.shape
    session.controls = replace(session.controls, mouth=0.0)
    still, _ = session.step(frame_at(6))
    kept = 1 - own - 0.1
    expected = kept * 60 + (1 - kept) * colour(own, 0.1)
    assert np.abs(still.rgb[64, 64] - expected).max() <= 3
    assert result.rgb[64, 64, 0] > still.rgb[64, 64, 0] + 20


def test_hidden_aus_stay_as_they_were_last_seen(opened: Opened) -> None:
    """A hand over the driver's face freezes what it hides; where it goes the puppet moves on."""
    source, cover = donor_source(60), Covering("none")
    smile, shut = face_at(100, 80, AU12=0.9), face_at(100, 80)
    session = Session(
        Scripted((smile,), (shut,), (shut,)), *opened, [source], neutral=rest(), occlusion=cover
    )
    session.smoothing = 0.0
    first = session.step(frame_at(0))[0].rgb[64, 64].astype(int)
    cover.side = "all"
    assert np.abs(session.step(frame_at(1))[0].rgb[64, 64] - first).max() <= 1
    cover.side = "none"
    assert np.abs(session.step(frame_at(2))[0].rgb[64, 64] - first).max() > 20


def test_what_stands_in_front_of_an_edited_face_stays(covering: Opened) -> None:
    """An edit leaves the frame's own pixels where something covers the face."""
    frame = frame_at(0)
    session = edit_session(covering, Scripted((face_at(100, 80),)), occlusion=Covering("left"))
    moved, report = session.step(frame)
    out = moved.rgb
    assert (out[80, 60:90] == HUE).all()
    assert np.abs(out[80, 108:140].astype(int) - HUE).min(1).max() > 10
    assert list(report.seconds) == ["track", "occlusion", "features", "inputs", "render", "paste"]


def test_an_evaluated_driver_has_its_hand_seen_as_live(opened: Opened) -> None:
    """What is measured file by file is what a live session shows: hidden AUs freeze, and each clip begins anew."""
    source, cover = donor_source(60), Covering("none")
    smile, shut = (face_at(100, 80, AU12=0.9),), (face_at(100, 80),)
    clip = Clip("hand", tuple(frame_at(n) for n in range(4)), (smile, shut, shut, shut), (1,), (1,))
    reenactor = SessionReenactor(Scripted(smile), None, *opened, {"occlusion": cover})  # type: ignore[arg-type]
    ends = []
    for side in ("all", "none"):
        cover.side = "none"
        played = reenactor.play(source, clip, driver_pixels=False, pin_first=True)
        first = next(played).rgb[64, 64].astype(int)
        cover.side = side
        ends.append(np.abs([one.rgb[64, 64] for one in played][-1] - first).max())
    assert ends[0] <= 1
    assert ends[1] > 20
    assert cover.resets == 2


def test_two_faces_are_edited_each_by_its_own(covering: Opened) -> None:
    """faces=2: both are painted over, also where one leans out of the picture."""
    faces = (face_at(50, 80, 1, scale=4.0), face_at(190, 80, 2, scale=4.0))
    out = edit_session(covering, Scripted(faces), faces=2).step(frame_at(0))[0].rgb
    for x in (50, 190):
        assert np.abs(out[80, x].astype(int) - HUE).max() > 50


@pytest.mark.parametrize("size", [(333, 251), (64, 64), (201, 157)])
@pytest.mark.parametrize("scale", [0.3, 2.0, 12.0])
def test_any_size_of_frame_and_face(covering: Opened, size: tuple[int, int], scale: float) -> None:
    """Odd sizes, a face of six pixels and one far larger than the frame: the frame's size and pts are kept."""
    frame = frame_at(9, size)
    session = edit_session(covering, Scripted((face_at(size[0] / 2, size[1] / 2, scale=scale),)))
    result, report = session.step(frame)
    assert (result.rgb.shape, result.pts, report.outcome) == (frame.rgb.shape, 9, Outcome.GENERATED)
    assert np.abs(result.rgb[size[1] // 2, size[0] // 2].astype(int) - HUE).max() > 50


def test_the_square_stands_still_while_a_face_trembles(covering: Opened) -> None:
    """A tremor of a hundredth of the face moves no pixel of the paste; a real move does."""
    rng = np.random.default_rng(5)
    script = [(face_at(100 + rng.normal(0, 0.15), 80 + rng.normal(0, 0.15)),) for _ in range(8)]
    session = edit_session(covering, Scripted(*script, (face_at(110, 80),)))
    shown = [session.step(frame_at(number))[0].rgb for number in range(8)]
    assert all((one == shown[0]).all() for one in shown[1:])
    moved = [session.step(frame_at(number))[0].rgb for number in range(8, 20)]
    assert (moved[-1] != shown[0]).any()


def test_a_subset_of_aus_is_fed_by_name(tmp_path: Path) -> None:
    """A bundle names its AUs; their order in the graph is the bundle's own."""
    folder = write_ganimation(tmp_path / "subset", aus=("AU26", "AU12"))
    generator, runner = open_generator(str(folder))
    out = edited((generator, runner), frame_at(0), face_at(100, 80), au_offsets={"AU12": 1.0, "AU45": 1.0})
    runner.close()
    assert np.abs(out[80, 100] - colour(1.0)).max() <= 2


def test_aus_are_measured_as_in_the_training(tmp_path: Path) -> None:
    """A dynamic extractor's zero is the driver's own resting face, a static one's that of a face seen once; another
    extractor than Marotte's is noted."""
    smiling = face_at(100, 80, AU12=0.8)
    kept = {}
    for mode in ("static", "dynamic", None):
        opened = open_generator(str(write_ganimation(tmp_path / str(mode), mode=mode)))
        session = Session(
            Scripted((smiling,)), *opened, config=PipelineConfig(mode=Mode.EDIT), neutral=resting(smiling)
        )
        frame = frame_at(0)
        kept[mode] = (session.step(frame)[0].rgb == frame.rgb).all()
        assert bool(session.notes) == (mode is None)
        opened[1].close()
    assert kept == {"static": False, "dynamic": True, None: False}


def test_relative_units_are_fed_how_much_changes(tmp_path: Path) -> None:
    """Neither the portrait's nor the driver's own intensities reach a network that learnt changes: an offset alone
    does, and a gain what it adds or takes."""
    source, smiling = donor_source(60, AU12=0.4), face_at(100, 80, AU12=0.8)
    opened = open_generator(str(write_ganimation(tmp_path / "relative", mode="dynamic", units="relative")))
    puppet = Session(
        Scripted((smiling,)),
        *opened,
        [source],
        neutral=resting(smiling),
        controls=Controls(au_offsets={"AU26": 0.3}),
    )
    frame = frame_at(0)
    moved, _ = puppet.step(frame)
    assert np.abs(moved.rgb[64, 64] - (0.7 * 60 + 0.3 * colour(0.0, 0.3))).max() <= 3
    untouched = edited(opened, frame, smiling, mouth=1.0, eyes=1.0, brows=1.0)
    assert (untouched == frame.rgb).all()
    opened[1].close()
    with pytest.raises(ManifestError, match="units are 'percent', expected absolute or relative"):
        open_generator(str(write_ganimation(tmp_path / "wrong", units="percent")))
    path = write_ganimation(tmp_path / "never", units="relative") / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["parameters"]["au_range"] = [0.5, 1.0]
    path.write_text(json.dumps(manifest))
    with pytest.raises(ManifestError, match=r"au_range is 0.5 .. 1, expected 0 in it"):
        open_generator(str(path.parent))


def test_gains_by_region() -> None:
    """Brows, eyes and mouth have their own gain; every AU belongs to one."""
    found = dict(zip(AU_NAMES, gains(Controls(mouth=1.5, eyes=2.0, brows=3.0))))
    assert (found["AU12"], found["AU45"], found["AU04"]) == (1.5, 2.0, 3.0)


def test_a_named_expression_is_a_set_of_offsets(opened: Opened) -> None:
    """Fear opens the mouth and raises the brows of the closed form."""
    out = edited(opened, frame_at(0), face_at(100, 80), au_offsets=expression("fear"))
    assert np.abs(out[80, 100] - colour(0.0, 1.0, 1.0)).max() <= 2


@pytest.mark.parametrize(("mode", "learnt"), [("dynamic", False), (None, True)])
def test_what_no_training_showed_is_asked_of_no_bundle(
    tmp_path: Path, mode: str | None, learnt: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """AU06 and AU07 read as 0 by Marotte's measure, so a bundle that was trained by it is never asked for them; that
    they are left out of an expression is said once. Another measure may have shown them."""
    generator, runner = open_generator(str(write_ganimation(tmp_path / "asked", mode=mode, units="relative")))
    state = generator.begin(generator.prepare(None, Mode.EDIT))
    session = edit_session((generator, runner), Scripted((face_at(100, 80),)))
    session.controls = Controls(au_offsets=expression("happiness"))
    for number in range(2):
        ((_, drive),) = session.measure(frame_at(number)).drives
        asked = dict(zip(AU_NAMES, generator.inputs(state, drive)["aus"][0]))
        assert (asked["AU12"], asked["AU06"]) == (1.0, float(learnt))
    runner.close()
    told = [record.getMessage() for record in caplog.records if "never showed AU06" in record.getMessage()]
    assert len(told) == (0 if learnt else 1)


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A bundle that keeps every pixel, whatever is asked."""
    folder = write_ganimation(tmp_path_factory.mktemp("idle") / "idle", attention=1.0, units="relative")
    generator, runner = open_generator(str(folder))
    yield generator, runner
    runner.close()


@pytest.mark.parametrize(
    ("offsets", "passes"),
    [
        ({"AU12": 0.6}, False),
        ({"AU04": -0.5}, False),
        ({}, True),
        ({"AU12": 0.2}, True),
        ({"AU06": 1.0}, True),
    ],
)
def test_a_bundle_that_does_not_edit_shows_nobody(
    idle: Opened, offsets: dict[str, float], passes: bool
) -> None:
    """Where a change has to be seen and no pixel of the face changes, the driver is not shown; an edit of nothing, or
    of next to nothing, or of what the bundle never learnt, is the frame as it came."""
    session = edit_session(idle, Scripted((face_at(100, 80),)), controls=Controls(au_offsets=offsets))
    for number in range(3):
        frame = frame_at(number, seed=number)
        result, report = session.step(frame)
        assert (report.outcome is Outcome.GENERATED) == passes
        assert (result.rgb == frame.rgb).all() == passes
        assert passes or str(report.reason).startswith("UneditedError: idle: it left the face as it is")


def test_a_face_that_is_hidden_or_out_of_sight_is_not_judged(idle: Opened) -> None:
    """Its own pixels may stay there, and they do."""
    controls = Controls(au_offsets={"AU12": 1.0})
    aside = edit_session(idle, Scripted((face_at(-10, 80),)), controls=controls)
    behind = edit_session(idle, Scripted((face_at(100, 80),)), controls=controls, occlusion=Covering("left"))
    for session in (aside, behind):
        assert session.step(frame_at(0))[1].outcome is Outcome.GENERATED


class TestFailClosed:
    """Whatever breaks, no unedited frame leaves: held, a card of the edit, or grey before the first one."""

    @staticmethod
    def shown(session: Session, frames: int, start: int = 0) -> list[tuple[np.ndarray, Outcome]]:
        results = [session.step(frame_at(number)) for number in range(start, start + frames)]
        return [(result.rgb, report.outcome) for result, report in results]

    @staticmethod
    def driver_seen(rgb: np.ndarray) -> bool:
        """Whether the middle of the face is the driver's: beyond it an edited frame shows its own surroundings."""
        return bool((np.abs(rgb[70:90, 90:110].astype(int) - HUE).max(2) < 12).any())

    def test_grey_before_the_first_edit(self, covering: Opened) -> None:
        """Nobody there: plain grey of the frame's size, not one pixel of the driver."""
        for rgb, outcome in self.shown(edit_session(covering, Scripted(())), 3):
            assert outcome is Outcome.WAITING
            assert rgb.shape == (HEIGHT, WIDTH, 3)
            assert np.ptp(rgb.reshape(-1, 3), axis=0).max() == 0
            assert np.abs(rgb[0, 0].astype(int) - HUE).max() > 20

    @pytest.mark.parametrize("fault", [(), RuntimeError("tracker")], ids=["lost", "crash"])
    def test_held_then_a_card_of_the_edit(self, covering: Opened, fault: object) -> None:
        """The last edited picture for half a second, then a blur of it, never the frame that came in."""
        session = edit_session(covering, Scripted((face_at(100, 80, scale=9.0),), fault))
        pictures = self.shown(session, 70)
        assert [outcome for _, outcome in pictures[:2]] == [Outcome.GENERATED, Outcome.HELD]
        assert pictures[-1][1] is Outcome.FADED
        assert (pictures[1][0] == pictures[0][0]).all()
        assert not any(self.driver_seen(rgb) for rgb, _ in pictures)

    def test_nan_out_of_the_graph(self, covering: Opened) -> None:
        """An answer that is no number is a reason for the fallback, and names the port."""
        session = edit_session(covering, Scripted((face_at(100, 80, scale=9.0),)))
        session.controls = Controls(**ONLY_OFFSETS)
        good = session.step(frame_at(0))[0].rgb
        session.controls = Controls(**ONLY_OFFSETS, au_offsets={"AU45": 1.0})
        result, report = session.step(frame_at(1))
        assert report.outcome is Outcome.HELD
        assert report.reason is not None
        assert "port 'colour': expected finite numbers" in report.reason
        assert (result.rgb == good).all()

    def test_a_further_edited_face_that_is_lost_stops_the_picture(self, covering: Opened) -> None:
        """While one of two edited faces is out of sight nothing new leaves, until the fallback for it has run out."""
        both = (face_at(50, 80, 1, scale=4.0), face_at(150, 80, 2, scale=4.0))
        session = edit_session(covering, Scripted(both, both[:1]), faces=2)
        outcomes = [outcome for _, outcome in self.shown(session, 60)]
        assert outcomes[0] is Outcome.GENERATED
        assert Outcome.GENERATED not in outcomes[1:44]
        assert outcomes[-1] is Outcome.GENERATED

    def test_nothing_leaves_while_the_main_face_is_lost(self, covering: Opened) -> None:
        """A bystander's face is no reason to show the main one as it is."""
        both = (face_at(50, 80, 1, scale=4.0), face_at(150, 80, 2, scale=4.0))
        session = edit_session(covering, Scripted(both, both[1:]), faces=2)
        outcomes = [outcome for _, outcome in self.shown(session, 60)]
        assert outcomes.count(Outcome.GENERATED) == 1

    def test_a_closed_runner(self, bundle: Path) -> None:
        """A stage that raises: the same."""
        generator, runner = open_generator(str(bundle))
        session = edit_session((generator, runner), Scripted((face_at(100, 80),)))
        runner.close()
        result, report = session.step(frame_at(0))
        assert report.outcome is Outcome.WAITING
        assert "closed" in str(report.reason)
        assert not self.driver_seen(result.rgb)


def test_an_entry_that_fails_leaves_its_batch_mates_alone(opened: Opened) -> None:
    """Two sessions in one batch: one asks for what gives NaN, the other's picture is its own."""
    from engine.pipeline import step_together

    good, bad = (edit_session(opened, Scripted((face_at(100, 80),))) for _ in range(2))
    good.controls = Controls(**ONLY_OFFSETS, au_offsets={"AU12": 1.0})
    bad.controls = Controls(**ONLY_OFFSETS, au_offsets={"AU45": 1.0})
    for pair in ((good, bad), (bad, good)):
        results = dict(zip(pair, step_together(pair, [frame_at(0)] * 2, opened[1])))
        assert np.abs(results[good][0].rgb[80, 100] - colour(1.0)).max() <= 2
        assert results[bad][1].outcome is Outcome.WAITING


def test_memory_is_used_again_and_what_is_held_stays_whole(covering: Opened) -> None:
    """With reuse an edit draws into two arrays by turns, also when the frame changes its size."""
    session = edit_session(covering, Scripted((face_at(100, 80),)), reuse=True)
    kept = [session.step(frame_at(number))[0].rgb for number in range(4)]
    assert len({id(rgb) for rgb in kept}) == 2
    assert session.step(frame_at(4, (320, 240)))[0].rgb.shape == (240, 320, 3)


def test_what_cannot_be_used_is_refused(opened: Opened, tmp_path: Path) -> None:
    """A source for an edit, a puppet without one, a mode that the bundle was not made for, an unknown bundle."""
    generator = opened[0]
    with pytest.raises(ConfigError, match="got a donor, expected none: it edits the driver's face"):
        edit_session(opened, Scripted(()), [donor_source()])
    with pytest.raises(InputError, match="got no source"):
        generator.prepare(None, Mode.PUPPET)
    folder = write_ganimation(tmp_path / "puppet_only", modes=("puppet",))
    only, closing = open_generator(str(folder))
    with pytest.raises(ConfigError, match="got mode 'edit', expected one of puppet"):
        Session(Scripted(()), only, closing, config=PipelineConfig(mode=Mode.EDIT))
    closing.close()
    with pytest.raises(ConfigError, match="did you mean 'mesh_flow'"):
        open_generator("mesh_flo")


def test_a_bundle_that_does_not_fit_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    """Another system, another size than the ports', terms that were not accepted."""
    with pytest.raises(ConfigError, match="did you mean 'ganimation'"):
        open_generator(str(write_ganimation(tmp_path / "other", system="ganimatio")))
    folder = write_ganimation(tmp_path / "size")
    text = (folder / "manifest.json").read_text("utf-8")
    (folder / "manifest.json").write_text(text.replace('"size": 32', '"size": 64'), "utf-8")
    with pytest.raises(
        ManifestError, match=r"port 'image' is \(1, 32, 32, 3\) uint8, expected \(1, 64, 64, 3\) uint8"
    ):
        open_generator(str(folder))
    held = write_ganimation(tmp_path / "terms", commercial=False, acceptance="research-only")
    with pytest.raises(BundleError, match="--accept research-only"):
        open_generator(str(held))
    open_generator(str(held), accept=frozenset({"research-only"}))[1].close()


def test_a_portrait_in_doubt_says_so(opened: Opened, faces_root: Path, models: None) -> None:
    """Turned aside or one eye covered: it is moved, and the user is told; a plain one has no notes."""
    from engine.puppet import Opening, find_sources

    def notes(source: Source) -> tuple[str, ...]:
        return opened[0].prepare(source, Mode.PUPPET).notes

    plain = find_sources(faces_root / "portraits" / "man_east_asian.jpg", Opening())[0]
    aside = find_sources(faces_root / "hard" / "three_quarter_view.jpg", Opening())[0]
    assert notes(plain) == ()
    assert "turned 3" in notes(aside)[0]
    patched = plain.rgb.copy()
    middle = plain.face.points[[33, 133], :2].mean(0)
    half = 0.8 * np.linalg.norm(plain.face.points[33, :2] - plain.face.points[133, :2])
    y, x = np.mgrid[: patched.shape[0], : patched.shape[1]]
    patched[np.hypot(x - middle[0], y - middle[1]) < half] = 12
    assert "right eye seems to be covered" in notes(replace(plain, rgb=patched))[0]


def test_the_network_sees_the_square_of_the_rule(opened: Opened, bundle: Path) -> None:
    """The crop rule is the bundle's, the same as in training."""
    rule = open_bundle(bundle).manifest.parameters.crop
    source = donor_source(77)
    prepared = opened[0].prepare(source, Mode.PUPPET)
    assert (prepared.picture[0] == cut(source.rgb, crop_of(rule.rule, source.face.points, rule.size))).all()


def test_every_backend_paints_the_same(bundle: Path, opened: Opened) -> None:
    """The runtime is the user's choice and no part of the picture."""
    for backend in ("onnxruntime", "openvino"):
        other = open_generator(str(bundle), backend=backend, threads=2)
        pair = [
            edited(one, frame_at(0), face_at(100, 80), au_offsets={"AU12": 0.6}) for one in (opened, other)
        ]
        other[1].close()
        assert np.abs(pair[0].astype(int) - pair[1]).max() <= 1


@pytest.mark.parametrize("size", [(201, 157), (320, 240)])
def test_nothing_is_compiled_in_mid_stream(covering: Opened, size: tuple[int, int]) -> None:
    """Frames that may be written to and frames that may not, covered or not, edits and portraits: all was warmed up."""
    kernels = (paint.plan, paint.paint)
    before = [len(kernel.signatures) for kernel in kernels]
    cover = Covering("none")
    session = edit_session(covering, Scripted((face_at(100, 80),)), occlusion=cover)
    for number, side in enumerate(("none", "left", "none")):
        cover.side = side
        frame = frame_at(number, size)
        frame.rgb.setflags(write=number != 1)
        assert session.step(frame)[1].outcome is Outcome.GENERATED
    source = donor_source()
    for write in (True, False):
        source.rgb.setflags(write=write)
        Session(Scripted((face_at(100, 80),)), *covering, [source], neutral=rest()).step(frame_at(0))
    assert [len(kernel.signatures) for kernel in kernels] == before


@pytest.mark.parametrize(("graph", "output"), [("generator", "colour"), ("generator", "attention")])
def test_an_output_of_another_type_is_told_when_it_is_opened(tmp_path: Path, graph: str, output: str) -> None:
    """And not by every frame, none of which could be shown."""
    folder = with_bytes(write_ganimation(tmp_path / "bytes"), graph, output)
    with pytest.raises(
        ManifestError, match=rf"port '{output}' is \(1, .*\) uint8, expected \(1, .*\) float32"
    ):
        open_generator(str(folder))
