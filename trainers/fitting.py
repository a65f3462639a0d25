"""A network out of an official file: its weights fit as a whole, or it is refused.

Every key has to fit: official loaders pass over those that do not, which leaves a network half at random.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from trainers.containers import Account
from trainers.errors import CheckpointError

Kind = Callable[..., nn.Module]

_MOST_DIGITS, _MOST_LAYERS = 6, 1 << 10


@dataclass(frozen=True)
class Cleaned:
    """Weights under the names that our networks have, and the constructor's arguments. kind: the constructor. facts:
    what else the file said."""

    kind: Kind
    arguments: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    account: Account
    facts: Mapping[str, Any] = field(default_factory=dict)

    def build(self) -> Any:
        """The network with these weights, in eval mode. They are not copied."""
        network = _unfilled(self.kind, self.arguments)
        network.load_state_dict(dict(self.weights), strict=True, assign=True)
        return network.eval()


def fitted(
    account: Account,
    kind: Kind,
    arguments: Mapping[str, Any],
    stored: Mapping[str, Tensor],
    facts: Mapping[str, Any] | None = None,
) -> Cleaned:
    """What is stored, fitted to the network of these arguments, key by key, into the account.

    Raises CheckpointError where the arguments make no network, or a key does not fit; the message is the account then.
    """
    try:
        wanted = _unfilled(kind, arguments).state_dict()
    except (ValueError, ArithmeticError, RuntimeError, TypeError) as error:
        given = f"the file gives {dict(arguments)}, no network: {error}"
        raise CheckpointError(f"{account.network}: {given}") from error
    weights = account.fit(stored, wanted)
    if not account.whole:
        raise CheckpointError(account.refusal())
    return Cleaned(kind, arguments, weights, account, facts or {})


def numbered(stored: Mapping[str, Tensor], pattern: str) -> dict[int, str]:
    """The last name of each number that names have where the pattern has its group. Raises CheckpointError for a number
    that is none of a layer's."""
    found: dict[int, str] = {}
    for name in stored:
        if match := re.fullmatch(pattern, name):
            if len(match[1]) > _MOST_DIGITS or len(found) > _MOST_LAYERS:
                raise CheckpointError(f"{name[:80]}: a layer of that number is none of such a network's")
            found[int(match[1])] = name
    return found


def _unfilled(kind: Kind, arguments: Mapping[str, Any]) -> nn.Module:
    """The network without memory for its weights."""
    with torch.device("meta"):
        return kind(**arguments)
