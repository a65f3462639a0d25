"""A generator's samples: in how many the tracker finds a face, and directions of W fitted to what it reads there.

    python -m export.enrol.samples CHECKPOINT OUT [--count 200] [--psi 0.7] [--directions DIR] [--data FOLDER]

Samples are drawn with a seed, at truncation psi, and shown enlarged by a whole number to 256 px or more. --data: square
aligned pictures that are looked at in the same way, which is what the tracker can tell of real ones. --directions:
writes <signal>.npy (w_dim,) for every one of SIGNALS, in the manner of InterFaceGAN (Shen et al. 2020), by ridge
regression in the place of its classifiers: strength 2 moves the signal by one standard deviation of the samples.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
import torch

from engine.errors import ConfigError, InputError, MarotteError
from engine.features import openness
from engine.features.shape import fit_shape
from engine.features.still import static_aus
from engine.geometry import head_pose
from engine.marks import MarksConfig
from engine.marks.files import session_of, write_marked
from engine.media import read_picture
from engine.types import AU_NAMES, F64, U8, Face
from export.checkpoints import load
from trainers.checkpoint import write_text
from trainers.errors import TrainerError
from trainers.stit.generator import Generator

SIGNALS: Final = ("smile", "mouth_open", "eyes_open", "yaw", "pitch")
"""AU12, gap of the lips, gap of the lids, and two angles of the head."""
_SHOWN_SIDE, _SHEET = 256, 64
_BATCH = 16
_RIDGE = 0.05
_LEAST = 50


class Detector(Protocol):
    """Finds faces in one picture, as engine.track.face.FaceTracker does."""

    def detect(self, rgb: U8, *, thorough: bool = True, passes: int = 1) -> tuple[Face, ...]: ...


def signals_of(face: Face) -> F64:
    """A face's SIGNALS."""
    shape = fit_shape(face.points)
    lids, pose = openness.measure(shape), head_pose(shape.rotation)
    smile = float(static_aus(shape)[AU_NAMES.index("AU12")])
    return np.array([smile, lids.mouth, 0.5 * (lids.right_eye + lids.left_eye), pose.yaw, pose.pitch])


def looked_at(picture: U8, detector: Detector) -> Face | None:
    """The face in a square picture, enlarged as a sample is; None where none is found."""
    times = max(1, math.ceil(_SHOWN_SIDE / len(picture)))
    if times > 1:
        picture = np.asarray(
            cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC), np.uint8
        )
    found = detector.detect(picture, thorough=False)
    return found[0] if found else None


