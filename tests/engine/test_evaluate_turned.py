"""Turned heads of held-back frames: what is held back, what is compared, and a real clip from end to end."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import marotte
from engine.errors import InputError
from engine.evaluate import turned, turned_run
from engine.evaluate.clip import Clip
from engine.evaluate.turned import Halves, Made, Truth, halves, nearest, scored, wins
from engine.media import open_media
from engine.types import Face, Frame
from tests.engine.edit_scenes import face_at
from tests.engine.warp_files import write_warp

TIMES = np.arange(100) / 10


def yaws(**turns: float) -> np.ndarray:
    """Looking ahead but for stretches, f20_25=18 from frame 20 to 24."""
    found = np.zeros(100)
    for name, yaw in turns.items():
        start, stop = (int(part) for part in name[1:].split("_"))
        found[start:stop] = yaw
    return found


def test_the_end_with_more_turned_frames_is_held_back_and_a_gap_is_left() -> None:
    """40 % of the time at either end, half a second between both parts, the turned frames of the held one alone."""
    late = halves(yaws(f20_25=18, f70_80=-16), TIMES)
    assert (late.enrolment, late.held, late.scored) == (range(55), range(60, 100), tuple(range(70, 80)))
    early = halves(yaws(f0_30=18, f70_80=-16), TIMES)
    assert (early.held.start, early.held.stop, early.enrolment.stop) == (0, 40, 100)
    assert TIMES[early.enrolment.start] - TIMES[early.held.stop - 1] > turned.GAP_S
    assert early.scored == tuple(range(30))


def test_a_clip_without_turned_heads_or_a_face_to_enrol_is_refused() -> None:
    """With both counts; a frame without a face is not turned."""
    with pytest.raises(InputError, match="0 frames of either end are turned by more than 15 degrees"):
        halves(yaws(f45_50=40, f70_80=15), TIMES)
    nobody = np.where(np.arange(100) < 60, np.nan, 20.0)
    with pytest.raises(InputError, match="0 frames with a face"):
        halves(nobody, TIMES)


def truth(count: int = 3) -> Truth:
    numbers = np.random.default_rng(3)
    rgb = [numbers.integers(0, 256, (96, 128, 3)).astype(np.uint8) for _ in range(count)]
    frames = tuple(Frame(one, k, Fraction(1, 25), k / 25) for k, one in enumerate(rgb))
    face = face_at(60, 50)
    clip = Clip("p", frames, ((face,),) * count, (), ())
    points = np.stack([face.points] * count)
    return Truth(clip, tuple(range(count)), tuple(rgb), points, np.array([16.0, 20.0, 30.0])[:count])


class Same:
    """Finds the same face in every picture, shifted by as many pixels as its first one tells."""

    def __init__(self, face: Face) -> None:
        self._face = face

    def detect(self, rgb: np.ndarray, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]:
        from dataclasses import replace

        points = self._face.points.copy()
        points[:, 0] += float(rgb[0, 0, 0] == 7)
        return (replace(self._face, points=points),)


def test_figures_are_those_of_the_protocol() -> None:
    """An equal picture has the ceiling and no distance; one whose face is found a pixel aside has its distance."""
    known = truth()
    tracker = Same(known.clip.faces[0][0])
    means, frames = scored(Made(known.pictures, 2), known, tracker)  # type: ignore[arg-type]
    assert (means["psnr_face"], means["akd"], means["detected"]) == (60.0, 0.0, 1.0)
    assert means["shown"] == pytest.approx(2 / 3)
    aside = known.pictures[1].copy()
    aside[0, 0, 0] = 7
    grey = np.clip(known.pictures[2].astype(int) // 2, 0, 255).astype(np.uint8)
    means, frames = scored(Made((known.pictures[0], aside, grey), 3), known, tracker)  # type: ignore[arg-type]
    eyes = float(np.linalg.norm(known.points[0, 33, :2] - known.points[0, 263, :2]))
    assert frames[1]["akd"] == pytest.approx(1 / eyes, rel=1e-4)
    assert means["akd"] == pytest.approx(1 / eyes / 3, rel=1e-4)
    assert frames[2]["psnr_face"] < 15 < frames[1]["psnr_face"]


def test_the_nearest_picture_is_taken_frame_by_frame() -> None:
    """By yaw alone: the default generator is given the best of the pictures, not one of them throughout."""
    known = truth()
    made = [Made(tuple(np.full((4, 4, 3), 10 * n + k, np.uint8) for k in range(3)), 3 - n) for n in range(2)]
    best, which = nearest(made, [14.0, 27.0], known)
    assert which == (0, 0, 1)
    assert [int(one[0, 0, 0]) for one in best.pictures] == [0, 1, 12]


def test_a_bundle_wins_by_both_figures_or_not_at_all() -> None:
    """Better colours with a face that lies elsewhere are no win; a rival without a face has lost its own."""
    ours = {"psnr_face": 25.0, "akd": 0.02}
    assert wins({turned.OURS: ours, "rival": {"psnr_face": 24.0, "akd": 0.03}}, "rival")
    assert not wins({turned.OURS: ours, "rival": {"psnr_face": 24.0, "akd": 0.01}}, "rival")
    assert not wins({turned.OURS: ours, "rival": {"psnr_face": 26.0, "akd": 0.03}}, "rival")
    assert not wins({turned.OURS: {**ours, "akd": None}, "rival": ours}, "rival")


def test_the_enrolment_part_is_written_and_nothing_of_the_rest(tmp_path: Path) -> None:
    """Frames from its first on, in the clip's time."""
    frames = tuple(
        Frame(np.full((64, 80, 3), 10 * k, np.uint8), 3 * k, Fraction(1, 30), k / 10) for k in range(10)
    )
    clip = Clip("p", frames, ((),) * 10, (), ())
    turned.write_enrolment(tmp_path / "part.mp4", clip, Halves(range(5, 9), range(3), (0,)))
    with open_media(tmp_path / "part.mp4") as media:
        found = list(media)
    assert [round(float(frame.rgb.mean()) / 10) for frame in found] == [5, 6, 7, 8]
    assert [round(frame.time_s, 3) for frame in found] == [0.0, 0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--turned", "--portraits", "p"], "turned heads have none"),
        (["--turned", "20", "--border"], "neither --requests nor --border"),
        (["--turned", "95"], "expected 0 .. 90"),
        (["--sources", "2", "--border"], "add --turned"),
    ],
)
def test_options_that_do_not_go_together_are_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2."""
    (tmp_path / "d.mp4").write_bytes(b"")
    line = ["evaluate", "--out", str(tmp_path / "o"), "--drivers", str(tmp_path / "d.mp4"), *words]
    assert marotte.main(line) == 2
    assert said in capsys.readouterr().err


@pytest.mark.full
def test_a_real_clip_is_compared_by_the_command(faces_root: Path, models: None, tmp_path: Path) -> None:
    """A bundle that shows its last picture through the flow beside the default generator: every figure, parts apart,
    sheet and enrolment clip; a clip that looks ahead is refused by name."""
    bundle, out = write_warp(tmp_path / "bundle", sources=2), tmp_path / "out"
    drivers = tmp_path / "drivers"
    drivers.mkdir()
    for name in ("woman_strong_expressions.mp4", "man_wide_mouth_frontal.mp4"):
        (drivers / name).symlink_to(faces_root / "drivers" / name)
    line = ["evaluate", "--turned", "--drivers", str(drivers), "--bundle", str(bundle), "--out", str(out)]
    assert marotte.main(line) == 0
    found = json.loads((out / "metrics.json").read_text())
    assert "man_wide_mouth_frontal" in found["refused"]
    row = found["clips"]["woman_strong_expressions"]
    assert row["enrolment"][1] < row["held"][0] or row["held"][1] < row["enrolment"][0]
    assert all(abs(frame["yaw"]) > 15 for frame in row["frames"])
    assert len(row["pictures"]) == 2
    scores = row["scores"]
    assert set(scores) == {turned.OURS, turned.AHEAD, turned.NEAREST, turned.LIMIT}
    assert all(one["detected"] == 1.0 for label, one in scores.items() if label != turned.OURS)
    assert scores[turned.LIMIT]["psnr_face"] > scores[turned.OURS]["psnr_face"]
    assert scores[turned.NEAREST]["psnr_face"] > 25.0
    assert (out / "sheets" / "woman_strong_expressions.png").is_file()
    with open_media(out / "enrolment" / "woman_strong_expressions.mp4") as media:
        assert media.size[0] <= 512


def test_what_is_not_there_is_refused_and_a_clip_that_gives_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A clip's name is no folder's; a report without a clip looks like one of fewer clips."""
    line = ["evaluate", "--turned", "--bundle", "mesh_flow", "--out", str(tmp_path / "out"), "--drivers"]
    assert marotte.main([*line, str(tmp_path / "no.mp4")]) == 2
    assert "no.mp4: is not there; name a clip or a folder" in capsys.readouterr().err
    monkeypatch.setattr(
        turned_run, "evaluate_turned", lambda *given, **named: {"refused": {"still": "no turn"}}
    )
    assert marotte.main([*line, str(tmp_path)]) == 0
    assert "left out: still: no turn" in capsys.readouterr().err
