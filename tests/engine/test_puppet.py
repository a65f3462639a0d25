"""The Python API, frame by frame, on a real portrait and a real driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import marotte
from engine.errors import ConfigError, DecodeError, InputError, NoFaceError
from engine.generators.mesh_flow import MeshFlow
from engine.marks import MarksConfig
from engine.media import read_picture
from engine.puppet import Opening, Puppet, find_sources, load, open_session
from engine.types import Drive, Features, Frame, Outcome, Signal

pytestmark = pytest.mark.usefixtures("opened_once")


PLAIN = MarksConfig(badge=False, watermark=False)
"""Where what is generated is measured; the marks stand in tests/engine/marks."""


@pytest.fixture(scope="module")
def portrait(faces_root: Path) -> Path:
    return faces_root / "training" / "female_01.jpg"


@pytest.fixture(scope="module")
def driver(faces_root: Path) -> list[Frame]:
    """Twelve frames of somebody who moves."""
    return list(islice(marotte.frames(faces_root / "hard" / "five_fps.mp4"), 12))


@pytest.fixture
def puppet(portrait: Path) -> Iterator[Puppet]:
    with marotte.puppet(portrait, marks=PLAIN) as puppet:
        yield puppet


def test_ten_lines_move_a_portrait(puppet: Puppet, portrait: Path, driver: list[Frame]) -> None:
    """Pictures in, pictures out: the portrait's size, uint8, moved, and a report of what happened."""
    still = read_picture(portrait)
    for frame in driver:
        picture = puppet(frame.rgb, frame.time_s)
        assert picture.shape == still.shape
        assert picture.dtype == np.uint8
        assert puppet.report is not None
        assert puppet.report.outcome is Outcome.GENERATED
    assert np.abs(picture.astype(int) - still).mean() > 0.2


def test_without_a_time_it_is_now(puppet: Puppet, driver: list[Frame]) -> None:
    """A camera's loop need not keep a clock."""
    stamps = []
    for frame in driver[:3]:
        puppet(frame.rgb)
        assert puppet.report is not None
        stamps.append(puppet.report.pts)
    assert stamps == sorted(set(stamps))
    assert 0 <= puppet.report.age_s < 5.0


def test_the_drivers_own_picture_never_comes_out(puppet: Puppet) -> None:
    """Nobody in the frame: the still portrait, and the report says why."""
    picture = puppet(np.full((240, 320, 3), 255, np.uint8), 0.0)
    assert picture.shape == (256, 256, 3)
    assert puppet.report is not None
    assert (puppet.report.outcome, puppet.report.reason) == (Outcome.WAITING, "no face")


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((64, 64, 3), np.float32),
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        "a.jpg",
    ],
    ids=["floats", "grey", "alpha", "path"],
)
def test_what_is_no_picture_is_refused(puppet: Puppet, portrait: Path, wrong: Any) -> None:
    """A caller's mistake is an error at the call, as driver and as source, and not a silent still portrait."""
    with pytest.raises(InputError, match=r"picture: got .* expected uint8 \(height, width, 3\)"):
        puppet(wrong)
    if not isinstance(wrong, str):
        with pytest.raises(InputError, match="picture: got"):
            marotte.puppet(wrong)


def test_a_source_is_swapped_while_running_and_a_bad_one_is_refused(
    puppet: Puppet, faces_root: Path, driver: list[Frame]
) -> None:
    """The new portrait is in the next frame; when it cannot be used its error is raised and the old one goes on."""
    for bad, error in (("hard/noise.jpg", NoFaceError), ("hard/text_named.jpg", DecodeError)):
        with pytest.raises(error, match=Path(bad).name):
            puppet.swap(faces_root / bad)
        assert puppet(driver[0].rgb, 0.0).shape == (256, 256, 3)
    puppet.swap(faces_root / "portraits" / "woman_headscarf.jpg")
    moved = puppet(driver[1].rgb, 0.2)
    assert moved.shape == read_picture(faces_root / "portraits" / "woman_headscarf.jpg").shape
    puppet.swap(read_picture(faces_root / "training" / "male_01.jpg"))
    assert puppet(driver[2].rgb, 0.4).shape == (256, 256, 3)
    assert puppet.report is not None
    assert puppet.report.outcome is Outcome.GENERATED


def test_controls_change_by_name(puppet: Puppet, portrait: Path, driver: list[Frame]) -> None:
    """A gain of 0 stills its region, an offset moves this generator too; a wrong name or type is told."""
    for frame in driver[:6]:
        plain = puppet(frame.rgb, frame.time_s)
    frame = driver[5]
    puppet.set(au_offsets={"AU26": 1.0})
    assert not np.array_equal(puppet(frame.rgb, frame.time_s), plain)
    for wrong, told in (
        ({"mout": 1.0}, "did you mean 'mouth'"),
        ({"mouth": "loud"}, "expected float"),
        ({"au_offsets": {"AU99": 1.0}}, "au_offsets: got 'AU99'"),
    ):
        with pytest.raises(ConfigError, match=told):
            puppet.set(**wrong)
    assert puppet.session.controls.au_offsets == {"AU26": 1.0}


def test_recalibration_takes_a_new_resting_face(puppet: Puppet, driver: list[Frame]) -> None:
    """Asked for while running; frames go on being generated meanwhile."""
    for frame in driver[:3]:
        puppet(frame.rgb, frame.time_s)
    calibration = puppet.session._slots[0].calibration
    puppet.recalibrate()
    assert not calibration.calibrated
    puppet(driver[3].rgb, driver[3].time_s)
    assert puppet.report is not None
    assert puppet.report.outcome is Outcome.GENERATED


