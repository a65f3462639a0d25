"""GeoGAN live and between pictures, with networks whose answers are a closed form (see bundle_files)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.blend import paste
from engine.crop import crop_of, cut, factor_of
from engine.errors import ConfigError, InputError, ManifestError
from engine.generators import open_generator
from engine.generators.geogan import paint, swap
from engine.generators.geogan.paint import lay
from engine.generators.geogan.steady import SteadyMap
from engine.generators.geogan.tone import MOST, Tone
from engine.plug import Generator, Runner
from engine.types import Controls, Crop, Frame, Mode, Outcome, Patch, Source
from tests.engine.bundle_files import LIFT, TINT, with_bytes, write_geogan
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
)

Opened = tuple[Generator, Runner]
SIZE = 32


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """Every pixel of the square is the donor's."""
    generator, runner = open_generator(str(write_geogan(tmp_path_factory.mktemp("bundles") / "whole")))
    yield generator, runner
    runner.close()


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """Half of it is."""
    folder = write_geogan(tmp_path_factory.mktemp("bundles") / "half", mask=0.5)
    generator, runner = open_generator(str(folder))
    yield generator, runner
    runner.close()


def grey(value: float) -> float:
    """A level in -1..1."""
    return value / 127.5 - 1.0


def brought(donor: float, seen: np.ndarray | float) -> float:
    """What the closed form takes of a donor of one grey level for a face of these levels."""
    return float(donor + 127.5 * TINT * (grey(donor) + np.mean(grey(np.asarray(seen, float)))))


def seen_square(frame: Frame, face: object) -> np.ndarray:
    """The pixels that the network sees."""
    return cut(frame.rgb, crop_of("face", face.points, SIZE))


