"""What a graph of a bundle may hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def check_graph(data: bytes, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Raises BundleError (written next)."""
