"""Edits of codes: official W directions, StyleCLIP's global directions, and what keeps fine layers still.

A code is ws, (frames, num_ws, w_dim). A W direction is one row (w_dim,) that goes to all layers alike; several are
added up. A global direction lives in the styles behind the affine layers and goes to the synthesis by
`Synthesis.from_styles`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.arrays import DAMAGE, MAGIC
from trainers.errors import CheckpointError, RecipeError
from trainers.stit.generator import Synthesis
from trainers.typed import known

F64 = npt.NDArray[np.float64]

W_DIRECTIONS = (
    "age",
    "eye_distance",
    "eye_eyebrow_distance",
    "eye_ratio",
    "eyes_open",
    "gender",
    "lip_ratio",
    "mouth_open",
    "mouth_ratio",
    "nose_mouth_distance",
    "nose_ratio",
    "nose_tip",
    "pitch",
    "roll",
    "smile",
    "yaw",
)
"""The official files, `<name>.npy`. Their lengths differ (mouth_open .2, smile 1), so strengths do not compare."""

BETA = 0.2
"""The official threshold of a global direction's relevance."""
_MOST_BYTES = 256 * 2**20


def strengths(start: float, stop: float, count: int) -> F64:
    """Equally spaced, both ends included: an official edit range."""
    return np.linspace(start, stop, count)


def read_direction(path: Path, w_dim: int) -> F64:
    """A W direction (w_dim,) of an .npy file: (num_ws, w_dim), of which the official code reads the first row, or
    (w_dim,) or (1, w_dim). No pickle in it is read. Raises CheckpointError."""
    stored = _array(path)
    row = stored[0] if stored.ndim == 2 and len(stored) else stored
    if row.shape != (w_dim,):
        raise CheckpointError(
            f"{path}: a direction of shape {stored.shape}, expected (layers, {w_dim}); is it of another generator?"
        )
    return np.ascontiguousarray(row)


def read_directions(folder: Path, w_dim: int, names: Sequence[str] = ()) -> dict[str, F64]:
    """The W directions of a folder of `<name>.npy`, by name, in order. names: those wanted; none = all there are.

    Raises CheckpointError where one is missing (with the nearest name) or the folder holds none.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no folder of W directions (<name>.npy); name another one")
    there = {path.stem: path for path in sorted(folder.glob("*.npy"))}
    if not there:
        raise CheckpointError(f"{folder}: holds no W direction (<name>.npy); name another folder")
    try:
        for name in names:
            known(name, there, f"{folder}: W direction")
    except RecipeError as error:
        raise CheckpointError(str(error)) from error
    return {name: read_direction(there[name], w_dim) for name in names or there}


def moved(ws: Tensor, directions: Mapping[str, F64], factors: Mapping[str, float]) -> Tensor:
    """ws + sum of (factor / 2) * direction, on all layers: the official strengths, halved as the official code does.

    ws: (..., num_ws, w_dim). factors: by name; a direction without one is not used. Raises RecipeError for a name that
    is no direction.
    """
    total = np.zeros(ws.shape[-1])
    for name, factor in factors.items():
        known(name, directions, "edit")
        total += 0.5 * factor * directions[name]
    return (ws.double() + torch.from_numpy(total).to(ws.device)).to(ws.dtype)


def frozen(ws: Tensor, first: int) -> Tensor:
    """The codes of a clip with the layers from `first` on replaced by their mean over the frames: what is fine, hair
    and grain, then no longer changes. ws: (frames, num_ws, w_dim). Raises RecipeError for a layer that is not there."""
    if not 0 <= first <= ws.shape[1]:
        raise RecipeError(f"freeze_fine_layers is {first}, expected 0 .. {ws.shape[1]}")
    still = ws.clone()
    still[:, first:] = ws[:, first:].mean(0, keepdim=True)
    return still


# --- StyleCLIP's global directions -----------------------------------------------------------------


def read_statistics(path: Path) -> F64:
    """StyleCLIP's `fs3.npy`: (style channels, text features), what moving one channel does to CLIP's view of the
    picture. Raises CheckpointError, where it is missing too: nothing stands in for it."""
    if not path.exists():
        raise CheckpointError(
            f"{path}: no such file; a StyleCLIP direction needs the release's statistics (fs3.npy), edit by a W "
            "direction without them"
        )
    stored = _array(path)
    if stored.ndim != 2:
        raise CheckpointError(
            f"{path}: statistics of shape {stored.shape}, expected (style channels, features)"
        )
    return stored


def read_text_feature(path: Path) -> Tensor:
    """CLIP's feature (features,) of one text, from an .npy of its prompts' features (prompts, features), which CLIP's
    own program writes: the release averages 80 prompts. Raises CheckpointError, where it is missing too."""
    if not path.exists():
        raise CheckpointError(
            f"{path}: no such file; a StyleCLIP direction needs CLIP's features of the text (ViT-B/32, .npy), edit by "
            "a W direction without them"
        )
    stored = torch.from_numpy(np.atleast_2d(_array(path)))
    if not (stored.norm(dim=1) > 0).all():
        raise CheckpointError(f"{path}: holds a feature of length 0, expected CLIP's")
    return mean_feature(stored)


def text_direction(neutral: Tensor, target: Tensor) -> Tensor:
    """The unit vector from what is there to what is wanted. neutral, target: (features,), CLIP's of the two texts."""
    if target.shape != neutral.shape:
        raise CheckpointError(
            f"texts of {len(neutral)} and {len(target)} features: of two CLIP models? make both with one"
        )
    apart = target - neutral
    if not apart.norm() > 0:
        raise CheckpointError(
            "both texts have one feature, so that nothing lies between them; name another text"
        )
    direction: Tensor = apart / apart.norm()
    return direction