def samples(generator: Generator, count: int, psi: float, seed: int = 0) -> Iterator[tuple[F64, U8]]:
    """Codes w (w_dim,) at truncation psi, and their pictures, uint8 (S, S, 3)."""
    numbers = torch.Generator().manual_seed(seed)
    for begin in range(0, count, _BATCH):
        z = torch.randn(min(_BATCH, count - begin), generator.z_dim, generator=numbers)
        with torch.no_grad():
            ws = generator.map(z, psi)
            images = generator.synthesis(ws).clamp(-1, 1)
        levels = ((images + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        for code, picture in zip(ws[:, 0].double().numpy(), levels):
            yield code, np.ascontiguousarray(picture)


def fitted(codes: F64, values: F64) -> F64:
    """The direction (w_dim,) along which a signal changes, twice of whose half moves it by one standard deviation.

    codes: (N, w_dim). values: (N,). Ridge regression on codes of unit variance. Raises InputError for fewer than 50
    samples, and for a signal that does not change.
    """
    if len(codes) < _LEAST:
        raise InputError(
            f"directions: {len(codes)} samples with a face, expected {_LEAST} or more; draw more"
        )
    apart, wanted = codes - codes.mean(0), values - values.mean()
    if not wanted.std() > 1e-9:
        raise InputError("directions: the signal is the same in all samples; draw them at a larger psi")
    spread = apart.std(0) + 1e-9
    scaled = apart / spread
    gram = scaled.T @ scaled / len(codes) + _RIDGE * np.eye(codes.shape[1])
    slope = np.linalg.solve(gram, scaled.T @ (wanted / wanted.std()) / len(codes))
    direction = slope * spread  # along which the signal changes most for codes of this spread
    return np.asarray(direction / (slope @ slope), np.float64)


def survey(
    generator: Generator,
    detector: Detector,
    count: int,
    psi: float,
    seed: int = 0,
    tell: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Any], F64, F64, list[U8]]:
    """The share of samples with a face; codes (N, w_dim) and SIGNALS (N, 5) of these; the first pictures."""
    codes, signals, shown = [], [], []
    for done, (code, picture) in enumerate(samples(generator, count, psi, seed)):
        face = looked_at(picture, detector)
        if face is not None:
            codes.append(code)
            signals.append(signals_of(face))
        if done < _SHEET:
            shown.append(_framed(picture, face is not None))
        if tell is not None:
            tell(done + 1, count)
    table = {
        "samples": count,
        "psi": psi,
        "seed": seed,
        "found": len(codes),
        "share": round(len(codes) / count, 4),
    }
    kept = np.array(codes).reshape(-1, generator.w_dim), np.array(signals).reshape(-1, len(SIGNALS))
    return table, *kept, shown


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m export.enrol.samples", description=__doc__)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint, or a training's folder")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of samples.json and samples.png")
    parser.add_argument("--count", type=int, default=200, metavar="N")
    parser.add_argument("--psi", type=float, default=0.7, metavar="X", help="truncation (.7)")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--directions", type=Path, metavar="DIR", help="write directions of W there, too")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="square aligned pictures, looked at likewise"
    )
    parser.add_argument("--backend", default="auto", metavar="NAME", help="what tracks (auto)")
    options = parser.parse_args(arguments)
    try:
        table = _run(options)
    except (MarotteError, TrainerError) as error:
        print(f"samples: {error}", file=sys.stderr)
        return 2
    print(json.dumps(table, indent=1))
    return 0


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from engine.track.face import FaceTracker

    if options.count < 1 or not 0 <= options.psi <= 2:
        raise ConfigError(f"count, psi: got {options.count} and {options.psi}, expected 1 or more and 0 .. 2")
    loaded = load(options.checkpoint)
    loaded.checkpoint.of_system("stit")
    generator = loaded.network("generator", Generator)
    options.out.mkdir(parents=True, exist_ok=True)
    with closing(FaceTracker(max_faces=1, backend=options.backend)) as detector:
        table, codes, signals, shown = survey(
            generator, detector, options.count, options.psi, options.seed, _tell
        )
        table = {"step": loaded.checkpoint.step, **table}
        if options.data is not None:
            table |= _real(options.data, detector, options.count, generator.resolution)
    drawn = _sheet(shown)
    write_marked(options.out / "samples.png", drawn, MarksConfig(), session_of("stit samples", [drawn]))
    if options.directions is not None:
        options.directions.mkdir(parents=True, exist_ok=True)
        for place, name in enumerate(SIGNALS):
            np.save(options.directions / f"{name}.npy", fitted(codes, signals[:, place]))
        table["directions"] = str(options.directions)
    write_text(options.out / "samples.json", json.dumps(table, indent=1) + "\n")
    return table


def _real(folder: Path, detector: Detector, count: int, size: int) -> dict[str, Any]:
    """The share of real pictures, spread over the folder, at the generator's size."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".png", ".jpg", ".jpeg"})
    if not paths:
        raise InputError(f"{folder}: holds no picture; expected square aligned ones")
    chosen = [paths[round(at)] for at in np.linspace(0, len(paths) - 1, min(count, len(paths)))]
    found = 0
    for path in chosen:
        small = cv2.resize(read_picture(path), (size, size), interpolation=cv2.INTER_AREA)
        found += looked_at(np.asarray(small, np.uint8), detector) is not None
    return {"real_pictures": len(chosen), "real_share": round(found / len(chosen), 4)}


def _framed(picture: U8, found: bool) -> U8:
    """Reddened where nobody was found."""
    shown = picture.copy()
    if not found:
        shown[[0, -1]], shown[:, [0, -1]] = (220, 30, 30), (220, 30, 30)
    return shown


def _sheet(pictures: Sequence[U8]) -> U8:
    across = math.ceil(math.sqrt(len(pictures)))
    blank = np.full_like(pictures[0], 245)
    full = [*pictures, *[blank] * (-len(pictures) % across)]
    rows = [np.concatenate(full[at : at + across], 1) for at in range(0, len(full), across)]
    return np.ascontiguousarray(np.concatenate(rows))


def _tell(done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        print(f"samples: {done} of {total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
