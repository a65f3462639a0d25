"""Tunings of one person beside each other: what they reach on held-back views, by step and by computing time.

    python -m trainers.liquid_warping.tunings RUN [RUN ...] [--out CURVES.png] [--cost FOLDER]

RUN: folders of trainings that were made with configs/liquid_warping_person.toml. --cost: a prepared folder, on which a
few steps of each recipe are timed anew by the process's own clock, because what is recorded is the wall's and other
programs' too; without it the recorded seconds are taken.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from trainers import checkpoint
from trainers.config import from_table
from trainers.errors import TrainerError
from trainers.liquid_warping.training import LiquidWarping
from trainers.system import Draw, Turn
from trainers.systems import find_system

U8 = npt.NDArray[np.uint8]

_STEPS = 7
_WIDTH, _HEIGHT, _EDGE = 460, 300, 44
_INKS = ((40, 80, 190), (200, 60, 40), (40, 150, 60), (150, 60, 170), (190, 140, 20), (90, 90, 90))


@dataclass(frozen=True)
class Tuned:
    """One tuning. before: dB of its held-back views before the first step. looks: (N, 2), step and dB. step_s: seconds
    of one step."""

    name: str
    adapted: str
    before: float
    looks: npt.NDArray[np.float64]
    step_s: float

    @property
    def best(self) -> float:
        return float(self.looks[:, 1].max())

    def reached(self, wanted: float) -> int | None:
        """The first step at which a look is that good; None where none is."""
        there = self.looks[self.looks[:, 1] >= wanted, 0]
        return int(there[0]) if len(there) else None


def read(folder: Path, cost: Path | None = None) -> Tuned:
    """Raises TrainerError where the folder holds no tuning with looks at held-back views."""
    found = checkpoint.read(folder)
    tuned = found.facts.get("personalised")
    if not isinstance(tuned, dict) or tuned.get("psnr_before") is None:
        raise TrainerError(f"{folder}: is no tuning that held views back; name folders of a person's tuning")
    with (folder / "scalars.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("held/psnr")]
    looks = np.array([(float(row["step"]), float(row["held/psnr"])) for row in rows]).reshape(-1, 2)
    if not len(looks):
        raise TrainerError(f"{folder}: no look is recorded; log as often as is looked (run.log_every)")
    seconds = float(rows[-1]["seconds"]) / looks[-1, 0] if cost is None else step_seconds(found.recipe, cost)
    return Tuned(folder.name, str(tuned["adapted"]), float(tuned["psnr_before"]), looks, seconds)


def step_seconds(recipe: Any, folder: Path) -> float:
    """The process's time of one step, the median of a few, without looks at views."""
    table = {**recipe, "data": {**recipe["data"], "folder": str(folder)}}
    system = find_system(LiquidWarping.name)(from_table(table).options)
    pictures = system.pictures("train", "personalising")
    optimisers, spent = dict(system.optimisers()), []
    for step in range(_STEPS):
        batch = {name: one[None] for name, one in pictures[Draw(step % len(pictures), 1)].items()}
        turn = Turn("personalising", optimisers, stage_step=step + 1, stage_steps=_STEPS + 9)
        begin = time.process_time()
        system.step(batch, turn)
        spent.append(time.process_time() - begin)
    return float(np.median(spent[1:]))


def report(tunings: Sequence[Tuned]) -> str:
    """A table in Markdown: what each gains, and when it is within half a decibel of the best of all."""
    wanted = max(one.best for one in tunings) - 0.5
    lines = [
        f"| tuning | adapted | before | best | gain | ms a step | steps, seconds to {wanted:.1f} dB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in tunings:
        step = one.reached(wanted)
        when = "not reached" if step is None else f"{step}, {step * one.step_s:.0f}"
        lines.append(
            f"| {one.name} | {one.adapted} | {one.before:.2f} | {one.best:.2f} | {one.best - one.before:+.2f} | "
            f"{1000 * one.step_s:.0f} | {when} |"
        )
    return "\n".join(lines)


def curves(tunings: Sequence[Tuned]) -> U8:
    """Held-back PSNR over steps and over seconds, a line per tuning, uint8 (H, W, 3) RGB."""
    values = np.concatenate([one.looks[:, 1] for one in tunings] + [[one.before for one in tunings]])
    low, high = float(values.min()) - 0.3, float(values.max()) + 0.3
    panels = [_panel(tunings, low, high, by_time=by_time) for by_time in (False, True)]
    return np.concatenate(panels, axis=1)


def _panel(tunings: Sequence[Tuned], low: float, high: float, *, by_time: bool) -> U8:
    panel = np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8)
    scale = [one.step_s if by_time else 1.0 for one in tunings]
    last = max(float(one.looks[-1, 0]) * factor for one, factor in zip(tunings, scale))
    cv2.rectangle(panel, (_EDGE, 10), (_WIDTH - 10, _HEIGHT - _EDGE), (150, 150, 150), 1)
    for number, (one, factor) in enumerate(zip(tunings, scale)):
        ink = _INKS[number % len(_INKS)]
        points = np.concatenate([[[0.0, one.before]], one.looks])
        x = _EDGE + points[:, 0] * factor / last * (_WIDTH - 10 - _EDGE)
        y = _HEIGHT - _EDGE - (points[:, 1] - low) / (high - low) * (_HEIGHT - 10 - _EDGE)
        line = np.rint(np.column_stack([x, y])).astype(np.int32)
        cv2.polylines(panel, [line], False, ink, 2, cv2.LINE_AA)
        _text(panel, one.name, _WIDTH - 170, _HEIGHT - _EDGE - 14 - 16 * (len(tunings) - 1 - number), ink)
    _text(panel, f"{high:.1f} dB", 2, 22, (40, 40, 40))
    _text(panel, f"{low:.1f}", 2, _HEIGHT - _EDGE, (40, 40, 40))
    unit = "seconds of computing" if by_time else "steps"
    _text(panel, f"0 .. {last:.0f} {unit}", _EDGE + 100, _HEIGHT - 18, (40, 40, 40))
    return panel


def _text(panel: U8, text: str, x: int, y: int, ink: tuple[int, int, int]) -> None:
    cv2.putText(panel, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, ink, 1, cv2.LINE_AA)


def main(words: Sequence[str] | None = None) -> int:
    """The command; exit status 2 with one line where something cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m trainers.liquid_warping.tunings")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--out", type=Path, metavar="PNG")
    parser.add_argument("--cost", type=Path, metavar="FOLDER")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    try:
        found = [read(folder, options.cost) for folder in options.runs]
    except TrainerError as error:
        print(error, file=sys.stderr)
        return 2
    print(report(found))
    if options.out is not None and not cv2.imwrite(str(options.out), curves(found)[..., ::-1]):
        print(
            f"{options.out}: cannot be written; name a .png or .webp in a folder that is there",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
