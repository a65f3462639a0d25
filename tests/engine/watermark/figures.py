"""The figures of docs/benchmarks/2026-11-22-watermark.md: real reenacted video, marked, sent through the project's own
encoders at live settings, attacked, read blindly; and what the detector says of pictures that carry no mark.

    python -m tests.engine.watermark.figures --faces DIR [--pairs 24] [--seconds 5] [--out FOLDER]

DIR has the folders portraits and drivers; every picture and clip below it is also looked at unmarked. What is measured
stands in FOLDER, a file for each part, and is not measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engine.errors import InputError
from engine.evaluate.survey import media_files
from engine.media import open_media
from engine.media.planes import i420_of
from engine.types import U8
from engine.watermark import Found, Payload, open_detector, open_embedder
from engine.watermark.detector import Pilot, folded, whitened
from engine.watermark.found import LEAST_SIDE
from engine.watermark.pattern import CHIPS_ACROSS, drawn
from tests.engine.watermark.attacks import (
    Coded,
    Recorded,
    about_face,
    cropped,
    luma_of,
    resized,
    scaled,
    scaled_size,
)
from tests.engine.watermark.reenacted import RATE, driven, face_square

WINDOW = 5 * RATE
EVERY = 5
"""The detector is given every fifth picture of a window: 30 of 150."""
CODECS = {"VP8": ("vp8", 600_000), "H.264": ("h264", 800_000)}
"""At 640x480; other sizes get what streaming.bitrate.limits would give them beside it: pixels to the power 0.75."""
RUNGS = ((0.75, 480_000), (0.5, 260_000), (0.375, 180_000))
"""Sides of a viewer's smaller pictures, and bits per second with which they are sent at 640x480."""
SIZES = ((640, 480), (1280, 720), (480, 640))
OTHER_SIZES = 2
"""Pairs that are also measured at the sizes after the first."""
WRONG_KEYS = 50


def measured(portrait: Path, driver: Path, size: tuple[int, int], seconds: int) -> dict[str, Any]:
    """Windows of one pair: what was found in each after each attack, and the mean PSNR of luma."""
    name = f"{portrait.stem} by {driver.stem}"
    payload = Payload.of(name)
    embedder = open_embedder(size, payload)
    more = (size[0] * size[1] / (640 * 480)) ** 0.75
    coders = {label: Coded(codec, round(bits * more)) for label, (codec, bits) in CODECS.items()}
    screens = {
        label: Recorded(CODECS[other][0], round(CODECS[other][1] * more), size)
        for label, other in zip(CODECS, reversed(CODECS))
    }
    rungs = {share: Coded("vp8", round(bits * more)) for share, bits in RUNGS}
    windows: list[dict[str, Any]] = []
    decibels, square = [], None
    detectors: dict[str, Any] = defaultdict(open_detector)
    for index, plain in enumerate(driven(portrait, driver, size, seconds * RATE)):
        planes = plain.copy()
        embedder.embed(planes)
        error = np.mean((luma_of(planes).astype(np.float32) - luma_of(plain)) ** 2, dtype=np.float64)
        decibels.append(10 * math.log10(255**2 / error))
        square = square or face_square(luma_of(plain))
        seen = {"as it is": planes}
        for label, coder in coders.items():
            seen[label] = coder(planes)
            seen[f"{label}, recorded again"] = screens[label](seen[label])
        for share, coder in rungs.items():
            seen[f"VP8, sent with {share:g} of the side"] = coder(resized(planes, scaled_size(size, share)))
        if index % EVERY == 0:
            for attack, luma in attacked({key: luma_of(value) for key, value in seen.items()}, square):
                detectors[attack].add(luma)
            detectors["unmarked"].add(luma_of(plain))
            if "another key" not in detectors:
                detectors["another key"] = open_detector(b"another key")
            detectors["another key"].add(luma_of(planes))
        if index % WINDOW == WINDOW - 1:
            windows.append({key: told(one.result(), payload) for key, one in detectors.items()})
            detectors.clear()
    sent = {label: coder.bytes * 8 / seconds for label, coder in coders.items()}
    return {
        "name": name,
        "psnr_db": min(decibels),
        "mean_db": float(np.mean(decibels)),
        "bits": sent,
        "windows": windows,
    }


def attacked(seen: dict[str, U8], square: Any) -> Iterator[tuple[str, U8]]:
    yield from seen.items()
    for label in CODECS:
        yield f"{label}, 0.75 of the side", scaled(seen[label], 0.75)
        yield f"{label}, 10 % crop", cropped(seen[label])
        yield f"{label}, mirrored", np.ascontiguousarray(seen[label][:, ::-1])
        if square is not None:
            yield f"{label}, cut to the face", about_face(seen[label], square)


def told(found: Found, payload: Payload) -> dict[str, Any]:
    return {
        "present": found.present,
        "right": found.payload == payload,
        "wrong": found.payload is not None and found.payload != payload,
        "chance": found.probability_of_chance,
        "sure": found.bits_sure,
    }


