"""A clip to a tuned bundle: what is survived, found again, refused, and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import marotte
from engine.bundle import open_bundle
from engine.errors import InputError, NoFaceError
from engine.generators import open_generator
from engine.media import open_media, open_writer, read_picture
from engine.pipeline import Session
from engine.types import Controls, Frame, Mode, Outcome
from export.enrol import command
from export.enrol.moving import moving
from export.enrol.tracking import Alignment, Tracked, smooth_squares, track, write_crops
from export.labels import UNSTATED
from tests.engine.edit_scenes import Scripted, donor_source, edit_session, face_at, frame_at, rest
from trainers.stit.clip import Clip
from trainers.stit.stitching import Reach

FRAMES = 6
SIDE = 32


def landmarks(k: int) -> np.ndarray:
    """Eyes 30 px apart, walking to the right."""
    points = np.full((68, 2), (48.0 + k, 50.0))
    points[36:42, 0] -= 15
    points[42:48, 0] += 15
    points[36:48, 1] -= 10
    points[17:27, 1] -= 16
    points[:17, 1] += 28
    points[48], points[54] = (40.0 + k, 66.0), (56.0 + k, 66.0)
    return points


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Six frames of soft noise that walks with the landmarks."""
    noise = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (96, 112, 3), np.uint8), (0, 0), 3.0)
    path, tick = tmp_path / "clip.mp4", Fraction(1, 25)
    with open_writer(path, (96, 96), tick, Fraction(25)) as writer:
        for k in range(FRAMES):
            frame = np.ascontiguousarray(noise[:, 10 - k : 106 - k])
            writer.write(Frame(frame, k, tick, k / 25))
    return path


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Landmarks of all frames but the first and the fourth."""
    found = np.stack([landmarks(k) for k in range(FRAMES)])
    found[[0, 3]] = np.nan
    np.save(tmp_path / "marks.npy", found)
    return tmp_path / "marks.npy"


def pixels(path: Path) -> np.ndarray:
    """Of a small picture, which the engine's own reader does not take."""
    found = cv2.imread(str(path))
    assert found is not None
    return found


def silent(stage: str, done: int, total: int | None) -> None:
    """Nobody is told."""


