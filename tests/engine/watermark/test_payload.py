"""64 bits and the code around them."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.watermark import ENGINE, Payload
from engine.watermark.payload import CODED, decode, encode

PAYLOAD = Payload.of("a session", date(2026, 11, 22))


def test_a_payload_says_engine_session_and_day() -> None:
    """Its fields are what the docs say, and 64 bits hold all of them."""
    assert PAYLOAD.engine == ENGINE
    assert PAYLOAD.session == 506024628  # the first four bytes of its SHA-256
    assert PAYLOAD.date == date(2026, 11, 22)
    assert PAYLOAD.bits().shape == (64,)
    assert Payload.read(PAYLOAD.bits()) == PAYLOAD
    assert Payload.of("another", date(2026, 11, 22)).session != PAYLOAD.session


def test_coded_bits_survive_noise() -> None:
    """Noise as strong as the signal turns one coded bit in six over; every payload is still read."""
    random = np.random.default_rng(3)
    for _ in range(10):
        payload = Payload(*(int(random.integers(1 << width)) for width in (16, 32, 16)))
        sent = encode(payload.bits()).astype(np.float32) * 2 - 1
        got = (sent + random.normal(0.0, 1.0, CODED)).astype(np.float32)
        assert 0.1 < np.mean((got > 0) != (sent > 0)) < 0.25
        bits, sure = decode(got)
        assert bits is not None
        assert Payload.read(bits) == payload
        assert 0.75 < sure < 0.9


def test_noise_is_no_payload() -> None:
    """The CRC refuses what is none."""
    random = np.random.default_rng(5)
    assert all(decode(random.normal(0.0, 1.0, CODED).astype(np.float32))[0] is None for _ in range(20))


def test_the_code_keeps_its_distance() -> None:
    """Words of payloads that differ in one bit differ in 24 coded bits at least, the free distance."""
    word = encode(PAYLOAD.bits())
    for place in range(0, 64, 7):
        bits = PAYLOAD.bits().copy()
        bits[place] ^= 1
        assert np.count_nonzero(encode(bits) != word) >= 24


@pytest.mark.parametrize(
    ("fields", "words"), [((1 << 16, 0, 0), "engine"), ((0, 1 << 32, 0), "session"), ((0, 0, -1), "day")]
)
def test_a_number_that_does_not_fit_is_refused(fields: tuple[int, int, int], words: str) -> None:
    """By the field's name."""
    with pytest.raises(ConfigError, match=words):
        Payload(*fields)
