"""A prepared folder of drawn faces with drawn label maps, and MaskGAN's own folders: five persons, two held back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.trainers.geogan.folder import EXPRESSIONS, write_folder
from trainers.classes import CELEBAMASK

SIDE = 32


def label_map(smile: float, gap: float) -> np.ndarray[Any, Any]:
    """uint8 (SIDE, SIDE): background, skin, eyes, mouth and lips where the faces are drawn."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(labels, (16, 16), (11, 14), 0, 0, 360, CELEBAMASK.index("skin"), -1)
    cv2.circle(labels, (11, 12), 1, CELEBAMASK.index("l_eye"), -1)
    cv2.circle(labels, (21, 12), 1, CELEBAMASK.index("r_eye"), -1)
    cv2.ellipse(
        labels, (16, 22), (4 + round(3 * smile), 2 + round(3 * gap)), 0, 0, 360, CELEBAMASK.index("u_lip"), -1
    )
    cv2.ellipse(
        labels, (16, 22), (3 + round(3 * smile), 1 + round(3 * gap)), 0, 0, 360, CELEBAMASK.index("mouth"), -1
    )
    return labels


def write_masks(folder: Path) -> Path:
    """The prepared folder of GeoGAN's tests, with parsing masks beside its pictures."""
    write_folder(folder)
    (folder / "parsing").mkdir()
    for person in range(5):
        for index, shown in enumerate(EXPRESSIONS):
            name = f"p{person}" + (f"_{index}" if index else "")
            labels = label_map(shown.get("AU12", 0.0), shown.get("AU25", 0.0))
            cv2.imwrite(str(folder / "parsing" / f"{name}.png"), labels)
    return folder


def write_official(folder: Path, *, interpolated: bool = True) -> Path:
    """MaskGAN's folders: four pictures for training, two for testing."""
    names = {"train": 4, "test": 2}
    for side, count in names.items():
        (folder / f"{side}_img").mkdir(parents=True)
        labels = [f"{side}_label"]
        if side == "train" and interpolated:
            labels += ["train_label_inter_1", "train_label_inter_2"]
        for number, name in enumerate(labels):
            (folder / name).mkdir()
            for index in range(count):
                cv2.imwrite(str(folder / name / f"{index}.png"), label_map(0.2 * index, 0.3 * number))
        for index in range(count):
            picture = np.full((SIDE, SIDE, 3), 40 * index, np.uint8)
            cv2.imwrite(str(folder / f"{side}_img" / f"{index}.jpg"), picture)
    return folder


def recipe_table(folder: Path, *stages: str, steps: int = 2, **tables: Any) -> dict[str, Any]:
    """A recipe as plain data: narrow networks on this folder, no perceptual loss."""
    return {
        "system": "maskgan",
        "run": {"device": "cpu", "threads": 1, "validate_every": 2, "sample_every": 2, "save_every": 1,
                "log_every": 1, "sample_rows": 2, "tensorboard": False},
        "data": {"folder": str(folder), "layout": "prepared", "size": 64},
        "generator": {"width": 2, "downsamples": 2, "blocks": 1},
        "blender": {"width": 2, "downsamples": 1, "blocks": 1},
        "critic": {"width": 4, "layers": 2, "scales": 2},
        "losses": {"perceptual": "gradient"},
        "stages": [{"name": name, "steps": steps, "batch": 2} for name in stages or ("mapping",)],
        **tables,
    }  # fmt: skip
