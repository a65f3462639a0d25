"""How far a picture follows a layout, and keeps its colours: re-tracked, drawn again, and compared class by class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.evaluate import effects
from engine.evaluate.layouts import LayoutChanger, Seat, Wanted, seat_of
from engine.evaluate.requests import by_person
from engine.evaluate.subjects import Detector, Subject, read
from engine.parsing.classes import Part
from engine.parsing.draw import draw_parsing
from engine.types import U8

Scores = dict[str, Any]

PARTS: Final[Mapping[str, tuple[Part, ...]]] = {
    "mouth": (Part.MOUTH,),
    "eyes": (Part.L_EYE, Part.R_EYE),
    "lips": (Part.U_LIP, Part.L_LIP),
}
"""What is compared; the first two are to follow."""

FOLLOW: Final = ("mouth", "eyes")

ASKED: Final = 0.7
"""Agreement of a picture's own layout with the wanted one, in a part, from which on nothing is asked of that part."""

TRACKED: Final = 256
"""Side in pixels to which smaller answers are enlarged before they are tracked: the tracker finds no faces of 30."""

COLOURS: Final[Mapping[str, Part]] = {"skin": Part.SKIN, "hair": Part.HAIR}
LEAST_AREA: Final = 0.01
"""Share of the square that a part has to have before its colour is compared."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pixels of a part's classes that are right in both layouts, and that are of them in either."""

    both: int = 0
    either: int = 0

    @classmethod
    def of(cls, wanted: U8, found: U8 | None, part: str) -> Overlap:
        """found: None where there was no face to draw one from."""
        pairs = [
            (wanted == one, np.zeros_like(wanted, bool) if found is None else found == one)
            for one in PARTS[part]
        ]
        return cls(
            sum(int(np.count_nonzero(a & b)) for a, b in pairs),
            sum(int(np.count_nonzero(a | b)) for a, b in pairs),
        )

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(self.both + other.both, self.either + other.either)

    @property
    def iou(self) -> float | None:
        """None for a part that is in neither."""
        return self.both / self.either if self.either else None


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What was drawn, and the layout found in it; None where no face was."""

    rgb: U8
    labels: U8 | None


Watch = Callable[[str, Wanted, Answer], None]
"""Is shown the name of the request ("own": the picture's own layout), what was wanted, and the answer."""


def parsed(rgb: U8, detector: Detector, person: U8 | None) -> U8 | None:
    """The layout of a face that fills a square, uint8 (S, S), tracked in it; enlarged before where it is small."""
    side = len(rgb)
    times = max(1, -(-TRACKED // side))
    large = rgb if times == 1 else cv2.resize(rgb, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    reading = read(np.ascontiguousarray(large, np.uint8), detector)
    if reading is None:
        return None
    points = reading.face.points / np.float32(times)
    points[:, :2] += np.float32(0.5 / times - 0.5)
    return draw_parsing(points, (side, side), person)


def measure_layouts(
    subject: Subject,
    changer: LayoutChanger,
    requests: Callable[[Seat], Mapping[str, Wanted]],
    detector: Detector,
    watch: Watch | None = None,
) -> Scores:
    """One picture. person; detected (share of answers with a face); psnr_own (its own layout asked for, against the
    picture in the square); delta_e (mean over the answers, by part); requests (by name and part: own, edited, unedited,
    tracker); overlap (the sums of these over what was asked: [both, either]). Null where nothing was to be measured.
    """
    seat = seat_of(subject, changer)
    draw = changer.begin(seat.image, seat.labels)
    colours = colours_of(seat.image, seat.labels)
    plain = _answer(draw(seat.labels), seat, detector)
    if watch is not None:
        watch("own", Wanted(seat.labels, seat.image), plain)
    rows: dict[str, Scores] = {}
    sums: dict[str, dict[str, Overlap]] = {part: {} for part in PARTS}
    seen, apart = [plain.labels is not None], [_differences(colours, plain.rgb, seat.labels)]
    for name, wanted in requests(seat).items():
        answer = _answer(draw(wanted.labels), seat, detector)
        seen.append(answer.labels is not None)
        apart.append(_differences(colours, answer.rgb, wanted.labels))
        found = {"own": seat.labels, "edited": answer.labels, "unedited": plain.labels}
        if wanted.shown is not None:
            found["tracker"] = parsed(wanted.shown, detector, seat.person)
        rows[name] = _row(wanted, found, sums)
        if watch is not None:
            watch(name, wanted, answer)
    whole = np.ones(seat.labels.shape, bool)
    return {
        "person": subject.person,
        "detected": float(np.mean(seen)),
        "psnr_own": effects.decibels(effects.squared_error(plain.rgb, seat.image, whole)),
        "delta_e": {part: _mean([one[part] for one in apart]) for part in COLOURS},
        "requests": rows,
        "overlap": {
            part: {name: [one.both, one.either] for name, one in found.items()}
            for part, found in sums.items()
        },
    }


def _answer(rgb: U8, seat: Seat, detector: Detector) -> Answer:
    return Answer(rgb, parsed(rgb, detector, seat.person))


def _row(wanted: Wanted, found: Mapping[str, U8 | None], sums: dict[str, dict[str, Overlap]]) -> Scores:
    row: Scores = {}
    for part in PARTS:
        overlaps = {name: Overlap.of(wanted.labels, labels, part) for name, labels in found.items()}
        own = overlaps["own"].iou
        row[part] = {"asked": own is not None and own < ASKED} | {n: one.iou for n, one in overlaps.items()}
        if row[part]["asked"]:
            for name, one in overlaps.items():
                sums[part][name] = sums[part].get(name, Overlap()) + one
    return row


def colours_of(rgb: U8, labels: U8) -> dict[str, NDArray[np.float64] | None]:
    """Mean CIE L*a*b* (D65) of the parts in COLOURS, (3,); None for a part that is too small."""
    lab = cv2.cvtColor(rgb.astype(np.float32) / np.float32(255.0), cv2.COLOR_RGB2Lab)
    found: dict[str, NDArray[np.float64] | None] = {}
    for name, part in COLOURS.items():
        mask = labels == part
        found[name] = lab[mask].mean(0, dtype=np.float64) if mask.mean() >= LEAST_AREA else None
    return found


def _differences(
    style: Mapping[str, NDArray[np.float64] | None], rgb: U8, labels: U8
) -> dict[str, float | None]:
    """CIE76 between the mean colours."""
    now = colours_of(rgb, labels)
    return {
        name: None if one is None or (other := now[name]) is None else float(np.linalg.norm(one - other))
        for name, one in style.items()
    }


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def mean_of_layouts(rows: Sequence[Mapping[str, Any]]) -> Scores:
    """Over persons. iou: by part, of "edited", "unedited", "own", "tracker", and "gain", the first less the second.
    gain: the mean gain of the parts that are to follow."""
    mean: Scores = {"people": len({row["person"] for row in rows})}
    for key in ("detected", "psnr_own"):
        mean[key] = by_person(rows, itemgetter(key))
    mean["delta_e"] = {
        part: by_person([row["delta_e"] | {"person": row["person"]} for row in rows], itemgetter(part))
        for part in COLOURS
    }
    mean["iou"] = {part: _part_means(rows, part) for part in PARTS}
    gains = [mean["iou"][part]["gain"] for part in FOLLOW]
    mean["gain"] = None if None in gains else float(np.mean(gains))
    return mean


def _part_means(rows: Sequence[Mapping[str, Any]], part: str) -> Scores:
    found = [
        {name: Overlap(*sums).iou for name, sums in row["overlap"][part].items()} | {"person": row["person"]}
        for row in rows
    ]
    means: Scores = {
        name: by_person([one for one in found if name in one], itemgetter(name))
        for name in ("edited", "unedited", "own", "tracker")
    }
    edited, unedited = means["edited"], means["unedited"]
    return means | {"gain": None if edited is None or unedited is None else edited - unedited}


def judge_layouts(
    subjects: Sequence[Subject],
    changer: LayoutChanger,
    requests: Callable[[Subject, Seat], Mapping[str, Wanted]],
    detector: Detector,
) -> Scores:
    """{"mean": ..., "people": {name: ...}}: a training's own check, on a network that is not exported yet."""
    people = {one.name: measure_layouts(one, changer, partial(requests, one), detector) for one in subjects}
    return {"mean": mean_of_layouts(list(people.values())), "people": people}
