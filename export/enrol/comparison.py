"""What stitching costs by both ways, at the border error that the amortised one reaches.

Per-frame tuning starts from the generator after its pivotal passes and is followed step by step; the step at which its
mean border error is that of the border passes is what it is charged with. All times are CPU time of this process.

    frame by frame    frames x steps x time of a step
    amortised         border passes of the enrolment, and nothing per frame

which is what stitching adds to a rendering without any: the synthesis of the edited picture is the same in all of them.
OUT/stitching.json has all figures, OUT/courses what was followed, a file for each frame, by which it is found again.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.errors import ConfigError
from export.enrol.ablations import weights_digest
from export.enrol.paper import Scene, check_strengths
from export.enrol.progress import Tell
from trainers.checkpoint import write_text
from trainers.stit.clip import Clip
from trainers.stit.directions import Direction, Offset, offset_of, synthesised
from trainers.stit.generator import Generator
from trainers.stit.stitching import Stitching, stitch
from trainers.stit.tuning import STITCHING, border_error

FILM = 300
"""Frames of a rendering for which the costs are told beside those of the clip."""
WANTED = 20.0
_TIMED = 5


@dataclass(frozen=True)
class Comparison:
    """out: folder. strengths: of directions, by name. frames: of the enrolment, spread over it, that are tuned one by
    one. options: of that tuning; its steps are the most that are followed."""

    out: Path
    strengths: Mapping[str, float] = field(default_factory=dict)
    frames: int = 12
    options: Stitching = field(default_factory=Stitching)

    def check(self, directions: Mapping[str, Direction]) -> None:
        """Raises ConfigError for what cannot be compared, before anything is tuned."""
        check_strengths(self.strengths, directions)
        if self.frames < 1 or self.options.steps < 1:
            raise ConfigError("compare-frames, stitch-steps: expected 1 or more of each")


@dataclass(frozen=True)
class Costs:
    """before, amortised: border errors of the pivotal and of the final generator. course: of per-frame tuning after 0,
    1, .. steps. passes_s: CPU seconds of the border passes. step_s, synthesis_s: of one step, of one picture."""

    before: float
    amortised: float
    course: Sequence[float]
    passes_s: float
    step_s: float
    synthesis_s: float

    @property
    def steps(self) -> int | None:
        """After how many steps per-frame tuning is as good; None where all of them do not suffice."""
        return next((step for step, error in enumerate(self.course) if error <= self.amortised), None)

    def framewise_s(self, frames: int) -> float:
        """Of so many frames; where it was never as good, of all steps that were followed."""
        steps = len(self.course) - 1 if self.steps is None else self.steps
        return frames * steps * self.step_s

    def ratio(self, frames: int) -> float:
        """How many times dearer frame by frame is."""
        return self.framewise_s(frames) / self.passes_s

    def frames_for(self, ratio: float) -> int | None:
        """From how many frames on it is so many times dearer; None where no step is needed."""
        each = self.framewise_s(1)
        return math.ceil(ratio * self.passes_s / each - 1e-9) if each > 0 else None

    def table(self, frames: Sequence[int]) -> dict[str, Any]:
        """As JSON."""
        steps = self.steps
        return {
            "border_before": self.before,
            "border_amortised": self.amortised,
            "border_framewise": self.course[-1 if steps is None else steps],
            "steps": steps,
            "steps_followed": len(self.course) - 1,
            "course": list(self.course),
            "passes_cpu_s": self.passes_s,
            "step_cpu_s": self.step_s,
            "synthesis_cpu_s": self.synthesis_s,
            "costs": [
                {
                    "frames": count,
                    "framewise_cpu_s": self.framewise_s(count),
                    "amortised_cpu_s": self.passes_s,
                    "ratio": self.ratio(count),
                }
                for count in frames
            ],
            f"frames_for_{WANTED:g}x": self.frames_for(WANTED),
        }

    def lines(self, frames: Sequence[int]) -> list[str]:
        """For people."""
        steps = self.steps
        reached = (
            f"is {self.course[-1]:.5f} after all {len(self.course) - 1} steps, never as low: what follows is the least"
            if steps is None
            else f"is {self.course[steps]:.5f} after {steps} steps"
        )
        said = [
            f"border error: {self.before:.5f} after pivotal tuning, {self.amortised:.5f} after the border passes "
            f"({100.0 * (self.amortised / max(self.before, 1e-12) - 1.0):+.0f} %)",
            f"per-frame tuning's border error {reached}",
            f"CPU time: border passes {self.passes_s:.1f} s; a step of one frame {1e3 * self.step_s:.1f} ms, a "
            f"synthesis {1e3 * self.synthesis_s:.1f} ms",
        ]
        said += [
            f"stitching {count} frames: {self.framewise_s(count):.1f} s frame by frame, "
            f"{self.passes_s:.1f} s amortised, {self.ratio(count):.1f} times cheaper"
            for count in frames
        ]
        enough = self.frames_for(WANTED)
        return [
            *said,
            f"{WANTED:g} times cheaper " + ("never" if enough is None else f"from {enough} frames on"),
        ]


def compare(scene: Scene, clip: Clip, asked: Comparison, tell: Tell) -> list[str]:
    """Measure both ways on an enrolment. Raises ConfigError where it had no border passes."""
    asked.check(scene.directions)
    networks = scene.networks
    pivotal, made = networks.made.pivotal, networks.made
    passes_s = made.seconds.get(STITCHING, 0.0)
    if pivotal is None or passes_s <= 0:
        raise ConfigError(
            "compare: this enrolment has no border passes, or was made before their time was kept; enrol into another "
            "folder, with stitching.passes of 1 or more"
        )
    offset = offset_of(scene.directions, asked.strengths)
    chosen = np.unique(np.linspace(0, len(clip) - 1, min(asked.frames, len(clip))).astype(int)).tolist()
    (asked.out / "courses").mkdir(parents=True, exist_ok=True)
    mark = _mark(pivotal, clip, offset, asked)
    found = []
    for done, index in enumerate(chosen):
        path = asked.out / "courses" / f"{clip.frames[index]:06d}.json"
        found.append(_kept(path, mark) or _followed(path, mark, pivotal, clip, index, offset, asked))
        tell("compare", done + 1, len(chosen))
    costs = Costs(
        border_error(pivotal, clip, offset, chosen),
        border_error(made.generator, clip, offset, chosen),
        np.mean([course for course, _ in found], axis=0).tolist(),
        passes_s,
        sum(spent for _, spent in found) / sum(len(course) - 1 for course, _ in found),
        _synthesis_s(made.generator, clip, offset),
    )
    frames = sorted({len(scene.tracked.frames), FILM})
    about = {"strengths": dict(asked.strengths), "frames": [clip.frames[index] for index in chosen]}
    table = json.dumps(about | costs.table(frames), indent=1, allow_nan=False)
    write_text(asked.out / "stitching.json", table + "\n")
    return costs.lines(frames)


def _followed(
    path: Path, mark: str, pivotal: Generator, clip: Clip, index: int, offset: Offset, asked: Comparison
) -> tuple[list[float], float]:
    """One frame's course, and the CPU seconds of its tuning; kept in `path`."""
    device = next(pivotal.parameters()).device
    ws, crop, masks = clip.code(index).to(device), clip.crop(index).to(device), clip.masks(index).on(device)
    with torch.no_grad():
        edited = synthesised(pivotal.synthesis, ws, offset)
    own = pivotal.requires_grad_(True)
    try:
        began_s = time.process_time()
        course = list(
            stitch(own, ws, crop, edited, masks, replace(asked.options, threshold=0.0), offset).course
        )
        spent = time.process_time() - began_s
    finally:
        pivotal.requires_grad_(False)
    write_text(path, json.dumps({"mark": mark, "course": course, "cpu_s": spent}) + "\n")
    return course, spent


def _kept(path: Path, mark: str) -> tuple[list[float], float] | None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        course = [float(value) for value in stored["course"]]
        return (course, float(stored["cpu_s"])) if stored["mark"] == mark and len(course) > 1 else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not followed yet, or cut short


def _synthesis_s(generator: Generator, clip: Clip, offset: Offset) -> float:
    device = next(generator.parameters()).device
    ws = clip.code(0).to(device)
    began_s = 0.0
    with torch.no_grad():
        for turn in range(_TIMED + 1):
            if turn == 1:  # the first one warms up
                began_s = time.process_time()
            synthesised(generator.synthesis, ws, offset)
    return (time.process_time() - began_s) / _TIMED


def _mark(pivotal: Generator, clip: Clip, offset: Offset, asked: Comparison) -> str:
    digest = hashlib.sha256(weights_digest(pivotal) + clip.fingerprint().encode())
    for one in (offset.ws, offset.styles):
        digest.update(b"none" if one is None else one.tobytes())
    digest.update(json.dumps(asdict(asked.options), sort_keys=True).encode())
    return digest.hexdigest()
