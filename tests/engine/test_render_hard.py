"""Every file that the manifest gives an expected behaviour behaves so through `render`, on either side.

The table below goes by the manifest's own words, so that another file with the same words is held to the same.
Where a face is optional, one that is found must be animated without a fault.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from engine.errors import DecodeError, InputError, NoFaceError, TooLargeError, TooSmallError
from engine.features.shape import fit_shape
from engine.geometry import eye_distance, head_pose
from engine.marks import MarksConfig
from engine.media import open_media, read_picture, resize_within
from engine.puppet import Opening
from engine.render import Tally, render
from engine.source import MAX_SIDE, find_faces
from engine.types import Face, Frame, HeadPose

PLAIN = MarksConfig(badge=False, watermark=False)
"""Where what is generated is measured; the marks stand in tests/engine/marks."""

pytestmark = pytest.mark.usefixtures("opened_once")

VIDEOS = {".mp4", ".mov", ".mkv", ".webm"}
PARTNER = "training/female_01.jpg"
"""The small picture that plays the other side."""


@dataclass
class Hard:
    """One hard file, with what happens to it."""

    path: Path
    frames: int | None
    partner: Path
    folder: Path

    @property
    def video(self) -> bool:
        return self.path.suffix in VIDEOS

    @property
    def out(self) -> Path:
        return self.folder / ("driven.mp4" if self.video else "driven.png")

    @property
    def still_out(self) -> Path:
        return self.folder / "moved.png"

    @cached_property
    def as_driver(self) -> Tally | InputError:
        return self._outcome(self.partner, self.path, self.out)

    @cached_property
    def as_source(self) -> Tally | InputError:
        return self._outcome(self.path, self.partner, self.still_out)

    def _outcome(self, source: Path, driver: Path, out: Path) -> Tally | InputError:
        try:
            tally = render(source, driver, out, marks=PLAIN)
        except InputError as error:
            return self._checked(error, out)
        assert not [reason for reason in tally.reasons if reason != "no face"]
        assert out.exists()
        return tally

    def _checked(self, error: InputError, out: Path) -> InputError:
        assert "\n" not in str(error)
        assert self.path.name in str(error)
        assert not out.exists()
        return error

    @cached_property
    def spans(self) -> list[str]:
        assert isinstance(self.as_driver, Tally)
        return [span.outcome for span in self.as_driver.spans]

    @cached_property
    def decoded(self) -> list[Frame]:
        with open_media(self.path) as media:
            return list(media)

    @cached_property
    def driven(self) -> list[Frame]:
        with open_media(self.out) as media:
            return list(media)

    def main_faces(self) -> list[Face | None]:
        """The tracked main face of every frame."""
        tracker = Opening().tracker()
        tracked = [tracker.track(frame) for frame in self.decoded]
        return [faces[0] if faces else None for faces in tracked]

    def found(self) -> list[Face]:
        """The faces of the picture as a source sees it, main face first."""
        rgb = resize_within(self.decoded[0].rgb, MAX_SIDE)
        return find_faces(rgb, Opening().detector())

    def pose(self) -> HeadPose:
        return head_pose(fit_shape(self.found()[0].points).rotation)


def refused(kind: type[InputError]) -> Callable[[Hard], None]:
    """On both sides, with this error, and without a file left."""

    def check(hard: Hard) -> None:
        assert isinstance(hard.as_driver, kind)
        assert isinstance(hard.as_source, kind)
        assert not list(hard.folder.iterdir())

    return check


def refused_quickly(hard: Hard) -> None:
    started = time.process_time()
    refused(TooLargeError)(hard)
    assert time.process_time() - started < 1.0


def moves(hard: Hard) -> None:
    """Both ways: every frame of it drives, and it is moved."""
    assert isinstance(hard.as_source, Tally)
    assert isinstance(hard.as_driver, Tally)
    assert set(hard.spans) == {"generated"}
    assert hard.as_driver.notes == []
    assert not np.array_equal(hard.driven[0].rgb, read_picture(hard.partner))


def moves_or_refused(hard: Hard) -> None:
    """No crash, and where it is taken it moves."""
    if isinstance(hard.as_source, Tally):
        assert hard.as_source.outcomes["generated"] == 1


def no_face(hard: Hard) -> None:
    """Nobody to move; as a driving clip, the portrait stands still and the user is told."""
    assert isinstance(hard.as_source, NoFaceError)
    if not hard.video:
        assert isinstance(hard.as_driver, NoFaceError)
        return
    assert hard.spans == ["waiting"]
    assert isinstance(hard.as_driver, Tally)
    assert "no face in any of" in hard.as_driver.notes[0]
    assert len(hard.driven) == len(hard.decoded)
    portrait = read_picture(hard.partner).astype(np.int16)
    assert max(float(np.abs(frame.rgb - portrait).mean()) for frame in hard.driven[::10]) < 3.0


def waits_then_moves(hard: Hard) -> None:
    assert hard.spans[:2] == ["waiting", "generated"]
    assert isinstance(hard.as_source, Tally)


def face_is_lost(hard: Hard) -> None:
    """Held, faded, and in the end the still portrait."""
    assert hard.spans == ["generated", "held", "faded"]
    portrait = read_picture(hard.partner).astype(np.int16)
    assert np.abs(hard.driven[-1].rgb - portrait).mean() < 3.0


def damaged_frames_are_left_out(hard: Hard) -> None:
    assert isinstance(hard.as_driver, Tally)
    assert hard.frames is not None
    assert 0 < hard.as_driver.frames < hard.frames
    assert "left out, being damaged" in hard.as_driver.notes[0]
    assert isinstance(hard.as_source, Tally)


def moves_up_to_the_cut(hard: Hard) -> None:
    """All that can be decoded, with at most the frame at the cut itself left out."""
    assert isinstance(hard.as_driver, Tally)
    assert hard.frames is not None
    assert hard.frames - 1 <= hard.as_driver.frames <= hard.frames
    assert hard.spans == ["generated"]
    assert len(hard.driven) == hard.as_driver.frames


def every_frame_moves(hard: Hard) -> None:
    """Off-line nothing is dropped: as many frames come out as go in, at the same times."""
    moves(hard)
    assert len(hard.driven) == hard.frames
    for given, made in zip(hard.decoded, hard.driven, strict=True):
        assert made.time_s == pytest.approx(given.time_s, abs=1e-4)


def keeps_its_size(hard: Hard) -> None:
    every_frame_moves(hard)
    assert read_picture(hard.still_out).shape == hard.decoded[0].rgb.shape


def jitter_is_under_control(hard: Hard) -> None:
    """Trembling (second differences of the mesh, in eye distances) does not grow on its way into the portrait."""
    moves(hard)
    tracker = Opening().tracker()
    made = [tracker.track(frame)[0] for frame in hard.driven]
    given = [face for face in hard.main_faces() if face is not None]
    assert trembling(made) < 1.1 * trembling(given)


def trembling(faces: list[Face]) -> float:
    points = np.stack([face.points[:468, :2] / eye_distance(face.points[:, :2]) for face in faces])
    return float(np.sqrt(np.mean(np.diff(points, 2, axis=0) ** 2)))


def starts_anew_at_the_cut(hard: Hard) -> None:
    """Two people, two tracks, and not one frame shows the fallback."""
    moves(hard)
    ids = [face.track_id for face in hard.main_faces() if face is not None]
    assert len(set(ids)) == 2
    assert sum(a != b for a, b in pairwise(ids)) == 1


def one_face_is_kept(hard: Hard) -> None:
    """Who is followed stays the same from the first frame with a face on."""
    faces = [face for face in hard.main_faces() if face is not None]
    assert len({face.track_id for face in faces}) == 1
    assert hard.spans[-1] == "generated"
    assert isinstance(hard.as_source, Tally)


def the_most_prominent_is_picked(hard: Hard) -> None:
    """The stated rule: large and in the middle comes first; more are moved when asked for."""
    moves(hard)
    faces = hard.found()
    assert len(faces) >= 2
    both = render(hard.path, hard.partner, hard.folder / "both.png", faces=2, marks=PLAIN)
    assert both.outcomes["generated"] == 1
    height, width = resize_within(hard.decoded[0].rgb, MAX_SIDE).shape[:2]
    one, two = (changed(hard.still_out, hard.path, face, (width, height)) for face in faces[:2])
    assert one > two


def changed(out: Path, path: Path, face: Face, size: tuple[int, int]) -> float:
    """Mean change of grey level within a face's box."""
    was, now = resize_within(read_picture(path), MAX_SIDE), read_picture(out)
    assert (now.shape[1], now.shape[0]) == size
    x0, y0, x1, y1 = (max(0, int(value)) for value in face.box)
    return float(np.abs(was[y0:y1, x0:x1].astype(np.int16) - now[y0:y1, x0:x1]).mean())


