"""DTLS with those who have another kind of certificate."""

from __future__ import annotations

import asyncio
import datetime

import pytest
from aiortc import RTCCertificate, RTCConfiguration, RTCPeerConnection
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from streaming.rtc_tls import SUITES, take_rsa
from tests.streaming.test_rtc_ice import WAIT_S, until


class RsaCertificate(RTCCertificate):
    """As GStreamer has one, and its suites."""

    @classmethod
    def made(cls) -> RsaCertificate:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rsa")])
        now = datetime.datetime.now(tz=datetime.UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        return cls(key, builder.sign(key, hashes.SHA256()))  # type: ignore[arg-type]

    def _create_ssl_context(self, srtp_profiles: list) -> SSL.Context:
        context = super()._create_ssl_context(srtp_profiles)
        context.set_cipher_list(b"DEFAULT")
        return context


@pytest.mark.parametrize("taken", [True, False])
def test_an_rsa_certificate_is_taken(taken: bool) -> None:
    """The one who answers is the client of a server with an RSA key: it connects, and without this it does not."""

    async def test() -> None:
        left, right = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
        left._RTCPeerConnection__certificates[:] = [RsaCertificate.made()]  # type: ignore[attr-defined]
        if taken:
            take_rsa(right)
        left.createDataChannel("test")
        try:
            await left.setLocalDescription(await left.createOffer())
            await right.setRemoteDescription(left.localDescription)
            await right.setLocalDescription(await right.createAnswer())
            await left.setRemoteDescription(right.localDescription)
            await until(lambda: right.connectionState in ("connected", "failed"))
            assert right.connectionState == ("connected" if taken else "failed")
        finally:
            await left.close()
            await right.close()

    asyncio.run(asyncio.wait_for(test(), WAIT_S))


def test_it_is_one_connections_own() -> None:
    """Others keep what aiortc gives them, and every suite has forward secrecy."""

    async def test() -> None:
        ours, other = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
        take_rsa(ours)
        mine, theirs = (type(each._RTCPeerConnection__certificates[0]) for each in (ours, other))  # type: ignore[attr-defined]
        assert mine is not RTCCertificate
        assert theirs is RTCCertificate
        await ours.close()
        await other.close()

    asyncio.run(test())
    assert all(suite.startswith(b"ECDHE-") for suite in SUITES.split(b":"))
