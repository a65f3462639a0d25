"""The code that opens the page once."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from streaming.once import GOOD_S, OneTimeCode, is_anothers

PORT, PEER = 8765, 50124


def test_a_code_is_good_once_and_not_for_long() -> None:
    """Whoever reads it on a command line comes too late."""
    now = [100.0]
    code = OneTimeCode(lambda: now[0])
    assert not code.take("")
    first = code.issue()
    assert not code.take(first[:-1])
    assert not code.take("\udcff")
    assert code.take(first)
    assert not code.take(first)
    late = code.issue()
    now[0] += GOOD_S + 1.0
    assert not code.take(late)


def _table(folder: Path, address: str, uid: int) -> tuple[Path, ...]:
    row = f"   0: {address}:{PEER:04X} 0100007F:{PORT:04X} 01 00000000:00000000 00:00000000 00000000 {uid:5} 0 1 1"
    path = folder / f"tcp{uid}"
    path.write_text(f"  sl  local_address rem_address   st tx_queue\n{row}\n")
    return (path,)


@pytest.mark.skipif(sys.platform != "linux" or sys.byteorder != "little", reason="the table is that of Linux")
def test_another_user_of_this_machine_is_told_apart(tmp_path: Path) -> None:
    """A code that somebody else has read first is no use to that one; where nobody knows, the code alone counts."""
    own, other = os.getuid(), os.getuid() + 1
    assert is_anothers("127.0.0.1", PEER, PORT, _table(tmp_path, "0100007F", other))
    assert not is_anothers("127.0.0.1", PEER, PORT, _table(tmp_path, "0100007F", own))
    mapped = "0000000000000000FFFF00000100007F"
    assert is_anothers("127.0.0.1", PEER, PORT, _table(tmp_path, mapped, other))
    assert is_anothers("::1", PEER, PORT, _table(tmp_path, "00000000000000000000000001000000", other))
    assert not is_anothers("127.0.0.1", PEER + 1, PORT, _table(tmp_path, "0100007F", other))
    assert not is_anothers("192.0.2.7", PEER, PORT, (tmp_path / "none",))


@pytest.mark.skipif(sys.platform != "linux", reason="the table is that of Linux")
def test_the_systems_own_table_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real connection of ours is found there as ours."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            peer = client.getsockname()[1]
            assert not is_anothers("127.0.0.1", peer, port)
            monkeypatch.setattr(os, "getuid", lambda: 54321)
            monkeypatch.setattr("streaming.once._ROOT", 54321)
            assert is_anothers("127.0.0.1", peer, port)