@pytest.mark.full
def test_a_clip_becomes_a_bundle(
    clip: Path, marks: Path, stit: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frames without a face are left out, the person and the edits stand in the bundle, and a second run of the same
    command finds everything done."""
    weights = stit(widths=[8, 8, 8, 8])
    about = json.loads((weights / "checkpoint.json").read_text())
    width = about["arguments"]["generator"].get("w_dim", 512)
    (tmp_path / "d").mkdir()
    np.save(tmp_path / "d" / "smile.npy", np.full((18, width), 0.3))
    out = tmp_path / "person"
    line = [
        *("enrol", "stit", str(clip), "--weights", str(weights), "--out", str(out), "--device", "cpu"),
        *("--landmarks", str(marks), "--directions", str(tmp_path / "d"), "--edit", "smile=-2:2"),
        *("--set", "pivotal.passes=2", "--set", "pivotal.perceptual=gradient"),
        *(
            "--set",
            "pivotal.learning_rate=0.005",
            "--set",
            "stitching.passes=1",
            "--consent",
            "generated:the noise",
        ),
        *("--render", str(tmp_path / "film.mp4"), "--strength", "smile=2", "--stitch-steps", "2"),
    ]
    assert marotte.main(line) == 0
    said = capsys.readouterr().out
    assert "4 of 6 frames enrolled" in said
    assert "border error of smile 2" in said
    assert "rendered 6 frames, 4 of them edited" in said
    manifest = open_bundle(out).manifest
    facts = manifest.parameters.facts
    assert (facts["edits"], facts["edits_low"], facts["edits_high"]) == (["smile"], [-2.0], [2.0])
    assert facts["enrolled_frames"] == 4
    encoder, pivotal, _ = facts["enrolled_psnr_db"]
    assert pivotal > encoder
    assert {port.name for port in manifest.graphs["moving"].inputs} == {
        "ws",
        "strengths",
        "neutral",
        "puppet",
    }
    _plays(out)
    work = tmp_path / "person.enrolment"
    assert json.loads((work / "clip.json").read_text())["frames"] == [1, 2, 4, 5]
    assert read_picture(work / "preview.png").shape == (4 * SIDE, 4 * SIDE, 3)
    stamps = {path: path.stat().st_mtime_ns for path in work.rglob("*.npy")} | {
        path: path.stat().st_mtime_ns for path in work.rglob("0*.png")
    }
    assert marotte.main(line) == 0
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def _plays(bundle: Path) -> None:
    """In both modes, live: what is pasted is what the graphs give, and an edit moves it."""
    pair = open_generator(str(bundle))
    assert pair[0].modes == {Mode.EDIT, Mode.PUPPET}
    face, frame = face_at(160, 160), frame_at(0, (320, 320), seed=1)
    shown = []
    for strength in (0.0, 1.9):
        session = edit_session(pair, Scripted((face,)), controls=Controls(directions={"smile": strength}))
        picture, report = session.step(frame)
        assert report.outcome is Outcome.GENERATED, report.reason
        shown.append(picture.rgb)
    assert (shown[0] != shown[1]).any()
    puppet = Session(Scripted((face,)), *pair, [donor_source()], neutral=rest())
    assert puppet.step(frame)[1].outcome is Outcome.GENERATED
    pair[1].close()


def test_crops_are_found_again_and_cut_anew_by_other_rules(clip: Path, marks: Path, tmp_path: Path) -> None:
    """One that is missing is cut; another size clears the folder first."""
    tracked = track(clip, tmp_path / "work", silent, marks)
    work = tmp_path / "work"
    write_crops(clip, tracked, work, Alignment(SIDE), silent)
    kept, lost = work / "crops" / "000001.png", work / "crops" / "000004.png"
    stamp, data = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    write_crops(clip, tracked, work, Alignment(SIDE), silent)
    assert (kept.stat().st_mtime_ns, lost.read_bytes()) == (stamp, data)
    write_crops(clip, tracked, work, Alignment(16, most=2), silent)
    assert sorted(path.name for path in (work / "crops").iterdir()) == ["000001.png", "000005.png"]
    assert pixels(kept).shape == (16, 16, 3)
    np.save(work / "codes.npy", np.zeros((2, 4, 4), np.float32))
    masks = Clip(work).masks(0)
    assert 0 < masks.full.mean() < 1


def test_what_is_cut_walks_with_the_face(clip: Path, marks: Path, tmp_path: Path) -> None:
    """The same noise in every crop: the square follows the landmarks, apart on both sides of a gap."""
    tracked = track(clip, tmp_path / "work", silent, marks)
    squares = smooth_squares(tracked, Alignment(SIDE))
    assert np.diff(squares.centre[:, 0]).tolist() == pytest.approx([0.5, 2.5, 0.5], abs=0.35)
    still = smooth_squares(tracked, Alignment(SIDE, centre_sigma=0.0, axes_sigma=0.0))
    assert np.diff(still.centre[:, 0]).tolist() == pytest.approx([1.0, 2.0, 1.0])
    crops = []
    write_crops(clip, tracked, tmp_path / "work", Alignment(SIDE, centre_sigma=0.0), silent)
    for path in sorted((tmp_path / "work" / "crops").iterdir()):
        crops.append(pixels(path).astype(int))
    assert np.abs(crops[0] - crops[-1])[8:24, 8:24].mean() < 6


def test_nobody_anywhere_is_one_clear_error(clip: Path, tmp_path: Path) -> None:
    """The clip, how many frames it has, and what to do."""
    np.save(tmp_path / "none.npy", np.full((FRAMES, 68, 2), np.nan))
    with pytest.raises(NoFaceError, match=r"no face in any of its 6 frames; .*landmarks by a file"):
        track(clip, tmp_path / "work", silent, tmp_path / "none.npy")


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (np.zeros((5, 68, 2)), "landmarks of 5 frames"),
        (np.zeros((6, 70, 2)), "expected \\(frames, 68, 2\\)"),
        (np.array([{}]), "plain numbers"),
        (np.stack([landmarks(k) / 96.0 for k in range(FRAMES)]), "frame 0 lie at x 0.3"),
        (np.stack([landmarks(k) * 1e30 for k in range(FRAMES)]), "in pixels of 96 x 96"),
        (np.zeros((6, 68, 2), np.int64), "frame 0 lie at x 0 .. 0"),
    ],
    ids=["too few", "another layout", "a pickle", "shares", "far away", "a spot"],
)
def test_landmarks_that_do_not_fit_are_refused(
    clip: Path, tmp_path: Path, stored: np.ndarray, said: str
) -> None:
    """By name, before anything is cut."""
    np.save(tmp_path / "bad.npy", stored, allow_pickle=True)
    with pytest.raises(InputError, match=said):
        track(clip, tmp_path / "work", silent, tmp_path / "bad.npy")


def test_notes_that_are_damaged_are_made_anew(clip: Path, marks: Path, tmp_path: Path) -> None:
    """A disk that lost half of them is no end of an enrolment."""
    found = track(clip, tmp_path / "work", silent, marks)
    kept = tmp_path / "work" / "track.npz"
    whole = kept.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"PK\3\4", b"", b"\x93NUMPY\1\0v\0{(("):
        kept.write_bytes(damaged)
        assert track(clip, tmp_path / "work", silent, marks).frames == found.frames


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["enrol", "stitt", "clip.mp4"], "did you mean 'stit'"),
        (["enrol", "stit", "clip.mp4", "--edit", "smile"], "NAME=LOW:HIGH"),
        (["enrol", "stit", "clip.mp4", "--set", "pivotal.pases=1"], "did you mean 'passes'"),
        (["enrol", "stit", "clip.mp4", "--edit", "smile=3:1"], "lower one first"),
        (["enrol", "stit", "clip.mp4", "--edit", "smile=0:nan"], "strengths within -100 .. 100"),
        (["enrol", "stit", "clip.mp4", "--edit", "smile=-1e9:1"], "strengths within -100 .. 100"),
    ],
)
def test_a_wrong_command_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, and the fix."""
    line = [*words, "--weights", str(tmp_path / "w"), "--out", str(tmp_path / "out")]
    assert marotte.main(line) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_progress_says_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    """At most every ten seconds, and at a stage's end."""
    now = iter((0.0, 5.0, 20.0, 40.0))
    tell = command.teller(lambda: next(now))
    for done in (1, 2, 3, 4):
        tell("align", done, 4)
    tell("pack", 0, 1)
    tell("pack", 1, 1)
    assert capsys.readouterr().err.splitlines() == [
        "marotte: align: frame 3 of 4, about 10 s left",
        "marotte: align: frame 4 of 4",
        "marotte: pack: networks are exported and compared",
    ]
    now = iter((0.0, 1.0, 2.0, 3.0))
    tell = command.teller(lambda: next(now), photos=True)
    for stage, done, total in (("look", 1, 2), ("look", 2, 2), ("prepare", 0, 1), ("prepare", 1, 1)):
        tell(stage, done, total)
    assert capsys.readouterr().err.splitlines() == [
        "marotte: look: photo 2 of 2",
        "marotte: prepare: begun",
        "marotte: prepare: done",
    ]


def test_an_interruption_says_that_the_same_command_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At whatever stage it came, with the status of an interruption; before anything was made it is one as any."""

    class Packing:
        NEEDS_WEIGHTS, SILENT = "", ()
        begun = True

        @staticmethod
        def add_options(group: Any) -> None:
            """None of its own."""

        @classmethod
        def enrol(cls, options: Any, work: Path, tell: Any) -> None:
            if cls.begun:
                (work / "tuning").mkdir()
            raise KeyboardInterrupt

    monkeypatch.setitem(command.SYSTEMS, "stit", Packing)  # type: ignore[arg-type]
    line = ["enrol", "stit", "a.mp4", "--out", str(tmp_path / "out")]
    assert marotte.main(line) == 130
    assert f"the same command goes on from {tmp_path / 'out.enrolment'}" in capsys.readouterr().err
    monkeypatch.setattr(Packing, "begun", False)
    line[-1] = str(tmp_path / "other")
    assert marotte.main(line) == 130
    assert "goes on from" not in capsys.readouterr().err
    assert not (tmp_path / "other.enrolment").exists()


def test_a_licence_that_nobody_stated_is_said_to_be_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the same name as an export's; one that was stated passes as it is, and nothing is said."""
    given = []

    class Enrolling:
        NEEDS_WEIGHTS, SILENT = "", ()

        @staticmethod
        def add_options(group: Any) -> None:
            """None of its own."""

        @staticmethod
        def enrol(options: Any, work: Path, tell: Any) -> list[str]:
            given.append(options.licence)
            return []

    monkeypatch.setitem(command.SYSTEMS, "stit", Enrolling)  # type: ignore[arg-type]
    line = ["enrol", "stit", "a.mp4", "--out", str(tmp_path / "out")]
    assert marotte.main(line) == 0
    assert "its licence was not stated" in capsys.readouterr().err
    assert marotte.main([*line, "--licence", "CC0-1.0"]) == 0
    assert "licence" not in capsys.readouterr().err
    assert given == [UNSTATED, "CC0-1.0"]


def test_a_code_is_moved_by_edits_and_by_the_exchange_of_persons() -> None:
    """Half strengths, all rows alike; as a puppet the person replaces the driver's neutral code."""
    person = torch.full((1, 3, 2), 5.0)
    directions = {"a": np.array([2.0, 0.0]), "b": np.array([0.0, 4.0])}
    plan = moving(person, (Reach("b", -1, 3), Reach("a", 0, 1)), directions)
    ws, neutral = torch.ones(1, 3, 2), torch.full((1, 3, 2), 0.25)
    none, puppet = torch.zeros(1, 1), torch.ones(1, 1)
    edited = plan.module(ws, torch.tensor([[1.0, -1.0]]), neutral, none)
    assert edited[0].tolist() == [[0.0, 3.0]] * 3
    driven = plan.module(ws, torch.zeros(1, 2), neutral, puppet)
    assert driven.unique().tolist() == [5.75]
    assert plan.inputs[1].range == (-3.0, 3.0)
    assert moving(person, (), {}).inputs[1].shape == (1, 1)


@pytest.mark.full
def test_the_tracker_finds_the_face_of_a_clip(tmp_path: Path) -> None:
    """Without landmarks by file: points, person mask and drawn foreground of a real tracking."""
    clip = tmp_path / "driver.mp4"
    assert marotte.main(["sample", "--out", str(clip)]) == 0
    tracked = track(clip, tmp_path / "work", silent)
    assert isinstance(tracked, Tracked)
    with open_media(clip) as media:
        assert tracked.total == sum(1 for _ in media)
    write_crops(clip, tracked, tmp_path / "work", Alignment(64, most=3), silent)
    mask = pixels(next((tmp_path / "work" / "masks").iterdir()))
    assert 0.1 < (mask > 0).mean() < 0.95
