"""MaskGAN (Lee et al. 2020): a face drawn from a layout of its 19 parts, in the look of a picture."""

from engine.generators.maskgan.generator import Maskgan
from engine.generators.maskgan.opening import open_maskgan

__all__ = ["Maskgan", "open_maskgan"]
