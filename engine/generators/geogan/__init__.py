"""GeoGAN (Yin et al. 2019): an attribute of a donor's face on another one, by a flow, a mask and a residual."""

from engine.generators.geogan.generator import Geogan, open_geogan
from engine.generators.geogan.swap import swap

__all__ = ["Geogan", "open_geogan", "swap"]
