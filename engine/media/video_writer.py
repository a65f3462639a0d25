"""Frames to a video file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from engine.errors import ConfigError
from engine.media.audio import AudioKind, AudioTrack, open_audio
from engine.media.interrupts import deferred
from engine.media.marking import Marking
from engine.media.planes import i420_of
from engine.media.unfinished import Seal, Unfinished, is_full
from engine.media.wording import one_line
from engine.types import U8, Frame

# What the planes are made with: BT.601 matrix, limited range. The other two are sRGB's nearest names.
_MATRIX_BT601, _RANGE_LIMITED, _PRIMARIES_BT709, _TRANSFER_BT709 = 6, 1, 1, 1


@dataclass(frozen=True, slots=True)
class _Kind:
    container: str
    codec: Literal["libx264", "libvpx-vp9"]
    options: dict[str, str]
    audio: AudioKind
    odd_format: str
    container_options: dict[str, str] = field(default_factory=dict)


_X264 = {"preset": "veryfast", "crf": "18"}
_VP9 = {"deadline": "realtime", "cpu-used": "6", "row-mt": "1", "crf": "24", "b": "0"}
_AAC = AudioKind(frozenset({"aac", "mp3"}), "aac")
_OPUS = AudioKind(frozenset({"opus", "vorbis"}), "libopus", 48_000)
_KINDS = {
    ".mp4": _Kind("mp4", "libx264", _X264, _AAC, "yuv444p", {"movflags": "+faststart"}),
    ".mov": _Kind("mov", "libx264", _X264, _AAC, "yuv444p"),
    ".webm": _Kind("webm", "libvpx-vp9", _VP9, _OPUS, "yuv420p"),
}
VIDEO_SUFFIXES = tuple(_KINDS)


class VideoWriter:
    """H.264 in MP4 or MOV, VP9 in WebM, by the suffix of `path`.

    Frames keep their size and their time stamps (WebM rounds them to milliseconds). Even sizes are
    coded as 4:2:0; H.264 of an odd width or height is coded as 4:4:4, which some browsers do not play.

    The file is written beside its target and takes its name when closed, so an older file stays until the
    new one is whole. As a context it closes, also on KeyboardInterrupt: what was written so far is a whole
    file. On an error it discards.

    size: (width, height) of every frame. time_base: seconds per unit of pts. rate: nominal frames per
    second, the length of the last frame. audio_from: a media file whose sound is copied, or coded anew where
    the container does not take it, up to the end of the last frame; when it cannot be, `notes` says so. seal: what is
    done to the whole file before it takes its name. marks: put on each frame as it is coded (engine.marks).

    Raises ConfigError (suffix, folder, a frame of another size or out of order), InputError (disk full), and what
    sealing raises.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: tuple[int, int],
        time_base: Fraction,
        rate: Fraction,
        audio_from: str | os.PathLike[str] | None = None,
        seal: Seal | None = None,
        marks: Marking | None = None,
    ) -> None:
        self.path = Path(path).absolute()
        self.size = size
        self.time_base = time_base
        self.rate = rate
        self.frames = 0
        self.notes: list[str] = []
        kind = _KINDS.get(self.path.suffix.lower())
        if kind is None:
            raise ConfigError(
                f"{one_line(self.path.name)} is no video name: end it in {', '.join(VIDEO_SUFFIXES)}"
            )
        self._unfinished, self._seal, self._marks = Unfinished(self.path), seal, marks
        self._open = True
        self._last_pts: int | None = None
        self._format = kind.odd_format if size[0] % 2 or size[1] % 2 else "yuv420p"
        try:
            self._begin(kind, audio_from)
        except BaseException:
            self._unfinished.discard()
            raise

    def write(self, frame: Frame) -> None:
        """Write one frame; its pts must be after the one before."""
        pts = round(frame.pts * frame.time_base / self.time_base)
        if frame.size != self.size:
            raise ConfigError(
                f"a frame is {frame.size}, the video {self.size} pixels: write frames of one size"
            )
        if self._last_pts is not None and pts <= self._last_pts:
            raise ConfigError(f"a frame has pts {pts} after {self._last_pts}: write frames in order of time")
        coded = self._coded(frame.rgb, pts)
        try:
            with deferred():
                self._output.mux(self._stream.encode(coded))
                self._last_pts = pts
                self.frames += 1
                self._with_audio(lambda audio: audio.write_until(pts * self.time_base))
        except av.FFmpegError as error:
            self.discard()
            raise self._unfinished.failed(error) from error

    def close(self) -> None:
        """Make the file whole and give it its name; without a frame nothing is left behind. Idempotent."""
        if not self._open:
            return
        if self._last_pts is None:
            self.discard()
            return
        try:
            with deferred():
                self._complete(self._last_pts * self.time_base + 1 / self.rate)
                self._open = False
                self._unfinished.seal(self._seal)
        except av.FFmpegError as error:
            self.discard()
            raise self._unfinished.failed(error) from error
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove what was written; an older file of that name stays. Nothing happens after `close`."""
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(av.FFmpegError):  # the trailer of a file that is thrown away
            self._release()
        self._unfinished.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            self.close()
        else:
            self.discard()

    def _begin(self, kind: _Kind, audio_from: str | os.PathLike[str] | None) -> None:
        self._open_output(kind)
        self._audio = self._add_audio(audio_from, kind.audio)
        if not self._output.streams.audio:
            return
        if self._audio is not None:
            self._with_audio(lambda _: self._output.start_encoding())
        if self._audio is None:
            # A header that does not take the sound would take no picture either: begin again without it.
            with contextlib.suppress(av.FFmpegError):
                self._output.close()
            self._open_output(kind)

    def _open_output(self, kind: _Kind) -> None:
        self._output = av.open(
            f"file:{self._unfinished.path}",
            "w",
            format=kind.container,
            container_options=kind.container_options,
        )
        self._stream = self._add_video(kind)

    def _add_video(self, kind: _Kind) -> VideoStream:
        stream = self._output.add_stream(kind.codec, rate=self.rate, options=kind.options)
        context = stream.codec_context
        context.width, context.height = self.size
        context.pix_fmt = self._format
        context.time_base = self.time_base
        context.colorspace, context.color_range = _MATRIX_BT601, _RANGE_LIMITED
        context.color_primaries, context.color_trc = _PRIMARIES_BT709, _TRANSFER_BT709
        return stream

    def _add_audio(self, source: str | os.PathLike[str] | None, kind: AudioKind) -> AudioTrack | None:
        if source is None:
            return None
        track, note = open_audio(source, self._output, kind)
        self.notes += [note] if note else []
        return track

    def _coded(self, rgb: U8, pts: int) -> VideoFrame:
        if self._format == "yuv420p" and not (self.size[0] % 2 or self.size[1] % 2):
            planes = i420_of(rgb)
            if self._marks is not None:
                self._marks.compose(planes)
            coded = VideoFrame.from_ndarray(planes, "yuv420p")
        else:
            rgb = rgb if self._marks is None else self._marks.compose_rgb(rgb)
            coded = VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24").reformat(format=self._format)
        coded.colorspace, coded.color_range = _MATRIX_BT601, _RANGE_LIMITED
        coded.pts, coded.time_base = pts, self.time_base
        coded.duration = max(1, round(1 / (self.rate * self.time_base)))
        return coded

    def _complete(self, end_s: Fraction) -> None:
        self._output.mux(self._stream.encode(None))
        self._with_audio(lambda audio: audio.finish(end_s))
        self._release()

    def _with_audio(self, step: Callable[[AudioTrack], None]) -> None:
        """Do this to the sound; when it fails, the picture goes on without sound."""
        if self._audio is None:
            return
        try:
            step(self._audio)
        except (av.FFmpegError, ValueError) as error:
            if is_full(error):
                raise  # the picture would not be written either
            self._drop_audio(error)

    def _drop_audio(self, error: Exception) -> None:
        if self._audio is not None:
            self._audio.close()
        self._audio = None
        words = getattr(error, "strerror", None) or error
        self.notes.append(f"the sound ends early or is left out: it cannot be written ({words})")

    def _release(self) -> None:
        if self._audio is not None:
            self._audio.close()
        self._output.close()
