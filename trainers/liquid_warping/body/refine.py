"""SMPLify: a first guess of pose and shape is moved until the body's points lie on those of the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from trainers.errors import DivergedError, RecipeError
from trainers.liquid_warping.body.losses import Seen, Weights, fitting, unsteady
from trainers.liquid_warping.body.prior import PosePrior
from trainers.liquid_warping.body.skin import Skin

Method = Literal["lbfgs", "adam"]
METHODS: tuple[Method, ...] = ("lbfgs", "adam")


@dataclass(frozen=True)
class Refined:
    """pose: (B, 3 J). betas: (B, S). before, after: the loss of each sample (B,), without what joins samples."""

    pose: Tensor
    betas: Tensor
    before: Tensor
    after: Tensor


def camera_translation(camera: Tensor, side: float, focal: float) -> Tensor:
    """Where a body stands before a perspective camera that sees it as the weak perspective one (B, 3) of s, tx, ty
    does in a square picture of `side` pixels: (B, 3), metres."""
    depth = 2.0 * focal / (side * camera[:, 0] + 1e-9)
    return torch.stack([camera[:, 1], camera[:, 2], depth], dim=1)


def refine(
    skin: Skin,
    pose: Tensor,
    betas: Tensor,
    translation: Tensor,
    seen: Seen,
    prior: PosePrior,
    weights: Weights | None = None,
    method: Method = "lbfgs",
    steady: bool = False,
) -> Refined:
    """Moves the root's and all joints' rotations and the shape; the camera stays. A sample that got worse keeps its
    first guess.

    pose: (B, 3 J) rotation vectors. betas: (B, S). translation: (B, 3) metres. seen.points: (B, N, 2), in the order of
    the skin's points. method: "lbfgs" as published (one run of 20 iterations with strong Wolfe steps) or "adam" (100
    steps of 0.01). steady: samples are frames in order, and jumps between them cost. Raises RecipeError for an unknown
    method, DivergedError when nothing finite came out.
    """
    if method not in METHODS:
        raise RecipeError(f"method: got {method!r}, expected one of {', '.join(METHODS)}")
    weights = weights or Weights()
    moved = pose.detach().clone().requires_grad_(True)
    shape = betas.detach().clone().requires_grad_(True)

    def losses(pose: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        points = skin.seen(pose, betas)
        each = fitting(pose[:, 3:], betas, points, translation, seen, prior, weights)
        return each, unsteady(points, translation, seen, weights) if steady else torch.zeros_like(each)

    optimiser = _optimiser([moved, shape], method)

    def closure() -> Tensor:
        optimiser.zero_grad()
        each, between = losses(moved, shape)
        total = (each + between).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    with torch.no_grad():
        before, _ = losses(pose, betas)
    _run(optimiser, closure, 1 if method == "lbfgs" else 100)
    with torch.no_grad():
        after, _ = losses(moved, shape)
        if not bool(torch.isfinite(before).all()):
            raise DivergedError("the body's first guess has a loss that is not finite; check pose and camera")
        better = torch.isfinite(after) & (after < before) | steady & torch.isfinite(after)
        kept = better[:, None]
        return Refined(
            torch.where(kept, moved, pose),
            torch.where(kept, shape, betas),
            before,
            torch.where(better, after, before),
        )


def _optimiser(parameters: list[Tensor], method: Method) -> torch.optim.Optimizer:
    if method == "adam":
        return torch.optim.Adam(parameters, lr=1e-2, betas=(0.9, 0.999))
    return torch.optim.LBFGS(parameters, lr=1.0, max_iter=20, line_search_fn="strong_wolfe")


def _run(optimiser: torch.optim.Optimizer, closure: Callable[[], Tensor], steps: int) -> None:
    for _ in range(steps):
        optimiser.step(closure)  # type: ignore[arg-type]
