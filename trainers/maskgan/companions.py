"""Networks that were trained by themselves and come along in another training, unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

from trainers import checkpoint
from trainers.checkpoint import AVERAGED
from trainers.errors import CheckpointError

N = TypeVar("N", bound=nn.Module)


def companion(folder: str, name: str, kind: type[N]) -> tuple[N, Mapping[str, Any]]:
    """A network out of a checkpoint, its moving average where one is kept, in eval mode and without gradients; and its
    constructor's arguments. Raises CheckpointError where there is none of that name, or another's arguments."""
    found = checkpoint.read(folder)
    arguments = found.arguments.get(name)
    if arguments is None:
        known = ", ".join(found.arguments) or "none"
        raise CheckpointError(f"checkpoint {found.folder}: holds no network {name!r}; it has {known}")
    try:
        network = kind(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"checkpoint {found.folder}: network {name!r} cannot be built ({error})"
        ) from error
    averaged = f"{name}{AVERAGED}"
    found.load(averaged if averaged in found.networks() else name, network)
    return network.eval().requires_grad_(False), dict(arguments)
