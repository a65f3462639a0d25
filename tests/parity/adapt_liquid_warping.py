"""Liquid Warping GAN's networks, losses and steps under the official names of the fixtures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.parity.fixtures import Call

ADAPTERS: dict[tuple[str, str, str], Callable[[Call], Mapping[str, Any]]] = {}
