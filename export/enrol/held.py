"""A checkpoint for bodies and pictures of a person as one bundle: nothing is tuned, the bundle moves whom it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.errors import ConfigError
from engine.generators import BODY_MESH
from engine.generators.liquid_warping.own import LONGEST_SIDE
from engine.media import read_picture, resize_within
from engine.media.wording import one_line
from engine.several import MOST_SOURCES
from export.checkpoints import Loaded
from export.enrol.liquid_warping_person import person_plan
from export.plan import Plan
from export.systems import plan_of


def held_plan(loaded: Loaded, files: Sequence[Path]) -> Plan:
    """files: pictures of the person, the one that moves first; whether a whole body is seen in them is found out when
    the bundle is opened with its body model. Raises ConfigError for weights of another kind or too many pictures, and
    InputError for a picture that cannot be read."""
    mesh = plan_of(loaded).parameters.facts.get("mesh")
    if mesh != BODY_MESH:
        raise ConfigError(
            f"person: these weights are of {loaded.system}, mesh {mesh!r}; expected liquid_warping of the mesh "
            f"{BODY_MESH!r}: whose face is to move is enrolled by marotte enrol liquid_warping"
        )
    if not 1 <= len(files) <= MOST_SOURCES:
        raise ConfigError(f"person: got {len(files)} pictures, expected 1 .. {MOST_SOURCES}")
    pictures = [resize_within(read_picture(path), LONGEST_SIDE) for path in files]
    return person_plan(loaded, pictures, [one_line(path.name) for path in files], (), {})
