"""Real aiortc connections on loopback, with the receiver and the sender tuned, and what is told when aiortc changes."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import importlib.metadata
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import av
import numpy as np
import pytest
from aiortc import (
    MediaStreamTrack,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSctpTransport,
    rtcdtlstransport,
    rtcrtpreceiver,
    rtp,
)
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket, is_rtcp

from engine.errors import BackendError, ConfigError
from engine.worker.interface import TIME_BASE
from streaming import inbox, rtc
from streaming.assembly import Assembly, EncodedFrame
from streaming.broadcast import Broadcast
from streaming.encoders import open_encoder
from streaming.measured import NoRecorder
from streaming.rtc_repair import Nacks
from streaming.rtc_send import send_pictures
from tests.streaming.encoding import use_encoder
from tests.streaming.test_sizes import h264_key, vp8_key

BOTH = pytest.mark.parametrize("codec", ["vp8", "h264"])
WAIT_S = 20.0
BITS = 8


def numbered(number: int) -> np.ndarray:
    """A picture of 160x120 with its number in eight columns, dark or bright."""
    planes = np.full((180, 160), 128, np.uint8)
    for bit in range(BITS):
        planes[:120, bit * 20 : bit * 20 + 20] = 200 if number >> bit & 1 else 50
    return planes


def number_of(frame: av.VideoFrame) -> int:
    luma = frame.to_ndarray()[20:100]
    return sum(int(luma[:, bit * 20 + 5 : bit * 20 + 15].mean() > 125) << bit for bit in range(BITS))


class Pictures(MediaStreamTrack):
    """Sends what it is given, and nothing by itself."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self._ready: asyncio.Queue[av.VideoFrame | None] = asyncio.Queue()

    def send(self) -> None:
        frame = av.VideoFrame.from_ndarray(numbered(self.sent), "yuv420p")
        frame.pts, frame.time_base = self.sent * 3000, TIME_BASE
        self.sent += 1
        self._ready.put_nowait(frame)

    async def recv(self) -> av.VideoFrame:
        frame = await self._ready.get()
        if frame is None:
            raise MediaStreamError
        return frame


@dataclass
class Told(NoRecorder):
    keys: list[bool] = field(default_factory=list)

    def encoded(self, codec: str, seconds: float, size_bytes: int, keyframe: bool) -> None:
        self.keys.append(keyframe)


