"""One session's pictures and sound in a file."""

from __future__ import annotations

import sys
from pathlib import Path

import av
import numpy as np
import pytest

from streaming.recording import taker
from streaming.recording.boxes import cut_to_whole, whole_bytes
from streaming.recording.finish import TAGS, finish
from streaming.recording.taker import Limits, Why
from tests.streaming.recording.stage import (
    FRAME_S,
    PACKET_S,
    Stage,
    beeps,
    flashes,
    onsets,
    picture,
    pictures,
    psnr,
    until,
)

MADE = {
    "bundle": "Mesh flow", "licence": "Apache-2.0", "bundle_sha256": None, "trained": False, "edits": False,
    "consent": [], "session": "s", "marks": [], "lowered": [], "when": "2026-11-22T10:00:00+00:00", "software": "",
}  # fmt: skip


def test_what_is_written_is_what_was_shown(tmp_path: Path) -> None:
    """Every picture, at its time, equal but for what the codec leaves away; and no track for sound where none is
    allowed."""
    stage = Stage(tmp_path / "a.part.mp4", sound=False)
    given = {number: picture(number) for number in range(20)}
    times = {number: number * FRAME_S + (0.4 if number >= 10 else 0.0) for number in given}
    for number, planes in given.items():
        stage.show(planes, 7.0 + times[number])
    stage.end()
    assert stage.ended == [(Why.ASKED, "")]
    found = list(pictures(stage.path))
    assert len(found) == 20
    for number, (at_s, planes) in enumerate(found):
        assert at_s == pytest.approx(times[number], abs=1e-4)
        assert psnr(planes, given[number]) > 36
    with av.open(str(stage.path)) as file:
        assert not file.streams.audio
        assert file.metadata["title"] == TAGS["title"] == "AI-generated"


def test_sound_is_where_its_picture_is(tmp_path: Path) -> None:
    """Flashes and beeps of the same moments: also where sound begins later than the pictures, is missing for a while,
    is put off more and more, and after the file was made whole."""
    moments = [0.6, 1.4, 2.2, 3.0, 3.8]
    packets = beeps(moments, 4.4)
    stage = Stage(tmp_path / "a.part.mp4")
    late = 0.0
    said = 10  # the first 200 ms are never said
    for number in range(round(4.4 / FRAME_S)):
        at_s = number * FRAME_S
        late = min(0.08, max(0.0, at_s - 1.0) * 0.05)  # pictures grow older: both are put off alike
        flash = any(moment <= at_s < moment + 0.1 for moment in moments)
        while said < len(packets) and said * PACKET_S < at_s + 0.05:
            if not 1.7 < said * PACKET_S < 2.0:
                stage.say(packets[said], 5.0 + said * PACKET_S + late)
            said += 1
        stage.show(picture(number, flash=flash), 5.0 + at_s + late)
    stage.end()
    part, whole = stage.path, tmp_path / "a.mp4"
    skews = _skews(part, len(moments))
    finish(part, whole, MADE)
    assert not part.exists()
    assert _skews(whole, len(moments)) == pytest.approx(skews, abs=0.002)


def _skews(path: Path, moments: int) -> list[float]:
    seen, heard = flashes(path), onsets(path)
    assert len(seen) == len(heard) == moments
    skews = [beep - flash for flash, beep in zip(seen, heard)]
    assert np.percentile(np.abs(skews), 95) <= 0.04
    return skews


def test_a_size_that_changes_is_fitted_in(tmp_path: Path) -> None:
    """The file keeps the size that it began with; what is of another one stands whole in its middle, on black."""
    stage = Stage(tmp_path / "a.mp4", sound=False)
    for number in range(6):
        size = (160, 128) if number < 3 else (128, 240)
        stage.show(picture(0, size), number * FRAME_S)
    stage.end()
    found = [planes for _, planes in pictures(stage.path)]
    assert {planes.shape for planes in found} == {(192, 160)}
    tall = found[-1][:128].astype(int)
    assert tall[:, :40].max() < 24
    assert tall[:, -40:].max() < 24
    inside = tall[4:-4, 48:112]
    assert inside.min() > 40
    assert inside.mean() == pytest.approx(picture(0, (128, 240))[:240].mean(), abs=4)