def test_two_faces_are_moved_by_two(faces_root: Path) -> None:
    """Asked for two, both people in the driver move both people in the picture."""
    source = faces_root / "hard" / "two_faces_side_by_side.jpg"
    with marotte.puppet(source, faces=2) as puppet:
        for frame in islice(marotte.frames(faces_root / "hard" / "two_faces_moving.mp4"), 6):
            puppet(frame.rgb, frame.time_s)
        assert puppet.report is not None
        assert puppet.report.faces == 2


def test_a_clip_or_an_array_is_a_source_too(faces_root: Path, portrait: Path) -> None:
    """A path to a picture, a path to a clip, or decoded pixels."""
    opening = Opening()
    assert find_sources(portrait, opening)[0].name == "female_01.jpg"
    assert find_sources(read_picture(portrait), opening)[0].rgb.shape == (256, 256, 3)
    assert find_sources(str(faces_root / "hard" / "vp8.webm"), opening)[0].rgb.shape == (320, 320, 3)


def test_a_large_source_is_reduced(faces_root: Path) -> None:
    """What costs time per frame is bounded by the picture's longest side."""
    large = np.kron(read_picture(faces_root / "training" / "female_01.jpg"), np.ones((8, 8, 1), np.uint8))
    assert find_sources(large, Opening())[0].rgb.shape == (1280, 1280, 3)


def test_the_choice_of_backend_is_told(portrait: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`auto` says what it took and why, to the caller and in the log."""
    with caplog.at_level("INFO", "marotte"), marotte.puppet(portrait) as puppet:
        assert puppet.choice.name in ("openvino", "onnxruntime")
        assert puppet.choice.reason
    assert f"the networks run on {puppet.choice.name}: {puppet.choice.reason}" in caplog.text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"faces": 0}, "faces: got 0, expected 1 or more"),
        ({"bundle": "meshflow"}, "bundle: got 'meshflow'; did you mean 'mesh_flow'"),
    ],
)
def test_a_wrong_option_is_refused_at_the_start(portrait: Path, options: dict[str, Any], told: str) -> None:
    """Nothing waits for the first frame to fail."""
    with pytest.raises(ConfigError, match=told):
        marotte.puppet(portrait, **options)


def test_closing_twice_is_allowed(portrait: Path) -> None:
    """As a context manager and by hand."""
    with marotte.puppet(portrait) as puppet:
        puppet.close()


class Watched(MeshFlow):
    """The default generator with other needs, which keeps what it was driven by."""

    def __init__(self, needs: frozenset[Signal]) -> None:
        super().__init__()
        self.needs = needs
        self.features: list[Features] = []

    def inputs(self, state: Any, drive: Drive) -> Any:
        self.features.append(drive.features)
        return super().inputs(state, drive)


def test_a_generator_gets_every_signal_that_it_needs(portrait: Path, driver: list[Frame]) -> None:
    """Body, parsing mask and action units are measured where they are needed, and nowhere else."""
    opening = Opening()
    loaded = load(portrait, opening)
    seen = []
    for needs in (MeshFlow.needs, frozenset(Signal)):
        generator = Watched(needs)
        with ExitStack() as opened:
            session = open_session(replace(loaded, generator=generator), opening, opening.tracker(), opened)
            assert session.step(driver[0])[1].outcome is Outcome.GENERATED
        seen += generator.features
    plain, all_of_it = seen
    assert (plain.body, plain.parsing, plain.aus, plain.landmarks68) == (None, None, None, None)
    assert all_of_it.aus is not None
    assert all_of_it.parsing is not None
    assert all_of_it.landmarks68 is not None


def test_a_buffer_that_is_used_again_does_not_show(portrait: Path, driver: list[Frame]) -> None:
    """The source is copied: a caller's camera buffer, filled with the driver, never comes out as the portrait."""
    buffer = read_picture(portrait).copy()
    with marotte.puppet(buffer) as puppet:
        buffer[:] = (0, 255, 0)
        for rgb in (driver[0].rgb, np.zeros((240, 320, 3), np.uint8)):
            for time_s in (0.0, 10.0):
                picture = puppet(rgb, time_s)
                assert not (picture == (0, 255, 0)).all(axis=2).any()


@pytest.mark.parametrize("time_s", [float("nan"), float("inf"), 1e300, "now"])
def test_a_time_that_is_none_is_refused(puppet: Puppet, driver: list[Frame], time_s: Any) -> None:
    """Seconds are finite numbers."""
    with pytest.raises(InputError, match="time_s"):
        puppet(driver[0].rgb, time_s)


@pytest.mark.parametrize(
    "controls",
    [
        {"mouth": float("nan")},
        {"pose": -1.0},
        {"eyes": 1e5},
        {"au_offsets": {"AU12": 1e30}},
        {"au_offsets": None},
    ],
    ids=str,
)
def test_a_control_out_of_range_is_refused(puppet: Puppet, controls: dict[str, Any]) -> None:
    """What would distort every later frame is refused when it is set."""
    with pytest.raises(ConfigError):
        puppet.set(**controls)


@pytest.mark.parametrize(
    "options",
    [
        {"faces": 2.5},
        {"faces": "2"},
        {"faces": True},
        {"backend": None},
        {"cache": "a\0b"},
        {"task": 3},
        {"bundle": None},
    ],
    ids=str,
)
def test_an_option_of_a_wrong_type_is_refused(portrait: Path, options: dict[str, Any]) -> None:
    """Each option that opens something is checked in one place, for the API and the command alike."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        marotte.puppet(portrait, **options)
