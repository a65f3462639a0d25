"""What is judged: anything that makes another picture of a face for requested AUs, or with a donor's attribute.

Three ways in, all composited at the picture's own resolution, as a render is:

- ``Plain``: a callable on the whole picture;
- ``InCrop``: a network as it is trained, on the crop alone; cut and pasted back here;
- ``Opened``: a generator and its runner, as ``engine.generators.open_generator`` gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.blend import paste
from engine.bundle import CropRule, Parameters
from engine.crop import crop_of
from engine.errors import PortError
from engine.evaluate.reenact import resting
from engine.evaluate.subjects import Subject
from engine.features import extract
from engine.features.still import still_neutral
from engine.generators.feather import feather
from engine.generators.ganimation import Ganimation
from engine.plug import Generator, Ports, Runner
from engine.types import AU_NAMES, F32, U8, Controls, Crop, Drive, Frame, Mode, Neutral, Patch


@dataclass(frozen=True, slots=True, eq=False)
class Changed:
    """One answer. rgb: uint8 (H, W, 3), the whole picture. generated: uint8 (H, W), 255 = the network's own colour,
    0 = the picture's; None where it is not known. patch: what was pasted, where that is known. ports: the graph's
    outputs, where they were asked for."""

    rgb: U8
    generated: U8 | None = None
    patch: Patch | None = None
    ports: Ports | None = None


Answer = Callable[[F32], Changed]
"""From the AUs that are asked for, float32 (17,) in [0, 1], to the changed picture."""


class Changer(Protocol):
    """Changes pictures to requested AUs."""

    @property
    def name(self) -> str: ...

    def begin(self, subject: Subject) -> Answer:
        """Once per picture. Raises InputError when the picture cannot be used."""
        ...


class Plain:
    """A callable (picture uint8 (H, W, 3), aus (17,)) -> picture of the same shape."""

    def __init__(self, call: Callable[[U8, F32], U8], name: str = "plain") -> None:
        self._call, self.name = call, name

    def begin(self, subject: Subject) -> Answer:
        def answer(aus: F32) -> Changed:
            return Changed(checked(self._call(subject.rgb, aus), subject.rgb.shape))

        return answer


InCropCall = Callable[[U8, F32], tuple[NDArray[Any], NDArray[Any]]]
"""(crop uint8 (S, S, 3) RGB, aus (17,)) -> colour (3, S, S) in -1..1, attention (1, S, S) in 0..1, 1 keeps the
picture; leading dimensions of one are allowed."""


class InCrop:
    """A network on crops of `size` pixels that are cut by `rule` (engine/crop.py), pasted back as the live GANimation
    is. units: "absolute" or "relative", as the network was trained."""

    def __init__(
        self, call: InCropCall, size: int, rule: str = "face", name: str = "network", units: str = "absolute"
    ) -> None:
        facts = {"units": units}
        parameters = Parameters(CropRule(rule, size), AU_NAMES, None, None, frozenset({Mode.PUPPET}), facts)
        self._opened = Opened(Ganimation(name, parameters), _Called(call, size))
        self.name = name

    def begin(self, subject: Subject) -> Answer:
        return self._opened.begin(subject)


class _Called:
    """A callable as the runner of GANimation's graph."""

    def __init__(self, call: InCropCall, size: int) -> None:
        self._call, self._size = call, size

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        return [self._one(ports) for ports in batch]

    def close(self) -> None:
        """Nothing is open."""

    def _one(self, ports: Ports) -> Ports:
        colour, attention = self._call(ports["image"][0], ports["aus"][0])
        size = self._size
        return {
            "colour": np.asarray(colour, np.float32).reshape(1, 3, size, size),
            "attention": np.asarray(attention, np.float32).reshape(1, 1, size, size),
        }


