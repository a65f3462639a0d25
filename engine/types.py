"""The types that one frame passes through, from decoder to encoder.

Conventions, everywhere in Marotte:

- pictures are RGB, uint8, (height, width, 3), C-contiguous;
- image points are in pixels, x right, y down, pixel centres at integers;
- depth (z) is in the same unit as x and y, smaller is nearer to the camera;
- "right" and "left" are the person's own: the right eye stands left in the picture;
- angles are degrees, times are seconds, probabilities and masks are 0..1
  (uint8 masks: 0..255), and a mask of 1 means generated pixel, or person, or face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engine.parsing.classes import Parsing

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]

FACE_POINTS = 478
"""Points of a tracked face: MediaPipe's 468-point mesh and 2 x 5 iris points."""

AU_NAMES = (
    "AU01", "AU02", "AU04", "AU05", "AU06", "AU07", "AU09", "AU10", "AU12",
    "AU14", "AU15", "AU17", "AU20", "AU23", "AU25", "AU26", "AU45",
)  # fmt: skip
"""The 17 action units in OpenFace's order. A value of 1 is OpenFace's intensity 5."""


class Signal(Enum):
    """What a generator may need from the driver; the pipeline computes only what is needed."""

    SHAPE = "shape"
    LANDMARKS68 = "landmarks68"
    AUS = "aus"
    HEAD_POSE = "head_pose"
    GAZE = "gaze"
    OPENNESS = "openness"
    PARSING = "parsing"
    BODY = "body"
    OCCLUSION = "occlusion"


class Mode(Enum):
    """PUPPET: the portrait moves. EDIT: the driver's own picture is edited."""

    PUPPET = "puppet"
    EDIT = "edit"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of a stream.

    rgb: uint8 (H, W, 3). pts: presentation time in units of time_base.
    arrived_s: monotonic seconds at which its first packet arrived (for a file: pts in seconds).
    """

    rgb: U8
    pts: int
    time_base: Fraction
    arrived_s: float

    @property
    def time_s(self) -> float:
        """Media time in seconds: the clock of smoothing and calibration."""
        return float(self.pts * self.time_base)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One tracked face.

    box: float32 (4,), x0 y0 x1 y1 in pixels around the mesh. points: float32 (478, 3) in pixels, z
    relative to the head's centre. score: 0..1, that there is a face. track_id: stable while the
    same face is followed, never used again after its loss.
    """

    box: F32
    points: F32
    score: float
    track_id: int


@dataclass(frozen=True, slots=True, eq=False)
class FaceShape:
    """A face taken apart into rigid motion and expression.

    ``points = scale * local @ rotation.T + translation``

    local: float32 (478, 3) in canonical centimetres (outer eye corners 8.89 cm apart on the canonical mesh;
    x to the picture's right, y down, z away from the camera). rotation: float64 (3, 3), proper.
    scale: pixels per centimetre. translation: float64 (3,) in pixels.
    """

    local: F32
    rotation: F64
    scale: float
    translation: F64

    def points(self) -> F32:
        """Back to image points, float32 (478, 3) in pixels."""
        placed = self.scale * (self.local @ self.rotation.T) + self.translation
        return placed.astype(np.float32)


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Degrees; 0, 0, 0 looks into the camera.

    yaw > 0 turns the nose to the picture's right, pitch > 0 turns it up, roll > 0 tilts the head clockwise in
    the picture. Order: R = Rz(roll) Rx(pitch) Ry(yaw) in the sense stated in engine/geometry.py.
    """

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True, slots=True)
class Openness:
    """mouth: inner-lip gap over the distance of the outer eye corners. eyes (right, left): lid gap over eye width."""

    mouth: float
    right_eye: float
    left_eye: float


@dataclass(frozen=True, slots=True)
class Gaze:
    """Iris centre from the middle of the eye corners, in half eye widths: x along the eye's own axis to the
    picture's right, y down. 0, 0 looks straight ahead; about -.6 .. .6 is the anatomical range."""

    right_x: float
    right_y: float
    left_x: float
    left_y: float


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """33 body points. points: float32 (33, 4), x y z pixels and visibility. world: float32 (33, 4), metres
    from the middle of the hips, and visibility. time_s: media time of the frame it was measured on."""

    points: F32
    world: F32
    time_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What was measured on the driver's face in one frame. A signal that nobody needs is None.

    landmarks68: float32 (68, 2) pixels, 300-W order. aus: float32 (17,) in [0, 1], order AU_NAMES.
    parsing: labels with their table, engine/parsing/classes.py. occlusion: uint8 (H, W), 255 = something stands in
    front of the face there; None also where nothing measures it.
    """

    time_s: float
    shape: FaceShape | None = None
    landmarks68: F32 | None = None
    aus: F32 | None = None
    head_pose: HeadPose | None = None
    gaze: Gaze | None = None
    openness: Openness | None = None
    parsing: Parsing | None = None
    body: Body | None = None
    occlusion: U8 | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Neutral:
    """The driver's resting face, to which motion is relative. confidence: 0..1, how settled it is."""

    shape: FaceShape
    openness: Openness
    gaze: Gaze
    confidence: float