def test_what_a_killed_server_leaves_can_be_played(tmp_path: Path) -> None:
    """All but the last fragment is on the disk at any moment; cut where it is whole, and made whole by the next one."""
    stage = Stage(tmp_path / "a.part.mp4")
    for number in range(150):
        stage.show(picture(number), number * FRAME_S)
    until(lambda: stage.path.stat().st_size > 0)
    left = tmp_path / "left.part.mp4"
    left.write_bytes(stage.path.read_bytes() + b"\0\0\1\0moof and no more")
    stage.end()
    before = whole_bytes(left)
    assert cut_to_whole(left) == before == left.stat().st_size
    assert len(list(pictures(left))) == 120
    told = finish(left, tmp_path / "left.mp4", MADE)
    assert told["bytes"] == (tmp_path / "left.mp4").stat().st_size
    assert len(list(pictures(tmp_path / "left.mp4"))) == 120
    with av.open(str(tmp_path / "left.mp4")) as file:
        assert {name: file.metadata[name] for name in TAGS} == TAGS
    nothing = tmp_path / "nothing.part.mp4"
    nothing.write_bytes(left_head(tmp_path / "left.mp4"))
    with pytest.raises(OSError, match="no picture"):
        finish(nothing, tmp_path / "nothing.mp4", MADE)


def left_head(path: Path) -> bytes:
    return path.read_bytes()[:16]


@pytest.mark.skipif(sys.platform == "win32", reason="files are limited by POSIX here")
def test_a_disk_that_is_full_ends_it_whole(tmp_path: Path) -> None:
    """The system takes no more: what there is plays, the reason is told, and the pictures go on elsewhere."""
    import resource

    rng = np.random.default_rng(5)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    stage = Stage(tmp_path / "a.part.mp4")
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        for number in range(400):
            noise = rng.integers(60, 190, (192, 160), np.uint8)
            stage.show(picture(number) if number < 65 else noise, number * FRAME_S)
            if stage.ended:
                break
        until(lambda: stage.ended)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    ((why, told),) = stage.ended
    assert why is Why.FULL
    assert "File too large" in told
    stage.taker.end(Why.ASKED)
    assert not stage.newest.taken
    cut_to_whole(stage.path)
    assert len(list(pictures(stage.path))) >= 60


def test_an_encoder_that_fails_ends_it_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was encoded before is all there, and the reason is told."""
    stage = Stage(tmp_path / "a.part.mp4")
    for number in range(130):
        stage.show(picture(number), number * FRAME_S)

    def fail(*_: object) -> None:
        raise av.FFmpegError(-1, "the encoder broke")

    monkeypatch.setattr(taker.Writer, "picture", fail)
    stage.show(picture(0), 10.0)
    until(lambda: stage.ended)
    assert stage.ended[0][0] is Why.FAILED
    assert "the encoder broke" in stage.ended[0][1]
    assert len(list(pictures(stage.path))) >= 110  # x264 holds some back


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(minutes=0.02, floor=0), Why.MINUTES),
        (Limits(bytes=1, floor=0), Why.BYTES),
        (Limits(floor=1 << 60), Why.FLOOR),
    ],
)
def test_limits_end_it(tmp_path: Path, limits: Limits, why: Why) -> None:
    """Each by its name, with a file that is whole."""
    stage = Stage(tmp_path / "a.mp4", limits)
    for number in range(90):
        stage.show(picture(number), number * FRAME_S)
        if stage.ended:
            break
    until(lambda: stage.ended)
    assert stage.ended == [(why, "")]
    assert list(pictures(stage.path))


def test_the_sessions_end_is_its_end(tmp_path: Path) -> None:
    """Nothing is written of what comes after."""
    stage = Stage(tmp_path / "a.mp4")
    for number in range(5):
        stage.show(picture(number), number * FRAME_S)
    stage.newest.end()
    until(lambda: stage.ended)
    assert stage.ended == [(Why.SESSION, "")]
    assert len(list(pictures(stage.path))) == 5


def test_without_a_picture_there_is_no_file(tmp_path: Path) -> None:
    """Nothing came: nothing is left behind."""
    stage = Stage(tmp_path / "a.mp4")
    stage.end()
    assert not stage.path.exists()
