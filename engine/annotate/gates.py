"""What a picture has to be to teach anything, and the names under which others are counted."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from engine.annotate.labels import Labels
from engine.config import from_mapping
from engine.errors import ConfigError, DecodeError, InputError, NoFaceError, TooLargeError, TooSmallError


class Refused(Exception):  # noqa: N818 - no error: a picture that is counted and left out
    """reason: one of the words counted in the report. detail: the sentence about this picture."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail or reason


@dataclass(frozen=True, slots=True)
class Gates:
    """The limits. Each is an option `--gate NAME=VALUE`."""

    scale: float = 0.4
    """Pixels of the picture per pixel of the crop, at least: below, the face is only enlarged blur."""
    sharpness: float = 0.2
    """As engine.annotate.labels.sharpness measures it, at least."""
    yaw: float = 45.0
    """Degrees either way, at most; so with the next two."""
    pitch: float = 30.0
    roll: float = 60.0
    inside: float = 0.8
    """Share of the crop that lies in the picture, at least."""
    presence: float = 0.98
    """Probability of a face, at least."""
    rivals: float = 1.0
    """Side of a second face over the main one's (both times centredness), at most. 1 takes the main face of any
    group, 0 only pictures of one face."""
    stray: float = 0.05
    """Of a synthesised picture: mean distance of the measured landmarks of brows, eyes, nose and mouth from those that
    were asked for, over the distance of the outer eye corners, at most."""
    short: float = 0.15
    """Of a synthesised picture: share of what was asked of AU12, AU25, AU26 and AU45 that has to be measured."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not (np.isfinite(value) and value >= 0.0):
                raise ValueError(f"{field.name}: expected 0 or more, got {value!r}")

    @staticmethod
    def changed(pairs: list[str]) -> Gates:
        """From `NAME=VALUE` texts. Raises ConfigError naming the nearest."""
        values: dict[str, float] = {}
        for pair in pairs:
            name, _, number = pair.partition("=")
            try:
                values[name.strip()] = float(number)
            except ValueError as error:
                raise ConfigError(f"gate: got {pair!r}, expected NAME=NUMBER such as yaw=30") from error
        return from_mapping(Gates, values, "gate")


def pass_real(labels: Labels, gates: Gates) -> None:
    """Raise Refused for a picture of which a real face's crop is not to be kept."""
    if labels.scale < gates.scale:
        raise Refused("too small", f"{labels.scale:.2f} of its pixels per pixel of the crop")
    for name in ("yaw", "pitch", "roll"):
        angle = getattr(labels.pose, name)
        if abs(angle) > getattr(gates, name):
            raise Refused("pose", f"{name} of {angle:.0f} degrees")
    if labels.inside < gates.inside:
        raise Refused("cut off", f"{labels.inside:.0%} of the crop lie in the picture")
    if labels.sharpness < gates.sharpness:
        raise Refused("blurred", f"sharpness {labels.sharpness:.3f}")


def reason_of(error: InputError) -> str:
    """Under what an input that cannot be used is counted."""
    for kind, reason in (
        (TooLargeError, "too large"),
        (TooSmallError, "too small"),
        (NoFaceError, "no face"),
        (DecodeError, "unreadable"),
    ):
        if isinstance(error, kind):
            return reason
    return "unreadable"
