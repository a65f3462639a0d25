"""How often the self check errs: `python -m tests.engine.self_check.figures --faces DIR` (some minutes; no test).

The likeness, of each person by a model that was fitted without them (export/self_check_model.py): attempts are runs of
ENOUGH frames of a person's clip against their own portrait, and against everybody else's. All rates are means over
people, so that a long clip counts once. The movements: what the tracker reads of portraits that are turned before a
camera as a print is, and which orders the clips that there are would pass, played from anywhere and again and again.
"""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from engine.features import openness
from engine.features.shape import fit_shape
from engine.geometry import head_pose
from engine.media import open_media
from engine.self_check.challenge import LIFT, OPEN, TURN, Challenge, ask, orders, proceed
from engine.self_check.likeness import ENOUGH, LEAST
from engine.self_check.signs import Signs
from engine.source import find_faces
from engine.track.face import FaceTracker
from engine.types import F64, U8
from export.self_check_model import PERSPECTIVE, SIZE, Measured, Person, clips, fit, measured

LIMITS = (-8.0, -6.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)
SLANTS = (0, 15, 30, 45, 60)
"""Degrees by which a print is turned about its upright and its level axis."""
ATTEMPTS = 2000

Score = Callable[[F64, F64], float]
Rates = list[tuple[str, list[float], list[float]]]


def attempts(person: Person) -> list[F64]:
    """What is compared with a portrait: means over runs of frames, or single pictures of somebody who has no clip."""
    frames = person.frames
    if len(frames) < ENOUGH:
        return list(frames)
    return [frames[at : at + ENOUGH].mean(0) for at in range(0, len(frames) - ENOUGH + 1, ENOUGH)]


def rates(
    found: Measured, *, farther: float = 0.0, size: int = SIZE, perspective: float = PERSPECTIVE
) -> Rates:
    """Of each person the scores of their own attempts, and of those against all other portraits. farther: of the whole
    way from near to far at which the portrait is taken to be made."""
    told = []
    for person in found.people:
        others = [one for one in found.people if one is not person]
        model = fit(others, found.training, size, perspective)
        own = model.code(person.portrait + farther * person.near)
        rivals = [model.code(one.portrait) for one in others] + [model.code(one) for one in found.strangers]
        seen = [model.code(one) for one in attempts(person)]
        told.append(
            (
                person.name,
                [model.score(one, own) for one in seen],
                [model.score(one, rival) for one in seen for rival in rivals],
            )
        )
    return told


def at(told: Rates, limit: float) -> tuple[float, float]:
    """(false accepts, false rejects), means over people."""
    accepts = [float(np.mean(np.array(rivals) >= limit)) for _, _, rivals in told]
    rejects = [float(np.mean(np.array(own) < limit)) for _, own, _ in told]
    return float(np.mean(accepts)), float(np.mean(rejects))


