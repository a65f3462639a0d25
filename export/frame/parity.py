"""Whether a frame graph gives the picture of the CPU path: cut, network, kernels and paste-back of the engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from engine import canonical
from engine.backends import BACKENDS
from engine.blend import paste
from engine.bundle import Bundle
from engine.errors import BackendError, BundleError
from engine.features import extract
from engine.features.au_basis import deform
from engine.features.shape import fit_shape
from engine.features.still import neutral_behind
from engine.generators import open_generator
from engine.plug import Generator, Runner
from engine.sample.portrait import draw_portrait
from engine.types import AU_NAMES, F32, U8, Controls, Drive, Face, FaceShape, Frame, Mode, Source

GATE: Final = 0.999
"""Share of the pixels that have to be within one grey level in every channel, in each picture."""
ON_CPU: Final = ("openvino", "onnxruntime")
"""Runtimes that are compared; those of a GPU are measured on one."""

_PORTRAIT: Final = 384
_FACE_AT: Final = (0.5, 0.46, 0.021)
"""The portrait's face: its middle and a centimetre of it, shares of the picture's side."""


@dataclass(frozen=True, slots=True)
class Apart:
    """Two pictures. within_one: share of the pixels. worst, mean: of the differences, in levels."""

    within_one: float
    worst: int
    mean: float


def apart(one: U8, other: U8) -> Apart:
    """How far two pictures of the same shape are apart."""
    levels = np.abs(one.astype(np.int16) - other)
    return Apart(float((levels.max(2) <= 1).mean()), int(levels.max()), float(levels.mean()))


@dataclass(frozen=True, slots=True)
class FrameReport:
    """What was measured: by runtime its version, and by case the worst picture."""

    gate: float
    runtimes: Mapping[str, tuple[str, Mapping[str, Apart]]]

    def table(self) -> dict[str, Any]:
        """As in a manifest."""
        return {
            "gate": self.gate,
            "runtimes": {
                name: {
                    "version": number,
                    "cases": {
                        case: {"within_one": one.within_one, "max": one.worst, "mean": one.mean}
                        for case, one in cases.items()
                    },
                }
                for name, (number, cases) in self.runtimes.items()
            },
        }

    def lines(self) -> Iterator[str]:
        """For people, one line per runtime and case."""
        for name, (number, cases) in self.runtimes.items():
            for case, one in cases.items():
                yield (
                    f"{name} {number}, frame graph, {case}: {100 * one.within_one:.3f} % of the pixels within one "
                    f"level, at most {one.worst}"
                )


Case = tuple[Mode, bool, bool]
"""A mode, whether there is a source, and whether it is taken away."""


def measure_frames(bundle: Bundle, gate: float = GATE) -> FrameReport:
    """Every case of a bundle on every CPU runtime present.

    Raises BundleError where a picture has fewer pixels within one level than the gate asks for, BackendError where no
    runtime is present.
    """
    present = [name for name in ON_CPU if name in BACKENDS and find_spec(name) is not None]
    if not present:
        raise BackendError(f"no runtime to compare with; run: python -m pip install {ON_CPU[0]}")
    runtimes: dict[str, tuple[str, Mapping[str, Apart]]] = {
        name: (version(name), _on(name, bundle)) for name in present
    }
    for name, (_, cases) in runtimes.items():
        for case, one in cases.items():
            if not one.within_one >= gate:
                raise BundleError(
                    f"frame graph, {case}: on {name} {100 * one.within_one:.3f} % of the pixels are within one level "
                    f"of the CPU path, expected {100 * gate:g} % or more; nothing was packed"
                )
    return FrameReport(gate, runtimes)


def _on(backend: str, bundle: Bundle) -> dict[str, Apart]:
    name = bundle.manifest.acceptance
    accept = frozenset() if name is None else frozenset({name})
    with ExitStack() as opened:
        pairs = []
        for frames in (False, True):
            pair = open_generator(bundle.folder, backend=backend, accept=accept, threads=1, frames=frames)
            opened.callback(pair[1].close)
            pairs.append(pair)
        return {_named(case): _worst(pairs[0], pairs[1], case) for case in _cases(pairs[0][0])}


def _cases(generator: Generator) -> Iterator[Case]:
    removes = "remove" in generator.heeds
    for mode in sorted(generator.modes, key=lambda mode: mode.value):
        takes = generator.takes_source(mode)
        yield mode, takes, False
        if mode is Mode.EDIT and removes:
            yield mode, False, True
            yield mode, takes, True


def _named(case: Case) -> str:
    mode, source, removes = case
    donor = " with a donor" if source and mode is Mode.EDIT else ""
    return f"{mode.value}{donor}{', removing' if removes else ''}"


def _worst(plain: tuple[Generator, Runner], framed: tuple[Generator, Runner], case: Case) -> Apart:
    mode, with_source, removes = case
    source = _source() if with_source else None
    states = [one.begin(one.prepare(source, mode)) for one, _ in (plain, framed)]
    found = []
    for drive in drives(plain[0], removes):
        shown = [_shown(*pair, state, drive) for pair, state in zip((plain, framed), states)]
        found.append(apart(*shown))
    return Apart(
        min(one.within_one for one in found), max(one.worst for one in found), max(one.mean for one in found)
    )


def _shown(generator: Generator, runner: Runner, state: Any, drive: Drive) -> U8:
    answer = runner.run([generator.inputs(state, drive)])[0]
    if isinstance(answer, Exception):
        raise answer
    return paste(generator.patch(state, answer))


def drives(generator: Generator, removes: bool) -> Iterator[Drive]:
    """The drawn portrait as a driver who moves: upright, turned, far, at the edge, half covered, in frames of odd sizes
    with a grain."""
    numbers = np.random.default_rng(7)
    portrait = _portrait()
    for number, (width, height, roll, near, shift, covered) in enumerate(
        (
            (384, 384, 0.0, 1.0, 0.0, False),
            (384, 384, 3.0, 1.02, 0.01, False),
            (383, 301, 24.0, 1.0, 0.05, True),
            (255, 383, -35.0, 0.6, 0.3, False),
            (201, 257, 90.0, 0.4, -0.2, True),
        )
    ):
        rgb = np.ascontiguousarray(portrait[:height, :width])
        rgb = (rgb.astype(np.int16) + numbers.integers(-4, 5, rgb.shape)).clip(0, 255).astype(np.uint8)
        face = face_at(shift, near, roll, AU12=0.1 * number)
        frame = Frame(rgb, number, Fraction(1, 30), 0.0)
        shape = fit_shape(face.points)
        neutral = neutral_behind(shape)
        features = extract(face, frame, generator.needs, neutral)
        if covered:
            occlusion = np.zeros((height, width), np.uint8)
            occlusion[:, width // 2 :] = 255
            features = replace(features, occlusion=occlusion)
        yield Drive(frame, face, features, neutral, _controls(generator, removes), alone=True)


def _controls(generator: Generator, removes: bool) -> Controls:
    offsets = {"AU12": 0.6, "AU26": 0.4} if "au_offsets" in generator.heeds else {}
    return Controls(au_offsets=offsets, remove=removes)


def face_at(shift: float, near: float, roll: float, **aus: float) -> Face:
    """A face where the portrait's is, moved right by a share of the picture's side, nearer, and turned by degrees."""
    values = np.array([aus.get(name, 0.0) for name in AU_NAMES], np.float32)
    cosine, sine = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])
    x, y, centimetre = (_PORTRAIT * share for share in _FACE_AT)
    place = np.array([x + shift * _PORTRAIT, y, 0.0])
    points: F32 = FaceShape(deform(canonical.VERTICES, values), turn, near * centimetre, place).points()
    box = np.concatenate([points[:, :2].min(0), points[:, :2].max(0)]).astype(np.float32)
    return Face(box, points, 1.0, 1)


@cache
def _portrait() -> U8:
    return draw_portrait(_PORTRAIT)


def _source() -> Source:
    rgb = np.ascontiguousarray(_portrait()[:, ::-1])
    return Source(rgb, face_at(0.0, 1.0, 0.0), None, "portrait", "portrait")
