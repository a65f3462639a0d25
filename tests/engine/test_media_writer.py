"""Writing videos: sizes, times, colours, sound, and what is left when it stops early."""

from __future__ import annotations

import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engine.errors import ConfigError, InputError
from engine.media import VideoReader, VideoWriter, open_writer
from engine.media.planes import i420_of
from engine.types import U8, Frame

TICK = Fraction(1, 1000)
RATE = Fraction(25)
SIZE = (96, 80)
SOUND_RATE = 44_100
FLASH_S = 1.2


def frame(level: int, time_ms: int, size: tuple[int, int] = SIZE) -> Frame:
    """A flat grey frame."""
    return Frame(np.full((size[1], size[0], 3), level, np.uint8), time_ms, TICK, 0.0)


def write(path: Path, count: int = 10, audio_from: Path | None = None) -> VideoWriter:
    """A clip of flat frames, 25 a second, whose frame at FLASH_S is white."""
    with VideoWriter(path, SIZE, TICK, RATE, audio_from) as writer:
        for index in range(count):
            writer.write(frame(255 if index == round(FLASH_S * 25) else 40, 40 * index))
    return writer


def write_until(error: BaseException, writer: VideoWriter, count: int) -> None:
    """Write `count` frames, then fail."""
    with writer:
        for index in range(count):
            writer.write(frame(40 + index, 40 * index))
        raise error


def colours() -> U8:
    """Saturated and grey patches of 32 pixels, uint8 (256, 320, 3)."""
    levels = np.random.default_rng(5).integers(0, 256, (8, 10, 3))
    levels[0] = np.linspace(0, 255, 10)[:, None]
    levels[1, :6] = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255)]
    return levels.astype(np.uint8).repeat(32, 0).repeat(32, 1)