def textured(size: int = 300, seed: int = 2, name: str = "textured") -> Source:
    """A donor with a fine pattern: 4-pixel stripes, which 32 pixels cannot hold."""
    stripes = np.where(np.arange(size)[None, :, None] // 4 % 2, 200, 40)
    rgb = np.broadcast_to(stripes, (size, size, 3)).astype(np.uint8).copy()
    return Source(rgb, face_at(size / 2, size / 2, scale=size / 32), None, f"{name}{seed}", name)


def test_the_donor_is_laid_over_the_face(opened: Opened, half: Opened) -> None:
    """frame * (1 - m) + (donor + r) * m in the middle of the square, and the frame beyond it; pts and size are kept."""
    frame, face = frame_at(7), face_at(100, 80)
    taken = brought(90, seen_square(frame, face))
    for one, share in ((opened, 1.0), (half, 0.5)):
        session = edit_session(one, Scripted((face,)), [donor_source(90)])
        result, report = session.step(frame)
        assert (report.outcome, result.pts, result.rgb.shape) == (Outcome.GENERATED, 7, (HEIGHT, WIDTH, 3))
        expected = (1 - share) * np.array(HUE) + share * taken
        assert np.abs(result.rgb[80, 100] - expected).max() <= 2
        assert (result.rgb[:, :30] == HUE).all()


def test_a_bundle_that_takes_nothing_of_a_donor_shows_nobody(tmp_path: Path) -> None:
    """A mask of nothing leaves the driver's own face: no frame of it leaves. There may be nothing to take away."""
    generator, runner = open_generator(str(write_geogan(tmp_path / "idle", mask=0.0)))
    session = edit_session((generator, runner), Scripted((face_at(100, 80),)), [donor_source(90)])
    result, report = session.step(frame_at(0))
    assert (report.outcome, str(report.reason).split(":")[0]) == (Outcome.WAITING, "UneditedError")
    assert not (result.rgb == HUE).all(2).any()
    session.controls = Controls(remove=True)
    assert session.step(frame_at(1))[1].outcome is Outcome.GENERATED
    runner.close()


def test_the_donor_is_sampled_from_its_own_pixels(opened: Opened) -> None:
    """At zero flow a donor as large as the face keeps stripes that the network cannot see."""
    donor = textured()
    frame = Frame(np.full_like(donor.rgb, 128), 0, frame_at(0).time_base, 0.0)
    out = edit_session(opened, Scripted((donor.face,)), [donor]).step(frame)[0].rgb
    middle = np.s_[120:180, 120:180]
    shift = brought(120, 128) - 120
    apart = np.abs(out[middle].astype(float) - np.clip(donor.rgb[middle] + shift, 0, 255))
    assert np.median(apart) <= 6


def test_a_flow_of_some_pixels_moves_the_donor(tmp_path: Path) -> None:
    """dx = 4 network pixels to the right: the face at x shows what the donor has 4 of its network pixels further on."""
    folder = write_geogan(tmp_path / "flow", flow=(2 * 4 / (SIZE - 1), 0.0))
    generator, runner = open_generator(str(folder))
    rgb = np.zeros((256, 256, 3), np.uint8)
    rgb[:] = np.linspace(40, 200, 256)[None, :, None]
    donor = Source(rgb, face_at(128, 128, scale=8.0), None, "ramp", "ramp")
    frame = Frame(np.full_like(rgb, 100), 0, frame_at(0).time_base, 0.0)
    moved = edit_session((generator, runner), Scripted((donor.face,)), [donor]).step(frame)[0].rgb
    runner.close()
    pixels = 4 / factor_of(crop_of("face", donor.face.points, SIZE))
    square = cut(donor.rgb, crop_of("face", donor.face.points, SIZE))
    tint = 127.5 * TINT * (np.mean(grey(square)) + grey(100))
    expected = rgb[128, 128, 0] + pixels * 160 / 255 + tint
    assert np.abs(moved[128, 128] - expected).max() <= 2


def test_several_donors_act_one_after_the_other(half: Opened) -> None:
    """Each takes its half of what is there; the second network pass sees what the first one brought."""
    frame, face = frame_at(0), face_at(100, 80)
    seen = seen_square(frame, face).astype(float)
    first = brought(60, seen)
    after = 0.5 * seen + 0.5 * first
    second = brought(200, after)
    session = edit_session(half, Scripted((face,)), [donor_source(60), donor_source(200, "other")])
    out = session.step(frame)[0].rgb
    expected = 0.5 * second + 0.5 * (0.5 * first + 0.5 * np.array(HUE))
    assert np.abs(out[80, 100] - expected).max() <= 3


def test_the_donor_is_changed_in_mid_stream(opened: Opened) -> None:
    """From the next frame on; one that cannot be used is refused and the old one goes on; what is held is an edit."""
    face = face_at(100, 80)
    session = edit_session(opened, Scripted((face,), (face,), (face,), ()), [donor_source(60)])
    dark = session.step(frame_at(0))[0].rgb
    flat = replace(donor_source(60), face=replace(face, points=np.zeros((478, 3), np.float32)))
    with pytest.raises(InputError, match="lie on one spot"):
        session.swap([flat])
    assert (session.step(frame_at(1))[0].rgb == dark).all()
    session.swap([donor_source(200, "bright")])
    bright = session.step(frame_at(2))[0].rgb
    assert bright[80, 100, 0] > dark[80, 100, 0] + 60
    session.swap([donor_source(60)])
    held, report = session.step(frame_at(3))
    assert report.outcome is Outcome.HELD
    assert (held.rgb == bright).all()


def test_an_attribute_is_taken_away(opened: Opened, half: Opened) -> None:
    """Removal by its own network, told where by the mask; the frame's grain stays, since only the change is added."""
    face = face_at(250, 250, scale=18.0)
    for one, share in ((opened, 1.0), (half, 0.5)):
        session = edit_session(one, Scripted((face,)), controls=Controls(remove=True))
        frame = frame_at(0, (500, 500), seed=3)
        out = session.step(frame)[0].rgb
        middle = np.s_[200:280, 200:280, :2]  # blue comes near white, where the network's answer is cut off
        lifted = np.minimum(255, frame.rgb[middle] + 127.5 * LIFT * share)
        assert np.abs(out[middle] - lifted).max() <= 1
        assert (out[:5] == frame.rgb[:5]).all()


def test_a_removal_stays_where_the_attribute_is(tmp_path: Path) -> None:
    """Beyond the mask's place and its neighbourhood the frame stays, whatever the removal network does there."""
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[20:26, 10:22] = 0.8
    opened = open_generator(str(write_geogan(tmp_path / "mouth", mask=mask)))
    frame, face = frame_at(0, (320, 320)), face_at(160, 160, scale=16.0)
    out = edit_session(opened, Scripted((face,)), controls=Controls(remove=True)).step(frame)[0].rgb
    opened[1].close()
    crop = crop_of("face", face.points, SIZE)
    changed = cut((out != frame.rgb).any(2).astype(np.uint8) * 255, crop) > 127
    assert changed[21:25, 11:21].all()
    assert not changed[:14].any()


def test_removal_is_switched_while_running(opened: Opened) -> None:
    """The same session brings and takes away; without a donor only the latter, and the frame is never shown instead."""
    face = face_at(100, 80)
    session = edit_session(opened, Scripted((face,)))
    result, report = session.step(frame_at(0))
    assert report.outcome is Outcome.WAITING
    assert "got no donor" in str(report.reason)
    assert np.ptp(result.rgb.reshape(-1, 3), axis=0).max() == 0
    session.controls = Controls(remove=True)
    assert session.step(frame_at(1))[1].outcome is Outcome.GENERATED
    session.controls = Controls()
    session.swap([donor_source(90)])
    assert session.step(frame_at(2))[1].outcome is Outcome.GENERATED


def test_two_pictures_swap_an_attribute(opened: Opened) -> None:
    """Both ways, each at its own full size: one with the other's, the other without it."""
    one, other = donor_source(60), textured(301)
    with_it, without = swap(*opened, one, other)
    assert (with_it.shape, without.shape) == (one.rgb.shape, other.rgb.shape)
    stripes = with_it[60:68, 50:80, 0].astype(int)
    assert np.ptp(stripes) > 50
    middle = np.s_[130:170, 130:170]
    assert np.abs(without[middle] - (other.rgb[middle] + 127.5 * LIFT).clip(0, 255)).max() <= 8


def test_what_stands_in_front_stays(opened: Opened) -> None:
    """The mask is nothing where something covers the face, for a transfer and for a removal."""
    for controls in (Controls(), Controls(remove=True)):
        session = edit_session(
            opened,
            Scripted((face_at(100, 80),)),
            [donor_source()],
            occlusion=Covering("left"),
            controls=controls,
        )
        out = session.step(frame_at(0))[0].rgb
        assert (out[80, 60:90] == HUE).all()
        assert (out[80, 110:130] != HUE).any()


def test_maps_are_steady_and_follow_a_change() -> None:
    """In seconds, whatever the frame rate: trembling is halved, a new map is reached in a third of a second."""
    rng = np.random.default_rng(4)
    trembling = rng.normal(0, 0.02, (90, 6, 8, 8)).astype(np.float32)
    steady = SteadyMap((6, 8, 8))
    out = np.array([steady.smooth(one, k / 30).copy() for k, one in enumerate(trembling)])
    assert out[30:].std() < 0.6 * trembling[30:].std()
    for rate in (15, 60):
        steady = SteadyMap((6, 8, 8))
        steady.smooth(np.zeros((6, 8, 8), np.float32), 0.0)
        for k in range(1, rate // 3 + 1):
            reached = steady.smooth(np.full((6, 8, 8), 0.4, np.float32), k / rate)
        assert reached.mean() > 0.34


def test_the_donor_is_laid_in_the_light_of_the_face() -> None:
    """One factor per channel, read along the mask's edge, followed in a quarter of a second, bounded; a mask without an
    edge says nothing."""
    face, donor = (np.full((SIZE, SIZE, 3), value, np.uint8) for value in ((180, 120, 60), (120, 120, 120)))
    maps = np.zeros((6, SIZE, SIZE), np.float32)
    tone = Tone(SIZE)
    maps[2] = 0.5
    assert (tone.match(face, donor, maps, 0.0) == 1.0).all()
    maps[2] = 0.0
    maps[2, 8:24, 8:24] = 1.0
    tone.reset()
    assert tone.match(face, donor, maps, 0.0) == pytest.approx([192 / 132, 1.0, 1 / MOST], abs=0.02)
    dark = np.zeros_like(face)
    slow = [tone.match(dark, donor, maps, k / 30)[0] for k in range(1, 30)]
    assert slow[0] > 1.2
    assert slow[-1] == pytest.approx(1 / MOST, abs=0.05)


def test_a_new_face_and_a_pause_start_the_maps_anew() -> None:
    """What was seen on another track, or long ago, colours nothing."""
    steady, one = SteadyMap((6, 2, 2)), np.ones((6, 2, 2), np.float32)
    steady.smooth(0 * one, 0.0)
    assert (steady.smooth(one, 2.0) == 1.0).all()
    steady.reset()
    assert (steady.smooth(0.5 * one, 2.01) == 0.5).all()
    assert (steady.smooth(one, 2.005) == 1.0).all()  # time that runs backwards


def test_a_new_track_starts_anew(half: Opened) -> None:
    """The second person's first frame is as if there had been none before."""
    one, other = face_at(100, 80, 1), face_at(100, 80, 2)
    tracker = Scripted((one,), (other,))
    session = edit_session(half, tracker, [donor_source()])
    session.step(frame_at(0))
    tracker.main_id = 2
    bright = Frame(np.full((HEIGHT, WIDTH, 3), 220, np.uint8), 1, frame_at(1).time_base, 0.0)
    out = session.step(bright)[0].rgb
    assert np.abs(out[80, 100] - (110 + 0.5 * brought(90, 220))).max() <= 2


@pytest.mark.parametrize("size", [(333, 251), (64, 64)])
@pytest.mark.parametrize("scale", [0.3, 2.0, 12.0])
def test_any_size_of_frame_and_face(opened: Opened, size: tuple[int, int], scale: float) -> None:
    """Odd sizes, a face of six pixels, one partly out of the frame, one far larger than it."""
    for x in (size[0] / 2, 3.0):
        face = face_at(x, size[1] / 2, scale=scale)
        session = edit_session(opened, Scripted((face,)), [donor_source()])
        result, report = session.step(frame_at(0, size))
        assert (result.rgb.shape[1::-1], report.outcome) == (size, Outcome.GENERATED)
        assert np.abs(result.rgb[size[1] // 2, int(x)].astype(int) - HUE).max() > 50


def test_whatever_fails_no_unedited_frame_leaves(opened: Opened) -> None:
    """Face lost, tracker broken, graph away: grey before the first edit, then the held edit, then its card."""
    face = face_at(100, 80, scale=9.0)
    script = ((), RuntimeError("tracker"), (face,), (), *[RuntimeError("tracker")] * 60, (face,))
    session = edit_session(opened, Scripted(*script), [donor_source()])
    for number in range(len(script)):
        result, report = session.step(frame_at(number))
        middle = result.rgb[70:90, 90:110].astype(int)
        assert (np.abs(middle - HUE).max(2) > 12).all(), (number, report.outcome)
    assert report.outcome is Outcome.GENERATED


def test_layers_blend_as_paint_over_paint() -> None:
    """Half of one over half of another: the patch's colour and mask, pasted, give both blends in turn."""
    maps, weight = np.zeros((6, 4, 4), np.float32), np.ones((4, 4), np.float32)
    maps[2] = 0.5
    rgb, mask = np.empty((8, 8, 3), np.uint8), np.empty((8, 8), np.uint8)
    for first, value in ((True, 40), (False, 240)):
        donor = np.full((8, 8, 3), value, np.uint8)
        lay(
            maps,
            weight,
            donor,
            np.ones(3, np.float32),
            np.array([[0.5, 0, -0.25], [0, 0.5, -0.25]]),
            0,
            0,
            first,
            rgb,
            mask,
        )
    canvas = np.full((8, 8, 3), 100, np.uint8)
    out = paste(Patch(rgb, mask, Crop(np.eye(2, 3), 8), canvas))
    assert np.abs(out.astype(int) - (0.5 * 240 + 0.5 * (0.5 * 40 + 0.5 * 100))).max() <= 1


def test_what_cannot_be_used_is_refused(opened: Opened, tmp_path: Path) -> None:
    """A puppet, an edit without a donor where nothing can be removed, graphs that do not fit each other."""
    with pytest.raises(ConfigError, match="got mode 'puppet', expected 'edit'"):
        opened[0].prepare(donor_source(), Mode.PUPPET)
    plain, closing = open_generator(str(write_geogan(tmp_path / "plain", removal=False)))
    with pytest.raises(InputError, match="got no donor"):
        edit_session((plain, closing), Scripted(()))
    session = edit_session((plain, closing), Scripted((face_at(100, 80),)), [donor_source()])
    session.controls = Controls(remove=True)
    assert "cannot take an attribute away" in str(session.step(frame_at(0))[1].reason)
    closing.close()
    folder = write_geogan(tmp_path / "size")
    text = (folder / "manifest.json").read_text("utf-8")
    (folder / "manifest.json").write_text(text.replace('"size": 32', '"size": 64'), "utf-8")
    with pytest.raises(
        ManifestError, match=r"port 'image' is \(1, 32, 32, 3\) uint8, expected \(1, 64, 64, 3\) uint8"
    ):
        open_generator(str(folder))


def test_donor_features_are_computed_once_and_shared(opened: Opened) -> None:
    """Prepared holds them; sessions of one donor share it and keep their own past."""
    prepared = opened[0].prepare(donor_source(90), Mode.EDIT)
    assert set(prepared.features) == {"flow_0", "mask_0"}
    assert prepared.features["flow_0"] == pytest.approx(grey(90), abs=1e-5)
    sessions = [edit_session(opened, Scripted((face_at(100, 80),)), prepared=[prepared]) for _ in range(2)]
    shown = [session.step(frame_at(0))[0].rgb for session in sessions]
    assert (shown[0] == shown[1]).all()


def test_nothing_is_compiled_in_mid_stream(opened: Opened) -> None:
    """Transfers and removals, several donors, covered or not, frames that may be written to or not."""
    kernels = (paint.lay, paint.lift)
    before = [len(kernel.signatures) for kernel in kernels]
    donors = [donor_source(60), donor_source(200, "other")]
    cover = Covering("none")
    session = edit_session(opened, Scripted((face_at(100, 80),)), donors, occlusion=cover)
    for number in range(6):
        cover.side = ("none", "left")[number % 2]
        session.controls = Controls(remove=number > 2)
        frame = frame_at(number)
        frame.rgb.setflags(write=number % 3 != 0)
        assert session.step(frame)[1].outcome is Outcome.GENERATED
    assert [len(kernel.signatures) for kernel in kernels] == before


@pytest.mark.parametrize(
    ("graph", "output"), [("transfer", "mask"), ("donor", "flow_0"), ("removal", "image_out")]
)
def test_an_output_of_another_type_is_told_when_it_is_opened(tmp_path: Path, graph: str, output: str) -> None:
    """And not by every frame, none of which could be shown."""
    folder = with_bytes(write_geogan(tmp_path / "bytes"), graph, output)
    with pytest.raises(
        ManifestError, match=rf"port '{output}' is \(1, .*\) uint8, expected \(1, .*\) float32"
    ):
        open_generator(str(folder))
