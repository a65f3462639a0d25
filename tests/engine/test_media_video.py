"""Reading videos: what is opened, what is refused, and which frames come out."""

from __future__ import annotations

import io
import shutil
import socket
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engine.errors import DecodeError, InputError, TooLargeError, TooSmallError
from engine.media import Limits, VideoReader, VideoWriter, open_media
from engine.media.orientation import code_of_matrix, upright
from engine.types import U8, Frame

TICK = Fraction(1, 1000)
RATE = Fraction(25)


def picture(level: int, size: tuple[int, int] = (96, 80)) -> U8:
    """A flat grey of the given level with a red upper left corner."""
    rgb = np.full((size[1], size[0], 3), level, np.uint8)
    rgb[:40, :40] = (200, 40, 40)
    return rgb


def write_clip(path: Path, count: int = 10) -> Path:
    """A clip whose frames have the grey levels 20, 30, 40, ..."""
    with VideoWriter(path, (96, 80), TICK, RATE) as writer:
        for index in range(count):
            writer.write(Frame(picture(20 + 10 * (index % 20)), index * 40, TICK, 0.0))
    return path


def grey_levels(frames: list[Frame]) -> list[int]:
    """The grey of each frame, in tens."""
    return [round(float(frame.rgb[60:, 60:].mean()) / 10) * 10 for frame in frames]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten frames of H.264 in MP4."""
    return write_clip(tmp_path / "clip.mp4")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm"])
def test_frames_come_in_order_with_their_times(tmp_path: Path, suffix: str):
    """Every frame comes out once, in order, with its time in seconds, in RGB."""
    with open_media(write_clip(tmp_path / f"clip{suffix}")) as reader:
        frames = list(reader)
        assert not reader.still
        assert (reader.size, reader.frame_count, reader.dropped) == ((96, 80), 10, 0)
        assert reader.rate == RATE
        assert reader.duration_s == pytest.approx(0.4, abs=0.002)
    assert grey_levels(frames) == [20 + 10 * index for index in range(10)]
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(10) * 0.04, atol=1e-3)
    assert [frame.arrived_s for frame in frames] == [frame.time_s for frame in frames]
    assert frames[0].rgb.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(frames[0].rgb[20, 20].astype(int), (200, 40, 40), atol=6)


def test_uneven_times_are_kept(tmp_path: Path):
    """A variable frame rate keeps each frame's own time stamp."""
    times = [0, 40, 50, 200, 233, 600]
    with VideoWriter(tmp_path / "clip.mp4", (96, 80), TICK, RATE) as writer:
        for time in times:
            writer.write(Frame(picture(90), time, TICK, 0.0))
    with VideoReader(tmp_path / "clip.mp4") as reader:
        assert [round(frame.time_s * 1000) for frame in reader] == times


def remux(source: Path, target: Path, kind: str, turn: int = 0, drop_times: bool = False) -> None:
    """The packets of `source` in another container, turned by metadata, or without time stamps."""
    with av.open(str(source)) as old, av.open(str(target), "w", format=kind) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        if turn:
            stream.set_display_rotation(turn)
        for packet in old.demux(video=0):
            if packet.dts is None:
                continue
            packet.stream = stream
            if drop_times:
                packet.pts = packet.dts
            new.mux(packet)


@pytest.mark.parametrize(("turn", "corner"), [(90, (-20, 20)), (180, (-20, -20)), (-90, (20, -20))])
def test_rotation_in_the_metadata_is_applied(clip: Path, tmp_path: Path, turn: int, corner: tuple[int, int]):
    """A display matrix turns the frames counter-clockwise by its degrees, and the stated size with them."""
    remux(clip, tmp_path / "turned.mp4", "mp4", turn)
    with VideoReader(tmp_path / "turned.mp4") as reader:
        rgb = next(iter(reader)).rgb
        assert reader.size == ((96, 80) if turn == 180 else (80, 96))
    assert rgb.shape[1::-1] == reader.size
    np.testing.assert_allclose(rgb[corner].astype(int), (200, 40, 40), atol=8)


