"""The encoders with the real codecs: one frame in, its packets out, at the bitrate stated."""

from __future__ import annotations

import gc
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from aiortc.codecs import depayload
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

from engine.errors import ConfigError
from engine.media.planes import i420_of
from engine.worker.interface import TIME_BASE
from streaming.bitrate import limits
from streaming.codecs import RATE, SOFTWARE, Change, Kind, level
from streaming.encoders import ANEW_S, Coder, open_encoder
from streaming.measured import NoRecorder

PORTRAIT = Path(__file__).resolve().parents[2] / "engine" / "data" / "sample_portrait.webp"
BOTH = pytest.mark.parametrize("codec", ["vp8", "h264"])
NAMES = {"vp8": "VP8", "h264": "H264"}


@dataclass
class Told(NoRecorder):
    frames: list[tuple[str, float, int, bool]] = field(default_factory=list)
    bitrates: list[tuple[str, str, int]] = field(default_factory=list)
    opened: list[tuple[str, str]] = field(default_factory=list)

    def encoded(self, codec: str, seconds: float, size_bytes: int, keyframe: bool) -> None:
        self.frames.append((codec, seconds, size_bytes, keyframe))

    def bitrate(self, session: str, codec: str, bits_per_s: int) -> None:
        self.bitrates.append((session, codec, bits_per_s))

    def encoder_opened(self, codec: str, reason: str) -> None:
        self.opened.append((codec, reason))

    @property
    def keys(self) -> list[int]:
        return [index for index, frame in enumerate(self.frames) if frame[3]]


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    read = cv2.imread(str(PORTRAIT))
    assert read is not None
    return cv2.cvtColor(cv2.resize(read, (900, 720), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def planes_of(portrait: np.ndarray, number: int, size: tuple[int, int] = (640, 480)) -> np.ndarray:
    """The portrait swaying, as a face does."""
    width, height = size
    x, y = (round(60 + 50 * np.sin(number / 12 + phase)) for phase in (0, 1))
    shown = cv2.resize(portrait[y : y + 600, x : x + 780], size, interpolation=cv2.INTER_AREA)
    return i420_of(np.ascontiguousarray(shown[:height, :width]))


def picture(planes: np.ndarray, number: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
    frame.pts, frame.time_base = number * 3000, TIME_BASE
    return frame


def decoder_of(codec: str) -> Any:
    context = av.CodecContext.create({"vp8": "libvpx", "h264": "h264"}[codec], "r")
    context.thread_count = 1
    return context


def decoded(decoder: Any, codec: str, payloads: list[bytes]) -> np.ndarray:
    parameters = RTCRtpCodecParameters(mimeType=f"video/{NAMES[codec]}", clockRate=90000, payloadType=97)
    data = b"".join(depayload(parameters, payload) for payload in payloads)
    (frame,) = decoder.decode(av.Packet(data))
    return frame.to_ndarray()


@BOTH
def test_every_frame_leaves_at_once_and_looks_like_itself(codec, portrait):
    """No frame is held back for the next one, and at the start's bitrate a moving portrait loses little."""
    told = Told()
    encoder, decoder = open_encoder(codec, "s", told), decoder_of(codec)
    quality = []
    for number in range(60):
        planes = planes_of(portrait, number)
        payloads, timestamp = encoder.encode(picture(planes, number))
        shown = decoded(decoder, codec, payloads)
        assert timestamp == number * 3000
        assert all(len(payload) <= 1300 for payload in payloads)
        error = np.mean((shown[:480].astype(np.int32) - planes[:480]) ** 2)
        quality.append(10 * np.log10(255**2 / error))
    assert np.mean(quality) > 38
    assert np.min(quality) > 33
    start = limits(640, 480).start
    bits = sum(frame[2] for frame in told.frames[30:]) * 8
    assert bits < 1.25 * start
    assert told.bitrates == [("s", codec, start)]
    assert max(frame[2] for frame in told.frames) * 8 < 0.4 * start


@BOTH
def test_a_key_frame_comes_when_asked_for_and_only_then(codec, portrait):
    """The first frame is one, the next when the other side asks, in that very frame; none besides."""
    told = Told()
    encoder = open_encoder(codec, "s", told)
    planes = planes_of(portrait, 0)
    for number in range(400):
        encoder.encode(picture(planes, number), force_keyframe=number == 250)
    assert told.keys == [0, 250]


@BOTH
def test_key_frames_that_are_asked_for_without_end_come_now_and_then(codec, portrait):
    """The first comes at once; of what is asked for within 300 ms of it one comes when they are over, and is not lost;
    then none that nobody asked for."""
    told, now = Told(), [50.0]
    encoder = open_encoder(codec, "s", told)
    encoder._coder._clock = lambda: now[0]
    planes = planes_of(portrait, 0, (320, 240))
    for number in range(60):
        encoder.encode(picture(planes, number), force_keyframe=3 <= number < 26)
        now[0] += 1 / 32
    assert told.keys == [0, 3, 13, 23, 33]


@pytest.fixture(scope="module")
def grainy(portrait: np.ndarray) -> list[np.ndarray]:
    """320x240, moving, with a camera's grain: every frame can use more bits than it gets."""
    grain = np.random.default_rng(0).integers(0, 24, (30, 360, 320), np.uint8)
    return [planes_of(portrait, number, (320, 240)) // 2 + grain[number] for number in range(30)]


@BOTH
def test_the_bitrate_is_changed_in_place(codec, grainy):
    """Falls and rises reach the codec with the next frame, without a new encoder or a key frame, and are kept to."""
    told = Told()
    encoder = open_encoder(codec, "s", told)
    start = limits(320, 240).start

    def sent(frames: int) -> float:
        """Bits per second of the last second."""
        before = len(told.frames)
        for number in range(before, before + frames):
            encoder.encode(picture(grainy[number % 30], number))
        return sum(frame[2] for frame in told.frames[-RATE:]) * 8

    assert sent(60) == pytest.approx(start, rel=0.25)
    for share in (0.5, 0.2, 0.8, 1.7, 1.0):
        encoder._coder.aim(round(share * start))
        assert sent(90) == pytest.approx(share * start, rel=0.25)
    assert told.opened == [(codec, "first")]
    assert told.keys == [0]
    assert [bits for _, _, bits in told.bitrates] == [
        round(share * start) for share in (1, 0.5, 0.2, 0.8, 1.7, 1)
    ]


@BOTH
def test_estimates_are_followed_without_key_frames(codec, portrait):
    """An estimate that wavers costs nothing but bits."""
    told = Told()
    encoder = open_encoder(codec, "s", told)
    start = limits(640, 480).start
    for number in range(60):
        encoder.encode(picture(planes_of(portrait, number), number))
        encoder.target_bitrate = round(start * (0.6 + 0.8 * (number % 7) / 7))
    assert told.opened == [(codec, "first")]
    assert told.keys == [0]
    assert encoder.target_bitrate == round(start * 0.6)


def test_what_must_be_opened_anew_is_so_now_and_then(grainy):
    """An encoder that cannot be told costs a key frame for each bitrate: only for one that is far off, and not soon
    again."""
    told, now = Told(), [0.0]
    kind = Kind("h264", "libx264", Change.ANEW, SOFTWARE["h264"].open)
    coder = Coder(kind, "s", told, clock=lambda: now[0])
    for number in range(300):
        now[0] = number / 30
        coder.aim(1_000_000 if number < 5 else 900_000 if number < 30 else 300_000 + 1500 * number)
        coder.encode(picture(grainy[number % 30], number), False)
    opened = [bits for _, _, bits in told.bitrates]
    second = 300_000 + 1500 * round(ANEW_S * 30)
    assert opened[:2] == [limits(320, 240).most, second]
    assert opened[2:] == pytest.approx([1.25 * second, 1.25**2 * second], rel=0.01)
    assert told.opened == [("h264", "first")] + [("h264", "bitrate")] * 3


def test_hardware_that_fails_gives_way_to_software(portrait, caplog):
    """A driver that stops in the middle of a call costs one frame, not the call, and is not tried again."""
    told, broken = Told(), []

    def open_broken(width: int, height: int, bits: int) -> Any:
        broken.append(bits)
        raise av.error.ExternalError(1, "no such device")

    coder = Coder(Kind("h264", "h264_nvenc", Change.TOLD, open_broken), "s", told)
    sent = [bool(coder.encode(picture(planes_of(portrait, n), n), False)) for n in range(3)]
    assert sent == [False, True, True]
    assert len(broken) == 1
    assert coder.name == "libx264"
    assert "h264_nvenc failed" in caplog.text
    assert "libx264 takes over" in caplog.text


@BOTH
def test_a_frame_that_comes_late_gets_no_more_bits_than_a_second_holds(codec, grainy):
    """After a pause the next picture is no burst."""
    told = Told()
    encoder = open_encoder(codec, "s", told)
    for number in [*range(60), *range(2000, 2060)]:
        encoder.encode(picture(grainy[number % 30], number))
    assert max(frame[2] for frame in told.frames[60:]) * 8 < 0.4 * limits(320, 240).start
    assert encoder._coder.encode_s == pytest.approx(np.mean([frame[1] for frame in told.frames]), rel=2)


@BOTH
def test_an_estimate_before_the_first_frame_is_kept_within_its_limits(codec, portrait):
    """The browser may tell what it takes before anything was sent."""
    told = Told()
    encoder = open_encoder(codec, "s", told)
    encoder.target_bitrate = 30_000
    encoder.encode(picture(planes_of(portrait, 0), 0))
    assert told.bitrates == [("s", codec, limits(640, 480).least)]


@BOTH
def test_another_size_is_followed(codec, portrait):
    """A source of another size takes the call over, with limits of its own."""
    told = Told()
    encoder, decoder = open_encoder(codec, "s", told), decoder_of(codec)
    for number, size in enumerate([(640, 480), (640, 480), (320, 240), (320, 240)]):
        payloads, _ = encoder.encode(picture(planes_of(portrait, number, size), number))
        assert decoded(decoder, codec, payloads).shape == (size[1] * 3 // 2, size[0])
    assert told.opened == [(codec, "first"), (codec, "size")]
    assert told.keys == [0, 2]
    assert told.bitrates[-1][2] <= limits(320, 240).most


@BOTH
def test_a_frame_is_not_written_to(codec, portrait):
    """What a caller holds stays as it was: planes, time, and no key frame is left asked for in it."""
    encoder = open_encoder(codec, "s", Told())
    planes = planes_of(portrait, 3)
    frame = picture(planes, 3)
    encoder.encode(frame, force_keyframe=True)
    np.testing.assert_array_equal(frame.to_ndarray(), planes)
    assert (frame.pts, frame.time_base) == (9000, TIME_BASE)
    told = Told()
    second = open_encoder(codec, "s", told)
    second.encode(picture(planes, 2))
    second.encode(frame)
    assert told.keys == [0]


@BOTH
def test_what_cannot_be_encoded_as_it_is_is_refused(codec):
    """A conversion on the way out would cost a frame's time unseen, and a frame without time cannot be sent."""
    encoder = open_encoder(codec, "s", Told())
    rgb = av.VideoFrame.from_ndarray(np.zeros((480, 640, 3), np.uint8), "rgb24")
    rgb.pts, rgb.time_base = 0, TIME_BASE
    with pytest.raises(ValueError, match="rgb24"):
        encoder.encode(rgb)
    with pytest.raises(ValueError, match="no time"):
        encoder.encode(av.VideoFrame.from_ndarray(np.zeros((720, 640), np.uint8), "yuv420p"))


@BOTH
def test_a_frame_that_is_not_newer_is_not_sent(codec, portrait):
    """Time that stands or goes back, which the codecs take for an error, ends no call; a key frame stays due."""
    told = Told()
    encoder = open_encoder(codec, "s", told)
    planes = planes_of(portrait, 0)
    sent = [
        bool(encoder.encode(picture(planes, number), force_keyframe=key)[0])
        for number, key in [(5, False), (5, True), (3, False), (6, False), (7, False)]
    ]
    assert sent == [True, False, False, True, True]
    assert told.keys == [0, 1]


@BOTH
def test_a_codec_that_fails_is_opened_anew(codec, portrait, monkeypatch, caplog):
    """One frame is lost, and the call goes on with a key frame."""
    told = Told()
    encoder = open_encoder(codec, "s", told)
    planes = planes_of(portrait, 0)
    encoder.encode(picture(planes, 0))

    class Failing:
        width, height = 640, 480

        def encode(self, frame):
            raise av.error.ExternalError(1, "lost")

    monkeypatch.setattr(encoder._coder, "_context", Failing())
    assert encoder.encode(picture(planes, 1))[0] == []
    assert "not encoded" in caplog.text
    assert encoder.encode(picture(planes, 2))[0]
    assert told.keys == [0, 1]


def test_an_unknown_codec_is_named():
    """The message says what there is."""
    with pytest.raises(ConfigError, match="vp8 or h264"):
        open_encoder("av1", "s", Told())


@BOTH
def test_they_are_what_aiortc_takes(codec):
    """aiortc asks an encoder for payloads and hands it estimates; ours are its own with other settings."""
    assert isinstance(open_encoder(codec, "s", Told()), {"vp8": Vp8Encoder, "h264": H264Encoder}[codec])


def test_the_level_allows_the_size():
    """A decoder may refuse a picture larger than the level that is written in it."""
    assert level(640, 480) == "30"
    assert level(1280, 720) == "31"
    assert level(1280, 1280) == "40"
    assert level(1920, 1080) == "40"
    assert level(2560, 1440) == "50"


@pytest.mark.skipif(sys.platform != "linux", reason="threads and memory are counted in /proc")
@BOTH
def test_no_thread_and_no_memory_is_left(codec, portrait):
    """Encoders come and go with sessions: one thread each at most while they live, and nothing after."""

    def memory() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    planes = planes_of(portrait, 0)

    def live() -> None:
        encoder = open_encoder(codec, "s", Told())
        for number in range(3):
            encoder.encode(picture(planes, number))
        assert len(os.listdir("/proc/self/task")) <= threads + 1

    threads = len(os.listdir("/proc/self/task"))
    for _ in range(5):
        live()
    gc.collect()
    before = memory()
    for _ in range(25):
        live()
    gc.collect()
    assert memory() - before < 6 << 20
    assert len(os.listdir("/proc/self/task")) <= threads  # those of tests before may end meanwhile
