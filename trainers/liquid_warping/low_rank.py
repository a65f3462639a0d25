"""Low-rank tuning: what a person adds to every convolution is the product of two narrow matrices (LoRA, Hu 2021).

    weight = W + up down         W (rows, columns) the shared weight, flattened; up (rows, r), down (r, columns)

Only the factors move. up begins at 0, so that the first picture is the shared network's; multiplied out, the result is
a plain generator of the same keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class LowRank(nn.Module):
    """The factors of one generator. shapes: of the weights that they stand beside, by name. rank: r, at most a
    weight's own."""

    def __init__(self, shapes: Mapping[str, Sequence[int]], rank: int) -> None:
        super().__init__()
        self.up, self.down = nn.ParameterDict(), nn.ParameterDict()
        self._keys = {name: name.replace(".", "/") for name in shapes}  # a parameter's name holds no point
        for name, shape in shapes.items():
            rows, columns = shape[0], math.prod(shape[1:])
            width = min(rank, rows, columns)
            self.up[self._keys[name]] = nn.Parameter(torch.zeros(rows, width))
            self.down[self._keys[name]] = nn.Parameter(torch.randn(width, columns) / math.sqrt(columns))

    def merged(self, network: nn.Module) -> dict[str, Tensor]:
        """The network's weights with what the factors add, by name; the network stays as it is."""
        own = dict(network.named_parameters())
        return {
            name: own[name] + (self.up[key] @ self.down[key]).reshape(own[name].shape)
            for name, key in self._keys.items()
        }

    @torch.no_grad()
    def forget(self) -> None:
        """Add nothing from here on: the network holds it."""
        for one in self.up.values():
            one.zero_()


def shapes_of(network: nn.Module) -> dict[str, list[int]]:
    """The shapes of a network's convolutions, by name."""
    return {name: list(one.shape) for name, one in network.named_parameters() if one.ndim == 4}
