"""The invisible mark: what is written is read again."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from engine.errors import ConfigError
from engine.types import U8
from engine.watermark import Payload, open_detector, open_embedder
from engine.watermark.payload import decode, encode

SIZE = (320, 240)
PAYLOAD = Payload.of("a session", date(2026, 11, 22))


def planes(size: tuple[int, int] = SIZE, seed: int = 5) -> U8:
    """A soft random picture, I420."""
    import cv2

    width, height = size
    noise = np.random.default_rng(seed).normal(0.0, 1.0, (height, width)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 6.0)
    luma = np.clip(128.0 + 40.0 * soft / soft.std() + noise, 0, 255)
    return np.concatenate([luma, np.full((height // 2, width), 128.0)]).astype(np.uint8)


def test_what_is_written_is_read() -> None:
    """A marked picture is present by the test, and all 64 bits are right; the same picture unmarked is not."""
    marked, plain = planes(), planes()
    open_embedder(SIZE, PAYLOAD).embed(marked)
    found = []
    for picture in (marked, plain):
        detector = open_detector()
        detector.add(picture[: SIZE[1]])
        found.append(detector.result())
    assert found[0].present
    assert found[0].payload == PAYLOAD
    assert not found[1].present
    assert found[1].payload is None


def test_coded_bits_survive_noise() -> None:
    """The code mends what a noise as strong as the signal breaks, and its CRC refuses what it could not mend."""
    random = np.random.default_rng(3)
    coded = encode(PAYLOAD.bits()).astype(np.float32) * 2 - 1
    bits, _ = decode(coded + random.normal(0.0, 1.0, 320).astype(np.float32))
    assert bits is not None
    assert Payload.read(bits) == PAYLOAD
    assert decode(random.normal(0.0, 1.0, 320).astype(np.float32))[0] is None


def test_a_payload_fits() -> None:
    """A number that has too many bits is refused by name."""
    with pytest.raises(ConfigError, match="session"):
        Payload(1, 1 << 32, 1)
