"""GANimation (Pumarola et al. 2018): a face's action units set by a network that paints only what they change."""

from engine.generators.ganimation.generator import Ganimation, open_ganimation

__all__ = ["Ganimation", "open_ganimation"]
