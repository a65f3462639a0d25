"""Pivotal tuning: a generator is moved a little, so that a person's codes give that person's very pictures.

The codes, the pivots, stay as the encoder gave them. One pass takes one step of Adam per frame, in the clip's order, on

    L = l2 * mean squared error + perceptual_weight * distance(G(w), crop)

and, where asked for, the locality regulariser of Roich et al. 2021: away from the pivots the generator is to stay what
it was. All of the generator's parameters are given to the optimiser; only the synthesis gets gradients; the stored
noise pictures are no parameters. Training mode matters: modulation is not fused then, as in the official program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trainers.stit.generator import Generator
from trainers.stit.lpips import Choice
from trainers.typed import at_least, decays, within

Terms = dict[str, Tensor]


@dataclass(frozen=True)
class Locality:
    """The locality regulariser, officially off in STIT. every: steps from one to the next, 0 = never.

    At w' = pivot + radius * (w - pivot) / |w - pivot|, with w a random code of truncation psi and ONE norm over all
    layers, the loss is l2 * mean squared error + perceptual_weight * distance of the tuned and the original picture,
    both without noise.
    """

    every: int = 0
    radius: float = 30.0
    psi: float = 0.5
    l2: float = 0.1
    perceptual_weight: float = 0.1

    def __post_init__(self) -> None:
        at_least(self, 0, "every", "radius", "l2", "perceptual_weight")


@dataclass(frozen=True)
class Pivotal:
    """The official figures. passes: over all frames (80 in the release's examples, 300 by its default). falling: share
    of the steps, the last ones, over which the rate falls to nothing; officially none, and of use where it is high."""

    passes: int = 80
    learning_rate: float = 3e-5
    falling: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    l2: float = 10.0
    perceptual: Choice = "lpips"
    perceptual_weight: float = 1.0
    lpips: tuple[str, ...] = ()
    """AlexNet's weights and LPIPS's heads: files that the user names."""
    locality: Locality = field(default_factory=Locality)

    def __post_init__(self) -> None:
        at_least(self, 0, "passes", "l2", "perceptual_weight")
        within(self, 0, 1, "falling")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate is {self.learning_rate}, expected more than 0")
        decays(self, "betas")


def optimiser(generator: Generator, options: Pivotal) -> torch.optim.Adam:
    """Of all of the generator's parameters."""
    return torch.optim.Adam(generator.parameters(), lr=options.learning_rate, betas=options.betas)


def rate(highest: float, falling: float, step: int, steps: int) -> float:
    """The learning rate of step `step` of `steps`, the last of which, a share of `falling`, take it to nothing."""
    return highest * min(1.0, (steps - step) / max(falling * steps, 1.0))


def pivot_terms(image: Tensor, crop: Tensor, distance: nn.Module | None, options: Pivotal) -> Terms:
    """The weighted losses of pictures (B, 3, S, S) in -1..1 against their crops. distance: perceptual, or None."""
    terms = {"l2": options.l2 * (image - crop).square().mean()}
    if distance is not None:
        terms["perceptual"] = options.perceptual_weight * distance(image, crop)
    return terms


def away_from(pivot: Tensor, sample: Tensor, radius: float) -> Tensor:
    """The code at `radius` from the pivot towards a sample, both (1, num_ws, w_dim): one norm over all layers."""
    apart = sample - pivot
    far: Tensor = pivot + radius * apart / apart.norm()
    return far


def locality_terms(
    generator: Generator,
    original: Generator,
    pivot: Tensor,
    z: Tensor,
    distance: nn.Module | None,
    options: Locality,
) -> Terms:
    """The weighted losses of the regulariser at one random z (1, z_dim). original: as it was before any tuning.

    Random codes are drawn through the mapping, which no gradient reaches.
    """
    with torch.no_grad():
        ws = away_from(pivot, generator.map(z, options.psi), options.radius)
        before = original.synthesis(ws, "none")
    after = generator.synthesis(ws, "none")
    terms = {"locality_l2": options.l2 * (after - before).square().mean()}
    if distance is not None:
        terms["locality_perceptual"] = options.perceptual_weight * distance(after, before)
    return terms


def step(optimiser: torch.optim.Optimizer, terms: Mapping[str, Tensor]) -> dict[str, float]:
    """One step on the sum of the terms; their values, and their sum as `loss`."""
    loss = torch.stack(list(terms.values())).sum()
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return {"loss": float(loss.detach()), **{name: float(term.detach()) for name, term in terms.items()}}
