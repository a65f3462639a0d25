"""A small generator, and a clip of its own pictures on disk, changed so that there is something to tune."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch

from trainers.stit.generator import Generator

WIDTHS, W_DIM, FRAMES = (8, 8, 8, 8), 16, 3
SIZE = 32
ARGUMENTS = {"widths": WIDTHS, "z_dim": W_DIM, "w_dim": W_DIM, "mapping_layers": 2}


def generator(seed: int = 0) -> Generator:
    torch.manual_seed(seed)
    return Generator(**ARGUMENTS).eval()


def write_clip(folder: Path, made: Generator, frames: int = FRAMES) -> Path:
    """Crops: what another generator makes of the codes. Masks: a disc, at half the side."""
    for name in ("crops", "masks"):
        (folder / name).mkdir(parents=True)
    numbers = torch.Generator().manual_seed(5)
    with torch.no_grad():
        codes = made.map(torch.randn(frames, W_DIM, generator=numbers))
        pictures = generator(9).synthesis(codes).clamp(-1, 1)
    y, x = np.mgrid[: SIZE // 2, : SIZE // 2]
    disc = (((x - 8) ** 2 + (y - 8) ** 2) < 20).astype(np.uint8) * 255
    for index, picture in enumerate(pictures):
        rgb = ((picture.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
        cv2.imwrite(str(folder / "crops" / f"{2 * index:06d}.png"), rgb[..., ::-1])
        cv2.imwrite(str(folder / "masks" / f"{2 * index:06d}.png"), disc)
    np.save(folder / "codes.npy", codes.numpy())
    about = {"format": 1, "size": SIZE, "frames": [2 * index for index in range(frames)]}
    (folder / "clip.json").write_text(json.dumps(about))
    return folder
