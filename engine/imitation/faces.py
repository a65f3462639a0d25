"""Parts of other persons' heads on a puppet's, live or from file to file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from engine.errors import ConfigError
from engine.generators.liquid_warping import LiquidWarping
from engine.generators.liquid_warping.prepared import Worn
from engine.imitation.wearing import Wear, shares
from engine.mesh.face.topology import layout
from engine.puppet import Loaded, Opening, find_given
from engine.types import Mode


def dressed(loaded: Loaded, wear: Sequence[Wear], opening: Opening, accept: Iterable[str] = ()) -> Loaded:
    """The same, whose persons have parts of others. Raises ConfigError for a generator without parts, and as find_given
    does for their pictures."""
    if not wear:
        return loaded
    if not isinstance(loaded.generator, LiquidWarping):
        raise ConfigError(
            f"{loaded.generator.name}: it has no parts that another person could give; expected a bundle of "
            "liquid_warping, or no --wear"
        )
    faces, accepted = shares(layout(), wear), frozenset(accept)
    worn = []
    for one, share in zip(wear, faces):
        (person,) = find_given(one.pictures, opening, Mode.PUPPET, several=True, accept=accepted)
        worn.append(Worn(person, share))
    return replace(loaded, generator=loaded.generator.wearing(worn))
