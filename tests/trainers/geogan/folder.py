"""A prepared folder of drawn faces: five persons whose mouths open and smile, each a still and what was made of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trainers.faces import AU_NAMES

SIDE = 32
EXPRESSIONS = ({}, {"AU12": 0.8}, {"AU25": 0.9}, {"AU12": 0.7, "AU25": 0.8}, {"AU12": 0.3})


def drawn(person: int, smile: float, gap: float) -> np.ndarray[Any, Any]:
    """uint8 (SIDE, SIDE, 3) RGB."""
    rgb = np.full((SIDE, SIDE, 3), 30 + 30 * person, np.uint8)
    cv2.ellipse(rgb, (16, 16), (11, 14), 0, 0, 360, (210 - 15 * person, 150, 120), -1)
    for x in (11, 21):
        cv2.circle(rgb, (x, 12), 1, (20, 20, 20), -1)
    cv2.ellipse(rgb, (16, 22), (3 + round(3 * smile), 1 + round(3 * gap)), 0, 0, 360, (90, 20, 30), -1)
    return rgb


def landmarks(smile: float, gap: float) -> np.ndarray[Any, Any]:
    """(68, 2): jaw, brows, nose, eyes at 12, lips around (16, 22)."""
    turn = np.linspace(0, np.pi, 17)
    jaw = np.stack((16 - 11 * np.cos(turn), 16 + 13 * np.sin(turn)), 1)
    brows = np.stack((np.linspace(8, 24, 10), np.full(10, 9.0)), 1)
    nose = np.stack((np.linspace(14, 18, 9), np.linspace(12, 18, 9)), 1)
    eyes = np.concatenate([np.stack((np.linspace(x - 2, x + 2, 6), np.full(6, 12.0)), 1) for x in (11, 21)])
    eyes[9], eyes[6] = (23.0, 12.0), (19.0, 12.0)  # the outer corner of the left eye is landmark 45
    wide, high = 3 + 3 * smile, 1 + 3 * gap
    around = np.linspace(np.pi, 3 * np.pi, 12, endpoint=False)
    lips = np.stack((16 + wide * np.cos(around), 22 + high * np.sin(around)), 1)
    return np.concatenate((jaw, brows, nose, eyes, lips, lips[[0, 2, 3, 4, 6, 8, 9, 10]]))


def write_folder(folder: Path, *, mode: str = "dynamic") -> Path:
    """Five persons, the last two held back."""
    (folder / "images").mkdir(parents=True)
    rows = []
    for person in range(5):
        for index, shown in enumerate(EXPRESSIONS):
            smile, gap = shown.get("AU12", 0.0), shown.get("AU25", 0.0)
            name = f"p{person}" + (f"_{index}" if index else "")
            cv2.imwrite(str(folder / "images" / f"{name}.png"), drawn(person, smile, gap)[..., ::-1])
            rows.append(_row(name, person, index, shown, landmarks(smile, gap)))
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


def _row(name: str, person: int, index: int, shown: dict[str, float], points: Any) -> dict[str, Any]:
    aus = {au: shown.get(au, 0.02 * person) for au in AU_NAMES}
    return {
        "image": name,
        "person": f"p{person}",
        "split": "validation" if person > 2 else "train",
        "kind": "synthesised" if index else "real",
        "base": f"p{person}" if index else "",
        **{au: f"{value:.4f}" for au, value in aus.items()},
        **{f"asked_{au}": f"{shown.get(au, 0.0):.4f}" if index else "" for au in AU_NAMES},
        **{f"x{k}": points[k, 0] for k in range(68)},
        **{f"y{k}": points[k, 1] for k in range(68)},
    }


SMILE = {"name": "smile", "aus": ["AU12"], "present": 0.6, "absent": 0.2}
OPEN_MOUTH = {"name": "open mouth", "aus": ["AU25", "AU26"], "present": 0.6, "absent": 0.2}


def recipe_table(folder: Path, *stages: str, steps: int = 3, **tables: Any) -> dict[str, Any]:
    """A recipe as plain data: narrow networks on this folder."""
    losses = {"supervised": 10.0, "supervised_change": 5.0, "mask_goal": 1.0, "landmark_goal": "wanted"}
    return {
        "system": "geogan",
        "run": {"device": "cpu", "threads": 1, "validate_every": 2, "sample_every": 2, "save_every": 2,
                "log_every": 1, "sample_rows": 2, "tensorboard": False},
        "data": {"folder": str(folder), "size": 16, "mode": "dynamic", "target_lacks": "every"},
        "attributes": [SMILE, OPEN_MOUTH],
        "generator": {"width": 3, "downsamples": 2, "blocks": 1},
        "critic": {"width": 4, "layers": 2, "scales": 1},
        "losses": losses,
        "stages": [{"name": name, "steps": steps, "batch": 2} for name in stages or ("supervised",)],
        **tables,
    }  # fmt: skip