LAYOUT_PARTS = ("brows", "eyes", "nose", "lips", "hair", "glasses")
"""Regions of a face's layout that Controls.layout changes."""

GAINS = ("pose", "mouth", "eyes", "brows", "gaze", "motion")
"""Controls that are gains."""

MOST_GAIN = 4.0
"""Largest gain of a control."""

MOST_STRENGTH = 100.0
"""Largest strength of a direction; a bundle states a reach of its own within it."""


@dataclass(frozen=True, slots=True)
class Controls:
    """The live controls of a session. Gains are 0 .. 4: 1 transfers the driver's motion as it is, 0 switches a region
    off; in an edit they scale the face's own action units.

    motion: of all motion at once, where a system knows no regions.
    absolute_*: take mouth gap, lid opening or gaze as they stand and not relative to the neutral.
    au_offsets: added to the motion, in AU units (-1 .. 1), keys from AU_NAMES.
    driver_pixels: the operator asked by name for the driver's inner mouth and shading in the puppet.
    remove: an edit takes the attribute away instead of bringing it.
    directions: strengths, -100 .. 100, of directions in a latent space, by the names that the bundle gives them; 0
    changes nothing, and what lies beyond the bundle's reach counts as its end.
    output_size: side in pixels of what a network synthesises, where the bundle has several: the smallest that is no
    smaller; 0 is the finest.
    layout: by how much regions of the layout are changed, -1 .. 1, keys from LAYOUT_PARTS: above 0 thicker brows,
    larger eyes, a broader nose, fuller lips, more hair, glasses of this size; below 0 less of it, and no glasses.
    donor_layout, donor_style: what an edit by layouts takes of its donors: the first one's layout, the last one's look.
    project: a layout passes through the bundle's model of layouts before it is drawn.
    painted: what a brush has painted on the layout, in a square that moves with the head: engine/parsing/runs.py.
    """

    pose: float = 1.0
    mouth: float = 1.0
    eyes: float = 1.0
    brows: float = 1.0
    gaze: float = 1.0
    motion: float = 1.0
    absolute_mouth: bool = True
    absolute_eyes: bool = True
    absolute_gaze: bool = True
    au_offsets: Mapping[str, float] = field(default_factory=dict)
    driver_pixels: bool = False
    remove: bool = False
    directions: Mapping[str, float] = field(default_factory=dict)
    output_size: int = 0
    layout: Mapping[str, float] = field(default_factory=dict)
    donor_layout: bool = True
    donor_style: bool = False
    project: bool = False
    painted: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        for name in GAINS:
            gain = getattr(self, name)
            if not (isinstance(gain, (int, float, np.floating)) and 0.0 <= gain <= MOST_GAIN):
                raise ValueError(f"{name}: expected a gain in 0 .. {MOST_GAIN:g}, got {gain!r}")
        _check_amounts("au_offsets", self.au_offsets, AU_NAMES)
        _check_amounts("layout", self.layout, LAYOUT_PARTS)
        if not isinstance(self.painted, tuple):
            raise ValueError(f"painted: expected a tuple of runs, got {type(self.painted).__name__}")
        _check_strengths(self.directions)
        if (
            isinstance(self.output_size, bool)
            or not isinstance(self.output_size, int)
            or self.output_size < 0
        ):
            raise ValueError(f"output_size: expected a side in pixels, or 0, got {self.output_size!r}")


