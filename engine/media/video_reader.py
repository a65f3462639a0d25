"""Frames of a video file, in order, as upright RGB."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import av
import numpy as np
from av.buffer import Buffer
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from engine.errors import DecodeError
from engine.media.container import clock_start, open_container, video_codec_is_read
from engine.media.limits import VIDEO_LIMITS, Limits
from engine.media.orientation import code_of_matrix, upright, upright_size
from engine.media.wording import one_line
from engine.types import U8, Frame

DEFAULT_RATE = Fraction(25)
"""Frames per second of a file that does not state its rate."""

_LOWEST_RATE, _HIGHEST_RATE = Fraction(1, 60), 240
_SAME_SHAPE = 0.02
_LONGEST_GAP_S = 3600


class VideoReader:
    """A video file as a stream of frames; iterate it once, then close it. data: the file's bytes, where they are at
    hand; `path` is its name then.

    Opening checks the headers and decodes the first frame. Frames are uint8 (H, W, 3) RGB, turned as the
    file's display matrix says; the shape of its pixels (sample aspect ratio) is not applied. A frame whose
    size differs from the first one's is scaled to it when the shape is the same, else DecodeError.

    Time stamps are the file's own, but MPEG streams start at 0; missing ones, and those that run back or
    leap by over an hour, continue at the stated rate. Frames that fail to decode or that FFmpeg marks as
    corrupt are left out.

    Raises DecodeError (no video in it, damaged, unknown kind), TooLargeError, TooSmallError, InputError.
    """

    still = False

    def __init__(
        self, path: str | os.PathLike[str], limits: Limits = VIDEO_LIMITS, *, data: bytes | None = None
    ) -> None:
        self.path = Path(path)
        self.name = one_line(self.path.name)
        self.dropped = 0
        """Frames left out until now because they were damaged."""
        self._container, self._file = open_container(self.path, limits, data)
        try:
            self._stream = self._choose_stream(limits)
            self._decoded = self._decode()
            self._first = self._decode_first()
            limits.check_size(self.name, self._first.width, self._first.height)
            self._describe()
        except BaseException:
            self.close()
            raise

    def _describe(self) -> None:
        self._orientation = _orientation_of(self._first)
        self.size = upright_size(self._first.width, self._first.height, self._orientation)
        """(width, height) in pixels of every frame, upright."""
        self.time_base = self._stream.time_base or Fraction(1, 90_000)
        """Seconds per unit of `Frame.pts`."""
        self.rate = _rate_of(self._stream)
        """Average frames per second as stated or guessed by FFmpeg, else DEFAULT_RATE."""
        self.duration_s = _duration_of(self._container, self._stream)
        """Seconds as stated by the file, or None."""
        stated = self._stream.frames or round((self.duration_s or 0) * self.rate)
        self.frame_count = stated if stated > 0 else None
        """Frames as stated, or estimated from the duration, or None: good for a progress bar only."""

    def __iter__(self) -> Iterator[Frame]:
        step = max(1, round(1 / (self.rate * self.time_base)))
        shift = round(clock_start(self._container) / self.time_base)
        longest = round(_LONGEST_GAP_S / self.time_base)
        last = -step
        for frame in self._remaining():
            pts = last + step if frame.pts is None else frame.pts - shift
            begins = last == -step and abs(pts) <= longest
            if not begins and not 0 < pts - last <= longest:
                shift += pts - (last + step)
                pts = last + step
            last = pts
            yield Frame(self._rgb(frame), pts, self.time_base, float(pts * self.time_base))

    def close(self) -> None:
        """Let go of the file; more than once is allowed."""
        self._container.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _choose_stream(self, limits: Limits) -> VideoStream:
        streams = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            raise DecodeError(
                f"{self.name} has no video in it (sound only, perhaps): give a file with a picture"
            )
        stream = streams[0]
        context = stream.codec_context
        if context is None or not video_codec_is_read(context.name):
            codec = "unknown" if context is None else context.name
            raise DecodeError(
                f"{self.name} has the codec {codec}, which is not read: convert it to H.264 in MP4"
            )
        limits.check_size(self.name, context.width, context.height)
        context.options = {**context.options, "max_pixels": str(limits.pixels)}
        return stream

    def _decode(self) -> Iterator[VideoFrame]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError):
                return  # a cut file ends in an error of the demuxer
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self.dropped += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.dropped += 1
                else:
                    yield frame

    def _decode_first(self) -> VideoFrame:
        first = next(self._decoded, None)
        if first is None:
            raise DecodeError(f"{self.name} holds no frame that can be decoded: get the whole file again")
        return first

    def _remaining(self) -> Iterator[VideoFrame]:
        yield self._first
        yield from self._decoded

    def _rgb(self, frame: VideoFrame) -> U8:
        width, height = self._first.width, self._first.height
        if abs(frame.width * height / (frame.height * width) - 1) > _SAME_SHAPE:
            raise DecodeError(
                f"{self.name} changes from {width}x{height} to {frame.width}x{frame.height} pixels: "
                "cut it there, or convert it to one size"
            )
        rgb = frame.to_ndarray(format="rgb24", width=width, height=height)
        return upright(np.asarray(rgb, np.uint8), self._orientation)


def _orientation_of(frame: VideoFrame) -> int:
    matrix = cast(Mapping[str, Buffer], frame.side_data).get("DISPLAYMATRIX")
    return 1 if matrix is None else code_of_matrix(bytes(matrix))


def _rate_of(stream: VideoStream) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate is not None and _LOWEST_RATE <= rate <= _HIGHEST_RATE:
            return rate
    return DEFAULT_RATE


def _duration_of(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / av.time_base
