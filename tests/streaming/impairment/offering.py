"""aiortc as a browser that offers transport-wide feedback, as Chromium and Firefox do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiortc import RTCRtpTransceiver, codecs
from aiortc.rtcrtpparameters import RTCRtcpFeedback, RTCRtpHeaderExtensionParameters

from streaming import twcc
from streaming.rtc_congestion import attach

NUMBER = 5


@contextmanager
def transport_wide() -> Iterator[None]:
    """What is offered inside has the header extension, and feedback for both codecs."""
    extensions = codecs.HEADER_EXTENSIONS["video"]
    extensions.append(RTCRtpHeaderExtensionParameters(id=NUMBER, uri=twcc.URI))
    feedback = RTCRtcpFeedback(type="transport-cc")
    video = [codec for codec in codecs.CODECS["video"] if not codecs.is_rtx(codec)]
    for codec in video:
        codec.rtcpFeedback.append(feedback)
    try:
        yield
    finally:
        extensions.pop()
        for codec in video:
            codec.rtcpFeedback.remove(feedback)


def take_part(transceiver: RTCRtpTransceiver, estimated: Callable[[int], None] = lambda bits: None) -> None:
    """Number what is sent and tell what comes. Call it inside `transport_wide`, after the answer was set."""
    attach(transceiver, estimated)
