"""Lost packets on real connections of aiortc's."""

from __future__ import annotations

import asyncio
import socket

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection

from streaming.rtc_ice import RestartableIce
from streaming.rtc_repair import BUFFER_BYTES, widen_buffers


def kept_by(connection: RTCPeerConnection) -> set[int]:
    """What the sockets of a connection's first transport hold."""
    protocols = connection.getTransceivers()[0].receiver.transport.transport._connection._protocols
    opened = [protocol.transport.get_extra_info("socket") for protocol in protocols]
    return {each.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) for each in opened}


def test_a_socket_keeps_what_comes_while_nobody_reads():
    """As much as the system allows to ask for, also below ICE that can begin anew."""

    async def run() -> None:
        connection = RTCPeerConnection(RTCConfiguration(bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
        connection.addTransceiver("video")
        connection.createDataChannel("x")
        await connection.setLocalDescription(await connection.createOffer())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            allowed = other.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        widen_buffers(connection)
        assert kept_by(connection) == {allowed}
        answering = RTCPeerConnection()
        await answering.setRemoteDescription(connection.localDescription)
        RestartableIce(answering)
        await answering.setLocalDescription(await answering.createAnswer())
        widen_buffers(answering)
        assert kept_by(answering) == {allowed}
        await answering.close()
        await connection.close()

    asyncio.run(run())
