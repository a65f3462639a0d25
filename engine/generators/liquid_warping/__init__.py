"""Liquid Warping GAN live: one to eight pictures of a person, moved by a mesh over them."""

from engine.generators.liquid_warping.generator import LiquidWarping
from engine.generators.liquid_warping.opening import open_liquid_warping

__all__ = ["LiquidWarping", "open_liquid_warping"]
