"""What a tuning has changed, to be looked at: views that it never saw, made before and after."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from engine.types import U8
from export.checkpoints import Loaded
from trainers.config import Recipe
from trainers.liquid_warping.clips import open_clips
from trainers.liquid_warping.generator import LiquidWarpingGenerator
from trainers.liquid_warping.samples import One, of_batch, only_person
from trainers.liquid_warping.step import show
from trainers.system import Draw

_ROWS, _SIDE = 6, 256


def preview(recipe: Recipe, before: Loaded, after: Loaded) -> U8:
    """uint8 (H, W, 3). Rows: held-back views, or where there are none what was learnt from. Columns: the first source,
    the view, as the weights made it before, and after."""
    data = recipe.options.data
    clip = only_person(open_clips(Path(data.folder), data.size))
    views = One(clip, data, held_back=True)
    if not len(views):
        views = One(clip, data, held_back=False)
    generators = [one.network("generator", LiquidWarpingGenerator) for one in (before, after)]
    rows = []
    for number in np.unique(np.linspace(0, len(views) - 1, min(_ROWS, len(views))).astype(int)):
        sample = of_batch(
            {name: value.unsqueeze(0) for name, value in views[Draw(int(number), 0)].items()}, temporal=False
        )
        with torch.no_grad():
            made = [show(generator, sample).targets[:, 0] for generator in generators]
        row = [sample.real_sources[:, 0], sample.real_targets[:, 0], *made]
        rows.append(np.concatenate([_pixels(picture) for picture in row], axis=1))
    return np.ascontiguousarray(np.concatenate(rows), np.uint8)


def _pixels(picture: Tensor) -> U8:
    """float32 (1, 3, S, S) in -1..1 to a picture that is large enough to be looked at."""
    rgb = ((picture[0].clamp(-1, 1) + 1.0) * 127.5).round().permute(1, 2, 0).cpu().numpy().astype(np.uint8)
    return np.asarray(cv2.resize(rgb, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)
