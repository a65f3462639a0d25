"""A code that opens the page once: it may stand on a browser's command line, where everybody on this machine can read
it, because it is worth nothing a moment later, and nothing to anybody else."""

from __future__ import annotations

import hmac
import os
import secrets
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

GOOD_S: Final = 120.0
"""For a browser that has to be started first."""
TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""Where Linux tells whose a connection is."""

_ROOT = 0


class OneTimeCode:
    """Not for several threads, but for `issue`. A new code takes the place of the last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._issued = clock, ("", 0.0)

    def issue(self) -> str:
        """A code for one browser, GOOD_S long."""
        code = secrets.token_urlsafe(32)
        self._issued = code, self._clock() + GOOD_S
        return code

    def take(self, given: str) -> bool:
        """Whether it is the code, which is used up then."""
        code, until = self._issued
        if not code or not hmac.compare_digest(given.encode(errors="surrogateescape"), code.encode()):
            return False
        self._issued = "", 0.0
        return self._clock() <= until


def is_anothers(peer: str, port: int, own_port: int, tables: tuple[Path, ...] = TABLES) -> bool:
    """Whether the connection from `peer` and `port` of this machine belongs to another of its users. False where that
    cannot be told: another system or machine, or a container around us."""
    if sys.platform != "linux":
        return False
    mine = {
        os.getuid(),
        _ROOT,
    }  # root reads our memory anyway, and forwards connections into virtual machines
    owners = {uid for table in tables for uid in _owners(table, peer, port, own_port)}
    return bool(owners) and not owners & mine


def _owners(table: Path, peer: str, port: int, own_port: int) -> list[int]:
    ends = tuple(f"{address}:{port:04X}" for address in _in_table(peer))
    try:
        rows = [line.split() for line in table.read_text("ascii").splitlines()[1:]]
    except OSError:
        return []
    return [int(row[7]) for row in rows if row[1] in ends and int(row[2].rpartition(":")[2], 16) == own_port]


def _in_table(address: str) -> tuple[str, ...]:
    """As it may stand there: words of 32 bits in the machine's order, of an IPv4 address also as one of IPv6."""
    try:
        if ":" in address:
            return (_words(socket.inet_pton(socket.AF_INET6, address)),)
        plain = socket.inet_pton(socket.AF_INET, address)
    except OSError:
        return ()
    return _words(plain), _words(b"\0" * 10 + b"\xff\xff" + plain)


def _words(packed: bytes) -> str:
    parts = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    return "".join(f"{part:08X}" for part in parts)