def unmarked(path: Path) -> dict[str, Any]:
    """What the detector says of a file that nobody marked: each window of a clip, or a picture. And how many of all
    places correlate how well with keys that it was never marked with."""
    results, tails = [], np.zeros(len(LEVELS))
    tries, highest = 0, 0.0
    detector, count = open_detector(), 0
    with open_media(path) as media:
        for frame in media:
            height, width = frame.rgb.shape[:2]
            luma = luma_of(i420_of(np.ascontiguousarray(frame.rgb[: height // 2 * 2, : width // 2 * 2])))
            if min(luma.shape) < LEAST_SIDE:
                return {"name": path.name, "refused": f"{width}x{height}"}
            if media.still or count % EVERY == 0:
                detector.add(luma)
            count += 1
            if count % WINDOW == 0:
                results.append(detector.result())
                detector = open_detector()
            if count == 1:
                tails, tries, highest = wrong_keys(luma)
    if count % WINDOW:
        results.append(detector.result())
    return {
        "name": path.name,
        "chances": [one.probability_of_chance for one in results],
        "present": sum(one.present for one in results),
        "tails": tails.tolist(),
        "tries": tries,
        "highest": highest,
    }


LEVELS = (2.0, 3.0, 4.0, 5.0)


def wrong_keys(luma: U8) -> tuple[np.ndarray, int, float]:
    """How many places of how many had a z above each of LEVELS, and the highest, over WRONG_KEYS keys."""
    chip = min(luma.shape) / CHIPS_ACROSS
    tile = folded(whitened(luma), chip, chip, luma.shape)
    counts, tries, highest = np.zeros(len(LEVELS)), 0, 0.0
    for number in range(WRONG_KEYS):
        z = Pilot(drawn(b"wrong key %d" % number)).scores(tile)
        counts += [np.count_nonzero(z > level) for level in LEVELS]
        tries, highest = tries + z.size, max(highest, float(z.max()))
    return counts, tries, highest


def kept(folder: Path, name: str, make: Any) -> dict[str, Any]:
    """A part that was measured before, or is now."""
    path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"
    if not path.is_file():
        print(name, flush=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(make()))
        part.replace(path)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def table(parts: list[dict[str, Any]]) -> str:
    """Of one size: windows, and in how many the mark was there, all bits were right, and were wrong."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for part in parts:
        for window in part["windows"]:
            for attack, one in window.items():
                rows[attack].append(one)
    lines = [
        "| after | windows | present | all 64 bits right | wrong bits given out | least sure | largest chance |",
        "| --- " * 7 + "|",
    ]
    for attack, found in rows.items():
        share = [100 * np.mean([one[key] for one in found]) for key in ("present", "right")]
        lines.append(
            f"| {attack} | {len(found)} | {share[0]:.1f} % | {share[1]:.1f} % | {sum(one['wrong'] for one in found)} "
            f"| {min(one['sure'] for one in found):.2f} | {max(one['chance'] for one in found):.0e} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="the watermark's figures")
    parser.add_argument("--faces", type=Path, required=True, metavar="DIR")
    parser.add_argument("--pairs", type=int, default=24, metavar="N")
    parser.add_argument(
        "--seconds", type=int, default=5, metavar="S", help="of each pair, in whole windows of 5"
    )
    parser.add_argument("--out", type=Path, default=Path("watermark-figures"), metavar="FOLDER")
    parser.add_argument("--only", choices=("marked", "unmarked"), help="one half of it")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)
    for index, size in enumerate(SIZES if options.only != "unmarked" else ()):
        pairs = options.pairs if index == 0 else min(OTHER_SIZES, options.pairs)
        parts = []
        for portrait, driver in chosen(options.faces, pairs, index):
            label = f"{size[0]}x{size[1]} {options.seconds} s {portrait.name} {driver.name}"
            parts.append(kept(options.out, label, lambda: measured(portrait, driver, size, options.seconds)))  # noqa: B023
        least, mean = min(part["psnr_db"] for part in parts), np.mean([part["mean_db"] for part in parts])
        sent = {label: round(np.mean([part["bits"][label] for part in parts]) / 1000) for label in CODECS}
        print(f"\n{size[0]}x{size[1]}: {len(parts)} pairs, PSNR of luma {mean:.2f} dB on average,")
        print(f"{least:.2f} dB at least of any picture; sent: {sent} kb/s\n")
        print(table(parts), flush=True)
    if options.only != "marked":
        print(plain_figures(options.faces, options.out))


def chosen(faces: Path, count: int, turn: int) -> list[tuple[Path, Path]]:
    """Portraits spread over all of them, each with a driver of its own."""
    portraits = list(media_files(faces / "portraits").values())
    drivers = list(media_files(faces / "drivers").values())
    places = [(index * len(portraits) // count + turn) % len(portraits) for index in range(count)]
    return [(portraits[place], drivers[(5 * place + turn) % len(drivers)]) for place in places]


def plain_figures(faces: Path, out: Path) -> str:
    files = sorted(path for path in faces.rglob("*") if path.is_file())
    results, refused = [], 0
    for path in files:
        try:
            result = kept(out, f"unmarked {path.relative_to(faces)}", lambda: unmarked(path))  # noqa: B023
        except InputError:
            refused += 1
            continue
        if "refused" in result:
            refused += 1
        else:
            results.append(result)
    tries = sum(one["tries"] for one in results)
    tails = np.sum([one["tails"] for one in results], axis=0) / tries
    lines = [
        f"\nunmarked: {len(results)} files ({refused} are no pictures, or too small), "
        f"{sum(len(one['chances']) for one in results)} windows, present in {sum(one['present'] for one in results)}, "
        f"least chance {min(min(one['chances']) for one in results):.2g}",
        f"\nwrong keys: {tries:.3g} places, highest z {max(one['highest'] for one in results):.2f}\n",
        "| z above | share of places | the bound exp(-z^2 / 2) | a normal's tail |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {level:g} | {share:.2g} | {math.exp(-level * level / 2):.2g} | {math.erfc(level / math.sqrt(2)) / 2:.2g} |"
        for level, share in zip(LEVELS, tails)
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
