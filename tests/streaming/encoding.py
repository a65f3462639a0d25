"""An aiortc sender that encodes by itself, with our encoders: what a browser is in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiortc import RTCRtpTransceiver
from aiortc.codecs.base import Encoder


def use_encoder(transceiver: RTCRtpTransceiver, make: Callable[[str], Encoder]) -> str:
    """Give the sender the encoder made by `make(codec)`. Call it between setRemoteDescription and setLocalDescription.

    Returns the codec in use, "vp8" or "h264".
    """
    inner: Any = transceiver
    codec = str(inner._codecs[0].name).lower()
    assert codec in ("vp8", "h264")
    inner.sender._RTCRtpSender__encoder = make(codec)
    return codec
