"""Opening a media file so that FFmpeg reads that one file and nothing else."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from engine.errors import DecodeError
from engine.media.limits import Limits
from engine.media.wording import one_line

# Containers that hold their own data. Playlists (hls, dash, concat), picture sequences and devices
# open further files or addresses, so they are not among them. Nor are bare MPEG streams (mpegvideo), whose
# parser spends minutes on a run of zeros.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpeg,mpegts,avi,gif"
_VIDEO_CODECS = """
    h264 hevc av1 libdav1d vp8 vp9 libvpx libvpx-vp9 mpeg1video mpeg2video mpegvideo mpeg4 mjpeg gif prores
"""
_AUDIO_CODECS = """
    aac mp1 mp2 mp3 ac3 eac3 opus vorbis flac alac pcm_s16le pcm_s16be pcm_s24le pcm_s32le pcm_f32le pcm_u8
"""
_ANY_START = frozenset({"mpeg", "mpegts"})
_BUFFER_BYTES = 1 << 16


def open_container(path: Path, limits: Limits, data: bytes | None = None) -> tuple[InputContainer, BinaryIO]:
    """Open a local media file, or its bytes: the demuxer, and the file that it reads from (close both).

    FFmpeg gets an opened file and an empty list of protocols, so neither a name nor the file's content
    can make it open anything else. Raises DecodeError when it is none of the known containers.
    """
    file = limits.open_file(path) if data is None else limits.open_bytes(data, path.name)
    try:
        container = av.open(
            file,
            "r",
            options={"max_pixels": str(limits.pixels)},
            container_options={"protocol_whitelist": "none", "format_whitelist": _FORMATS},
            metadata_errors="replace",
            buffer_size=_BUFFER_BYTES,
        )
    except (av.FFmpegError, ValueError) as error:
        file.close()
        raise DecodeError(
            f"{one_line(path.name)} cannot be opened as a picture or video: it is cut, damaged or of an unknown kind; "
            "give a whole JPEG, PNG, WebP, BMP or TIFF picture, or a whole MP4, MOV, WebM, MKV, AVI, MPEG or GIF clip"
        ) from error
    return container, file


def video_codec_is_read(name: str) -> bool:
    """Whether this decoder is among those that are used on files from outside."""
    return name in _VIDEO_CODECS.split()


def audio_codec_of(stream: AudioStream) -> str | None:
    """The codec's plain name ("aac", "mp3", ...), or None when it is not decoded from outside files."""
    context = stream.codec_context
    name = "" if context is None else context.name.removeprefix("lib").removesuffix("float")
    return name if name in _AUDIO_CODECS.split() else None


def clock_start(container: InputContainer) -> Fraction:
    """Seconds to subtract from every time stamp of this file.

    MPEG streams count from any number, so their own start is taken off; elsewhere 0, as stamps are kept.
    """
    if container.format.name not in _ANY_START or container.start_time is None:
        return Fraction(0)
    return Fraction(container.start_time, av.time_base)
