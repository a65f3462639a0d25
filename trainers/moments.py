"""The optimisers' state by the names of the parameters, as a checkpoint keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from trainers.errors import CheckpointError

Numbers = dict[str, dict[str, Any]]


class Names:
    """Which parameter of which network each optimiser steps."""

    def __init__(self, networks: Mapping[str, nn.Module], optimisers: Mapping[str, Optimizer]) -> None:
        own = {
            id(parameter): f"{network}/{key}"
            for network, module in networks.items()
            for key, parameter in module.named_parameters()
        }
        self._optimisers = optimisers
        self._names: dict[str, list[str]] = {}
        for name, optimiser in optimisers.items():
            parameters = [p for group in optimiser.param_groups for p in group["params"]]
            if any(id(parameter) not in own for parameter in parameters):
                raise ValueError(f"optimiser {name!r} holds a parameter of no network of the system")
            self._names[name] = [own[id(parameter)] for parameter in parameters]

    def networks(self, optimiser: str) -> tuple[str, ...]:
        """The networks that an optimiser changes."""
        return tuple(dict.fromkeys(name.partition("/")[0] for name in self._names[optimiser]))

    def pack(self) -> tuple[dict[str, Tensor], Numbers]:
        """Every moment under `<optimiser>/<network>/<parameter>/<moment>`: the tensors, and what is none.

        The groups' options (learning rate, betas) are not among it: they are the recipe's.
        """
        tensors: dict[str, Tensor] = {}
        numbers: Numbers = {}
        for name, optimiser in self._optimisers.items():
            for index, moments in optimiser.state_dict()["state"].items():
                prefix = f"{name}/{self._names[name][index]}"
                for moment, value in moments.items():
                    if isinstance(value, Tensor):
                        tensors[f"{prefix}/{moment}"] = value
                    else:
                        numbers.setdefault(prefix, {})[moment] = value
        return tensors, numbers

    def unpack(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Mapping[str, Any]]) -> None:
        """Put them back. Raises CheckpointError where they are of other optimisers than these."""
        left: dict[str, dict[str, Any]] = {}
        for full, tensor in tensors.items():
            prefix, _, moment = full.rpartition("/")
            left.setdefault(prefix, {})[moment] = tensor
        for name, optimiser in self._optimisers.items():
            state: dict[int, dict[str, Any]] = {}
            parameters = [p for group in optimiser.param_groups for p in group["params"]]
            for index, (key, parameter) in enumerate(zip(self._names[name], parameters)):
                prefix = f"{name}/{key}"
                moments = {**numbers.get(prefix, {}), **left.pop(prefix, {})}
                _check(prefix, moments, parameter)
                if moments:
                    state[index] = moments
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": state, "param_groups": groups})
        if left:
            raise CheckpointError(
                f"training.safetensors: holds {min(left)}, which no optimiser of this recipe has; "
                "start a new training from the weights by --set run.weights=FOLDER"
            )


def _check(prefix: str, moments: Mapping[str, Any], parameter: nn.Parameter) -> None:
    for moment, value in moments.items():
        if isinstance(value, Tensor) and value.ndim > 0 and value.shape != parameter.shape:
            raise CheckpointError(
                f"training.safetensors: {prefix}/{moment} is {tuple(value.shape)}, "
                f"expected {tuple(parameter.shape)}: it was built with other widths"
            )
