"""From what was measured to what is said: each remark with the measured value, its bound, and the fix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from engine.coach.measures import Measures
from engine.features.doubts import MOST_YAW, eye_covered, turned_aside

_LYING = 60.0


class Role(Enum):
    """SOURCE: the portrait that is moved and shown. CAMERA: the driver, of whom the motion alone counts."""

    SOURCE = "source"
    CAMERA = "camera"


@dataclass(frozen=True, slots=True)
class Remark:
    """One reason. measure: its name. value, bound: what was measured, and what it should be within, in `unit`. text: a
    sentence, with the fix."""

    measure: str
    value: float
    bound: float
    unit: str
    text: str


LEAST_EYES_PX: Final = {Role.SOURCE: 60.0, Role.CAMERA: 30.0}
MOST_BLUR: Final = 0.65
MOST_PITCH: Final = 20.0
MOST_ROLL: Final = 30.0
LEAST_LIGHT: Final = 70.0
MOST_BURNT: Final = 0.1
MOST_STOPS: Final = 2.0
LEAST_MARGIN: Final = 0.05
MOST_STRANGE: Final = 0.08
MOST_HIDDEN: Final = 0.15
"""Chosen on real pictures and on damaged ones: docs/coach.md has the counts."""


def remarks(told: Measures, role: Role, faces: int = 1) -> tuple[Remark, ...]:
    """What is to be said, the worst first to mend first. faces: how many are in the picture."""
    return (*_place(told, role, faces), *_pose(told), *_light(told), *_covered(told))


def _place(told: Measures, role: Role, faces: int) -> Iterator[Remark]:
    least = LEAST_EYES_PX[role]
    if told.eyes_px < least:
        fix = "use a larger or tighter picture" if role is Role.SOURCE else "come closer to the camera"
        said = f"the face is small: {told.eyes_px:.0f} px between the eye corners, from {least:.0f} on it is fine"
        yield Remark("size", told.eyes_px, least, "px", f"{said}; {fix}")
    if faces > 1:
        said = f"{faces} faces are in the picture, and the largest in the middle is taken"
        yield Remark("faces", float(faces), 1.0, "faces", f"{said}; use one with a single face")
    if told.margin < LEAST_MARGIN:
        fix = (
            "leave some room around the head" if role is Role.SOURCE else "move to the middle of the picture"
        )
        said = f"the face comes within {100 * told.margin:.0f} % of its height to the edge of the picture"
        if told.margin < 0:
            said = "the face is cut off by the edge of the picture"
        yield Remark("margin", told.margin, LEAST_MARGIN, "face heights", f"{said}; {fix}")
    if told.blur > MOST_BLUR:
        fix = (
            "use one in focus" if role is Role.SOURCE else "wipe the lens, give it more light, or hold still"
        )
        said = f"the face is blurred: {told.blur:.2f}, up to {MOST_BLUR:.2f} is sharp"
        yield Remark("blur", told.blur, MOST_BLUR, "", f"{said}; {fix}")


def _pose(told: Measures) -> Iterator[Remark]:
    if abs(told.yaw) > MOST_YAW:
        yield Remark("yaw", told.yaw, MOST_YAW, "degrees", turned_aside(told.yaw))
    for name, value, most, way in (
        ("pitch", told.pitch, MOST_PITCH, "up or down"),
        ("roll", told.roll, MOST_ROLL, "to the side"),
    ):
        if abs(value) > most:
            said = f"the head is tilted {abs(value):.0f} degrees {way}; within {most:.0f} it looks better"
            if abs(value) > _LYING:
                said = f"the head lies on its side or its crown ({abs(value):.0f} degrees); turn the picture upright"
            yield Remark(name, value, most, "degrees", said)


def _light(told: Measures) -> Iterator[Remark]:
    if told.light < LEAST_LIGHT:
        said = f"the face is dark: its highlights reach {told.light:.0f} of 255, from {LEAST_LIGHT:.0f} on it is fine"
        yield Remark("light", told.light, LEAST_LIGHT, "of 255", f"{said}; put a light before it")
    if told.burnt > MOST_BURNT:
        said = f"{100 * told.burnt:.0f} % of the face are burnt out to white"
        yield Remark("burnt", told.burnt, MOST_BURNT, "share", f"{said}; take away light, or expose for less")
    if told.one_sided > MOST_STOPS:
        said = f"one half of the face gets {2**told.one_sided:.0f} times the light of the other"
        yield Remark(
            "one_sided", told.one_sided, MOST_STOPS, "stops", f"{said}; turn to the light, or add one"
        )


def _covered(told: Measures) -> Iterator[Remark]:
    # An eye in the shadow half has little contrast too.
    if told.covered_eyes == "both" or (told.covered_eyes and told.one_sided <= MOST_STOPS):
        yield Remark(
            "eyes", 2.0 if told.covered_eyes == "both" else 1.0, 0.0, "eyes", eye_covered(told.covered_eyes)
        )
    if told.hidden > MOST_HIDDEN:
        said = f"something stands before {100 * told.hidden:.0f} % of the face"
        yield Remark("hidden", told.hidden, MOST_HIDDEN, "share", f"{said}; take it away")
    # A face without light, or with too much of it, has no colour.
    if told.strange > MOST_STRANGE and told.light >= LEAST_LIGHT and told.burnt <= MOST_BURNT:
        said = f"{100 * told.strange:.0f} % of the skin are of another colour, as if something covered it"
        yield Remark(
            "covered", told.strange, MOST_STRANGE, "share", f"{said}; take hair, a mask or a hand away"
        )
