"""An entry's file: what is written is read back, and nothing else is taken for one."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.denied.entries import MOST_BYTES, Entry, checked_sum, checked_why, parse, read_file, written
from engine.denied.hashing import BYTES, MOST_HASHES
from engine.denied.shapes import DIRECTIONS, Template
from engine.errors import ConfigError, StateError

DAY = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
RANDOM = np.random.default_rng(5)
ENTRY = Entry(
    "0123456789ab",
    DAY,
    "on a report",
    ("ab" * 32,),
    (RANDOM.integers(0, 255, (MOST_HASHES, BYTES), np.uint8), RANDOM.integers(0, 255, (1, BYTES), np.uint8)),
    RANDOM.integers(0, 255, (7, BYTES), np.uint8),
    Template("0f" * 8, DAY, RANDOM.normal(size=DIRECTIONS).astype(np.float16).astype(np.float32)),
)


def test_what_is_written_is_read_back() -> None:
    """All of it, to the bit."""
    read = parse(written(ENTRY))
    assert (read.id, read.added, read.why, read.sha256s) == (ENTRY.id, ENTRY.added, ENTRY.why, ENTRY.sha256s)
    assert all(np.array_equal(one, other) for one, other in zip(read.hashes, ENTRY.hashes, strict=True))
    assert np.array_equal(read.frames, ENTRY.frames)
    assert read.template is not None
    assert ENTRY.template is not None
    assert np.array_equal(read.template.values, ENTRY.template.values)
    assert (read.template.salt, read.template.until) == (ENTRY.template.salt, DAY)
    assert parse(written(replace(ENTRY, template=None, hashes=()))).hashes == ()


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../../etc"}, {"id": 3}, {"added": "2026-05-04"}, {"added": "0001-01-01T00:00:00+23:59"}, {"added": 1},
        {"why": ""}, {"why": "two\nlines"}, {"why": None}, {"sha256": ["00"]}, {"sha256": "ab" * 32},
        {"sha256": ["ab" * 32] * 65}, {"hashes": ["AAAA"]}, {"hashes": [""]}, {"hashes": [3]}, {"hashes": ["é"]},
        {"hashes": "AAAA"}, {"frames": "A"}, {"frames": None}, {"template": {}}, {"template": 3},
        {"template": {"salt": "x", "until": "never", "values": ""}}, {"format": 2}, {"more": 1},
        {"template": {"salt": "x", "until": "2026-05-04T00:00:00+00:00", "values": "AAAA"}},
        {"template": {"salt": "x", "until": "2026-05-04T00:00:00+00:00", "values": "/" * 170 + "8="}},
    ],
)  # fmt: skip
def test_what_is_none_is_refused(change: dict[str, Any]) -> None:
    """One wrong value is enough, and the only error is the one that says so."""
    told = json.loads(written(ENTRY)) | change
    with pytest.raises(ValueError, match=r"."):
        parse(json.dumps(told).encode())


def test_damaged_bytes_raise_nothing_else() -> None:
    """Bytes that were changed at random are an entry or a ValueError."""
    whole, chance = written(replace(ENTRY, hashes=ENTRY.hashes[1:])), random.Random(3)
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            match chance.randrange(3):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    del data[at : at + chance.randint(1, 60)]
                case _:
                    data[at:at] = chance.choice([b"[", b"{", b'"', b"null", b"1e999", b"\\u0000", b"\xff"])
        try:
            parse(bytes(data))
        except ValueError:
            continue
    for data in (
        b"",
        b"[" * 200_000,
        b"x" * (MOST_BYTES + 1),
        b"\xff",
        b"null",
        b'{"format": 1, "format": 1}',
    ):
        with pytest.raises(ValueError, match=r"."):
            parse(data)


def test_a_file_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    """Its name is its id, and it is a plain file of this user's; the message names the way out."""
    path = tmp_path / "0123456789ab.json"
    path.write_bytes(written(ENTRY))
    assert read_file(path).id == ENTRY.id
    path.rename(tmp_path / "ffffffffffff.json")
    with pytest.raises(StateError, match="marotte deny remove ffffffffffff"):
        read_file(tmp_path / "ffffffffffff.json")
    (tmp_path / "000000000000.json").mkdir()
    with pytest.raises(StateError, match="cannot be read"):
        read_file(tmp_path / "000000000000.json")


@pytest.mark.parametrize("wrong", [None, "", "a\tb\n", "x" * 301])
def test_a_reason_is_one_line(wrong: str | None) -> None:
    """It is shown on terminals."""
    with pytest.raises(ConfigError, match="why"):
        checked_why(wrong)


def test_a_sum_is_64_digits() -> None:
    """In either case; nothing shorter would be sure."""
    assert checked_sum(" " + "AB" * 32 + "\n") == "ab" * 32
    with pytest.raises(ConfigError, match="64 hex digits"):
        checked_sum("ab")
