"""Trackers over real sockets: who is heard, what is passed on, and that nothing else is."""

from __future__ import annotations

import logging
import queue
import socket
import struct
import time

import numpy as np
import pytest

from engine.acting import unpacked
from engine.drivers.arkit import NAMES
from engine.errors import ConfigError
from engine.types import AU_NAMES, U8
from engine.worker.acted import NOBODY
from streaming.listen import PortTakenError
from streaming.trackers import TrackerPlace, Trackers, place_of

WAIT_S = 10.0


class Told:
    """A session that keeps what it is told."""

    def __init__(self) -> None:
        self.heard: queue.Queue[tuple[U8, float]] = queue.Queue()

    def acted(self, told: U8, arrived_s: float) -> None:
        self.heard.put((told, arrived_s))


def arkit_packet(**scores: float) -> bytes:
    head = struct.pack("!Bi5si4s", 6, 5, b"phone", 4, b"face")
    values = [scores.get(name, 0.0) for name in NAMES] + [0.0] * 9
    return head + struct.pack("!ifiiB61f", 1, 0.0, 60, 1, 61, *values)


def send(port: int, *packets: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for packet in packets:
            sending.sendto(packet, ("127.0.0.1", port))


def test_a_packet_moves_every_session_that_is_driven():
    """One phone drives all that ask for it, with the time of the packet's arrival."""
    sessions = [Told(), Told()]
    trackers = Trackers([place_of("arkit:0")], lambda: sessions)
    try:
        before = time.perf_counter()
        send(trackers.ports[0], arkit_packet(jawOpen=0.5))
        for session in sessions:
            told, arrived_s = session.heard.get(timeout=WAIT_S)
            assert unpacked(told).right[AU_NAMES.index("AU26")] == pytest.approx(0.5)
            assert before <= arrived_s <= time.perf_counter()
    finally:
        trackers.close()


def test_nobody_and_nonsense(caplog: pytest.LogCaptureFixture):
    """Where the phone sees nobody that is passed on; what cannot be read is not, and is told of once."""
    session = Told()
    trackers = Trackers([place_of("arkit:0")], lambda: [session])
    try:
        with caplog.at_level(logging.WARNING, "marotte.trackers"):
            nobody = struct.pack("!Bi5si4s", 6, 5, b"phone", 4, b"face")
            send(trackers.ports[0], b"", b"nonsense", bytes(20_000), nobody)
            told, _ = session.heard.get(timeout=WAIT_S)
        assert np.array_equal(told, NOBODY)
        assert session.heard.empty()
        assert len(caplog.records) == 1
    finally:
        trackers.close()


def test_others_are_not_heard(caplog: pytest.LogCaptureFixture):
    """A socket with named senders hears none but them."""
    session = Told()
    place = TrackerPlace("arkit", "127.0.0.1", 0, frozenset({"192.0.2.7"}))
    trackers = Trackers([place], lambda: [session])
    try:
        with caplog.at_level(logging.WARNING, "marotte.trackers"):
            send(trackers.ports[0], arkit_packet())
            until = time.monotonic() + WAIT_S
            while not caplog.records and time.monotonic() < until:
                time.sleep(0.01)
        assert "127.0.0.1" in caplog.text
        assert session.heard.empty()
    finally:
        trackers.close()


def test_a_taken_port_is_told_and_nothing_stays_open():
    """The second of two that want one port fails; the first of the same call is let go of."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=str(port)):
            Trackers([place_of("arkit:0"), place_of(f"openseeface:{port}")], list)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("arkit", TrackerPlace("arkit", "127.0.0.1", 11111)),
        ("openseeface:5000", TrackerPlace("openseeface", "127.0.0.1", 5000)),
        ("arkit:[::1]:5000", TrackerPlace("arkit", "::1", 5000)),
    ],
)
def test_places_are_read(text, place):
    """With the usual port, another one, or another address."""
    assert place_of(text) == place


@pytest.mark.parametrize(
    ("text", "senders", "says"),
    [
        ("arkid", (), "arkit"),
        ("arkit:phone", (), "expected"),
        ("arkit:99999", (), "port"),
        ("arkit:example.org:11111", (), "figures"),
        ("arkit:0.0.0.0:11111", (), "--tracker-from"),
        ("arkit:0.0.0.0:11111", ("phone",), "figures"),
    ],
)
def test_wrong_places_are_refused(text, senders, says):
    """A wrong word, and a socket that everybody could send to."""
    with pytest.raises(ConfigError, match=says):
        place_of(text, senders)
