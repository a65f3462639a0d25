"""Masks between two masks and beyond them, by MaskVAE: what Editing Behaviour Simulated Training is fed.

z_inter = z_t + (z_ref - z_t) / strength and z_outer = z_t - (z_ref - z_t) / strength, on the means of MaskVAE. The mask
is the likeliest class of each pixel that the decoder makes of it, in whole numbers again. The official program reads
such masks as files that were made beforehand; here they are made on the fly, or written as the same folders.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from trainers.errors import DataError, StorageError
from trainers.faces import Faces
from trainers.layouts.celebamask import INTER, OUTER
from trainers.maskgan.labels import one_hot
from trainers.maskgan.mask_vae import MaskVAE
from trainers.order import seed_of

Sign = Literal["inter", "outer"]
STRENGTH = 2.5
"""lambda_inter and lambda_outer of the paper: two fifths of the way."""
FOLDERS: dict[Sign, str] = {"inter": INTER, "outer": OUTER}


@torch.no_grad()
def interpolate(
    vae: MaskVAE,
    target_labels: Tensor,
    reference_labels: Tensor,
    *,
    sign: Sign,
    strength: float = STRENGTH,
) -> Tensor:
    """Label maps (B, S, S), uint8, from those of the target towards ("inter") or away from ("outer") the reference's.

    labels: of an integer type, (B, S, S), S the side of the MaskVAE, which is used as it stands: set it to eval, or its
    batch norms look at the batch. strength: 1 or more, lambda of the paper. Raises TypeError for floats, ValueError for
    another strength, sign or shape.
    """
    if target_labels.shape != reference_labels.shape:
        raise ValueError(
            f"labels: got {tuple(target_labels.shape)} and {tuple(reference_labels.shape)}, expected two alike"
        )
    target, _ = vae.encode(one_hot(target_labels, vae.classes))
    reference, _ = vae.encode(one_hot(reference_labels, vae.classes))
    return decoded(vae, between(target, reference, sign=sign, strength=strength))


def between(target: Tensor, reference: Tensor, *, sign: Sign, strength: float = STRENGTH) -> Tensor:
    """The vector on the way from the target's to the reference's, or beyond the target's. Raises ValueError."""
    if sign not in FOLDERS or not strength >= 1.0:
        raise ValueError(f"sign {sign!r}, strength {strength}: expected inter or outer, and 1 or more")
    step = (reference - target) / strength
    return target + step if sign == "inter" else target - step


@torch.no_grad()
def decoded(vae: MaskVAE, z: Tensor) -> Tensor:
    """Vectors (B, latent) to label maps (B, S, S), uint8."""
    return vae.decode(z).argmax(1).to(torch.uint8)


def reconstruct(vae: MaskVAE, labels: Tensor) -> Tensor:
    """Label maps (B, S, S) as MaskVAE knows them, uint8: of the mean, without noise."""
    with torch.no_grad():
        mean, _ = vae.encode(one_hot(labels, vae.classes))
    return decoded(vae, mean)


def write_interpolated(
    vae: MaskVAE,
    faces: Faces,
    folder: Path,
    *,
    seed: int = 0,
    strength: float = STRENGTH,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """The official folders train_label_inter_1 (inter) and train_label_inter_2 (outer), `<name>.png` per picture.

    The reference is another person's mask (where there is but one person, another picture's), drawn by the seed and
    the picture's place alone, so that a job that was ended goes on with the same ones: files that are there are kept.
    Raises DataError for fewer than two pictures, and StorageError.
    """
    if len(faces) < 2:
        raise DataError(f"interpolation: got {len(faces)} pictures, expected two or more")
    for name in FOLDERS.values():
        (folder / name).mkdir(parents=True, exist_ok=True)
    vae = vae.eval()
    for index, name in enumerate(faces.names):
        paths = {sign: folder / place / f"{name}.png" for sign, place in FOLDERS.items()}
        if not all(path.is_file() for path in paths.values()):
            draw = np.random.default_rng(seed_of(seed, "interpolation", index))
            pair = [faces.classes(one)[None] for one in (index, reference_of(faces, index, draw))]
            for sign, path in paths.items():
                _write(path, interpolate(vae, *pair, sign=sign, strength=strength)[0])
        if progress is not None:
            progress(index + 1, len(faces))


def reference_of(faces: Faces, index: int, numbers: np.random.Generator) -> int:
    """A picture of another person, or another picture where there is but one person."""
    if len(faces.persons) > 1:
        strangers = torch.nonzero(faces.person != faces.person[index]).flatten()
    else:
        strangers = torch.tensor([one for one in range(len(faces)) if one != index])
    return int(strangers[int(numbers.integers(len(strangers)))])


def _write(path: Path, labels: Tensor) -> None:
    done, coded = cv2.imencode(".png", labels.cpu().numpy())
    partial = path.with_suffix(".part")
    try:
        if not done:
            raise OSError("the PNG could not be coded")
        partial.write_bytes(coded.tobytes())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"{path} could not be written ({error}); free some space and run it again"
        ) from error
