"""An enrolment that is over, opened again for another rendering: of its own clip, or of another one of that person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from engine.errors import ConfigError
from export.checkpoints import load
from export.enrol.paper import Networks, Scene
from export.enrol.person import kept, parser_of
from export.enrol.progress import Tell
from export.enrol.tracking import Alignment, track_again
from trainers.stit.directions import Direction
from trainers.stit.e4e import Inversion
from trainers.stit.generator import Generator
from trainers.stit.tuning import PIVOTAL, Outcome


def kept_scene(
    clip: Path,
    folder: Path,
    scale: float,
    device: str,
    backend: str,
    tell: Tell,
    check: Callable[[Mapping[str, Direction]], None],
) -> Scene:
    """folder: of the enrolment. scale: of its squares. check: is shown the directions before anything is tracked.

    What is tracked of another clip is kept in a folder of its own below. Raises MarotteError and TrainerError.
    """
    person = kept(folder)
    check(person.directions)
    loaded, tuned = load(folder / "enrolled"), load(folder / "tuning")
    generator = loaded.network("generator", Generator)
    before = None
    if PIVOTAL in tuned.checkpoint.networks():
        before = Generator(**loaded.arguments["generator"]).eval().requires_grad_(False)
        tuned.checkpoint.load(PIVOTAL, before)
    made = Outcome(generator, before, tuned.checkpoint.step, tuned.checkpoint.step, folder / "tuning")
    still = None if person.frozen is None else (person.frozen, person.mean)
    encoder, where = loaded.network("encoder", Inversion), device_of(device)
    networks = Networks(generator, encoder, made, parser_of(loaded), where, still)
    tracked = track_again(clip, folder, tell, backend)
    return Scene(clip, tracked, Alignment(generator.resolution, scale), networks, person.directions, backend)


def device_of(name: str) -> torch.device:
    """auto, cpu or cuda. Raises ConfigError where there is no GPU and one was asked for."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: 'cuda' was asked for, and torch finds no GPU here; take 'cpu' or 'auto'")
    return torch.device(name)
