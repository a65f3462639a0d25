"""What taking a picture apart costs in memory: so many bytes a pixel, whatever outline the person has."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.mesh.layout import Layout, layout_of
from engine.mesh.views import View, known_background, neighbours_of, texture_of, view_of

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="peak memory is reset and read as Linux does it"
)

SIZE = 512
PER_PIXEL = 200
"""Bytes. A table of all pixels of the ring against all pixels of the outline would take 79 000 of the comb."""
FACES = np.array([[0, 2, 1], [1, 2, 3]], np.int32)
POINTS = np.array([[-0.5, -0.5, 1], [0.5, -0.5, 1], [-0.5, 0.5, 1], [0.5, 0.5, 1]], np.float32)


def square() -> Layout:
    return layout_of(FACES, np.ascontiguousarray(0.9 * POINTS[:, :2][FACES]), {"all": range(2)})


def disc(radius: int) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    return np.where(np.hypot(x, y) < radius, 255, 0).astype(np.uint8)


def comb() -> np.ndarray:
    """Stripes of eight pixels: an outline as long as it gets."""
    person = np.zeros((SIZE, SIZE), np.uint8)
    person[:, np.arange(SIZE) % 16 < 8] = 255
    return person


def peak_of(work: Callable[[], object]) -> int:
    """Bytes of the process's memory at its highest while `work` runs, above what it held before."""
    work()  # what is compiled or kept is no part of it
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        pytest.skip("this C library gives nothing back: what is freed could not be told from what is held")
    trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _held("VmRSS")
    kept = work()
    del kept
    return _held("VmHWM") - before


def _held(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def test_no_outline_costs_more_than_another() -> None:
    """A person of a few pixels, one who fills the picture, and one who is all outline: none takes more than so many
    bytes a pixel."""
    layout, rgb = square(), np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8)
    neighbours_of(layout)
    drawn = layout.drawn(SIZE)

    def work(person: np.ndarray) -> tuple[View, np.ndarray, np.ndarray]:
        view = view_of(rgb, person, POINTS, layout)
        return view, texture_of([view], drawn), known_background(view, 11)

    for person in (disc(4), disc(SIZE // 2 - 8), comb()):
        assert peak_of(lambda person=person: work(person)) < PER_PIXEL * SIZE * SIZE
