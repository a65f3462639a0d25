"""A network of its own for a server: a namespace with one cable to this machine, which can be cut and joined.

Nothing is refused while it is cut: what is sent is lost, as on a way that fails somewhere else.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_NOBODY = "02:00:00:00:00:99"
_MAC_HERE, _MAC_THERE = "02:00:00:4d:52:01", "02:00:00:4d:52:02"


class Netspace:
    """address: of the server. command: what runs a command there. number: 0 .. 255, its own network's."""

    def __init__(self, name: str, number: int) -> None:
        self._own, self.address = f"10.231.{number}.1", f"10.231.{number}.2"
        self._name = name
        self._here, self._there = f"{name}a", f"{name}b"
        self.command = ("ip", "netns", "exec", name)

    def lay(self) -> None:
        for words in (
            f"netns add {self._name}",
            f"link add {self._here} address {_MAC_HERE} type veth peer name {self._there} address {_MAC_THERE}",
            f"link set {self._there} netns {self._name}",
            f"addr add {self._own}/30 dev {self._here}",
            f"link set {self._here} up",
            f"-n {self._name} addr add {self.address}/30 dev {self._there}",
            f"-n {self._name} link set {self._there} up",
            f"-n {self._name} link set lo up",
        ):
            _ip(words)
        self.join()

    def cut(self) -> None:
        """From now on all that is sent, either way, goes to an interface that is not there."""
        self._point(_NOBODY, _NOBODY)

    def join(self) -> None:
        """It arrives again."""
        self._point(_MAC_THERE, _MAC_HERE)

    def remove(self) -> None:
        for words in (f"link del {self._here}", f"netns del {self._name}"):
            subprocess.run(["ip", *words.split()], capture_output=True, check=False)

    def _point(self, there: str, here: str) -> None:
        _ip(f"neigh replace {self.address} lladdr {there} dev {self._here} nud permanent")
        _ip(f"-n {self._name} neigh replace {self._own} lladdr {here} dev {self._there} nud permanent")


def why_none() -> str:
    """Why there can be none on this machine; empty where there can."""
    if shutil.which("ip") is None:
        return "iproute2's ip is not installed"
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces are root's"
    tried = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False)
    return tried.stderr.strip()


@contextmanager
def netspace() -> Iterator[Netspace]:
    """Raises CalledProcessError where the kernel gives none."""
    made = Netspace(f"mr{secrets.token_hex(3)}", secrets.randbelow(256))
    try:
        made.lay()
        yield made
    finally:
        made.remove()


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], capture_output=True, text=True, check=True)
