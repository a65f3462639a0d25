"""Every hard file behaves as its row of the manifest says, as far as reading it goes."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import DecodeError, MarotteError, TooLargeError, TooSmallError
from engine.media import VideoReader, open_media, open_writer, read_picture
from engine.types import U8

REFUSED: dict[str, type[MarotteError]] = {
    "audio_only.mp4": DecodeError,
    "empty.jpg": DecodeError,
    "empty.mp4": DecodeError,
    "huge_20000x15000.png": TooLargeError,
    "icon_32px.jpg": TooSmallError,
    "one_pixel_wide.png": TooSmallError,
    "text_named.jpg": DecodeError,
    "truncated.jpg": DecodeError,
    "truncated_no_index.mp4": DecodeError,
}
CUT_OUT = {"no_face.mp4": 3}
"""Frames that the file holds and that its own edit list takes out of the clip."""
DAMAGED = {"bit_errors.mp4", "truncated_playable.mp4"}
SAME_PICTURE = {
    # Other codings of one photograph, and how far (mean grey levels) each may be from the plainest one.
    "cmyk.jpg": 4.0,
    "exif_orientation_3.jpg": 2.5,
    "exif_orientation_6.jpg": 2.5,
    "exif_orientation_8.jpg": 2.5,
    "palette.png": 9.0,
    "photo.webp": 3.0,
    "progressive.jpg": 2.5,
}


@pytest.fixture(scope="module")
def rows(faces_root: Path) -> dict[str, dict[str, str]]:
    """The manifest's rows of hard/, by file name."""
    with (faces_root / "manifest.csv").open(newline="", encoding="utf-8") as file:
        return {
            Path(row["path"]).name: row for row in csv.DictReader(file) if row["path"].startswith("hard/")
        }


@pytest.fixture(scope="module")
def hard(faces_root: Path) -> Path:
    """The folder of hard files."""
    return faces_root / "hard"


def test_the_manifest_asks_for_errors_where_errors_come(rows: dict[str, dict[str, str]]):
    """Every file that the manifest wants refused is refused, by name."""
    asked = {name for name, row in rows.items() if row["expected"] in ("named error", "refused as too small")}
    asked |= {name for name, row in rows.items() if row["expected"].startswith("refused by size")}
    assert asked <= REFUSED.keys() <= rows.keys()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused_with_a_name_and_a_way_out(hard: Path, name: str):
    """A file that cannot be used raises its own error in one line that names the file and the next step."""
    with pytest.raises(REFUSED[name], match=name) as caught:
        open_media(hard / name)
    message = str(caught.value)
    assert "\n" not in message
    assert any(step in message for step in ("give ", "get the ", "scale it", "save it", "convert it"))


def test_every_other_file_decodes_as_stated(hard: Path, rows: dict[str, dict[str, str]]):
    """Everything else opens by content, with the size of its manifest row, and all frames unless damaged."""
    for name, row in rows.items():
        if name in REFUSED:
            continue
        with open_media(hard / name) as reader:
            frames = list(reader)
            width, height = map(int, row["size_px"].split("x"))
            assert reader.size == (width, height), name
            assert {frame.size for frame in frames} == {reader.size}, name
            assert (np.diff([frame.pts for frame in frames]) > 0).all(), name
            stated = int(row["frames"] or 1) - CUT_OUT.get(name, 0)
            assert len(frames) == stated if name not in DAMAGED else 0 < len(frames) < stated, name


def test_one_photograph_in_many_codings(hard: Path):
    """EXIF, palette, CMYK, WebP and progressive codings of one photograph decode alike, upright."""
    plain = read_picture(hard / "rgb16.png").astype(int)
    for name, bound in SAME_PICTURE.items():
        assert np.abs(read_picture(hard / name) - plain).mean() < bound, name
    grey = cv2.cvtColor(read_picture(hard / "rgb16.png"), cv2.COLOR_RGB2GRAY)[..., None].astype(int)
    for name in ("gray8.jpg", "gray16.png"):
        assert np.abs(read_picture(hard / name) - grey).mean() < 2.5, name


def test_alpha_is_laid_on_the_documented_grey(hard: Path):
    """The transparent corners of the cutout are mid grey, its middle is the photograph."""
    cutout, plain = read_picture(hard / "alpha_cutout.png"), read_picture(hard / "rgb16.png")
    assert (cutout[:20, :20] == 128).all()
    assert np.abs(cutout[200:300, 200:300].astype(int) - plain[200:300, 200:300]).mean() < 2.5


def test_damaged_frames_are_dropped_and_counted(hard: Path):
    """Frames with decoder errors are left out and counted; those before the damage are the clip's own."""
    with VideoReader(hard / "bit_errors.mp4") as reader:
        count = len(list(reader))
        assert reader.frame_count == 216
        assert count + reader.dropped == 216
        assert reader.dropped >= 10


def test_a_cut_clip_ends_cleanly(hard: Path):
    """All frames up to the cut come out and the iteration ends."""
    with VideoReader(hard / "truncated_playable.mp4") as reader:
        times = [frame.time_s for frame in reader]
    np.testing.assert_allclose(np.diff(times), 1 / 30, atol=1e-4)
    assert times[-1] > 3.5


def test_rotation_in_the_metadata_turns_the_frames(hard: Path):
    """The display matrix of 90 degrees turns the stored frames counter-clockwise."""
    turned, stored = first(hard / "rotate_90_metadata.mp4"), first(hard / "sixty_fps.mp4")
    assert np.abs(np.rot90(stored).astype(int) - turned).mean() < 6
    assert np.abs(stored.astype(int) - turned).mean() > 20


def first(path: Path) -> U8:
    """The first frame's pixels."""
    with VideoReader(path) as reader:
        return next(iter(reader)).rgb


@pytest.mark.parametrize("name", ["variable_frame_rate.mp4", "odd_size_444.mp4", "one_frame.mp4", "vp8.webm"])
def test_written_again_it_keeps_size_and_times(hard: Path, tmp_path: Path, name: str):
    """Size, number of frames, time stamps and rate survive reading and writing."""
    source, target = hard / name, tmp_path / "out.mp4"
    with open_media(source) as reader:
        frames = list(reader)
        with open_writer(target, reader.size, reader.time_base, reader.rate, source) as writer:
            for frame in frames:
                writer.write(frame)
    with open_media(target) as again:
        written = list(again)
        assert again.size == reader.size
        assert float(again.rate) == pytest.approx(float(reader.rate), rel=0.01)
    assert [frame.time_s for frame in written] == pytest.approx([frame.time_s for frame in frames], abs=1e-6)
    assert np.abs(written[0].rgb.astype(int) - frames[0].rgb).mean() < 3
