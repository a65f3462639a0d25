"""What a bundle says of its licence, its origin and the faces in its data, and what it may not leave unsaid."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from engine.errors import ConfigError
from export.checkpoints import Loaded
from export.pack import Label

UNSTATED: Final = "LicenseRef-unstated"
_NOT_STATED: Final = "not stated"
_NON_COMMERCIAL: Final = re.compile(r"(^|[^a-z])(nc|non-?commercial)([^a-z]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Stated:
    """What was stated by the one who exports; None where nothing was. acceptance: the name that has to be accepted,
    for weights that may not be used commercially."""

    title: str | None = None
    licence: str | None = None
    weights: str | None = None
    data: str | None = None
    consent: str | None = None
    acceptance: str | None = None


def label_of(loaded: Loaded, stated: Stated) -> Label:
    """The bundle's label, from what was stated and what the checkpoint knows.

    Raises ConfigError where weights made elsewhere come without a licence, or where a licence, of the weights or of
    the data, forbids commercial use and no name for the acceptance was given.
    """
    imported = loaded.facts.get("imported")
    if imported and stated.licence is None:
        raise ConfigError(
            "licence: these weights were made elsewhere; state theirs with --licence, and --non-commercial NAME "
            "where it forbids commercial use"
        )
    licences = [stated.licence or "", *_licences(loaded.data)]
    forbids = [licence for licence in licences if _NON_COMMERCIAL.search(licence)]
    if forbids and stated.acceptance is None:
        raise ConfigError(
            f"licence: {forbids[0]} forbids commercial use; say --non-commercial NAME, which has to be accepted before "
            "the bundle loads"
        )
    return Label(
        licence=stated.licence or UNSTATED,
        weights=stated.weights or _weights(loaded, imported),
        data=stated.data or _data(loaded.data),
        consent=stated.consent or _NOT_STATED,
        title=stated.title,
        commercial=stated.acceptance is None,
        acceptance=stated.acceptance,
    )


def _licences(data: Any) -> list[str]:
    found = data.get("licences", [])
    return [str(licence) for licence in found] if isinstance(found, list) else []


def _weights(loaded: Loaded, imported: Any) -> str:
    if imported:
        return f"imported from {', '.join(map(str, imported))}"
    kept = ", moving average" if loaded.averaged else ""
    return f"trained with Marotte, step {loaded.checkpoint.step}{kept}"


def _data(data: Any) -> str:
    """Counts and licences, as far as the training kept them."""
    licences = _licences(data)
    pictures = data.get("pictures")
    counts = []
    if isinstance(pictures, dict) and all(isinstance(count, int) for count in pictures.values()):
        counts = [f"{sum(pictures.values())} pictures"]
    return "; ".join([*counts, *([f"licences: {', '.join(licences)}"] if licences else [])]) or _NOT_STATED
