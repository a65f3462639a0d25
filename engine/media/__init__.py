"""Pictures and videos, in and out."""

from engine.media.limits import PICTURE_LIMITS, VIDEO_LIMITS, Limits
from engine.media.opening import (
    MediaReader,
    MediaWriter,
    PictureReader,
    PictureWriter,
    open_media,
    open_writer,
)
from engine.media.picture import decode_picture, read_picture, resize_within, write_picture
from engine.media.video_reader import VideoReader
from engine.media.video_writer import VideoWriter

__all__ = [
    "PICTURE_LIMITS",
    "VIDEO_LIMITS",
    "Limits",
    "MediaReader",
    "MediaWriter",
    "PictureReader",
    "PictureWriter",
    "VideoReader",
    "VideoWriter",
    "decode_picture",
    "open_media",
    "open_writer",
    "read_picture",
    "resize_within",
    "write_picture",
]
