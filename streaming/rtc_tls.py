"""DTLS with those whose certificate has an RSA key (GStreamer's). Reaches into aiortc, as streaming/rtc.py does.

aiortc offers suites for ECDSA alone, so that it cannot be the client of such a server. Here one connection's
certificate makes contexts that take both.
"""

from __future__ import annotations

from typing import Any, Final

from aiortc import RTCCertificate, RTCPeerConnection
from aiortc.rtcdtlstransport import SRTPProtectionProfile
from OpenSSL import SSL

SUITES: Final = b":".join(
    f"ECDHE-{key}-{cipher}".encode()
    for cipher in ("AES128-GCM-SHA256", "CHACHA20-POLY1305", "AES128-SHA", "AES256-SHA")
    for key in ("ECDSA", "RSA")
)
"""aiortc's own four, each for both kinds of key; all with forward secrecy."""

USED: Final[tuple[tuple[Any, str, str], ...]] = (
    (RTCPeerConnection, "__init__", "_RTCPeerConnection__certificates generateCertificate"),
    (RTCPeerConnection, "_RTCPeerConnection__createDtlsTransport", "_RTCPeerConnection__certificates"),
    (RTCCertificate, "_create_ssl_context", "set_cipher_list use_certificate set_tlsext_use_srtp"),
)
"""For streaming.rtc.check_aiortc."""


class _Certificate(RTCCertificate):
    def _create_ssl_context(self, srtp_profiles: list[SRTPProtectionProfile]) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(SUITES)
        return context


def take_rsa(connection: RTCPeerConnection) -> None:
    """Have a connection speak with certificates of both kinds. Call it before anything is added to it."""
    inner: Any = connection
    inner._RTCPeerConnection__certificates[:] = [_Certificate.generateCertificate()]