class Opened:
    """A generator that is open. What is asked reaches it as the live sliders do, as `au_offsets` from the picture's own
    AUs to the requested ones. PUPPET: the picture is the portrait, and its driver rests as it does. EDIT: it is the
    driver's frame. keep_ports: an answer holds what the graph gave."""

    def __init__(
        self, generator: Generator, runner: Runner, mode: Mode = Mode.PUPPET, *, keep_ports: bool = False
    ) -> None:
        self._generator, self._runner, self._mode, self.name = generator, runner, mode, generator.name
        self._keep_ports = keep_ports

    def begin(self, subject: Subject) -> Answer:
        controlled, own = self.controlled(subject), subject.reading.aus

        def answer(aus: F32) -> Changed:
            offsets = {name: float(value) for name, value in zip(AU_NAMES, aus - own) if value}
            return controlled(Controls(au_offsets=offsets))

        return answer

    def controlled(self, subject: Subject) -> Callable[[Controls], Changed]:
        """What is made of the subject's picture by any controls, whatever was asked before."""
        edits = self._mode is Mode.EDIT
        prepared = self._generator.prepare(None if edits else subject.source, self._mode)
        face = subject.source.face
        neutral = still_neutral(face) if edits else resting(face)

        def answer(controls: Controls) -> Changed:
            """With a state of its own: nothing is carried from one request to the next."""
            state = self._generator.begin(prepared)
            ports: dict[str, NDArray[Any]] = {}

            def tap(outputs: Ports) -> None:
                if self._keep_ports:
                    ports.update({name: array.copy() for name, array in outputs.items()})

            patch = patch_of(self._generator, self._runner, state, subject, neutral, controls, tap)
            return replace(pasted(patch), ports=ports or None)

        return answer


def patch_of(
    generator: Generator,
    runner: Runner,
    state: Any,
    subject: Subject,
    neutral: Neutral,
    controls: Controls,
    tap: Callable[[Ports], None] | None = None,
) -> Patch:
    """One frame of a session whose driver is the subject's own picture. Raises what generator and runner do.

    tap: is shown the graph's outputs, which last until the next run.
    """
    face, frame = subject.source.face, Frame(subject.rgb, 0, Fraction(1, 30), 0.0)
    features = extract(face, frame, generator.needs, neutral, person=subject.source.person)
    outputs = runner.run([generator.inputs(state, Drive(frame, face, features, neutral, controls))])[0]
    if isinstance(outputs, Exception):
        raise outputs
    if tap is not None:
        tap(outputs)
    return generator.patch(state, outputs)


def pasted(patch: Patch) -> Changed:
    """A patch in its canvas, and its mask there."""
    height, width = patch.canvas.shape[:2]
    size = patch.crop.size
    mask = np.full((size, size), 255, np.uint8) if patch.mask is None else patch.mask
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    generated = cv2.warpAffine(mask, patch.crop.matrix, (width, height), flags=flags)
    return Changed(paste(patch), np.asarray(generated, np.uint8), patch)


def picture_from(colour: NDArray[Any], size: int) -> U8:
    """A network's colour (3, S, S) in -1..1 as a picture, uint8 (S, S, 3)."""
    planes = np.asarray(colour, np.float32).reshape(3, size, size)
    return np.ascontiguousarray(np.rint(np.clip(planes.transpose(1, 2, 0) * 0.5 + 0.5, 0, 1) * 255), np.uint8)


def generated_mask(keep: F32) -> U8:
    """The paste mask of an attention (S, S) in which 1 keeps the picture: faded out at the crop's edge."""
    return np.ascontiguousarray(np.rint(255 * np.clip(1.0 - keep, 0, 1) * feather(len(keep))), np.uint8)


def checked(rgb: object, shape: tuple[int, ...]) -> U8:
    """A picture of this shape. Raises PortError."""
    if not isinstance(rgb, np.ndarray) or rgb.shape != shape or rgb.dtype != np.uint8:
        got = f"{rgb.dtype} {rgb.shape}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise PortError(f"changed picture: got {got}, expected uint8 {shape}")
    return rgb


def crop_of_subject(subject: Subject, changed: Changed | None = None, rule: str = "face") -> Crop:
    """The crop that was changed; where that is not known, the one that `rule` cuts."""
    if changed is not None and changed.patch is not None:
        return changed.patch.crop
    return crop_of(rule, subject.source.face.points, 128)
