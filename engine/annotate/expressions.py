"""Which expressions are asked of a still picture: varied, with the upper face drawn apart from the lower one.

An expression is a vector of offsets from the face as it is, -1 .. 1 per AU. What a face shows already (a smile, parted
lips) is also taken back, so that a network sees less of an AU as often as more of it. AU06 and AU07 are never asked:
the extractor cannot see them.
"""

from __future__ import annotations

import hashlib

import numpy as np

from engine.types import AU_NAMES, F32

Part = dict[str, tuple[float, float]]

UPPER: tuple[tuple[float, Part], ...] = (
    (0.22, {}),
    (0.11, {"AU01": (0.4, 1.0)}),
    (0.10, {"AU02": (0.4, 1.0)}),
    (0.12, {"AU01": (0.4, 1.0), "AU02": (0.4, 1.0)}),
    (0.11, {"AU04": (0.3, 1.0)}),
    (0.05, {"AU01": (0.3, 1.0), "AU04": (0.3, 0.8)}),
    (0.15, {"AU45": (0.25, 1.0)}),
    (0.04, {"AU45": (0.3, 1.0), "AU04": (0.3, 0.9)}),
    (0.06, {"AU05": (0.4, 1.0)}),
    (0.04, {"AU05": (0.4, 1.0), "AU01": (0.4, 1.0), "AU02": (0.4, 1.0)}),
)
"""Share, and per AU the range its offset is drawn from, of what brows and eyes do."""

LOWER: tuple[tuple[float, Part], ...] = (
    (0.16, {}),
    (0.14, {"AU12": (0.3, 1.0)}),
    (0.07, {"AU12": (0.3, 1.0), "AU25": (0.2, 0.9)}),
    (0.05, {"AU12": (0.3, 1.0), "AU25": (0.2, 0.8), "AU26": (0.2, 0.9)}),
    (0.10, {"AU25": (0.2, 1.0)}),
    (0.14, {"AU26": (0.2, 1.0)}),
    (0.06, {"AU25": (0.2, 0.8), "AU26": (0.3, 1.0)}),
    (0.06, {"AU15": (0.4, 1.0)}),
    (0.03, {"AU15": (0.4, 1.0), "AU17": (0.3, 0.9)}),
    (0.04, {"AU17": (0.4, 1.0)}),
    (0.05, {"AU20": (0.4, 1.0)}),
    (0.04, {"AU10": (0.4, 1.0)}),
    (0.02, {"AU10": (0.3, 0.9), "AU25": (0.2, 0.7)}),
    (0.02, {"AU09": (0.4, 1.0)}),
    (0.01, {"AU14": (0.4, 1.0)}),
    (0.01, {"AU23": (0.4, 1.0)}),
)
"""The same of nose, mouth and jaw."""

LESS_SHARE = 0.35
"""How often what a half of the face shows is taken back instead of adding to it, where it shows something."""
LEAST_SHOWN = 0.15
MOST_BACK = 0.8
_TAKEN_BACK = {
    "upper": ("AU01", "AU02"),
    "lower": ("AU10", "AU12", "AU15", "AU20", "AU25", "AU26"),
}
_LIDS_WIDER = (
    0.12,
    0.3,
)  # share of the upper expressions without a blink, and how far AU45 goes below 0 there


def expressions(key: str, count: int, shown: F32) -> list[F32]:
    """`count` offsets, each float32 (17,), -1 .. 1, the same for the same key. shown: the face's own AUs, 0..1."""
    return [_one(np.random.default_rng(_seed(key, index)), shown) for index in range(count)]


def _seed(key: str, index: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{key}\0{index}".encode()).digest()[:8], "big")


def _one(draw: np.random.Generator, shown: F32) -> F32:
    offsets = np.zeros(len(AU_NAMES), np.float32)
    for _ in range(64):
        for half, choices in (("upper", UPPER), ("lower", LOWER)):
            _add(offsets, draw, half, choices, shown)
        if np.abs(offsets).max() >= 0.1:
            break
    return offsets


def _add(
    offsets: F32, draw: np.random.Generator, half: str, choices: tuple[tuple[float, Part], ...], shown: F32
) -> None:
    there = [AU_NAMES.index(name) for name in _TAKEN_BACK[half]]
    there = [au for au in there if shown[au] >= LEAST_SHOWN]
    taken_back = there and draw.random() < LESS_SHARE
    if taken_back:
        share = draw.uniform(0.3, 1.0)
        for au in there:
            if draw.random() < 0.8:
                offsets[au] = -share * min(MOST_BACK, float(shown[au]))
    shares = np.array([share for share, _ in choices])
    _, part = choices[int(draw.choice(len(choices), p=shares / shares.sum()))]
    if taken_back and half == "lower":
        return
    for name, (low, high) in part.items():
        au = AU_NAMES.index(name)
        room = 1.0 - (float(shown[au]) if name not in ("AU01", "AU02") else 0.0)
        if offsets[au] == 0.0:
            offsets[au] = min(draw.uniform(low, high), max(0.25, room))
    if half == "upper" and "AU45" not in part and draw.random() < _LIDS_WIDER[0]:
        offsets[AU_NAMES.index("AU45")] = -draw.uniform(0.05, _LIDS_WIDER[1])
