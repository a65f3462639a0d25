"""Taking the sound of one file along into another, in step with the picture."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import av
from av import Codec
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from engine.errors import InputError
from engine.media.container import audio_codec_of, clock_start, open_container
from engine.media.limits import VIDEO_LIMITS
from engine.media.wording import one_line


@dataclass(frozen=True, slots=True)
class AudioKind:
    """copied: codecs that the container takes as they are. encoder: for all others. rate: its sample rate
    in Hz, None to keep the source's.
    """

    copied: frozenset[str]
    encoder: Literal["aac", "libopus"]
    rate: int | None = None


class AudioTrack(Protocol):
    """Sound being written beside a picture."""

    def write_until(self, time_s: Fraction) -> None:
        """Write the sound that begins before `time_s` and was not yet written.

        Raises av.FFmpegError or ValueError when the sound cannot go on; what was written stays.
        """
        ...

    def finish(self, time_s: Fraction) -> None:
        """Write the sound up to `time_s`, and what an encoder holds back."""
        ...

    def close(self) -> None:
        """Let go of the source."""
        ...


def has_sound(source: str | os.PathLike[str]) -> bool:
    """Whether a file has a sound track; what cannot be opened has none."""
    try:
        container, file = open_container(Path(source), VIDEO_LIMITS)
    except InputError:
        return False
    with file, container:
        return bool(container.streams.audio)


def open_audio(
    source: str | os.PathLike[str], output: OutputContainer, kind: AudioKind
) -> tuple[AudioTrack | None, str | None]:
    """Prepare the first sound track of `source` for `output`, before anything is written to it.

    Returns the track, or None and a note that says why; both None when the source has no sound. The sound is
    copied when the container takes its codec, else coded anew.
    """
    name = one_line(Path(source).name)
    try:
        container, file = open_container(Path(source), VIDEO_LIMITS)
    except InputError as error:
        return None, f"the sound is left out: {error}"
    try:
        track, note = _track_of(container, file, output, kind)
    except (av.FFmpegError, ValueError) as error:
        words = getattr(error, "strerror", None) or error
        track, note = None, f"the sound of {name} is left out: {words}"
    if track is None:
        container.close()
        file.close()
    return track, note


def _track_of(
    container: InputContainer, file: BinaryIO, output: OutputContainer, kind: AudioKind
) -> tuple[AudioTrack | None, str | None]:
    if not container.streams.audio:
        return None, None
    stream = container.streams.audio[0]
    codec = audio_codec_of(stream)
    if codec is None:
        return None, "the sound is left out: its codec is not among those that are read"
    if codec in kind.copied:
        return _CopiedAudio(container, file, stream, output), None
    return _CodedAudio(container, file, stream, output, kind), None


class _CopiedAudio:
    def __init__(
        self, container: InputContainer, file: BinaryIO, stream: AudioStream, output: OutputContainer
    ) -> None:
        self._source = (container, file)
        self._output = output
        self._target = output.add_stream_from_template(stream)
        self._packets = _packets(container, stream)
        self._next = next(self._packets, None)

    def write_until(self, time_s: Fraction) -> None:
        while self._next is not None and _time_of(self._next) < time_s:
            self._next.stream = self._target
            self._output.mux(self._next)
            self._next = next(self._packets, None)

    def finish(self, time_s: Fraction) -> None:
        self.write_until(time_s)

    def close(self) -> None:
        for held in self._source:
            held.close()


class _CodedAudio:
    def __init__(
        self,
        container: InputContainer,
        file: BinaryIO,
        stream: AudioStream,
        output: OutputContainer,
        kind: AudioKind,
    ) -> None:
        self._source = (container, file)
        self._output = output
        rate = kind.rate or _nearest_rate(kind.encoder, stream.codec_context.sample_rate)
        layout = "mono" if stream.codec_context.channels == 1 else "stereo"
        target = output.add_stream(kind.encoder, rate=rate, layout=layout)
        self._target = target
        target.codec_context.open()
        self._resampler = AudioResampler(
            target.codec_context.format, layout, rate, frame_size=target.codec_context.frame_size
        )
        self._frames = _frames(container, stream)
        self._next = next(self._frames, None)
        self._form = None if self._next is None else _form_of(self._next)

    def write_until(self, time_s: Fraction) -> None:
        while self._next is not None and _time_of(self._next) < time_s:
            self._encode(self._next)
            self._next = next(self._frames, None)

    def finish(self, time_s: Fraction) -> None:
        self.write_until(time_s)
        self._encode(None)
        self._output.mux(self._target.encode(None))

    def close(self) -> None:
        for held in self._source:
            held.close()

    def _encode(self, frame: AudioFrame | None) -> None:
        if frame is not None and _form_of(frame) != self._form:
            # The resampler was made for one form; what it does with another differs by case.
            raise ValueError(f"it changes from {self._form} to {_form_of(frame)}")
        for resampled in self._resampler.resample(frame):
            self._output.mux(self._target.encode(resampled))


def _form_of(frame: AudioFrame) -> str:
    return f"{frame.sample_rate} Hz {frame.layout.name} {frame.format.name}"


def _nearest_rate(encoder: str, rate: int) -> int:
    taken = Codec(encoder, "w").audio_rates or [rate]
    return min(taken, key=lambda candidate: abs(candidate - rate))


def _time_of(timed: Packet[AudioStream] | AudioFrame) -> Fraction:
    if timed.pts is None or timed.time_base is None:
        return Fraction(0)
    return timed.pts * timed.time_base


def _packets(container: InputContainer, stream: AudioStream) -> Iterator[Packet[AudioStream]]:
    """Packets in order of time, with the file's clock start taken off; a damaged end is an end."""
    last: int | None = None
    shift = round(clock_start(container) / stream.time_base) if stream.time_base else 0
    try:
        for packet in container.demux(stream):
            if packet.dts is None or packet.pts is None or packet.pts < packet.dts:
                continue
            if last is not None and packet.dts <= last:
                continue  # a damaged time stamp, which no container takes
            last = packet.dts
            packet.dts, packet.pts = packet.dts - shift, packet.pts - shift
            yield packet
    except av.FFmpegError:
        return


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    for packet in _packets(container, stream):
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue
