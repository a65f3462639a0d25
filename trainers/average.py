"""The moving average of weights: what is used of a trained generator."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import nn


class Averages:
    """Copies of networks, whose weights follow the trained ones: a <- d a + (1 - d) w.

    At update n (0-based), d = min(decay, (1 + n) / (10 + n)), so that the first weights are soon forgotten. Buffers,
    such as running statistics, are averaged alike where they are floats and copied else.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decays: Mapping[str, float]) -> None:
        self.decays = dict(decays)
        self.updates = dict.fromkeys(decays, 0)
        self.networks = {name: copy.deepcopy(networks[name]).eval().requires_grad_(False) for name in decays}

    @torch.no_grad()
    def update(self, networks: Mapping[str, nn.Module], changed: Iterable[str]) -> None:
        """Follow those networks of which the weights have changed."""
        for name in changed:
            if name in self.networks:
                n = self.updates[name]
                _follow(self.networks[name], networks[name], min(self.decays[name], (1 + n) / (10 + n)))
                self.updates[name] = n + 1


def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    new = network.state_dict()
    floats = [(old, new[key]) for key, old in average.state_dict().items() if old.is_floating_point()]
    if floats:
        olds, news = zip(*floats)
        torch._foreach_lerp_(list(olds), list(news), 1.0 - decay)
    for key, old in average.state_dict().items():
        if not old.is_floating_point():
            old.copy_(new[key])
