"""A person as a bundle has it, and as an enrolment keeps it for what is asked of it later.

FOLDER/enrolled/        the checkpoint: tuned generator, encoder, parser
FOLDER/person.npz       `mean` (1, rows, w_dim), `frozen` (-1: none), and every direction: `w/<name>`, `styles/<name>`
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from engine.align.masks import foreground
from engine.config import known
from engine.errors import BundleError, ConfigError, InputError
from engine.types import U8, Mode
from export.checkpoints import Loaded
from export.enrol.edits import EditFiles, check_frozen, read_edits
from export.enrol.moving import moving, style_directions
from export.enrol.tracking import Labels
from export.plan import Plan
from export.stit import plan
from trainers.arrays import DAMAGE
from trainers.stit.bisenet import DEVIATION, MEAN, BiSeNet
from trainers.stit.directions import Direction, StyleDirection
from trainers.stit.e4e import Inversion
from trainers.stit.generator import Generator
from trainers.stit.stitching import Reach

KEPT = "person.npz"
_PARSED = 512


@dataclass(frozen=True, eq=False)
class Person:
    """mean: the mean code (1, rows, w_dim). frozen: the first row that is the mean's in every frame, None for none.
    directions: of the edits, by name."""

    mean: Tensor
    frozen: int | None
    directions: Mapping[str, Direction]


def person_plan(loaded: Loaded, person: Person, edits: Sequence[Reach], facts: Mapping[str, Any]) -> Plan:
    """The bundle that plays a person with these edits. facts: more that it states."""
    found = plan(loaded, style_directions(edits, person.directions))
    stated = {
        "edits": [reach.name for reach in edits],
        "edits_low": [reach.low for reach in edits],
        "edits_high": [reach.high for reach in edits],
        **facts,
    }
    if clash := set(found.parameters.facts) & set(stated):
        raise BundleError(f"the bundle's facts {sorted(clash)} are stated twice")
    parameters = dataclasses.replace(
        found.parameters, facts={**found.parameters.facts, **stated}, modes=frozenset(Mode)
    )
    moves = moving(person.mean, edits, person.directions, person.frozen)
    return dataclasses.replace(found, graphs=(*found.graphs, moves), parameters=parameters)


def offered_plan(
    loaded: Loaded, files: EditFiles, edits: Sequence[Mapping[str, Any]], freeze: int | None
) -> Plan:
    """The bundle of a checkpoint that is exported with edits: of the person that was enrolled there, else of nobody,
    whose mean is the encoder's.

    edits: fields of a Reach each. Raises ConfigError for an edit without a direction, and what reading raises.
    """
    loaded.checkpoint.of_system("stit")
    generator = loaded.network("generator", Generator)
    mean = loaded.network("encoder", Inversion).latent_avg[None]
    folder = loaded.checkpoint.folder.parent
    known_one = kept(folder) if (folder / KEPT).is_file() else Person(mean, None, {})
    frozen = known_one.frozen if freeze is None else freeze
    check_frozen(frozen, generator.num_ws)
    directions = {**known_one.directions, **read_edits(files, generator)}
    try:
        reaches = [Reach(**one) for one in edits]
    except ValueError as error:
        raise ConfigError(str(error)) from error
    for reach in reaches:
        known(reach.name, tuple(directions), "edit")
    return person_plan(loaded, Person(known_one.mean, frozen, directions), reaches, {})


def keep(person: Person, folder: Path) -> None:
    """Write it, whole or not at all."""
    arrays: dict[str, Any] = {
        "mean": person.mean.numpy(),
        "frozen": np.array(-1 if person.frozen is None else person.frozen),
    }
    for name, one in person.directions.items():
        styled = isinstance(one, StyleDirection)
        arrays[f"{'styles' if styled else 'w'}/{name}"] = (
            one.values if isinstance(one, StyleDirection) else one
        )
    partial = folder / f".{KEPT}.partial"
    with partial.open("wb") as file:
        np.savez(file, **arrays)
    os.replace(partial, folder / KEPT)


def kept(folder: Path) -> Person:
    """Raises InputError where nobody was enrolled there."""
    path = folder / KEPT
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            found: dict[str, Direction] = {}
            for name in stored.files:
                space, slash, own = name.partition("/")
                if slash:
                    values = stored[name].astype(np.float64)
                    found[own] = StyleDirection(values) if space == "styles" else values
            mean, frozen = torch.from_numpy(stored["mean"]).float(), int(stored["frozen"])
    except DAMAGE as error:
        raise InputError(
            f"{path}: not readable ({error}); expected an enrolment's folder, BUNDLE.enrolment: enrol the clip again"
        ) from error
    return Person(mean, None if frozen < 0 else frozen, found)


def parser_of(loaded: Loaded) -> Labels | None:
    """What finds a crop's foreground by the checkpoint's parser; None where it has none."""
    if "parser" not in loaded.arguments:
        return None
    parser = loaded.network("parser", BiSeNet)
    mean, deviation = torch.tensor(MEAN)[:, None, None], torch.tensor(DEVIATION)[:, None, None]

    def labels(crop: U8) -> U8:
        side = min(_PARSED, crop.shape[0])
        small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_NEAREST_EXACT)
        picture = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1))).float() / 255.0
        with torch.no_grad():
            logits: Tensor = parser(((picture - mean) / deviation)[None])
        return foreground(logits[0].argmax(0).to(torch.uint8).numpy())

    return labels
