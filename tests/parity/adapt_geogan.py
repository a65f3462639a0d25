"""GeoGAN's networks, losses, step and landmarks under the official names of the fixtures."""

from __future__ import annotations

ADAPTERS = {}
