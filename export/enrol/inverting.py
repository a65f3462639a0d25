"""An enrolment's crops to their codes, `codes.npy`, row by row on disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from export.enrol.edits import check_frozen
from export.enrol.progress import Tell
from trainers.errors import CheckpointError
from trainers.stit.e4e import Inversion, resized


def invert(
    work: Path, encoder: Inversion, tell: Tell, device: torch.device, frozen: int | None = None
) -> None:
    """Rows that are there stay, where encoder, crops and `frozen` are the same.

    frozen: the first row of a code that is the mean over the clip in every frame; None: all are each frame's own.
    Raises ConfigError for a row that codes do not have.
    """
    rows = encoder.encoder.rows
    check_frozen(frozen, rows)
    about = json.loads((work / "clip.json").read_text(encoding="utf-8"))
    digest = _digest(work, encoder, frozen)
    mark, partial = work / "codes.mark", work / "codes.partial.npy"
    if (work / "codes.npy").exists() and _text(mark) == digest:
        return
    shape = (len(about["frames"]), rows, encoder.encoder.style_dim)
    if not partial.exists() or _text(mark) != digest:
        new = np.lib.format.open_memmap(partial, "w+", np.float32, shape)
        new[:] = np.nan
        new.flush()
        mark.write_text(digest, encoding="utf-8")
        (work / "codes.npy").unlink(missing_ok=True)
    codes = np.lib.format.open_memmap(partial, "r+")
    encoder = encoder.to(device)
    for index, number in enumerate(about["frames"]):
        if np.isnan(codes[index]).any():
            codes[index] = _code(work / "crops" / f"{number:06d}.png", encoder, device)
        tell("invert", index + 1, shape[0])
    if frozen is not None:
        codes[:, frozen:] = codes[:, frozen:].mean(0, dtype=np.float64)
    codes.flush()
    partial.replace(work / "codes.npy")


def _digest(work: Path, encoder: Inversion, frozen: int | None) -> str:
    digest = hashlib.sha256((work / "rules.json").read_bytes())
    if frozen is not None:
        digest.update(f"frozen {frozen}".encode())
    for name, value in encoder.state_dict().items():
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _code(path: Path, encoder: Inversion, device: torch.device) -> Any:
    pixels = cv2.imread(str(path))
    if pixels is None:
        raise CheckpointError(f"{path}: missing or no picture; remove its folder and enrol anew")
    rgb = torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1))).float()
    with torch.no_grad():
        ws = encoder(resized((rgb / 127.5 - 1.0)[None].to(device), encoder.encoder.size))
    return ws[0].cpu().numpy()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