def upper(rejected: int, people: int) -> float:
    """Of so many people so many were rejected: what the rate is below, at 95 % (Clopper and Pearson, one-sided)."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        below = sum(
            math.comb(people, k) * middle**k * (1 - middle) ** (people - k) for k in range(rejected + 1)
        )
        low, high = (middle, high) if below > 0.05 else (low, middle)
    return high


def tell_likeness(found: Measured) -> None:
    """The ROC, with and without another distance from the camera."""
    plain, far = rates(found), rates(found, farther=0.5)
    attempted = sum(len(own) for _, own, _ in plain)
    rivals = sum(len(others) for _, _, others in plain)
    print(
        f"{len(plain)} people, {attempted} own attempts, {rivals} of others; {len(found.strangers)} strangers"
    )
    print(
        "| limit | false accept | false reject | false reject, portrait from elsewhere |\n| --- | --- | --- | --- |"
    )
    for limit in LIMITS:
        (accept, reject), (_, away) = at(plain, limit), at(far, limit)
        chosen = " (chosen)" if limit == LEAST else ""
        print(f"| {limit:g}{chosen} | {100 * accept:.1f} % | {100 * reject:.1f} % | {100 * away:.1f} % |")
    never = [name for name, own, _ in plain if np.mean(np.array(own) < LEAST) > 0.5]
    print(
        f"rejected mostly: {', '.join(never) or 'nobody'}; at most {100 * upper(len(never), len(plain)):.0f} % (95 %)"
    )
    accepts = {name: float(np.mean(np.array(others) >= LEAST)) for name, _, others in plain}
    worst = max(accepts, key=lambda name: accepts[name])
    print(f"most false accepts: {100 * accepts[worst]:.0f} % against {worst}")
    for size in (4, 8, 16, 24):
        accept, reject = at(rates(found, size=size), LEAST)
        print(f"{size} directions: {100 * accept:.1f} % and {100 * reject:.1f} %")
    accept, reject = at(rates(found, farther=0.5, perspective=0.0), LEAST)
    print(
        f"a model that knows no distances, portrait from elsewhere: {100 * accept:.1f} % and {100 * reject:.1f} %"
    )
    raw = single_shapes(found)
    print(f"one frame by shape_distance: {100 * raw[0]:.0f} % and {100 * raw[1]:.0f} %")


def single_shapes(found: Measured) -> tuple[float, float]:
    """The measure that several photos are held against (engine/features/likeness.py), of one frame each."""
    from engine.features.likeness import MOST_APART_CM

    accepts, rejects = [], []
    for person in found.people:
        rivals = np.stack([one.portrait for one in found.people if one is not person] + list(found.strangers))
        frames = person.frames[::ENOUGH]
        rejects.append(np.mean(np.linalg.norm(frames - person.portrait, axis=1) > MOST_APART_CM))
        apart = np.linalg.norm(frames[:, None] - rivals[None], axis=2)
        accepts.append(np.mean(apart <= MOST_APART_CM))
    return float(np.mean(accepts)), float(np.mean(rejects))


def slanted(rgb: U8, degrees: float, level: bool) -> U8:
    """A print of a picture, turned about its middle before a camera two and a half of its widths away."""
    height, width = rgb.shape[:2]
    angle, away = math.radians(degrees), 2.5 * width
    corners = np.array([[-width, -height], [width, -height], [width, height], [-width, height]]) / 2
    if level:
        placed = np.column_stack(
            (corners[:, 0], corners[:, 1] * math.cos(angle), corners[:, 1] * math.sin(angle))
        )
    else:
        placed = np.column_stack(
            (corners[:, 0] * math.cos(angle), corners[:, 1], corners[:, 0] * math.sin(angle))
        )
    seen = placed[:, :2] * (away / (away + placed[:, 2:]))
    middle = np.array([width, height]) / 2
    matrix = cv2.getPerspectiveTransform(
        (corners + middle).astype(np.float32), (seen + middle).astype(np.float32)
    )
    return np.asarray(
        cv2.warpPerspective(rgb, matrix, (width, height), borderValue=(110, 110, 110)), np.uint8
    )


def tell_prints(faces: Path) -> None:
    """How far a print's turn is read as a head's."""
    print(
        "| print turned by | about the upright: yaw p50 / most | about the level: pitch p50 / most | mouth, most |"
    )
    print("| --- | --- | --- | --- |")
    with closing(FaceTracker()) as detector:
        pictures = [
            path for path in sorted((faces / "portraits").iterdir()) if path.suffix in (".jpg", ".png")
        ]
        rest = {path: _read(detector, _picture(path)) for path in pictures}
        for degrees in SLANTS[1:]:
            yaws, pitches, mouths = [], [], []
            for path in pictures:
                base = rest[path]
                for sign in (1, -1):
                    for level in (False, True):
                        found = _read(detector, slanted(_picture(path), sign * degrees, level))
                        if base is None or found is None:
                            continue
                        (pitches if level else yaws).append(
                            abs(found[1 if level else 0] - base[1 if level else 0])
                        )
                        mouths.append(found[2] - base[2])
            print(
                f"| {degrees} degrees | {np.median(yaws):.0f} / {max(yaws):.0f} | {np.median(pitches):.0f} /"
                f" {max(pitches):.0f} | {max(mouths):.2f} |"
            )
    print(f"asked for: yaw {TURN:g}, pitch {LIFT:g}, mouth {OPEN:g} beyond the rest")


def _picture(path: Path) -> U8:
    with open_media(path) as media:
        rgb = next(iter(media)).rgb
    share = 640 / max(rgb.shape)
    return np.asarray(cv2.resize(rgb, None, fx=share, fy=share, interpolation=cv2.INTER_AREA), np.uint8)


def _read(detector: FaceTracker, rgb: U8) -> tuple[float, float, float] | None:
    faces = find_faces(rgb, detector)
    return None if not faces else _signs(faces[0].points)


def _signs(points: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> tuple[float, float, float]:
    shape = fit_shape(points)
    pose = head_pose(shape.rotation)
    return pose.yaw, pose.pitch, openness.measure(shape).mouth


def tell_replays(faces: Path) -> None:
    """What clips that were not made for it pass, played against challenges by chance."""
    streams = [list(_stream(path)) for path in clips(faces)]
    chance = random.Random(0)
    passed, furthest = 0, 0
    for _ in range(ATTEMPTS):
        state = played(chance.choice(streams), chance, ask(chance, 0.0))
        passed += state.done == len(state.order)
        furthest = max(furthest, state.done)
    print(f"{passed} of {ATTEMPTS} replays of the clips pass, the furthest made {furthest} movements of 5")
    print(f"a recording of every movement passes in 1 of {orders()} orders")


def played(stream: Sequence[tuple[float, Signs]], chance: random.Random, state: Challenge) -> Challenge:
    """A clip from anywhere on, again and again, until the challenge is over."""
    start, now = chance.randrange(len(stream)), 0.0
    while not state.over:
        before = stream[start][0]
        start = (start + 1) % len(stream)
        now += max(0.01, min(0.2, stream[start][0] - before))
        state = proceed(state, stream[start][1], now)
    return state


def _stream(path: Path) -> Iterator[tuple[float, Signs]]:
    with closing(FaceTracker(max_faces=1)) as tracker, open_media(path) as media:
        for frame in media:
            followed = tracker.track(frame)
            if followed:
                yield frame.time_s, Signs(*_signs(followed[0].points), track=0)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--only", choices=("likeness", "prints", "replays"), action="append")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    parts = options.only or ("likeness", "prints", "replays")
    if "likeness" in parts:
        tell_likeness(measured(options.faces))
    if "prints" in parts:
        tell_prints(options.faces)
    if "replays" in parts:
        tell_replays(options.faces)


if __name__ == "__main__":
    main()