def _check_strengths(directions: Mapping[str, float]) -> None:
    if not isinstance(directions, Mapping):
        raise ValueError(f"directions: expected names with strengths, got {directions!r}")
    for name, strength in directions.items():
        if not isinstance(name, str):
            raise ValueError(f"directions: expected names with strengths, got {name!r}")
        number = isinstance(strength, (int, float, np.floating)) and not isinstance(strength, bool)
        if not (number and -MOST_STRENGTH <= strength <= MOST_STRENGTH):
            raise ValueError(
                f"directions {name}: expected a number in {-MOST_STRENGTH:g} .. {MOST_STRENGTH:g}, got {strength!r}"
            )


def _check_amounts(what: str, amounts: Mapping[str, float], names: tuple[str, ...]) -> None:
    if not isinstance(amounts, Mapping):
        raise ValueError(f"{what}: expected names with numbers, got {amounts!r}")
    for name, amount in amounts.items():
        if name not in names:
            raise ValueError(f"{what}: expected names such as {names[-1]}, got {name!r}")
        if not (isinstance(amount, (int, float, np.floating)) and -1.0 <= amount <= 1.0):
            raise ValueError(f"{what} {name}: expected a number in -1 .. 1, got {amount!r}")


@dataclass(frozen=True, slots=True, eq=False)
class Drive:
    """Everything that moves one face of the source for one frame. alone: no other face is painted into its picture."""

    frame: Frame
    face: Face
    features: Features
    neutral: Neutral
    controls: Controls
    alone: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A square cut. matrix: float64 (2, 3), frame pixels to crop pixels. size: side in pixels."""

    matrix: F64
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One face of one picture that is to be moved.

    rgb: uint8 (H, W, 3), the whole picture. person: uint8 (H, W), 255 = person, or None. key: SHA-256 (hex) of the
    pixels and the face's points. name: for messages. labels: uint8 (H, W), its layout in classes of CelebAMask-HQ where
    somebody gave one with the picture. further: other pictures of the same person, for systems that take several; each
    has none of its own.
    """

    rgb: U8
    face: Face
    person: U8 | None
    key: str
    name: str
    labels: U8 | None = None
    further: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What a brush paints on, in the square that moves with the head (Controls.painted). rgb: uint8 (S, S, 3), the
    picture that was generated there. labels: uint8 (S, S), classes of CelebAMask-HQ, without what is painted."""

    rgb: U8
    labels: U8


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """What a generator gives back: a generated square and where it belongs.

    rgb: uint8 (S, S, 3). mask: uint8 (S, S), 255 = generated, 0 = keep the canvas; None = all of the square.
    crop: canvas to patch. canvas: uint8 (H, W, 3), the picture that it is pasted on; shared, never written to.
    whole: rgb is the canvas with the face in it already, uint8 (H, W, 3), in memory that the runner's next run may
    overwrite; mask is None then. For a drive that is `alone`, and for no other.
    """

    rgb: U8
    mask: U8 | None
    crop: Crop
    canvas: U8
    whole: bool = False


class Outcome(Enum):
    """What left for one frame of the driver."""

    GENERATED = "generated"
    HELD = "held"
    FADED = "faded"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class FrameReport:
    """What happened to one frame. seconds: per stage, in order. age_s: from the arrival of its first packet until it
    was handed over. filter_lag_s: delay that smoothing added to the motion. reason: why it was not generated. batch:
    faces that went through the graph together, those of other sessions included; 0 where nobody counted."""

    pts: int
    outcome: Outcome
    seconds: Mapping[str, float]
    age_s: float
    filter_lag_s: float = 0.0
    faces: int = 0
    reason: str | None = None
    batch: int = 0
