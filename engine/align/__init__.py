"""FFHQ alignment: the square that StyleGAN's faces fill, found, smoothed, cut and pasted back."""

from engine.align.cutting import cut_quad, feathered, paste_quad
from engine.align.quad import Squares, crop_of_quad, inverse_coefficients, side_of, squares_of
from engine.align.smoothing import SquareSmoother, SquareSmoothing, smoothed

__all__ = [
    "SquareSmoother",
    "SquareSmoothing",
    "Squares",
    "crop_of_quad",
    "cut_quad",
    "feathered",
    "inverse_coefficients",
    "paste_quad",
    "side_of",
    "smoothed",
    "squares_of",
]