def mean_feature(features: Tensor) -> Tensor:
    """One text's feature from those of its prompts (prompts, features): each normalised, averaged, normalised."""
    mean = (features / features.norm(dim=1, keepdim=True)).mean(0)
    feature: Tensor = mean / mean.norm()
    return feature


def global_direction(statistics: Tensor, direction: Tensor, beta: float = BETA) -> Tensor:
    """(style channels,): the relevance of each channel, that of weak ones (|r| <= beta) zero, the largest 1 or -1.

    statistics: (style channels, features). direction: (features,), of `text_direction`. Raises RecipeError where no
    channel passes.
    """
    if statistics.shape[1:] != direction.shape:
        raise CheckpointError(
            f"statistics of {statistics.shape[1]} features, and texts of {len(direction)}: of two CLIP models?"
        )
    relevance = statistics @ direction.to(statistics.dtype)
    relevance = torch.where(relevance.abs() <= beta, 0, relevance)
    largest = relevance.abs().max()
    if not largest > 0:
        raise RecipeError(f"beta is {beta}, and no style channel is that relevant to the text; lower it")
    return relevance / largest


def style_offsets(synthesis: Synthesis, direction: Tensor) -> list[Tensor]:
    """A global direction as one offset (1, channels) per style, in the order of `Synthesis.styles`: the convolutions'
    in order, zeros for the colours. Raises CheckpointError where it is of another generator."""
    lengths = [[layer.affine.weight.shape[0] for layer in block.convolutions] for block in synthesis.blocks()]
    wanted = sum(map(sum, lengths))
    if direction.shape != (wanted,):
        raise CheckpointError(
            f"a style direction of {tuple(direction.shape)}, expected ({wanted},); is it of another generator?"
        )
    offsets, rest = [], direction
    for block, its in zip(synthesis.blocks(), lengths):
        for length in its:
            offsets.append(rest[None, :length])
            rest = rest[length:]
        offsets.append(direction.new_zeros(1, block.torgb.affine.weight.shape[0]))
    return offsets


def styled(synthesis: Synthesis, ws: Tensor, offsets: Sequence[Tensor], strength: float) -> list[Tensor]:
    """The styles of ws (B, num_ws, w_dim) with `strength` times the offsets: for `Synthesis.from_styles`."""
    return [style + strength * offset for style, offset in zip(synthesis.styles(ws), offsets)]


def _array(path: Path) -> F64:
    """A finite float64 array of an .npy file; a pickle in its place is refused."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise CheckpointError(f"{path}: larger than {_MOST_BYTES >> 20} MiB, expected an array")
        if not path.is_file():
            raise CheckpointError(f"{path}: is no file, or not there; expected an array (.npy)")
        with path.open("rb") as file:
            if (
                file.read(len(MAGIC)) != MAGIC
            ):  # NumPy would leave open what is an archive by its first letters
                raise ValueError("it does not begin as one")
        # Mapped, so that a header that states more than the file holds is told before memory is taken for it.
        stored = np.load(path, allow_pickle=False, mmap_mode="r")
    except DAMAGE as error:
        raise CheckpointError(f"{path}: not readable as .npy of plain numbers ({error})") from error
    if not isinstance(stored, np.ndarray) or stored.dtype.kind not in "fiu" or stored.ndim not in (1, 2):
        raise CheckpointError(f"{path}: expected one array of numbers of one or two axes")
    wide = stored.astype(np.float64)
    if not np.isfinite(wide).all():
        raise CheckpointError(f"{path}: holds values that are not finite")
    return wide
