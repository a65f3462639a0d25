"""Lost packets on real connections of aiortc's."""

from __future__ import annotations

import asyncio
import socket

from aiortc import RTCPeerConnection

from streaming.rtc_repair import BUFFER_BYTES, widen_buffers


def test_a_socket_keeps_what_comes_while_nobody_reads():
    """As much as the system allows to ask for, and more than it gives by itself where that is less."""

    async def run() -> None:
        connection = RTCPeerConnection()
        connection.addTransceiver("video")
        connection.createDataChannel("x")
        await connection.setLocalDescription(await connection.createOffer())
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            allowed = other.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        widen_buffers(connection)
        protocols = connection.getTransceivers()[0].receiver.transport.transport._connection._protocols
        opened = [protocol.transport.get_extra_info("socket") for protocol in protocols]
        assert opened
        assert all(each.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == allowed for each in opened)
        await connection.close()

    asyncio.run(run())
