"""The action units as data: which points travel, how far and where to, at intensity 1.

Points are those of the right side of the face and the middle; the left side mirrors them. A move is
(outward, down, back) in canonical centimetres: outward leaves the middle of the face, back goes away from
the camera. Written from the muscles' lines of pull in the FACS descriptions, with the lengths seen on
tracked faces at full strength.
"""

from __future__ import annotations

from dataclasses import dataclass

Move = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Field:
    """moves: point to (outward, down, back) in cm. pins: points that rest. reach: cm over which a move fades.
    lips_together: the lips move as one and do not part."""

    moves: dict[int, Move]
    pins: tuple[int, ...]
    reach: float
    lips_together: bool = True


_UPPER_LID = (246, 161, 160, 159, 158, 157, 173)
_LOWER_LID = (7, 163, 144, 145, 153, 154, 155)
_CORNERS = (33, 133)
_EYE = _UPPER_LID + _LOWER_LID + _CORNERS
_BROW = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
_NOSE = (1, 2, 4, 98, 168, 6)
_RIM = (10, 109, 67, 103, 54, 21, 162, 127, 234, 93, 132, 58, 172)

FIELDS: dict[str, Field] = {
    "AU01": Field(  # frontalis, inner part: raises the inner brows
        {107: (0.0, -0.60, 0.05), 55: (0.0, -0.58, 0.05), 66: (0.0, -0.45, 0.04), 65: (0.0, -0.42, 0.04),
         105: (0.0, -0.18, 0.0), 52: (0.0, -0.16, 0.0), 9: (0.0, -0.35, 0.0), 108: (0.0, -0.35, 0.0)},
        (*_EYE, 70, 46, 6, 10, 109, 67, 103),
        1.6,
    ),
    "AU02": Field(  # frontalis, outer part: raises the outer brows
        {70: (0.0, -0.55, 0.05), 63: (0.0, -0.60, 0.03), 46: (0.0, -0.45, 0.05), 53: (0.0, -0.48, 0.03),
         105: (0.0, -0.35, 0.0), 52: (0.0, -0.25, 0.0), 68: (0.0, -0.30, 0.0)},
        (*_EYE, 107, 55, 9, 10, 109, 103, 127),
        1.6,
    ),
    "AU04": Field(  # corrugator, depressor: lowers the brows and draws them together
        {107: (-0.28, 0.52, -0.05), 55: (-0.28, 0.47, -0.05), 66: (-0.23, 0.52, -0.03), 65: (-0.20, 0.44, -0.03),
         105: (-0.15, 0.50, 0.0), 52: (-0.12, 0.38, 0.0), 63: (-0.08, 0.36, 0.0), 70: (-0.05, 0.26, 0.0),
         9: (0.0, 0.36, -0.06), 8: (0.0, 0.18, -0.04)},
        (*_EYE, 6, 10, 109, 67, 103),
        1.4,
    ),
    "AU05": Field(  # levator palpebrae: raises the upper lids
        {159: (0.0, -0.28, 0.0), 160: (0.0, -0.25, 0.0), 158: (0.0, -0.25, 0.0), 161: (0.0, -0.17, 0.0),
         157: (0.0, -0.17, 0.0), 246: (0.0, -0.07, 0.0), 173: (0.0, -0.07, 0.0)},
        (*_LOWER_LID, *_CORNERS, *_BROW),
        0.8,
    ),
    "AU06": Field(  # orbicularis oculi, outer part: lifts the cheeks and narrows the eyes from below
        {50: (0.05, -0.26, -0.08), 205: (0.04, -0.22, -0.08), 101: (0.0, -0.24, -0.08), 118: (0.0, -0.22, -0.05),
         117: (-0.03, -0.20, -0.03), 119: (0.0, -0.18, -0.03), 145: (0.0, -0.12, 0.0), 144: (0.0, -0.12, 0.0),
         153: (0.0, -0.10, 0.0), 163: (0.0, -0.09, 0.0), 154: (0.0, -0.07, 0.0), 226: (-0.06, 0.04, 0.0)},
        (*_UPPER_LID, *_CORNERS, *_NOSE, 61, 0, 70, 46, 234),
        1.5,
    ),
    "AU07": Field(  # orbicularis oculi, lid part: tightens the lids
        {145: (0.0, -0.18, 0.0), 144: (0.0, -0.17, 0.0), 153: (0.0, -0.17, 0.0), 163: (0.0, -0.11, 0.0),
         154: (0.0, -0.11, 0.0), 7: (0.0, -0.05, 0.0), 155: (0.0, -0.05, 0.0), 159: (0.0, 0.06, 0.0),
         160: (0.0, 0.05, 0.0), 158: (0.0, 0.05, 0.0)},
        (*_CORNERS, *_BROW, 117, 118, 119),
        0.8,
    ),
    "AU09": Field(  # levator labii alaeque nasi: wrinkles the nose
        {98: (0.02, -0.38, 0.04), 64: (0.03, -0.38, 0.04), 48: (0.02, -0.40, 0.04), 129: (0.02, -0.36, 0.04),
         49: (0.0, -0.34, 0.0), 1: (0.0, -0.08, 0.0), 37: (0.0, -0.18, 0.0), 0: (0.0, -0.14, 0.0),
         107: (-0.06, 0.14, 0.0), 55: (-0.08, 0.16, 0.0), 9: (0.0, 0.12, 0.0), 205: (0.0, -0.14, 0.0)},
        (*_EYE, 168, 61, 17, 234),
        1.4,
        lips_together=False,
    ),
    "AU10": Field(  # levator labii superioris: raises the upper lip
        {0: (0.0, -0.32, -0.03), 37: (0.0, -0.38, -0.02), 39: (0.0, -0.38, 0.0), 40: (0.0, -0.28, 0.0),
         13: (0.0, -0.30, 0.0), 82: (0.0, -0.34, 0.0), 81: (0.0, -0.34, 0.0), 80: (0.0, -0.26, 0.0),
         191: (0.0, -0.14, 0.0), 61: (0.0, -0.06, 0.0), 98: (0.02, -0.12, 0.0), 205: (0.0, -0.14, 0.0)},
        (*_EYE, 1, 4, 6, 14, 87, 17, 84, 152, 234),
        1.6,
        lips_together=False,
    ),
    "AU12": Field(  # zygomaticus major: pulls the lip corners back along the cheek bones' line
        {61: (0.80, -0.66, 0.55), 78: (0.76, -0.62, 0.52), 40: (0.42, -0.34, 0.26), 91: (0.42, -0.20, 0.28),
         0: (0.0, -0.16, 0.12), 37: (0.10, -0.18, 0.14), 13: (0.0, -0.10, 0.12), 17: (0.0, -0.02, 0.14),
         205: (0.26, -0.26, 0.12), 50: (0.16, -0.20, 0.02), 98: (0.10, -0.14, 0.0), 48: (0.10, -0.12, 0.0),
         152: (0.0, 0.04, 0.08)},
        (*_EYE, 1, 4, 6, 234, 132),
        2.0,
    ),
    "AU14": Field(  # buccinator: tightens the corners inwards, dimples
        {61: (0.30, -0.02, 0.50), 78: (0.28, -0.02, 0.46), 57: (0.22, 0.0, 0.36), 0: (0.0, 0.0, 0.08),
         17: (0.0, 0.0, 0.08)},
        (*_EYE, *_NOSE, 152, 205, 234, 172),
        1.4,
    ),
    "AU15": Field(  # depressor anguli oris: pulls the corners down
        {61: (0.05, 0.55, 0.12), 78: (0.05, 0.50, 0.12), 40: (0.0, 0.12, 0.0), 91: (0.0, 0.32, 0.05),
         0: (0.0, 0.02, 0.0), 17: (0.0, 0.02, 0.0), 210: (0.03, 0.18, 0.05)},
        (*_EYE, *_NOSE, 152, 205, 234, 172),
        1.6,
    ),
    "AU17": Field(  # mentalis: pushes the chin boss and the lower lip up
        {199: (0.0, -0.42, -0.10), 175: (0.0, -0.30, -0.05), 200: (0.0, -0.42, -0.15), 18: (0.0, -0.42, -0.20),
         17: (0.0, -0.38, -0.24), 14: (0.0, -0.20, -0.10), 0: (0.0, -0.14, -0.05), 84: (0.0, -0.34, -0.20),
         61: (0.0, 0.10, 0.0), 152: (0.0, -0.16, 0.0)},
        (*_EYE, *_NOSE, 205, 234, 172),
        1.6,
    ),
    "AU20": Field(  # risorius: stretches the lips sideways
        {61: (0.75, 0.14, 0.42), 78: (0.70, 0.12, 0.40), 40: (0.38, 0.05, 0.18), 91: (0.40, 0.10, 0.20),
         0: (0.0, 0.03, 0.08), 17: (0.0, 0.04, 0.08), 57: (0.60, 0.12, 0.30)},
        (*_EYE, *_NOSE, 152, 234, 50),
        1.8,
    ),
    "AU23": Field(  # orbicularis oris: narrows the red of the lips
        {0: (0.0, 0.20, 0.06), 37: (0.0, 0.20, 0.06), 39: (-0.03, 0.18, 0.05), 40: (-0.06, 0.12, 0.02),
         185: (-0.10, 0.06, 0.0), 61: (-0.14, 0.0, -0.04), 78: (-0.12, 0.0, -0.04), 17: (0.0, -0.22, 0.06),
         84: (0.0, -0.22, 0.06), 181: (-0.03, -0.20, 0.05), 91: (-0.06, -0.13, 0.02), 146: (-0.10, -0.06, 0.0),
         13: (0.0, 0.0, 0.08), 82: (0.0, 0.0, 0.07), 81: (-0.02, 0.0, 0.05), 80: (-0.05, 0.0, 0.02)},
        (*_EYE, *_NOSE, 152, 199, 205, 164),
        0.9,
    ),
    "AU25": Field(  # depressor labii: parts the lips
        {13: (0.0, -0.26, 0.0), 82: (0.0, -0.25, 0.0), 81: (0.0, -0.22, 0.0), 80: (0.0, -0.15, 0.0),
         191: (0.0, -0.06, 0.0), 0: (0.0, -0.18, -0.02), 37: (0.0, -0.18, -0.02), 39: (0.0, -0.15, 0.0),
         14: (0.0, 0.60, 0.04), 87: (0.0, 0.58, 0.04), 178: (0.0, 0.50, 0.03), 88: (0.0, 0.32, 0.0),
         95: (0.0, 0.12, 0.0), 17: (0.0, 0.50, 0.04), 84: (0.0, 0.48, 0.04), 181: (0.0, 0.42, 0.03),
         91: (0.0, 0.24, 0.0), 61: (0.0, 0.03, 0.0), 78: (0.0, 0.03, 0.0), 18: (0.0, 0.34, 0.0)},
        (*_EYE, *_NOSE, 152, 199, 205, 172, 234),
        1.2,
        lips_together=False,
    ),
    "AU26": Field(  # relaxed masseter: the jaw drops (turned in au_basis), the corners yield a little inwards
        {61: (-0.08, 0.0, 0.0), 78: (-0.08, 0.0, 0.0)},
        (*_EYE, *_NOSE, *_RIM, 50),
        2.2,
        lips_together=False,
    ),
    "AU45": Field(  # levator relaxed: the upper lids close (travel set in au_basis)
        {33: (0.0, 0.04, 0.0), 133: (0.0, 0.0, 0.0)},
        (*_BROW, 117, 118, 119),
        0.8,
    ),
}  # fmt: skip

JAW_CENTRE = (3.7, 8.0)
"""(y, z) in cm of the axis about which the jaw turns. It lies below and behind the joint, for the joint
slides forward as the jaw opens."""

JAW_DEGREES = 10.6
"""Turn of the jaw at AU26 = 1; the chin drops by about 1.3 cm."""

JAW_SHARES: dict[int, float] = {
    152: 1.0, 148: 1.0, 176: 0.95, 149: 0.85, 150: 0.65, 136: 0.40, 172: 0.16, 58: 0.05,
    199: 1.0, 200: 1.0, 18: 1.0, 17: 1.0, 84: 1.0, 181: 0.95, 91: 0.78, 146: 0.62,
    14: 0.95, 87: 0.95, 178: 0.90, 88: 0.78, 95: 0.62, 61: 0.50, 78: 0.50,
    191: 0.36, 80: 0.18, 81: 0.06, 82: 0.0, 13: 0.0, 185: 0.34, 40: 0.16, 39: 0.05, 37: 0.0, 0: 0.0, 205: 0.10,
}  # fmt: skip
"""How much of the jaw's turn each point takes part in."""
