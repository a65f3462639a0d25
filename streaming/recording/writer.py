"""Pictures and sound to an MP4 file that can be played at any moment: in fragments, each whole by itself."""

from __future__ import annotations

import os
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from engine.types import U8
from engine.worker.interface import TICKS, TIME_BASE
from streaming.recording.sound import CHANNELS, RATE, Samples

FRAGMENT_S = 2.0
"""A killed server loses no more than this, and the picture of the moment."""
PRESET, CRF = "veryfast", "21"
SOUND_BITS = 96_000

_MATRIX_BT601, _RANGE_LIMITED, _PRIMARIES_BT709, _TRANSFER_BT709 = 6, 1, 1, 1
_BLACK = (16, 128, 128)
_AAC_SAMPLES = 1024
_FLAGS = "frag_keyframe+delay_moov+default_base_moof"


class Writer:
    """path: must not exist. size: (width, height), even, of the whole file: pictures of another one are fitted into it,
    on black. sound: whether it has a track for it. One thread at a time.

    Raises OSError where the disk does not take it and av.FFmpegError where an encoder fails; what was written to the
    end of a fragment stays (streaming.recording.boxes).
    """

    def __init__(self, path: Path, size: tuple[int, int], *, sound: bool, tags: dict[str, str]) -> None:
        self.size = size
        self._file = _Counted(_opened(path))
        try:
            self._output: Any = av.open(
                self._file,
                "w",
                format="mp4",
                container_options={"movflags": _FLAGS, "flush_packets": "1"},
            )
            self._output.metadata.update(tags)
            self._video = self._add_video(size)
            self._audio = self._add_audio() if sound else None
        except BaseException:
            self._file.close()
            raise
        self._reformatter = VideoReformatter()
        self._pts = -1
        self._key_pts: int | None = None
        self._samples = np.zeros((CHANNELS, 0), np.float32)
        self._samples_written = 0

    @property
    def written(self) -> int:
        """Bytes, so far."""
        return self._file.written

    def picture(self, frame: VideoFrame, at_s: float) -> None:
        """yuv420p, BT.601; the frame is the writer's from now on. at_s: since the beginning."""
        pts = max(self._pts + 1, round(at_s * TICKS))
        if (frame.width, frame.height) != self.size:
            frame = self._fitted(frame)
        due = self._key_pts is None or pts - self._key_pts >= FRAGMENT_S * TICKS
        frame.pict_type = PictureType.I if due else PictureType.NONE
        frame.pts, frame.time_base = pts, TIME_BASE
        frame.colorspace, frame.color_range = _MATRIX_BT601, _RANGE_LIMITED
        if due:
            self._key_pts = pts
        self._pts = pts
        self._output.mux(self._video.encode(frame))

    def sound(self, samples: Samples) -> None:
        """Appended to what there is."""
        if self._audio is None:
            return
        self._samples = np.concatenate([self._samples, samples], axis=1)
        while self._samples.shape[1] >= _AAC_SAMPLES:
            self._write_sound(self._samples[:, :_AAC_SAMPLES])
            self._samples = self._samples[:, _AAC_SAMPLES:]

    def close(self) -> None:
        """Write the last fragment."""
        try:
            if self._audio is not None and self._pts >= 0:
                if self._samples.shape[1]:
                    self._write_sound(self._samples)
                self._output.mux(self._audio.encode(None))
            if self._pts >= 0:
                self._output.mux(self._video.encode(None))
            self._output.close()
        finally:
            self._file.close()

    def abandon(self, *, full: bool) -> None:
        """Ask no encoder for anything any more. What was encoded is written still, unless the disk is full."""
        if full:
            self._file.fail()
        try:
            self._output.close()
        except (OSError, av.FFmpegError):
            pass
        finally:
            self._file.close()

    def _write_sound(self, samples: Samples) -> None:
        assert self._audio is not None
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._samples_written, Fraction(1, RATE)
        self._samples_written += samples.shape[1]
        self._output.mux(self._audio.encode(frame))

    def _add_video(self, size: tuple[int, int]) -> VideoStream:
        options = {"preset": PRESET, "crf": CRF, "bf": "0", "forced-idr": "1"}
        stream: VideoStream = self._output.add_stream("libx264", rate=30, options=options)
        context: Any = stream.codec_context
        context.width, context.height = size
        context.pix_fmt = "yuv420p"
        context.time_base = TIME_BASE
        context.gop_size = 1 << 20  # key frames come by time
        context.thread_count = 1
        context.colorspace, context.color_range = _MATRIX_BT601, _RANGE_LIMITED
        context.color_primaries, context.color_trc = _PRIMARIES_BT709, _TRANSFER_BT709
        return stream

    def _add_audio(self) -> AudioStream:
        stream: AudioStream = self._output.add_stream("aac", rate=RATE, layout="stereo")
        stream.bit_rate = SOUND_BITS
        return stream

    def _fitted(self, frame: VideoFrame) -> VideoFrame:
        """In the middle of a black picture of the file's size, as large as it goes."""
        width, height = self.size
        share = min(width / frame.width, height / frame.height)
        wide, tall = (max(2, round(side * share / 2) * 2) for side in (frame.width, frame.height))
        small = self._reformatter.reformat(frame, wide, tall, interpolation=Interpolation.AREA, threads=1)
        left, top = ((width - wide) // 4 * 2, (height - tall) // 4 * 2)
        canvas = VideoFrame(width, height, "yuv420p")
        for number, (plane, level) in enumerate(zip(canvas.planes, _BLACK)):
            part = 1 if number == 0 else 2
            rows = _rows(plane)
            rows[:] = level
            given = _rows(small.planes[number])[:, : wide // part]
            rows[top // part : top // part + tall // part, left // part : left // part + wide // part] = given
        return canvas


def _opened(path: Path) -> FileIO:
    """For this user alone, and new."""
    return FileIO(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600))


def _rows(plane: Any) -> U8:
    """A plane's memory, with what stands beyond its width."""
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)


class _Counted:
    """What PyAV writes to: a file that knows how much was written, and can be made to take no more."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.written = 0
        self._failed = False

    def write(self, data: bytes) -> int:
        if self._failed:
            raise OSError("the recording was given up")
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self.written = max(self.written, self._file.tell())
        return len(data)

    def seek(self, at: int, whence: int = 0) -> int:
        return self._file.seek(at, whence)

    def tell(self) -> int:
        return self._file.tell()

    def fail(self) -> None:
        self._failed = True

    def close(self) -> None:
        """PyAV's, which does nothing, and ours, which is called last."""
        if not self._file.closed:
            self._file.close()
