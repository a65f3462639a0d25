"""The two orders in which the field numbers the 19 parts of a head, by name.

The engine has the same two tables and colours (engine/parsing/classes.py); a test holds them equal, for neither imports
the other.
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

COLOURS = {
    "background": (0, 0, 0), "skin": (204, 0, 0), "nose": (76, 153, 0), "eye_g": (204, 204, 0),
    "l_eye": (51, 51, 255), "r_eye": (204, 0, 204), "l_brow": (0, 255, 255), "r_brow": (51, 255, 255),
    "l_ear": (102, 51, 0), "r_ear": (255, 0, 0), "mouth": (102, 204, 0), "u_lip": (255, 255, 0),
    "l_lip": (0, 0, 153), "hair": (0, 0, 204), "hat": (255, 51, 153), "ear_r": (0, 204, 204),
    "neck_l": (0, 51, 0), "neck": (255, 153, 51), "cloth": (0, 204, 0),
}  # fmt: skip
"""RGB of a part in either table: those of CelebAMask-HQ's own pictures."""