def test_each_display_matrix_has_its_orientation():
    """Mirrors and quarter turns of a display matrix move a point as EXIF's code of the same name does."""
    stored = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    one = 1 << 16
    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    for a, b, c, d in [(p, 0, 0, q) for p, q in signs] + [(0, p, q, 0) for p, q in signs]:
        code = code_of_matrix(struct.pack("=9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30))
        shown = upright(stored, code)[..., 0]
        for y, x in np.ndindex(2, 3):
            # A negative index counts from the other side, as a mirrored axis does.
            column, row = a * x + c * y - (a + c < 0), b * x + d * y - (b + d < 0)
            assert shown[row, column] == stored[y, x, 0]


def test_an_odd_angle_is_left_alone():
    """A display matrix of no quarter turn leaves the frames as they are stored."""
    assert code_of_matrix(struct.pack("=9i", 46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)) == 1


def test_mpeg_streams_start_at_zero(clip: Path, tmp_path: Path):
    """A transport stream's clock counts from anywhere, so its start is taken off."""
    remux(clip, tmp_path / "clip.ts", "mpegts")
    with av.open(str(tmp_path / "clip.ts")) as raw:
        assert raw.start_time > 0
    with VideoReader(tmp_path / "clip.ts") as reader:
        times = [frame.time_s for frame in reader]
    np.testing.assert_allclose(times, np.arange(10) * 0.04, atol=1e-3)


def test_a_bare_stream_is_refused(tmp_path: Path):
    """A stream without a container is not read, as its parser spends minutes on a few megabytes of zeros."""
    with av.open(str(tmp_path / "bare.m2v"), "w", format="mpeg2video") as bare:
        stream = bare.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv420p"
        for index in range(8):
            bare.mux(stream.encode(av.VideoFrame.from_ndarray(picture(20 + 10 * index), "rgb24")))
        bare.mux(stream.encode(None))
    with pytest.raises(DecodeError, match="cannot be opened"):
        VideoReader(tmp_path / "bare.m2v")


def test_times_that_run_back_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Where the clock of a file jumps back, or ahead by hours, the frames behind it continue evenly."""
    reader = VideoReader(write_clip(tmp_path / "clip.mp4"))
    frames = list(reader._remaining())
    tick = round(Fraction(1, 25) / reader.time_base)
    for frame, pts in zip(frames, [5, 6, None, 8, 0, 1, 2, 3, None, 10**6], strict=True):
        frame.pts = None if pts is None else pts * tick
    monkeypatch.setattr(reader, "_remaining", lambda: iter(frames))
    assert [frame.pts // tick for frame in reader] == [5, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    reader.close()


def test_a_gif_is_a_video(tmp_path: Path):
    """GIF opens as a video with its own delays."""
    with av.open(str(tmp_path / "clip.gif"), "w") as gif:
        stream = gif.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 80, "rgb8"
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(picture(20 + 50 * index), "rgb24").reformat(format="rgb8")
            frame.pts = index
            gif.mux(stream.encode(frame))
        gif.mux(stream.encode(None))
    with open_media(tmp_path / "clip.gif") as reader:
        times = [frame.time_s for frame in reader]
    np.testing.assert_allclose(times, [0, 0.1, 0.2, 0.3], atol=1e-6)


def two_sizes(path: Path, second: tuple[int, int]) -> Path:
    """A transport stream whose pictures change from 128x96 to `second` after six seconds."""
    with av.open(str(path), "w", format="mpegts") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for start, stop, size in ((0, 150, (128, 96)), (150, 155, second)):
            context = av.CodecContext.create("libx264", "w")
            context.width, context.height = size
            context.pix_fmt, context.time_base, context.framerate = "yuv420p", Fraction(1, 25), Fraction(25)
            context.options = {"tune": "zerolatency"}
            for index in range(start, stop):
                frame = av.VideoFrame.from_ndarray(picture(80, size), "rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                for packet in context.encode(frame):
                    packet.stream, packet.time_base = stream, Fraction(1, 25)
                    output.mux(packet)
    return path


def test_a_change_of_size_is_scaled_or_refused(tmp_path: Path):
    """Frames of another size are scaled to the first one's; those of another shape are a DecodeError."""
    with VideoReader(two_sizes(tmp_path / "more.ts", (192, 144))) as reader:
        assert {frame.size for frame in reader} == {(128, 96)}
    with (
        VideoReader(two_sizes(tmp_path / "shape.ts", (96, 128))) as reader,
        pytest.raises(DecodeError, match="96x128"),
    ):
        list(reader)


def test_growing_beyond_the_limit_is_never_decoded(tmp_path: Path):
    """A stream that grows over the pixel limit on its way loses those frames."""
    path = two_sizes(tmp_path / "grows.ts", (512, 384))
    with VideoReader(path, Limits(pixels=128 * 96 * 2)) as reader:
        assert len(list(reader)) == 150
        assert reader.dropped > 0


def test_size_limits(clip: Path):
    """The stated size is held against the limits when the file is opened."""
    with pytest.raises(TooLargeError, match="96x80"):
        VideoReader(clip, Limits(pixels=1000))
    with pytest.raises(TooSmallError, match="96x80"):
        VideoReader(clip, Limits(smallest_side=81))


def test_damage_drops_frames_and_goes_on(tmp_path: Path):
    """Flipped bytes in the middle cost frames, which are counted, and never the rest of the clip."""
    data = bytearray(write_clip(tmp_path / "clip.mp4", 25).read_bytes())
    start = data.index(b"mdat") + 900
    data[start : start + 400] = bytes(np.random.default_rng(3).integers(0, 256, 400, np.uint8))
    (tmp_path / "bad.mp4").write_bytes(data)
    with VideoReader(tmp_path / "bad.mp4") as reader:
        count = len(list(reader))
    assert count < 25
    assert count + reader.dropped <= 25
    assert reader.dropped > 0


def test_a_cut_file_ends_cleanly(clip: Path, tmp_path: Path):
    """Frames up to the cut come out when the index stands in front; without an index it is a DecodeError."""
    data = clip.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) - (len(data) - data.index(b"mdat")) // 4])
    with VideoReader(tmp_path / "cut.mp4") as reader:
        assert 1 <= len(list(reader)) < 10
    (tmp_path / "none.mp4").write_bytes(data.replace(b"moov", b"gone", 1))
    with pytest.raises(DecodeError):
        VideoReader(tmp_path / "none.mp4")


def test_no_picture_in_it_is_a_decode_error(tmp_path: Path):
    """Sound only, text and nothing are DecodeErrors; a missing file is an InputError."""
    with av.open(str(tmp_path / "sound.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=44100)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        output.mux(stream.encode(silence))
        output.mux(stream.encode(None))
    with pytest.raises(DecodeError, match="no video"):
        open_media(tmp_path / "sound.mp4")
    for name, data in (("text.mp4", b"just words " * 30), ("empty.mp4", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DecodeError, match=name):
            open_media(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        open_media(tmp_path / "none.mp4")


def test_a_reader_closes_twice_and_tells_its_facts_after(clip: Path):
    """Closing twice is harmless, and what the reader said of the file stays true."""
    reader = VideoReader(clip)
    reader.close()
    reader.close()
    assert (reader.size, reader.frame_count, reader.rate) == ((96, 80), 10, RATE)
    shutil.move(clip, clip.with_name("moved.mp4"))  # no handle is left on it


@pytest.fixture
def ear() -> Iterator[socket.socket]:
    """A socket that hears whoever calls."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        listening.settimeout(0.05)
        yield listening


PLAYLISTS = {
    "hls.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{0}\n#EXT-X-ENDLIST\n",
    "hls.mp4": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{0}\n#EXT-X-ENDLIST\n",
    "concat.ffconcat": "ffconcat version 1.0\nfile '{0}'\n",
    "concat.mp4": "ffconcat version 1.0\nfile '{0}'\n",
    "dash.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
    "<Period><BaseURL>{0}</BaseURL></Period></MPD>",
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\na=control:{0}\n",
    "drawing.svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{0}"/></svg>',
    "subtitles.vob": "{0}",
}


@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_opens_nothing(clip: Path, tmp_path: Path, ear: socket.socket, name: str):
    """A playlist of any kind is refused; neither the local file nor the address that it names is opened."""
    port = ear.getsockname()[1]
    for target in (clip.name, str(clip), f"file:{clip}", f"http://127.0.0.1:{port}/clip.mp4"):
        (tmp_path / name).write_text(PLAYLISTS[name].format(target))
        with pytest.raises(DecodeError):
            open_media(tmp_path / name)
        with pytest.raises(DecodeError):
            VideoReader(tmp_path / name)
    with pytest.raises(TimeoutError):
        ear.accept()


@pytest.mark.parametrize(
    "name", ["http://127.0.0.1:{port}/a.mp4", "pipe:0", "-", "concat:a.mp4|b.mp4", "data:,a", "a\0b"]
)
def test_an_address_is_no_path(
    ear: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    """Addresses and FFmpeg's special names are file names that do not exist, and nobody is called."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"cannot be read|127.* is an address"):
        open_media(name.format(port=ear.getsockname()[1]))
    with pytest.raises(TimeoutError):
        ear.accept()


@pytest.mark.parametrize("name", ["hls.m3u8", "concat.ffconcat"])
def test_the_second_fence_holds_alone(
    clip: Path, tmp_path: Path, ear: socket.socket, monkeypatch: pytest.MonkeyPatch, name: str
):
    """Were playlists among the formats, the empty list of protocols would still keep every target shut."""
    monkeypatch.setattr("engine.media.container._FORMATS", "mov,mp4,m4a,3gp,3g2,mj2,mpegts,hls,concat")
    for target in (clip.name, str(clip), f"http://127.0.0.1:{ear.getsockname()[1]}/clip.ts"):
        (tmp_path / name).write_text(PLAYLISTS[name].format(target))
        with pytest.raises(DecodeError):
            VideoReader(tmp_path / name)
    with pytest.raises(TimeoutError):
        ear.accept()


def test_colours_follow_the_tags_of_the_file(tmp_path: Path):
    """BT.709 and BT.601, limited and full range, decode to the same colours when the file is tagged."""
    colours = np.array(
        [[200, 40, 40], [40, 180, 60], [50, 60, 210], [230, 220, 40], [128, 128, 128]], np.uint8
    )
    rgb = np.repeat(np.repeat(colours[None], 64, axis=0), 32, axis=1)
    for matrix, spread in ((1, 1), (6, 1), (6, 2)):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4") as output:
            stream = output.add_stream("libx264", rate=25, options={"crf": "4"})
            stream.width, stream.height, stream.pix_fmt = rgb.shape[1], rgb.shape[0], "yuv420p"
            stream.codec_context.colorspace, stream.codec_context.color_range = matrix, spread
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
                format="yuv420p", dst_colorspace=matrix, dst_color_range=spread
            )
            output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        (tmp_path / "tagged.mp4").write_bytes(buffer.getvalue())
        with VideoReader(tmp_path / "tagged.mp4") as reader:
            decoded = next(iter(reader)).rgb
        np.testing.assert_allclose(decoded[32, 16::32].astype(int), colours.astype(int), atol=4)
