"""Sound that fails on its way: the picture is kept, and a note says what was lost."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from engine.media import VideoReader, VideoWriter
from engine.types import Frame

TICK = Fraction(1, 1000)


def sound(
    path: Path, codec: str, rate: int, layout: str = "mono", kind: str = "mov", start_s: float = 0
) -> Path:
    """One second of noise that begins at `start_s`."""
    with av.open(str(path), "w", format=kind) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        stream.codec_context.open()
        resampler = av.AudioResampler(
            stream.codec_context.format, layout, rate, stream.codec_context.frame_size or 0
        )
        noise = np.random.default_rng(1).uniform(-0.5, 0.5, (1 if layout == "mono" else 2, rate))
        samples = av.AudioFrame.from_ndarray(noise.astype(np.float32), "fltp", layout)
        samples.sample_rate, samples.time_base = rate, Fraction(1, rate)
        samples.pts = round(start_s * rate)
        for made in [*resampler.resample(samples), *resampler.resample(None)]:
            output.mux(stream.encode(made))
        output.mux(stream.encode(None))
    return path


def write(path: Path, audio_from: Path) -> VideoWriter:
    """Two seconds of grey, 25 frames a second, beside the sound of another file."""
    with VideoWriter(path, (96, 80), TICK, Fraction(25), audio_from) as writer:
        for index in range(50):
            writer.write(Frame(np.full((80, 96, 3), 90, np.uint8), 40 * index, TICK, 0.0))
    return writer


def frames_in(path: Path) -> int:
    """How many frames can be read."""
    with VideoReader(path) as reader:
        return len(list(reader))


def test_sound_that_changes_its_form_costs_the_sound_alone(tmp_path: Path):
    """Sound that goes from mono to stereo at another rate ends there; every frame is written, and noted."""
    first = sound(tmp_path / "1.ts", "mp2", 32_000, "mono", "mpegts")
    second = sound(tmp_path / "2.ts", "mp2", 48_000, "stereo", "mpegts", 1)
    (tmp_path / "both.ts").write_bytes(first.read_bytes() + second.read_bytes())
    writer = write(tmp_path / "out.webm", tmp_path / "both.ts")
    assert len(writer.notes) == 1
    assert "the sound ends early" in writer.notes[0]
    assert frames_in(tmp_path / "out.webm") == 50


@pytest.mark.parametrize(("rate", "written"), [(3000, 7350), (12_345, 12_000), (192_000, 96_000)])
def test_a_rate_that_no_encoder_takes_becomes_the_nearest(tmp_path: Path, rate: int, written: int):
    """Sound of any sample rate is written, at the nearest rate that the encoder knows."""
    source = sound(tmp_path / "in.mov", "pcm_s16le", rate)
    assert write(tmp_path / "out.mp4", source).notes == []
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].codec_context.sample_rate == written


@pytest.mark.parametrize("step", ["write_until", "finish"])
def test_packets_that_are_refused_cost_the_sound_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    """Copied packets that the container refuses end the sound with a note, never the picture."""

    def refuse(*_: Any, **__: Any) -> None:
        raise av.error.InvalidDataError(1, "damaged packet")

    source = sound(tmp_path / "in.mp4", "aac", 48_000, kind="mp4")
    monkeypatch.setattr(f"engine.media.audio._CopiedAudio.{step}", refuse)
    writer = write(tmp_path / "out.mp4", source)
    assert [note for note in writer.notes if "damaged packet" in note] == writer.notes
    assert len(writer.notes) == 1
    assert frames_in(tmp_path / "out.mp4") == 50


def test_a_header_that_refuses_the_sound_is_written_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """When the sound keeps the file from being begun, it is begun again with the picture alone."""

    def refuse(*_: Any, **__: Any) -> None:
        raise av.error.ArgumentError(22, "no such rate")

    source = sound(tmp_path / "in.mov", "pcm_s16le", 48_000)
    monkeypatch.setattr("engine.media.audio.AudioResampler", refuse)
    writer = write(tmp_path / "out.mp4", source)
    assert "no such rate" in writer.notes[0]
    assert frames_in(tmp_path / "out.mp4") == 50
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio
