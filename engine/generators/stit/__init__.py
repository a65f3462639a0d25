"""STIT live: an enrolled person's face, inverted, edited, synthesised and stitched back, frame by frame."""

from engine.generators.stit.generator import Stit, open_stit

__all__ = ["Stit", "open_stit"]