def upright(hard: Hard) -> None:
    moves(hard)
    assert abs(hard.pose().roll) < 20


def lies_as_its_matrix_says(hard: Hard) -> None:
    """Turned by a quarter or not at all; which way is held by the tests of the reader."""
    moves(hard)
    assert abs((hard.pose().roll + 45) % 90 - 45) < 20


def turned(low: float, high: float) -> Callable[[Hard], None]:
    """By so many degrees of yaw."""

    def check(hard: Hard) -> None:
        moves(hard)
        assert low < abs(hard.pose().yaw) < high

    return check


def nobody_or_rolled(degrees: float) -> Callable[[Hard], None]:
    """A face is found as it lies, or not at all."""

    def check(hard: Hard) -> None:
        if isinstance(hard.as_source, NoFaceError):
            return
        assert abs(abs(hard.pose().roll) - degrees) < 25

    return check


def not_taken_for_a_person(hard: Hard) -> None:
    """Decoded, so the error is about the face and not about the file."""
    refused(NoFaceError)(hard)
    assert not isinstance(hard.as_source, DecodeError)


CHECKS: dict[str, Callable[[Hard], None]] = {
    "named error": refused(DecodeError),
    "refused as too small": refused(TooSmallError),
    "refused by size before decoding": refused_quickly,
    "no face or named error": refused(InputError),
    "no face below the size limit": refused(InputError),
    "no face": no_face,
    "decode by content; no human face": not_taken_for_a_person,
    "decode": moves,
    "decode to RGB": moves,
    "decode to RGB by documented rule": moves,
    "8-bit RGB, same picture": moves,
    "8-bit frames": every_frame_moves,
    "face": moves,
    "upright face": upright,
    "rotation applied, or documented": lies_as_its_matrix_says,
    "face with large yaw": turned(30, 80),
    "face with moderate yaw": turned(15, 50),
    "no face, or roll near 90": nobody_or_rolled(90),
    "no face, or roll near 180": nobody_or_rolled(180),
    "face or no face; no crash": moves_or_refused,
    "face, or low confidence": moves_or_refused,
    "low confidence or no face": moves_or_refused,
    "low confidence or no face; no crash": moves_or_refused,
    "decode or a named error": moves_or_refused,
    "decode to RGB or a named error": moves_or_refused,
    "two faces; pick by documented rule": the_most_prominent_is_picked,
    "many faces; pick by documented rule": the_most_prominent_is_picked,
    "stable choice of one face": one_face_is_kept,
    "several faces that grow; stable choice of one": one_face_is_kept,
    "tracker and smoother reset at the cut": starts_anew_at_the_cut,
    "waits, then animates": waits_then_moves,
    "face acquired mid-clip": waits_then_moves,
    "face lost, state resets": face_is_lost,
    "face; jitter under control": jitter_is_under_control,
    "frames with errors dropped; no crash": damaged_frames_are_left_out,
    "frames up to the cut, then a clean end": moves_up_to_the_cut,
    "frames of the same size": keeps_its_size,
    "one output frame": every_frame_moves,
    "smoothing in seconds, not frames": every_frame_moves,
    "drops frames, keeps latency": every_frame_moves,
    "time stamps preserved": every_frame_moves,
}
"""What the manifest's column `expected` asks for."""


@pytest.fixture(scope="module")
def rows(faces_root: Path) -> list[dict[str, str]]:
    """The manifest's rows that expect something."""
    with (faces_root / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["expected"]]


def test_every_expectation_of_the_manifest_has_a_check(rows: list[dict[str, str]]) -> None:
    """A new kind of hard file cannot pass unseen."""
    assert {row["expected"] for row in rows} <= set(CHECKS)


@pytest.mark.parametrize("expected", CHECKS)
def test_files_behave_as_the_manifest_expects(
    expected: str, rows: list[dict[str, str]], faces_root: Path, tmp_path: Path
) -> None:
    """What a hard file does through `render`, as source and as driver, is what its row of the manifest says."""
    chosen = [row for row in rows if row["expected"] == expected]
    if not chosen:
        pytest.skip(f"the manifest expects {expected!r} of no file")
    for row in chosen:
        folder = tmp_path / row["path"].replace("/", " ")
        folder.mkdir()
        frames = int(row["frames"]) if row["frames"] else None
        CHECKS[expected](Hard(faces_root / row["path"], frames, faces_root / PARTNER, folder))