@dataclass
class Call:
    """One way from `browser`, with aiortc's own sender, to the tuned `server`, and back from its tuned encoder."""

    browser: RTCPeerConnection
    server: RTCPeerConnection
    driver: Pictures
    shown: Pictures
    codec: str
    told: Told = field(default_factory=Told)
    arrived: list[tuple[int, float, str]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    passed_over: list[int] = field(default_factory=list)

    def take(self, frame: av.VideoFrame, first_packet_s: float) -> None:
        self.arrived.append((number_of(frame), first_packet_s, threading.current_thread().name))

    @property
    def numbers(self) -> list[int]:
        return [number for number, _, _ in self.arrived]

    async def send_until(self, done: Callable[[], object]) -> None:
        """Send pictures at 30 a second until `done`."""
        while not done():
            self.driver.send()
            await asyncio.sleep(1 / 30)


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not done():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def call(codec: str):
    browser, server = RTCPeerConnection(), RTCPeerConnection()
    this = Call(browser, server, Pictures(), Pictures(), codec)
    browser.addTrack(this.driver)
    await browser.setLocalDescription(await browser.createOffer())
    server.addTrack(this.shown)
    (transceiver,) = server.getTransceivers()
    able = RTCRtpSender.getCapabilities("video").codecs
    transceiver.setCodecPreferences(
        [c for c in able if c.mimeType.lower() in (f"video/{codec}", "video/rtx")]
    )
    await server.setRemoteDescription(browser.localDescription)
    rtc.tune_receiver(
        transceiver.receiver,
        this.take,
        lambda: this.ended.append(threading.current_thread().name),
        this.passed_over.append,
    )
    assert use_encoder(transceiver, lambda name: open_encoder(name, "s", this.told)) == codec
    await server.setLocalDescription(await server.createAnswer())
    await browser.setRemoteDescription(server.localDescription)
    try:
        async with asyncio.timeout(WAIT_S):
            while {browser.connectionState, server.connectionState} != {"connected"}:
                await asyncio.sleep(0.005)
            # the answer's side sends once it is connected; its receiver is running by then
            while not transceiver.receiver._RTCRtpReceiver__started:
                await asyncio.sleep(0.005)
        yield this
    finally:
        async with asyncio.timeout(WAIT_S):
            await server.close()
            await browser.close()


def run(test: Callable[[Call], Awaitable[None]], codec: str) -> Call:
    async def main() -> Call:
        async with call(codec) as this:
            await test(this)
        return this

    return asyncio.run(main())


@BOTH
def test_a_frame_arrives_before_the_next_one_is_sent(codec):
    """The structure, not the time: with one frame's packets sent and no other, that frame is decoded."""

    async def test(this: Call) -> None:
        for number in range(5):
            before_s = time.perf_counter()
            this.driver.send()
            await until(lambda number=number: len(this.arrived) == number + 1)
            shown, first_packet_s, thread = this.arrived[-1]
            assert shown == number
            assert before_s < first_packet_s < time.perf_counter()
            assert thread == "video-decoder"
        assert this.ended == []

    this = run(test, codec)
    assert this.ended == ["video-decoder"]
    assert this.server.getReceivers()[0].track.readyState == "ended"


@BOTH
def test_pictures_leave_through_the_encoder_that_was_given(codec):
    """aiortc never makes one of its own, and a key frame that is asked for is the next frame."""

    async def test(this: Call) -> None:
        (receiver,), (sender,) = this.browser.getReceivers(), this.server.getSenders()
        for number in range(4):
            this.shown.send()
            await until(lambda number=number: len(this.told.keys) == number + 1)
        await receiver._send_rtcp_pli(sender._ssrc)
        await until(lambda: sender._RTCRtpSender__force_keyframe)
        this.shown.send()
        await until(lambda: len(this.told.keys) == 5)
        assert this.told.keys == [True, False, False, False, True]
        async with asyncio.timeout(WAIT_S):
            assert (await receiver.track.recv()).width == 160

    run(test, codec)


@BOTH
def test_lost_packets_that_are_repaired_cost_no_frame(codec):
    """A packet that is lost once is sent again, and nothing that leaves was left out or cut."""

    async def test(this: Call) -> None:
        lose(this.browser, lambda count, resent: not resent and count % 7 == 6)
        await this.send_until(lambda: len(this.arrived) >= 40)

    this = run(test, codec)
    assert this.numbers == sorted(set(this.numbers))
    assert this.numbers[-1] + 1 <= len(this.numbers) + sum(this.passed_over)


@BOTH
def test_a_packet_that_never_comes_does_not_stop_the_call(codec):
    """After a loss nobody repairs, the picture goes on with a key frame, and is never a wrong one."""

    async def test(this: Call) -> None:
        await this.send_until(lambda: len(this.arrived) >= 5)
        lose(this.browser, lambda count, resent: resent or count == 3)
        before = len(this.arrived)
        await this.send_until(lambda: len(this.arrived) >= before + 30)

    this = run(test, codec)
    steps = [(later - earlier) % 256 for earlier, later in pairwise(this.numbers)]
    assert all(1 <= step < 128 for step in steps)
    assert max(steps) > 3  # there was a loss


def test_a_call_has_room_for_few_streams():
    """Four hundred streams leave no trace of each, and the one that was there first goes on, reports and all."""

    async def test(this: Call) -> None:
        await this.send_until(lambda: this.arrived)
        (receiver,), (sender,) = this.server.getReceivers(), this.browser.getSenders()
        kind = next(iter(receiver._RTCRtpReceiver__codecs))
        for ssrc in range(1000, 1400):
            packet = RtpPacket(payload_type=kind, sequence_number=ssrc, ssrc=ssrc, payload=b"\x10zzzz")
            await sender.transport._send_rtp(packet.serialize(rtp.HeaderExtensionsMap()))
        arrived = len(this.arrived)
        await this.send_until(lambda: len(this.arrived) > arrived + 60)  # two seconds: a report was due
        for kept in (
            receiver._RTCRtpReceiver__remote_streams,
            receiver._RTCRtpReceiver__active_ssrc,
            receiver.transport._rtp_router.ssrc_table,
        ):
            assert sender._ssrc in kept
            assert len(kept) <= rtc.MOST_STREAMS + 1  # the repairs' own is named in the offer
        assert not receiver._RTCRtpReceiver__rtcp_task.done()

    run(test, "vp8")


def lose(sender: RTCPeerConnection, lost: Callable[[int, bool], bool]) -> None:
    """Let packets fall: `lost` is asked with the media packets' count and whether this one is sent again."""
    transport = sender.getSenders()[0].transport
    send, seen = transport._send_rtp, 0
    ssrc = sender.getSenders()[0]._ssrc

    async def send_some(data: bytes) -> None:
        nonlocal seen
        if not is_rtcp(data):
            resent = RtpPacket.parse(data).ssrc != ssrc
            seen += not resent
            if lost(seen, resent):
                return
        await send(data)

    transport._send_rtp = send_some


@BOTH
def test_connections_leave_no_thread_and_no_task(codec):
    """Twenty reconnects an hour must not fill the process."""

    async def test(this: Call) -> None:
        this.driver.send()
        await until(lambda: this.arrived)

    run(test, codec)
    before = threading.active_count()
    calls = [run(test, codec) for _ in range(3)]
    assert threading.active_count() <= before
    assert all(len(each.ended) == 1 for each in calls)
    boxes = [
        each for each in gc.get_objects() if type(each) is inbox.Inbox
    ]  # asking others for their class may wake them
    assert all(box._decoder is None and not box._waiting for box in boxes)


def numbered_packet(number: int, marker: bool = True) -> RtpPacket:
    made = RtpPacket(
        sequence_number=number & 0xFFFF, timestamp=number * 3000, payload=b"K", marker=int(marker)
    )
    made._data = b"K"
    return made


def test_a_missing_packet_is_asked_for_between_packets():
    """A request, or what answers it, can be lost too, and the next packet may be a while away; aiortc asks once."""

    async def run() -> None:
        assembly = Assembly(lambda packet: packet.sequence_number == 65_534)
        told: list[tuple[int, list[int]]] = []
        nacks = Nacks(assembly, lambda ssrc, numbers: told.append((ssrc, numbers)))
        for number in (65_534, 65_536):
            asks = nacks.add(numbered_packet(number))
            assembly.add(numbered_packet(number))
        assert asks
        assert list(nacks.missing) == [65_535]
        await until(lambda: len(told) >= 2)
        assert told[:2] == [(0, [65_535])] * 2
        nacks.add(numbered_packet(65_535))
        told.clear()
        await asyncio.sleep(0.05)
        assert told == []

    asyncio.run(run())


def test_what_was_given_up_is_not_asked_for():
    """Repairs of what nobody needs any more would take the way from the picture."""

    async def run() -> None:
        assembly = Assembly(lambda packet: packet.sequence_number in (0, 9))
        nacks = Nacks(assembly, lambda ssrc, numbers: None)
        asked = set()
        for number in (0, 2, 4, 9):
            nacks.add(numbered_packet(number))
            asked |= set(nacks.missing)
            assembly.add(numbered_packet(number))
        assert asked == {1, 3, 5, 6, 7, 8}
        assert nacks.add(numbered_packet(12)) is True
        assert list(nacks.missing) == [10, 11]

    asyncio.run(run())


class Receiving:
    """An inbox in a thread of its own, as aiortc runs it, with an `arrived` that can be held up."""

    def __init__(self, fails: bool = False) -> None:
        self.ask = threading.Event()
        self.free = threading.Event()
        self.busy = threading.Event()
        self.fails = fails
        self.arrived: list[int] = []
        self.passed_over: list[int] = []
        self.ended = threading.Event()
        self.inbox = inbox.Inbox(self.ask, self._take, self.ended.set, self.passed_over.append)
        self.thread = threading.Thread(target=self.inbox.get)
        self.thread.start()

    def _take(self, frame: av.VideoFrame, first_packet_s: float) -> None:
        self.busy.set()
        assert self.free.wait(WAIT_S)
        self.arrived.append(frame.pts)
        if self.fails:
            raise RuntimeError("not taken")

    def put(self, *frames: EncodedFrame, codec: str = "video/VP8") -> None:
        self.inbox.put((CODECS[codec], inbox.Ready(list(frames))))

    def close(self) -> None:
        self.free.set()
        self.inbox.put(None)
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        assert self.ended.is_set()


CODECS = {codec.mimeType: codec for codec in RTCRtpSender.getCapabilities("video").codecs}


@pytest.fixture
def receiving():
    made = Receiving()
    yield made
    made.close()


@pytest.fixture(scope="module")
def encoded() -> list[EncodedFrame]:
    """Sixty VP8 frames, the first and the fiftieth of them key frames."""
    context = av.CodecContext.create("libvpx", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 64, 64, "yuv420p", TIME_BASE
    context.options = {"deadline": "realtime", "lag-in-frames": "0"}
    context.gop_size = 1000
    frames = []
    for number in range(60):
        frame = av.VideoFrame.from_ndarray(np.full((96, 64), 2 * number, np.uint8), "yuv420p")
        frame.pts, frame.time_base = number * 3000, TIME_BASE
        if number in (0, 50):
            frame.pict_type = av.video.frame.PictureType.I
        (packet,) = context.encode(frame)
        frames.append(EncodedFrame(bytes(packet), number * 3000, float(number), packet.is_keyframe))
    assert [frame.key for frame in frames].count(True) == 2
    return frames


def wait(done: Callable[[], object]) -> None:
    until_s = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < until_s
        time.sleep(0.002)


def test_the_newest_frame_wins(receiving, encoded):
    """While one is being taken the next ones wait; then they are decoded, and the oldest of them passed over."""
    receiving.put(encoded[0])
    assert receiving.busy.wait(WAIT_S)
    receiving.put(*encoded[1:6])
    receiving.free.set()
    wait(lambda: len(receiving.arrived) == 3)
    assert receiving.arrived == [0, 4 * 3000, 5 * 3000]
    assert sum(receiving.passed_over) == 3
    assert not receiving.ask.is_set()


def test_a_backlog_ends_with_a_key_frame(receiving, encoded):
    """More than a few frames never wait: they are let go, a key frame is asked for, and taken when it comes."""
    receiving.put(encoded[0])
    assert receiving.busy.wait(WAIT_S)
    for frame in encoded[1:50]:
        receiving.put(frame)
        assert len(receiving.inbox._waiting) <= inbox.MOST_WAITING
    assert receiving.ask.is_set()
    receiving.put(encoded[50])
    receiving.free.set()
    receiving.put(encoded[51])
    wait(lambda: len(receiving.arrived) == 3)
    assert receiving.arrived == [0, 50 * 3000, 51 * 3000]
    assert sum(receiving.passed_over) == 49


def test_what_cannot_be_decoded_asks_for_a_key_frame(receiving, encoded, caplog):
    """After an error nothing is shown that builds on it."""
    receiving.free.set()
    broken = EncodedFrame(encoded[0].data[:10] + b"\0", 0, 0.0, True)
    receiving.put(broken)
    assert receiving.ask.wait(WAIT_S)
    receiving.put(encoded[1])
    receiving.put(encoded[50])
    wait(lambda: receiving.arrived)
    assert receiving.arrived == [50 * 3000]
    assert "not decoded" in caplog.text


def test_a_picture_larger_than_a_camera_s_is_not_decoded(receiving, encoded, caplog):
    """What a call may ask of this machine's memory has an end; the call goes on with a picture that fits."""
    receiving.free.set()
    context = av.CodecContext.create("libvpx", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 2576, 1456, "yuv420p", TIME_BASE
    context.options = {"deadline": "realtime", "cpu-used": "-16", "lag-in-frames": "0"}
    frame = av.VideoFrame.from_ndarray(np.full((1456 * 3 // 2, 2576), 128, np.uint8), "yuv420p")
    frame.pts, frame.time_base = 0, TIME_BASE
    (large,) = context.encode(frame)
    receiving.put(EncodedFrame(bytes(large), 0, 0.0, True))
    assert receiving.ask.wait(WAIT_S)
    receiving.put(encoded[50])
    wait(lambda: receiving.arrived)
    assert receiving.arrived == [50 * 3000]
    assert caplog.text.count("not decoded") == 1


@pytest.mark.parametrize(
    ("codec", "data"),
    [("video/VP8", vp8_key(16383, 16383)), ("video/H264", h264_key((512, 512), crop=4000))],
)
def test_a_picture_that_only_says_to_be_large_costs_nothing(
    receiving, encoded, monkeypatch, caplog, codec, data
):
    """libvpx would take 850 MB for three kilobytes, and FFmpeg 150 for what is cropped: no decoder ever sees them, and
    the one that was there is let go."""
    receiving.free.set()
    receiving.put(encoded[0])
    wait(lambda: receiving.arrived)
    monkeypatch.setattr(inbox, "_open_decoder", lambda codec: pytest.fail("opened"))
    receiving.put(EncodedFrame(data, 3000, 0.0, True), codec=codec)
    assert receiving.ask.wait(WAIT_S)
    assert receiving.inbox._decoder is None
    assert "pixels, expected at most" in caplog.text
    monkeypatch.undo()
    receiving.put(encoded[50])
    wait(lambda: len(receiving.arrived) == 2)
    assert receiving.arrived[1] == 50 * 3000


def test_frames_that_fail_in_turn_with_others_are_logged_once(receiving, encoded, caplog):
    """Whoever sends good and bad ones in turn does not write this machine's log."""
    receiving.free.set()
    for number in range(4):
        receiving.put(EncodedFrame(encoded[0].data[:10] + b"\0", 0, 0.0, True))
        assert receiving.ask.wait(WAIT_S)
        receiving.inbox._asked_s = float("-inf")
        receiving.ask.clear()
        receiving.put(encoded[(0, 50)[number % 2]])
        wait(lambda number=number: len(receiving.arrived) == number + 1)
    assert caplog.text.count("not decoded") == 1


def test_an_error_of_the_taker_ends_nothing(encoded, caplog):
    """The decoder's thread goes on when one frame could not be used, and says so once."""
    receiving = Receiving(fails=True)
    receiving.free.set()
    for number in range(3):
        receiving.put(encoded[number])
        wait(lambda number=number: len(receiving.arrived) == number + 1)
    receiving.close()
    assert caplog.text.count("RuntimeError: not taken") == 1


def test_tuning_comes_after_the_offer():
    """Before it nothing is to be tuned, and no codec agreed on: said at once, not when the first frame is missed."""

    async def main() -> None:
        connection = RTCPeerConnection()
        transceiver = connection.addTransceiver("video")
        with pytest.raises(ConfigError, match="setRemoteDescription"):
            rtc.tune_receiver(transceiver.receiver, lambda frame, s: None, lambda: None)
        with pytest.raises(ConfigError, match="vp8 or h264"):
            send_pictures(transceiver, Broadcast("s", NoRecorder()))
        await connection.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("codec", "payload", "data", "begins"),
    [
        ("VP8", b"\x90\x80\x80\x01\x10", b"\x10", True),
        ("VP8", b"\x10\x11", b"\x11", False),
        ("VP8", b"\x00\x10", b"\x10", False),
        ("VP8", b"\x11\x10", b"\x10", False),
        ("VP8", b"", b"", False),
        ("H264", b"\x67\x42", b"\0\0\0\1\x67\x42", True),
        ("H264", b"\x78\0\2\x67\x42\0\2\x68\1", b"x", True),
        ("H264", b"\x78\0\2\x09\x10\0\2\x67\x42", b"x", True),
        ("H264", b"\x78\0\2\x41\x42\0\2\x41\1", b"x", False),
        ("H264", b"\x78\xff\xff\x41", b"x", False),
        ("H264", b"\x7c\x85\1", b"x", False),
        ("H264", b"\x41\1", b"x", False),
    ],
)
def test_the_first_packet_of_a_key_frame_is_known(codec, payload, data, begins):
    """A start in the middle of a frame, or on one that needs another, is no start."""
    packet = RtpPacket(payload=payload)
    packet._data = data
    assert rtc.begins_key_frame(codec, packet) is begins


def test_the_aiortc_that_is_installed_is_the_one_known():
    """The check passes on the version that this project asks for."""
    rtc.check_aiortc()


def test_another_series_is_refused(monkeypatch):
    """Internals may change with a version: nothing is touched in one that was not looked at."""
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.17.0")
    with pytest.raises(BackendError, match=r"got version 1\.17\.0, expected 1\.16\.x"):
        rtc.check_aiortc()


@pytest.mark.parametrize("at", range(len(rtc._USED)))
def test_each_internal_that_is_touched_is_looked_at(monkeypatch, at):
    """A function that is gone, or that no longer uses what is replaced, is named."""
    owner, name, _ = rtc._USED[at]
    monkeypatch.setattr(owner, name, lambda self: None)
    with pytest.raises(BackendError, match=name):
        rtc.check_aiortc()
    monkeypatch.delattr(owner, name)
    with pytest.raises(BackendError, match=name):
        rtc.check_aiortc()


def test_the_text_of_what_is_touched_is_the_one_that_was_read():
    """When this fails aiortc has changed: read the functions named here, then state the new digest."""
    read = (
        RTCRtpReceiver.receive,
        RTCRtpReceiver._handle_rtp_packet,
        RTCRtpReceiver._run_rtcp,
        rtcdtlstransport.RtpRouter.route_rtp,
        RTCSctpTransport._data_channel_receive,
        RTCRtpReceiver._RTCRtpReceiver__stop_decoder,
        rtcrtpreceiver.decoder_worker,
        rtcrtpreceiver.NackGenerator,
        RTCRtpSender._next_encoded_frame,
        RTCRtpSender._handle_rtcp_packet,
        RTCRtpSender._run_rtp,
        H264Encoder._packetize,
        H264Encoder._split_bitstream,
        Vp8Encoder._packetize,
    )
    digest = hashlib.sha256("".join(map(inspect.getsource, read)).encode()).hexdigest()
    assert digest == "f785789ffa7e99bb66f35898eeafa1041c35cd4fc6f182d1a4fc328e20c99c43"
