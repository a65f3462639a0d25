"""What a generator makes of layouts that are asked for: whose picture, which layouts, and what is judged.

A layout is a parsing mask in the generator's square, CelebAMask-HQ's classes, drawn from the mesh as it is live. Each
request is another expression of the picture's own face: of a portrait as the default generator moves it, tracked anew;
of a clip's frame that of other frames, brought into this frame's pose. Figures: engine/evaluate/layout_scores.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np

from engine.bundle import Bundle
from engine.crop import crop_of, cut, points_in
from engine.errors import ManifestError
from engine.evaluate.changers import Changer, picture_from
from engine.evaluate.pairs import ClipPairs
from engine.evaluate.subjects import Detector, Subject, number_of, read
from engine.generators import check_bundle
from engine.generators.graph_runner import run_graph
from engine.generators.ports import check_ports
from engine.parsing.classes import CELEBAMASK
from engine.parsing.draw import draw_parsing
from engine.types import F32, U8, Crop

SYSTEMS: Final = frozenset({"maskgan"})
"""Those that are told a layout."""

REQUESTS: Final[Mapping[str, Mapping[str, float]]] = {
    "mouth open": {"AU25": 1.0, "AU26": 1.0},
    "smile": {"AU12": 1.0, "AU25": 0.6},
    "mouth closed": {"AU10": 0.0, "AU12": 0.0, "AU20": 0.0, "AU25": 0.0, "AU26": 0.0},
    "eyes closed": {"AU45": 1.0},
    "eyes wide": {"AU05": 1.0},
    "both": {"AU25": 1.0, "AU26": 0.5, "AU45": 1.0},
}
"""By name, the AUs of the expression whose layout is asked for; the others stay as they are."""

_MOST_THREADS = 4

Draw = Callable[[U8], U8]
"""From a layout, uint8 (S, S), to the picture, uint8 (S, S, 3) RGB."""


class LayoutChanger(Protocol):
    """Draws a face in another layout. size: S, side of its square. rule: by which that is cut, of engine.crop.RULES."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def rule(self) -> str: ...

    def begin(self, image: U8, labels: U8) -> Draw:
        """Once per picture: uint8 (S, S, 3) RGB and its own layout, uint8 (S, S)."""
        ...


class LayoutInCrop:
    """A callable (image, own labels, wanted labels) -> picture, all uint8 in the square: a network that is trained."""

    def __init__(
        self, call: Callable[[U8, U8, U8], U8], size: int, rule: str = "celeba-hq", name: str = "network"
    ) -> None:
        self._call, self.size, self.rule, self.name = call, size, rule, name

    def begin(self, image: U8, labels: U8) -> Draw:
        return lambda wanted: self._call(image, labels, wanted)


class BundleLayouts:
    """MaskGAN's graphs as a bundle has them: `style` once, `generator` per layout. Raises ManifestError where their
    ports are others, PortError where an answer is not finite."""

    def __init__(self, bundle: Bundle, backend: str, stack: ExitStack) -> None:
        crop, threads = (
            bundle.manifest.parameters.crop,
            max(1, min(_MOST_THREADS, (os.cpu_count() or 1) // 2)),
        )
        self.name, self.size, self.rule = bundle.name, crop.size, crop.rule
        self._check(bundle)
        self._style, self._generator = (
            bundle.graph(name, backend, threads) for name in ("style", "generator")
        )
        for graph in (self._style, self._generator):
            stack.callback(graph.close)

    def begin(self, image: U8, labels: U8) -> Draw:
        style = run_graph(self._style, {"labels": labels[None], "image": image[None]}, keep=True)

        def draw(wanted: U8) -> U8:
            ports = {"labels": np.ascontiguousarray(wanted[None]), **style}
            return picture_from(run_graph(self._generator, ports)["image"], self.size)

        return draw

    def _check(self, bundle: Bundle) -> None:
        size, classes = self.size, bundle.manifest.parameters.facts.get("classes")
        if classes != CELEBAMASK.name:
            raise ManifestError(
                f"bundle {bundle.name}: its classes are {classes!r}, expected {CELEBAMASK.name!r}; export it again"
            )
        numbers = {port.name: port.shape for port in bundle.info("style").outputs}
        plane = {"labels": (1, size, size)}
        check_ports(bundle, "style", plane | {"image": (1, size, size, 3)}, {}, numbers)
        check_ports(bundle, "generator", plane, numbers, {"image": (1, 3, size, size)})


@contextmanager
def open_layouts(bundle: str, backend: str, accept: frozenset[str]) -> Iterator[LayoutChanger]:
    """A bundle of one of SYSTEMS. Raises what opening a bundle does."""
    opened = check_bundle(bundle, accept)
    assert opened is not None
    with ExitStack() as stack:
        yield BundleLayouts(opened, backend, stack)


@dataclass(frozen=True, slots=True, eq=False)
class Seat:
    """A picture as the changer sees it. person: uint8 (S, S), None where nothing told it. labels: its own layout."""

    crop: Crop
    image: U8
    person: U8 | None
    labels: U8

    def layout(self, points: F32) -> U8:
        """Of points in the whole picture, uint8 (S, S)."""
        return draw_parsing(points_in(self.crop, points), (self.crop.size, self.crop.size), self.person)


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """A layout that is asked for, uint8 (S, S). shown: the picture it was taken from, uint8 (S, S, 3), where that lies
    in the same square."""

    labels: U8
    shown: U8 | None = None


def seat_of(subject: Subject, changer: LayoutChanger) -> Seat:
    """The subject's picture in the changer's square. Raises as crop_of does."""
    source = subject.source
    crop = crop_of(changer.rule, source.face.points, changer.size)
    person = None if source.person is None else cut(source.person, crop)
    points = points_in(crop, source.face.points)
    own = draw_parsing(points, (changer.size, changer.size), person)
    return Seat(crop, cut(subject.rgb, crop), person, own)


def portrait_requests(subject: Subject, seat: Seat, mover: Changer, detector: Detector) -> dict[str, Wanted]:
    """REQUESTS on a portrait that `mover` moves; an expression in which no face is found is left out."""
    answer, found = mover.begin(subject), {}
    for name, aus in REQUESTS.items():
        asked = np.array(subject.reading.aus, np.float32)
        for au, value in aus.items():
            asked[number_of(au)] = value
        rgb = answer(asked).rgb
        if (reading := read(rgb, detector)) is not None:
            found[name] = Wanted(seat.layout(reading.face.points), cut(rgb, seat.crop))
    return found


def clip_requests(clip: ClipPairs, seat: Seat) -> dict[str, Wanted]:
    """The expressions of a clip's other frames, on the source frame's head."""
    own = clip.source.reading.shape
    return {
        f"frame {target.index}": Wanted(seat.layout(replace(own, local=target.reading.shape.local).points()))
        for target in clip.targets
    }
