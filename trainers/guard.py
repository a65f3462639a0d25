"""What stops a training whose numbers are lost, before they reach a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from trainers.errors import DivergedError


def check_scalars(scalars: Mapping[str, float], step: int) -> None:
    """Raise DivergedError where a scalar, or a gradient's norm among them, is not finite."""
    lost = sorted(name for name, value in scalars.items() if not math.isfinite(value))
    if lost:
        named = ", ".join(f"{name} is {scalars[name]}" for name in lost[:3])
        raise DivergedError(f"step {step}: {named}")


def check_weights(networks: Mapping[str, nn.Module], step: int) -> None:
    """Raise DivergedError where a weight is not finite. Called before every save."""
    for network, module in networks.items():
        tensors = {key: value for key, value in module.state_dict().items() if value.is_floating_point()}
        if not tensors:
            continue
        finite = torch.stack([tensor.isfinite().all() for tensor in tensors.values()])
        if not bool(finite.all()):
            key = next(key for key, sound in zip(tensors, finite.tolist()) if not sound)
            raise DivergedError(f"step {step}: weight {network}/{key} is not finite")
