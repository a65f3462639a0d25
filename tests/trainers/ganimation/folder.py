"""A prepared folder of drawn faces: a mouth that opens with AU25 and brows that rise with AU01, in three persons."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainers.faces import AU_NAMES

SIDE = 32


def drawn(person: int, mouth: float, brows: float) -> np.ndarray[Any, Any]:
    """uint8 (SIDE, SIDE, 3) RGB."""
    rgb = np.full((SIDE, SIDE, 3), 40 + 60 * person, np.uint8)
    cv2.ellipse(rgb, (16, 16), (11, 14), 0, 0, 360, (200, 150 - 20 * person, 120), -1)
    cv2.ellipse(rgb, (16, 23), (4, 1 + round(3 * mouth)), 0, 0, 360, (90, 20, 30), -1)
    for x in (11, 21):
        cv2.line(rgb, (x - 3, 10 - round(3 * brows)), (x + 3, 10 - round(3 * brows)), (30, 20, 10), 1)
    return rgb


def landmarks() -> np.ndarray[Any, Any]:
    """(68, 2): a jaw of 17 points and brows, the rest in between."""
    angles = np.linspace(np.pi, 0, 17)
    jaw = np.stack((16 - 11 * np.cos(np.pi - angles), 16 + 13 * np.sin(angles)), 1)
    brows = np.stack((np.linspace(8, 24, 10), np.full(10, 9.0)), 1)
    rest = np.stack((np.linspace(10, 22, 41), np.full(41, 18.0)), 1)
    return np.concatenate((jaw, brows, rest))


def write_folder(folder: Path, *, mode: str = "dynamic", synthesised: int = 3) -> Path:
    """Three persons, the last one held back, each with one real picture and some synthesised ones."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for person in range(3):
        for index in range(1 + synthesised):
            mouth, brows = (0.1, 0.0) if index == 0 else (0.3 * index, 0.25 * (index % 3))
            name = f"p{person}" + (f"_{index}" if index else "")
            cv2.imwrite(str(folder / "images" / f"{name}.png"), drawn(person, mouth, brows)[..., ::-1])
            rows.append(_row(name, person, index, mouth, brows))
    with (folder / "features.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    about = {
        "format": 1,
        "extractor": {"name": "marotte-geometry", "version": 1, "mode": mode},
        "crop": {"rule": "face", "size": SIDE},
        "origins": [{"origin": "drawn", "licence": "CC0 1.0", "pictures": len(rows)}],
    }
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def _row(name: str, person: int, index: int, mouth: float, brows: float) -> dict[str, Any]:
    shown = {"AU25": 0.8 * mouth, "AU26": 0.5 * mouth, "AU01": 0.6 * brows}
    asked = {"AU25": mouth - 0.08, "AU01": brows}
    points = landmarks()
    return {
        "image": name,
        "person": f"p{person}",
        "split": "validation" if person == 2 else "train",
        "kind": "synthesised" if index else "real",
        "base": f"p{person}" if index else "",
        **{au: f"{min(1.0, shown.get(au, 0.1 * person)):.4f}" for au in AU_NAMES},
        **{f"asked_{au}": f"{asked.get(au, 0.0):.4f}" if index else "" for au in AU_NAMES},
        **{f"x{k}": points[k, 0] for k in range(68)},
        **{f"y{k}": points[k, 1] for k in range(68)},
        "licence": "CC0 1.0",
    }


def recipe_table(folder: Path, *stages: str, steps: int = 3, **tables: Any) -> dict[str, Any]:
    """A recipe as plain data: narrow networks on this folder."""
    return {
        "system": "ganimation",
        "run": {"device": "cpu", "threads": 1, "validate_every": 2, "sample_every": 2, "save_every": 2,
                "log_every": 1, "sample_rows": 2, "tensorboard": False},
        "data": {"folder": str(folder), "size": 16, "read_size": SIDE, "mode": "dynamic"},
        "networks": {"conv_dim": 4, "repeat_num": 1, "critic_conv_dim": 4, "critic_repeat_num": 2},
        "stages": [{"name": name, "steps": steps, "batch": 2} for name in stages or ("pairs",)],
        **tables,
    }  # fmt: skip
