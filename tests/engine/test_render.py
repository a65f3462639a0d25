"""Off-line rendering: files in, files out, nothing lost and nothing overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engine.errors import ConfigError, InputError, MarotteError, NoFaceError
from engine.marks import MarksConfig
from engine.media import open_media, read_picture
from engine.render import Tally, render
from engine.types import FrameReport, Outcome

pytestmark = pytest.mark.usefixtures("opened_once")


PLAIN = MarksConfig(badge=False, watermark=False)
"""Where what is generated is measured; the marks stand in tests/engine/marks."""


@pytest.fixture(scope="module")
def portrait(faces_root: Path) -> Path:
    return faces_root / "training" / "female_01.jpg"


@pytest.fixture(scope="module")
def clip(faces_root: Path) -> Path:
    """Fifteen frames, five a second."""
    return faces_root / "hard" / "five_fps.mp4"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.mp4"


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def after(frames: int, error: BaseException) -> Callable[[int, int | None], None]:
    """A progress that raises once so many frames are done."""

    def progress(done: int, total: int | None) -> None:
        if done == frames:
            raise error

    return progress


def test_a_clip_moves_a_picture(portrait: Path, clip: Path, out: Path) -> None:
    """The portrait's size, the driver's frames at the driver's times, and progress told frame by frame."""
    told: list[tuple[int, int | None]] = []
    tally = render(portrait, clip, out, progress=lambda done, total: told.append((done, total)))
    assert tally.outcomes == {"generated": 15}
    assert told == [(number, 15) for number in range(1, 16)]
    with open_media(clip) as given, open_media(out) as made:
        assert made.size == (256, 256)
        assert [frame.time_s for frame in made] == pytest.approx([frame.time_s for frame in given])
    assert left(out.parent) == {"out.mp4"}


def test_sound_and_rate_are_kept(portrait: Path, faces_root: Path, out: Path) -> None:
    """The driver's sound comes along, as long as the picture, and 29.97 stays 29.97."""
    driver = faces_root / "drivers" / "man_webcam_neutral_to_smile.mp4"
    render(portrait, driver, out)
    with av.open(str(driver)) as given, av.open(str(out)) as made:
        assert made.streams.video[0].average_rate == given.streams.video[0].average_rate
        lasted = [
            float(one.duration * one.time_base) for one in (made.streams.audio[0], made.streams.video[0])
        ]
    assert lasted[0] == pytest.approx(lasted[1], abs=0.1)


def test_a_picture_moves_a_picture(faces_root: Path, portrait: Path, tmp_path: Path) -> None:
    """A smile from one photograph on another: a picture when named so, else a clip of one frame."""
    driver = faces_root / "portraits" / "man_wide_smile_stubble.jpg"
    tally = render(portrait, driver, tmp_path / "moved.png", marks=PLAIN)
    assert tally.outcomes == {"generated": 1}
    moved, still = read_picture(tmp_path / "moved.png"), read_picture(portrait)
    assert moved.shape == still.shape
    assert np.abs(moved.astype(int) - still).mean() > 0.5
    render(portrait, driver, tmp_path / "moved.mp4")
    with open_media(tmp_path / "moved.mp4") as made:
        assert len(list(made)) == 1


