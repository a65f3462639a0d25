"""Which of the driver's faces moves which seat of a scene, and whether a frame with these faces may be shown."""

from __future__ import annotations

from collections.abc import Sequence

from engine.fallback import FallbackConfig
from engine.scene import Slot
from engine.types import Face, Mode

NO_FACE, FACE_LOST = "no face", "an edited face is out of sight"


def seated(faces: Sequence[Face], main_id: int | None, slots: Sequence[Slot]) -> list[tuple[Slot, Face]]:
    """Main face to the main face of the source; the others stay where they are while they are followed.

    While the main face is out of sight and its seat is held, nobody else moves the main face of the source.
    """
    free = dict(enumerate(slots))
    del free[0]
    driven = [(slots[0], face) for face in faces if face.track_id == main_id]
    known = {slot.track_id: index for index, slot in free.items()}
    others = [face for face in faces if face.track_id != main_id]
    for face in sorted(others, key=lambda face: face.track_id not in known)[: len(free)]:
        index = known.get(face.track_id, min(free))
        del free[index]
        driven.append((slots[index], face))
    return driven


def incomplete(
    slots: Sequence[Slot], driven: set[Slot], time_s: float, mode: Mode, fallback: FallbackConfig
) -> str | None:
    """Why a frame cannot be shown with the slots that it drives; None when it can.

    An edited frame shows everything in front of the camera, so that one with an edited face missing would show that
    face as it is. It counts as gone for good when the fallback for it has run out.
    """
    for slot in driven:
        slot.driven_s = time_s
    if mode is Mode.PUPPET:
        return None if driven else NO_FACE
    for slot in slots[1:]:
        if slot not in driven and slot.track_id is not None:
            if abs(time_s - slot.driven_s) <= fallback.hold_s + fallback.fade_s:
                return FACE_LOST
            slot.forget()
    return None if slots[0] in driven else NO_FACE
