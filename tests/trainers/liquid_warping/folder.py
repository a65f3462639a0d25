"""Prepared clips of a mesh that moves: two triangles on a striped ground, written by the engine's own writer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.annotate.clips import ClipEntry, MeshFrame, write_clip, write_table
from engine.mesh.layout import Layout, layout_of

SIZE = 16
FACES = np.array([[0, 2, 1], [1, 2, 3]], np.int32)


def square() -> Layout:
    """Of four points, which fill most of the texture."""
    places = np.array([[-0.8, -0.8], [0.8, -0.8], [-0.8, 0.8], [0.8, 0.8]], np.float32)
    return layout_of(FACES, places[FACES], {"all": [0, 1]})


def frames(count: int, seed: int = 0) -> Iterator[MeshFrame]:
    """The square wanders to the right, and its picture with it."""
    numbers = np.random.default_rng(seed)
    ground = numbers.integers(0, 90, (SIZE, SIZE, 3)).astype(np.uint8)
    colours = numbers.integers(120, 255, (8, 8, 3)).astype(np.uint8)
    for number in range(count):
        left = 2 + number % 5
        rgb, person = ground.copy(), np.zeros((SIZE, SIZE), np.uint8)
        rgb[4:12, left : left + 8], person[4:12, left : left + 8] = colours, 255
        x = 2 * np.array([left, left + 8]) / SIZE - 1
        points = np.array([[x[0], -0.5, 0], [x[1], -0.5, 0], [x[0], 0.5, 0], [x[1], 0.5, 0]], np.float32)
        head = np.array([left, left + 8, 4, 12], np.int32)
        yield MeshFrame(rgb, person, points, 10.0 * (number - 1), head)


def write_folder(out: Path, **counts: int) -> Path:
    """A folder with one clip per name, of so many frames; the last one is held back, where there are several."""
    out.mkdir(parents=True)
    layout, entries = square(), []
    for place, (name, count) in enumerate(counts.items()):
        made = write_clip(out / "clips" / name, frames(count, place), layout, SIZE)
        side = "validation" if place and place == len(counts) - 1 else "train"
        entries.append(ClipEntry(name, f"person_{name}", made, side, "drawn", "CC0 1.0"))
    crop = {"rule": "bust", "size": SIZE}
    write_table(out, entries, layout, mesh="face", size=SIZE, texture=SIZE, crop=crop)
    return out


def recipe_table(folder: Path, stage: str = "training", steps: int = 3, **tables: Any) -> dict[str, Any]:
    """A recipe that a narrow network learns the folder by, in no time; tables replace or add to its own."""
    table: dict[str, Any] = {
        "system": "liquid_warping",
        "run": {
            "device": "cpu",
            "threads": 1,
            "tensorboard": False,
            "validate_every": 0,
            "sample_every": 0,
            "save_every": 100,
            "log_every": 1,
        },
        "data": {
            "folder": str(folder),
            "size": SIZE,
            "sources": 2,
            "time_step": 1,
            "frontal": 0,
            "background_erosion": 1,
        },
        "generator": {
            "widths": [4],
            "residual_blocks": 1,
            "background_widths": [4, 4],
            "background_blocks": 1,
            "temporal": False,
        },
        "critic": {"parts": [], "background": False, "width": 4, "layers": 1, "widest": 2},
        "losses": {"perceptual": "gradient", "face": 0.0, "direct": 10.0},
        "optimiser": {"rate": 1e-3},
        "stages": [{"name": stage, "steps": steps, "batch": 1}],
    }
    for name, values in tables.items():
        table[name] = {**table.get(name, {}), **values}
    return table