def test_planes_hold_the_mean_chroma():
    """Luma is BT.601 limited range for each pixel, chroma the mean of each square of four."""
    rgb = np.random.default_rng(2).integers(0, 256, (8, 12, 3), np.uint8)
    planes = i420_of(rgb).astype(float)
    red, green, blue = np.moveaxis(rgb.astype(float), 2, 0)
    luma = 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    np.testing.assert_allclose(planes[:8], luma, atol=1)
    for start, weights in ((8, (-37.797, -74.203, 112.0)), (10, (112.0, -93.786, -18.214))):
        full = 128 + (weights[0] * red + weights[1] * green + weights[2] * blue) / 255
        mean = full.reshape(4, 2, 6, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(planes[start : start + 2].reshape(4, 6), mean, atol=1.5)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm"])
@pytest.mark.parametrize("crop", [(320, 256), (319, 255)], ids=["even", "odd"])
def test_colours_come_back(tmp_path: Path, suffix: str, crop: tuple[int, int]):
    """Flat patches decode within 3 grey levels, for even and odd sizes, and the size stays."""
    rgb = np.ascontiguousarray(colours()[: crop[1], : crop[0]])
    with VideoWriter(tmp_path / f"out{suffix}", crop, TICK, RATE) as writer:
        for index in range(3):
            writer.write(Frame(rgb, 40 * index, TICK, 0.0))
    with VideoReader(tmp_path / f"out{suffix}") as reader:
        assert reader.size == crop
        decoded = list(reader)[-1].rgb
    inside = (slice(16, None, 32), slice(16, None, 32))
    np.testing.assert_allclose(decoded[inside].astype(int), rgb[inside].astype(int), atol=3)


def test_the_colour_matrix_is_tagged(tmp_path: Path):
    """The file says what its planes were made with, so that no player has to guess from the size."""
    write(tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_range, context.color_primaries) == (6, 1, 1)
        assert context.pix_fmt == "yuv420p"


@pytest.mark.parametrize(
    "base", [Fraction(1, 1000), Fraction(1, 90_000), Fraction(1, 15_360), Fraction(1001, 24_000)]
)
def test_times_and_rate_are_kept(tmp_path: Path, base: Fraction):
    """Time stamps come back exactly in MP4 whatever their unit, uneven steps included."""
    step = max(1, round(Fraction(1, 24) / base))
    pts = [step * index for index in (0, 1, 2, 5, 6, 9)]
    with VideoWriter(tmp_path / "out.mp4", SIZE, base, 1 / (base * step)) as writer:
        for value in pts:
            writer.write(Frame(np.full((80, 96, 3), 90, np.uint8), value, base, 0.0))
    with VideoReader(tmp_path / "out.mp4") as reader:
        times = [frame.pts * frame.time_base for frame in reader]
    assert times == [value * base for value in pts]


def test_frames_of_another_time_base_are_placed_by_their_time(tmp_path: Path):
    """A frame's own time base counts, not the writer's."""
    with VideoWriter(tmp_path / "out.mp4", SIZE, TICK, RATE) as writer:
        for index in range(3):
            writer.write(Frame(np.full((80, 96, 3), 90, np.uint8), index, Fraction(1, 10), 0.0))
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert [frame.time_s for frame in reader] == [0, 0.1, 0.2]


def test_one_frame_lasts_one_step(tmp_path: Path):
    """A video of one frame has the length that the rate gives."""
    write(tmp_path / "out.mp4", 1)
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert len(list(reader)) == 1
        assert reader.duration_s == pytest.approx(0.04)


def driver(path: Path, codec: str, kind: str) -> Path:
    """Two seconds of dark picture and silence, with a white frame and a burst of tone at FLASH_S."""
    with av.open(str(path), "w", format=kind) as output:
        video = output.add_stream("mpeg1video" if kind == "mpeg" else "libx264", rate=25)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        sound = output.add_stream(codec, rate=SOUND_RATE if codec != "libopus" else 48_000, layout="mono")
        rate = sound.codec_context.sample_rate
        times = np.arange(2 * rate) / rate
        tone = np.where(np.abs(times - FLASH_S - 0.02) < 0.02, np.sin(2 * np.pi * 1000 * times), 0) * 0.8
        sound.codec_context.open()
        for index in range(50):
            planes = av.VideoFrame.from_ndarray(i420_of(frame(255 if index == 30 else 40, 0).rgb), "yuv420p")
            planes.pts, planes.time_base = index, Fraction(1, 25)
            output.mux(video.encode(planes))
        chunk = sound.codec_context.frame_size or 1024
        resampler = av.AudioResampler(sound.codec_context.format, "mono", rate)
        for start in range(0, len(tone) - chunk, chunk):
            samples = av.AudioFrame.from_ndarray(
                tone[None, start : start + chunk].astype(np.float32), "fltp", "mono"
            )
            samples.sample_rate, samples.pts, samples.time_base = rate, start, Fraction(1, rate)
            for made in resampler.resample(samples):
                output.mux(sound.encode(made))
        output.mux(video.encode(None))
        output.mux(sound.encode(None))
    return path


def burst_s(path: Path) -> tuple[str, float, float]:
    """The sound's codec, the time at which its tone begins, and where the sound ends, in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        start = float(container.start_time or 0) / av.time_base if container.format.name == "mpeg" else 0.0
        frames = list(container.decode(stream))
        rate = stream.codec_context.sample_rate
        sound = np.concatenate([frame.to_ndarray().astype(np.float64).mean(0) for frame in frames])
        first = frames[0].time - start
        loud = np.flatnonzero(np.abs(sound) > 0.3 * np.abs(sound).max())
        return stream.codec_context.name, first + loud[0] / rate, first + len(sound) / rate


@pytest.mark.parametrize(
    ("codec", "source", "target", "written"),
    [
        ("aac", "in.mp4", "out.mp4", "aac"),
        ("aac", "in.mp4", "out.webm", "opus"),
        ("libmp3lame", "in.mp4", "out.mp4", "mp3float"),
        ("libopus", "in.webm", "out.webm", "opus"),
        ("libopus", "in.webm", "out.mp4", "aac"),
        ("mp2", "in.mpg", "out.mp4", "aac"),
        ("pcm_s16le", "in.mov", "out.mp4", "aac"),
    ],
)
def test_sound_stays_in_step(tmp_path: Path, codec: str, source: str, target: str, written: str):
    """Copied or coded anew, the tone still begins with the white frame, within a hundredth of a second."""
    kinds = {".mp4": "mp4", ".webm": "matroska", ".mpg": "mpeg", ".mov": "mov"}
    path = driver(tmp_path / source, codec, kinds[Path(source).suffix])
    before = burst_s(path)
    writer = write(tmp_path / target, 50, path)
    name, start, end = burst_s(tmp_path / target)
    assert writer.notes == []
    assert name == written
    assert start == pytest.approx(before[1], abs=0.01)
    assert start == pytest.approx(FLASH_S, abs=0.03)
    assert end == pytest.approx(2.0, abs=0.06)
    with VideoReader(tmp_path / target) as reader:
        flash = [frame.time_s for frame in reader if frame.rgb.mean() > 200]
    assert flash == [pytest.approx(FLASH_S, abs=1e-3)]


def test_sound_ends_with_the_picture(tmp_path: Path):
    """Where the picture stops early, so does the sound."""
    path = driver(tmp_path / "in.mp4", "aac", "mp4")
    write(tmp_path / "out.mp4", 10, path)
    assert burst_s_end(tmp_path / "out.mp4") == pytest.approx(0.4, abs=0.03)


def burst_s_end(path: Path) -> float:
    """Where the sound ends, in seconds."""
    with av.open(str(path)) as container:
        return max(
            float(frame.time) + frame.samples / frame.sample_rate for frame in container.decode(audio=0)
        )


def test_a_driver_without_sound_gives_none(tmp_path: Path):
    """No sound in, no sound out, and no note."""
    write(tmp_path / "in.mp4")
    writer = write(tmp_path / "out.mp4", 10, tmp_path / "in.mp4")
    assert writer.notes == []
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


def test_sound_that_cannot_be_taken_is_noted(tmp_path: Path):
    """A source of sound that does not open costs the sound, never the video, and a note says so."""
    (tmp_path / "text.mp4").write_text("words " * 50)
    writer = write(tmp_path / "out.mp4", 10, tmp_path / "text.mp4")
    assert "sound is left out" in writer.notes[0]
    with VideoReader(tmp_path / "out.mp4") as reader:
        assert len(list(reader)) == 10


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm"])
def test_an_interruption_keeps_what_was_written(tmp_path: Path, suffix: str):
    """After an interruption the file is whole, with every frame that was written and its sound."""
    path = driver(tmp_path / "in.mp4", "aac", "mp4")
    target = tmp_path / f"out{suffix}"
    with pytest.raises(KeyboardInterrupt):
        write_until(KeyboardInterrupt(), VideoWriter(target, SIZE, TICK, RATE, path), 20)
    with VideoReader(target) as reader:
        assert len(list(reader)) == 20
        assert reader.dropped == 0
    assert burst_s_end(target) == pytest.approx(0.8, abs=0.04)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["in.mp4", target.name])


INTERRUPTED = """
import sys, time
from fractions import Fraction
import numpy as np
from engine.media import VideoWriter
from engine.types import Frame
tick = Fraction(1, 1000)
with VideoWriter(sys.argv[1], (96, 80), tick, Fraction(25)) as writer:
    for index in range(10 ** 6):
        writer.write(Frame(np.full((80, 96, 3), index % 200, np.uint8), 40 * index, tick, 0.0))
        if index == 30:
            print("on", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_a_signal_keeps_what_was_written(tmp_path: Path):
    """Ctrl-C at any moment leaves a whole file without a damaged frame."""
    target = tmp_path / "out.mp4"
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "on\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0
    with VideoReader(target) as reader:
        levels = [round(float(frame.rgb.mean())) for frame in reader]
        assert reader.dropped == 0
    assert len(levels) > 30
    np.testing.assert_allclose(levels, np.arange(len(levels)) % 200, atol=3)
    assert [file.name for file in tmp_path.iterdir()] == [target.name]


def test_an_error_keeps_the_older_file(tmp_path: Path):
    """When writing fails half-way, the file that stood there before stays as it was."""
    target = tmp_path / "out.mp4"
    target.write_bytes(b"older")
    with pytest.raises(RuntimeError):
        write_until(RuntimeError(), VideoWriter(target, SIZE, TICK, RATE), 3)
    assert target.read_bytes() == b"older"
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_the_older_file_stays_until_the_new_one_is_whole(tmp_path: Path):
    """The name changes hands only on close."""
    target = tmp_path / "out.mp4"
    target.write_bytes(b"older")
    writer = VideoWriter(target, SIZE, TICK, RATE)
    writer.write(frame(40, 0))
    assert target.read_bytes() == b"older"
    writer.close()
    writer.close()
    writer.discard()
    assert target.read_bytes()[4:8] == b"ftyp"


def test_no_frame_leaves_no_file(tmp_path: Path):
    """A writer that got nothing leaves nothing, also when interrupted before the first frame."""
    VideoWriter(tmp_path / "out.mp4", SIZE, TICK, RATE).close()
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "out.webm", SIZE, TICK, RATE):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_says_why(tmp_path: Path):
    """Suffix, folder, size and order have an error each, with the way out."""
    with pytest.raises(ConfigError, match=r"\.mp4"):
        open_writer(tmp_path / "out.avi", SIZE, TICK, RATE)
    with pytest.raises(ConfigError, match="cannot be written"):
        VideoWriter(tmp_path / "none" / "out.mp4", SIZE, TICK, RATE)
    (tmp_path / "dir.mp4").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        VideoWriter(tmp_path / "dir.mp4", SIZE, TICK, RATE)
    with VideoWriter(tmp_path / "out.mp4", SIZE, TICK, RATE) as writer:
        writer.write(frame(40, 40))
        with pytest.raises(ConfigError, match="one size"):
            writer.write(frame(40, 80, (64, 64)))
        with pytest.raises(ConfigError, match="in order"):
            writer.write(frame(40, 40))


FULL_DISK = """
import resource, sys
from fractions import Fraction
import numpy as np
from engine.errors import InputError
from engine.media import VideoWriter
from engine.types import Frame
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
tick, noise = Fraction(1, 1000), np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], (96, 80), tick, Fraction(25)) as writer:
        for index in range(int(sys.argv[2])):
            writer.write(Frame(noise.integers(0, 256, (80, 96, 3), np.uint8), 40 * index, tick, 0.0))
except InputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize("count", [9, 60], ids=["on-close", "on-write"])
def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path, count: int):
    """When the disk takes no more, the error says so, the older file stays, the part is removed."""
    target = tmp_path / "out.mp4"
    target.write_bytes(b"older")
    answer = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(target), str(count)], capture_output=True, text=True, timeout=60
    )
    assert "could not be written" in answer.stdout, answer.stderr
    assert target.read_bytes() == b"older"
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_a_strange_name_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A name that FFmpeg would take for an address or a pattern is a plain file."""
    monkeypatch.chdir(tmp_path)
    for name in ("a%03d.mp4", "pipe:1.mp4", "-y.mp4", "ünï çødé.mp4"):
        write(Path(name), 2)
        assert (tmp_path / name).is_file()
        with VideoReader(name) as reader:
            assert len(list(reader)) == 2
    assert issubclass(ConfigError, InputError)
