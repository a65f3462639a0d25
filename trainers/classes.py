"""The two orders in which the field numbers the 19 parts of a head, by name.

The engine has the same two tables (engine/parsing/classes.py); a test holds them equal, for neither imports the other.
"""

from __future__ import annotations

CELEBAMASK = (
    "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear",
    "mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
"""Of CelebAMask-HQ and MaskGAN, and of every label map that is stored here. Sides are those of the picture."""

BISENET = (
    "background", "skin", "l_brow", "r_brow", "l_eye", "r_eye", "eye_g", "l_ear", "r_ear", "ear_r",
    "nose", "mouth", "u_lip", "l_lip", "neck", "neck_l", "cloth", "hair", "hat",
)  # fmt: skip
"""Of face-parsing.PyTorch's BiSeNet, which STIT uses. What it gives is none of CelebAMask-HQ's numbers."""
