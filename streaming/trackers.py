"""External trackers over UDP: their packets, one socket and one thread a tracker, to every session that it drives.

A packet has no token. On loopback every program of this machine may send; a socket that other machines reach takes
packets from the addresses that the operator names, and from no other. What is sent moves a face and shows none.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from engine.acting import Acting, packed
from engine.config import known
from engine.drivers import arkit, openseeface
from engine.errors import ConfigError, InputError
from engine.types import U8
from engine.worker.acted import NOBODY
from streaming.listen import PortTakenError

Read = Callable[[bytes], Acting | None]

KINDS: Final[Mapping[str, tuple[Read, int]]] = MappingProxyType(
    {"arkit": (arkit.read, 11111), "openseeface": (openseeface.read, 11573)}
)
"""By name, what reads its packets and the port that its senders use unless told otherwise."""

MOST_TRACKERS: Final = 4
_LOOPBACK: Final = "127.0.0.1"
_MOST_BYTES: Final = openseeface.MOST_FACES * max(openseeface.SIZES) + 1
_LOOK_S = 0.25
_TELL_AGAIN_S = 10.0
_log = logging.getLogger("marotte.trackers")


class Driven(Protocol):
    """A session that a tracker drives."""

    def acted(self, told: U8, arrived_s: float) -> None: ...


@dataclass(frozen=True, slots=True)
class TrackerPlace:
    """Where one tracker's packets come. kind: of KINDS. senders: addresses that may send; without any this machine's
    own, and then the socket is on loopback."""

    kind: str
    host: str = _LOOPBACK
    port: int = 0
    senders: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        known(self.kind, KINDS, "tracker")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"tracker: got port {self.port}, expected 0 .. 65535")
        addresses = [_address(self.host), *(_address(sender) for sender in self.senders)]
        if not addresses[0].is_loopback and not self.senders:
            raise ConfigError(
                f"tracker: {self.host} can be reached by other machines; name those that may send, with --tracker-from"
            )


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        raise ConfigError(f"tracker: got {text[:60]!r}, expected an address in figures") from None


def place_of(text: str, senders: Iterable[str] = ()) -> TrackerPlace:
    """KIND, KIND:PORT or KIND:HOST:PORT, an IPv6 host in brackets. Raises ConfigError."""
    kind, _, rest = text.partition(":")
    known(kind, KINDS, "tracker")
    host, _, port = rest.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or _LOOPBACK
    if rest and not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise ConfigError(f"tracker: got {text[:80]!r}, expected {kind}:PORT or {kind}:HOST:PORT")
    return TrackerPlace(kind, host, int(port) if rest else KINDS[kind][1], frozenset(senders))


class Trackers:
    """The sockets of all trackers. driven: the sessions that they drive now; called from their threads.

    Raises PortTakenError where a socket cannot be had; nothing is left open then.
    """

    def __init__(self, places: Iterable[TrackerPlace], driven: Callable[[], Iterable[Driven]]) -> None:
        self._listening: list[_Listening] = []
        try:
            for place in places:
                self._listening.append(_Listening(place, driven))
        except BaseException:
            self.close()
            raise

    @property
    def ports(self) -> tuple[int, ...]:
        """Those that are bound, in the places' order."""
        return tuple(one.port for one in self._listening)

    def close(self) -> None:
        """Let go of all. More than once is allowed."""
        for one in self._listening:
            one.close()


class _Listening:
    def __init__(self, place: TrackerPlace, driven: Callable[[], Iterable[Driven]]) -> None:
        self._place, self._driven = place, driven
        self._read, _ = KINDS[place.kind]
        self._senders = frozenset(map(_address, place.senders))
        self._told_s = float("-inf")
        self._closed = threading.Event()
        self._socket = _bound(place)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name=f"marotte-{place.kind}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        with self._socket as receiving:
            while not self._closed.is_set():
                try:
                    packet, sender = receiving.recvfrom(_MOST_BYTES)
                except TimeoutError:
                    continue
                except OSError as error:  # a sender that is gone may be reported on the next receipt
                    self._tell(f"nothing received: {error}")
                    self._closed.wait(_LOOK_S)
                    continue
                self._take(packet, sender[0], time.perf_counter())

    def _take(self, packet: bytes, sender: str, arrived_s: float) -> None:
        if self._senders and ipaddress.ip_address(sender.partition("%")[0]) not in self._senders:
            self._tell(f"packets of {sender} are not taken; --tracker-from allows an address")
            return
        sessions = list(self._driven())
        if not sessions:
            return
        try:
            acting = self._read(packet)
        except InputError as error:
            self._tell(str(error))
            return
        told = NOBODY if acting is None else packed(acting)
        for session in sessions:
            session.acted(told, arrived_s)

    def _tell(self, what: str) -> None:
        """Now and then, however much comes."""
        now = time.monotonic()
        if now - self._told_s >= _TELL_AGAIN_S:
            self._told_s = now
            _log.warning("%s on port %d: %s", self._place.kind, self.port, what)


def _bound(place: TrackerPlace) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_DGRAM)
    try:
        opened.bind((place.host, place.port))
        opened.settimeout(_LOOK_S)
    except OSError as error:
        opened.close()
        raise PortTakenError(
            f"tracker {place.kind}: {place.host}:{place.port} cannot be opened ({error.strerror}); choose another port"
        ) from None
    return opened