def test_a_clip_and_pixels_are_sources_too(faces_root: Path, portrait: Path, tmp_path: Path) -> None:
    """Either side may be a picture or a clip, and a caller may hold the source decoded."""
    render(faces_root / "hard" / "vp8.webm", portrait, tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").shape == (320, 320, 3)
    render(read_picture(portrait), portrait, tmp_path / "b.png", report=tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text())["source"] == "a picture in memory"


def test_the_report_says_what_was_done_by_what(portrait: Path, faces_root: Path, tmp_path: Path) -> None:
    """Inputs, bundle, backend and why, versions, outcomes in order of time, and the cost of each stage."""
    driver = faces_root / "hard" / "black_then_face.mp4"
    render(portrait, driver, tmp_path / "o.mp4", report=tmp_path / "r.json")
    told = json.loads((tmp_path / "r.json").read_text())
    assert (told["source"], told["driver"]) == (str(portrait), str(driver))
    assert (told["bundle"], told["driver_pixels"], told["interrupted"]) == ("mesh_flow", False, False)
    assert told["backend"]["name"]
    assert told["backend"]["reason"]
    assert {"python", "numpy", "av"} <= set(told["versions"])
    assert told["frames"] == 75
    assert told["outcomes"] == {"waiting": 25, "generated": 50}
    assert told["reasons"] == {"no face": 25}
    assert told["spans"] == [
        {"outcome": "waiting", "from_s": 0.0, "frames": 25},
        {"outcome": "generated", "from_s": 1.0, "frames": 50},
    ]
    assert set(told["stages"]) == {"track", "features", "inputs", "render", "paste"}
    for figures in told["stages"].values():
        assert 0 < figures["median_ms"] <= figures["p95_ms"]


def test_an_interruption_keeps_what_was_rendered(portrait: Path, clip: Path, out: Path) -> None:
    """A playable clip of the frames so far, the report of them, and the interruption goes on to the caller."""
    report = out.with_suffix(".json")
    with pytest.raises(KeyboardInterrupt):
        render(portrait, clip, out, report=report, progress=after(6, KeyboardInterrupt()))
    with open_media(out) as made:
        assert len(list(made)) == 6
    told = json.loads(report.read_text())
    assert (told["interrupted"], told["frames"]) == (True, 6)
    assert left(out.parent) == {"out.mp4", "out.json"}


def test_an_interruption_before_the_first_frame_leaves_older_files_alone(
    portrait: Path, clip: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What shows nothing yet does not take the place of what an earlier render made."""
    report = out.with_suffix(".json")
    out.write_text("older clip")
    report.write_text("older report")
    for step in ("load", "write_frames"):
        with monkeypatch.context() as patch:
            patch.setattr(f"engine.render.{step}", interrupted)
            with pytest.raises(KeyboardInterrupt):
                render(portrait, clip, out, report=report)
        assert (out.read_text(), report.read_text()) == ("older clip", "older report")
        assert left(out.parent) == {"out.mp4", "out.json"}


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("faces", 2.5), ("faces", "2"), ("faces", True), ("bundle", None), ("backend", None), ("cache", 3),
        ("report", "a\0.json"), ("report", "a\ud800.json"), ("out", "a\0.mp4"), ("out", "a\udcff.mp4"), ("out", None),
    ],
)  # fmt: skip
def test_an_argument_of_another_kind_is_refused_by_name(option: str, value: object) -> None:
    """The caller reads which argument was wrong, in one line, before any file is opened."""
    arguments: dict[str, Any] = {"source": "none.jpg", "driver": "none.mp4", "out": "o.mp4"}
    with pytest.raises(ConfigError, match=f"^{option}: ") as refused:
        render(**(arguments | {option: value}))
    assert len(str(refused.value).splitlines()) == 1


def test_an_option_that_is_none_is_refused_by_name(portrait: Path, clip: Path, out: Path) -> None:
    """With the nearest one; a control that only a page has is none of a render's."""
    with pytest.raises(ConfigError, match="option: got 'expresion'; did you mean 'expression'"):
        render(portrait, clip, out, expresion="fear")
    with pytest.raises(ConfigError, match="option: got 'painted'"):
        render(portrait, clip, out, painted=())
    assert not left(out.parent)


def test_a_cache_may_be_named_as_text(portrait: Path, clip: Path, out: Path) -> None:
    """A name is a name, as text or as a path."""
    with pytest.raises(MarotteError, match="models pull"):
        render(portrait, clip, out, cache=str(out.parent / "no models"))


def test_a_failure_leaves_older_files_alone(portrait: Path, clip: Path, out: Path) -> None:
    """Half a clip never takes the place of a whole one, nor its report that of an older one."""
    report = out.with_suffix(".json")
    out.write_text("older clip")
    report.write_text("older report")
    with pytest.raises(InputError, match="broken off"):
        render(portrait, clip, out, report=report, progress=after(3, InputError("broken off")))
    assert (out.read_text(), report.read_text()) == ("older clip", "older report")
    assert left(out.parent) == {"out.mp4", "out.json"}


@pytest.mark.parametrize("role", ["source", "driver"])
@pytest.mark.parametrize("way", ["same", "link", "dots"])
def test_an_input_is_never_written_to(
    role: str, way: str, portrait: Path, clip: Path, tmp_path: Path
) -> None:
    """Not by its name, by another spelling of it or through a link; and it stays as it was."""
    path = tmp_path / ("mine.jpg" if role == "source" else "mine.mp4")
    path.write_bytes((portrait if role == "source" else clip).read_bytes())
    out = tmp_path / f"linked{path.suffix}" if way == "link" else path
    if way == "link":
        try:
            out.hardlink_to(path)
        except OSError:
            pytest.skip("this file system knows no hard links")
    if way == "dots":
        out = tmp_path / "." / "x" / ".." / path.name
        (tmp_path / "x").mkdir()
    before = path.read_bytes()
    inputs = {"source": portrait, "driver": clip} | {role: path}
    with pytest.raises(ConfigError, match=f"out: .* is also the {role}"):
        render(inputs["source"], inputs["driver"], out)
    with pytest.raises(ConfigError, match=f"report: .* is also the {role}"):
        render(inputs["source"], inputs["driver"], tmp_path / "other.mp4", report=out)
    assert path.read_bytes() == before


def test_two_outputs_are_two_files(portrait: Path, clip: Path, out: Path) -> None:
    """The report may not take the clip's name, though neither is there yet."""
    with pytest.raises(ConfigError, match=r"report: .* is also the out"):
        render(portrait, clip, out, report=out.parent / "out.mp4")
    assert not left(out.parent)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("out", "expected a name that ends in .mp4, .mov, .webm"),
        ("out.avi", "expected a name that ends in .mp4, .mov, .webm"),
        ("out.png", "the driver is a clip; expected an output such as out.mp4"),
        ("nowhere/out.mp4", "cannot be written"),
        ("folder.mp4", "is a folder: name a file in it"),
    ],
)
def test_an_output_that_cannot_be_is_refused_first(
    name: str, told: str, portrait: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a network is opened, let alone a frame rendered."""
    monkeypatch.setattr("engine.render.load", pytest.fail)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ConfigError, match=told):
        render(portrait, clip, tmp_path / name)
    assert left(tmp_path) == {"folder.mp4"}


def test_a_picture_without_a_face_does_not_drive(portrait: Path, faces_root: Path, out: Path) -> None:
    """One line that names the file, and nothing written."""
    with pytest.raises(NoFaceError, match=r"noise\.jpg: no face found; expected a driver"):
        render(portrait, faces_root / "hard" / "noise.jpg", out)
    assert not left(out.parent)


def test_driver_pixels_are_taken_only_by_name(portrait: Path, clip: Path, tmp_path: Path) -> None:
    """Off by default; named, it stands in the report and shows in the picture."""
    pictures = []
    for asked in (False, True):
        tally = render(portrait, clip, tmp_path / "o.mp4", driver_pixels=asked, marks=PLAIN)
        assert tally.about["driver_pixels"] is asked
        with open_media(tmp_path / "o.mp4") as made:
            pictures.append(list(made)[-1].rgb.astype(int))
    assert np.abs(pictures[0] - pictures[1]).mean() > 0.05


def report(outcome: Outcome, reason: str | None = None) -> FrameReport:
    return FrameReport(0, outcome, {"track": 0.004}, 0.0, reason=reason)


class Ends:
    """A reader and a writer that have something to tell at the end."""

    name, dropped, still = "d.mp4", 2, False
    notes = ("the sound is left out",)


def test_what_a_user_should_know_is_noted() -> None:
    """Left-out sound, damaged frames and frames that failed and faces that could not move are told; a passing
    loss of the face is not.
    """
    tally = Tally()
    tally.add(report(Outcome.GENERATED), 0.0)
    tally.add(report(Outcome.HELD, "no face"), 0.1)
    tally.add(report(Outcome.HELD, "RuntimeError: device lost"), 0.2)
    tally.most_faces = 1
    tally.conclude(Ends(), Ends(), faces=3, found=2)  # type: ignore[arg-type]
    assert tally.notes == [
        "the sound is left out",
        "2 of 3 faces were found in the source",
        "d.mp4: at most 1 of 2 faces moved at once; the others stand still",
        "d.mp4: 2 frames left out, being damaged",
        "1 frame failed, where the fallback stands (RuntimeError: device lost)",
    ]


def test_a_render_without_frames_has_a_report_too() -> None:
    """Interrupted before the first frame: zeros, not a crash."""
    told = Tally(interrupted=True).as_dict()
    assert (told["frames"], told["stages"], told["spans"]) == (0, {}, [])
    assert json.dumps(told)


def test_spans_follow_the_drivers_clock() -> None:
    """Outcomes are told with the time from which they held, at any frame rate."""
    tally = Tally()
    outcomes = [Outcome.WAITING] * 2 + [Outcome.GENERATED] * 3 + [Outcome.WAITING]
    for number, outcome in enumerate(outcomes):
        tally.add(report(outcome), float(number * Fraction(1, 4)))
    told = [(span["outcome"], span["from_s"], span["frames"]) for span in tally.as_dict()["spans"]]
    assert told == [("waiting", 0.0, 2), ("generated", 0.5, 3), ("waiting", 1.25, 1)]
