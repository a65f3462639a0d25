"""What a file's manifest says of how it was made, in C2PA's words and in ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

SOURCE_TYPES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
LABEL: Final = "marotte.made"
"""Of the assertion that holds what C2PA has no word for."""

Role = Literal["source", "driver", "donor"]


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A file that something was made of. seen: its pixels or its sound are in the result, not its motion alone.
    sha256: of its bytes, where it is known."""

    path: Path
    role: Role = "source"
    seen: bool = True
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """How a file came to be. bundle: the generator's title. bundle_sha256: of its manifest, None for a generator that
    needs no weights. others: further ones that had a part in it, each with title, licence and sha256. trained: whether
    its pixels come out of a trained network. edits: the driver's own face is edited. consent: ids of the records that
    were relied on. marks: the names of those that are in the picture. lowered: of those that the operator took off."""

    kind: Literal["render", "recording"]
    bundle: str
    licence: str
    bundle_sha256: str | None = None
    trained: bool = True
    edits: bool = False
    consent: tuple[str, ...] = ()
    session: str | None = None
    marks: tuple[str, ...] = ()
    lowered: tuple[str, ...] = ()
    when: datetime = field(default_factory=lambda: datetime.now(UTC))
    software: str = ""
    others: tuple[Mapping[str, Any], ...] = ()

    @property
    def source_type(self) -> str:
        """IPTC's digital source type, its last word.

        A trained network's picture of somebody's portrait or clip is existing media modified by generative AI. A
        generator without weights draws the mouth and moves the pixels by geometry: a composite of several elements, at
        least one of them synthetic, and none of them out of a model trained on anybody's pictures.
        """
        return "compositeWithTrainedAlgorithmicMedia" if self.trained else "compositeSynthetic"


def definition(made: Made, ingredients: Sequence[Ingredient], title: str) -> dict[str, Any]:
    """The manifest as the library takes it; its ingredients are added by `ingredient_of`, in the same order."""
    return {
        "claim_generator_info": [_agent(made)],
        "title": title,
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": _actions(made, ingredients)}},
            {"label": LABEL, "kind": "Json", "data": _ours(made, ingredients)},
        ],
    }


def ingredient_of(made: Made, ingredients: Sequence[Ingredient], place: int) -> dict[str, str]:
    """The ingredient at this place. It is called by its role: the name of somebody's file says nothing of the result,
    and may be a person's."""
    one = ingredients[place]
    relation = "componentOf" if one.seen else "inputTo"
    if place == _parent(made, ingredients):
        relation = "parentOf"
    return {"title": one.role, "relationship": relation, "label": _label(place)}


def _parent(made: Made, ingredients: Sequence[Ingredient]) -> int | None:
    """Of an edit the driver: what comes out is the same clip, changed."""
    drivers = [place for place, one in enumerate(ingredients) if one.role == "driver"]
    return drivers[0] if made.edits and drivers else None


def _actions(made: Made, ingredients: Sequence[Ingredient]) -> list[dict[str, Any]]:
    how = {"softwareAgent": _agent(made), "when": _time(made.when)}
    kind = {"digitalSourceType": SOURCE_TYPES + made.source_type}
    parent = _parent(made, ingredients)
    others = [place for place in range(len(ingredients)) if place != parent]
    placed = [_label(place) for place in others if ingredients[place].seen]
    inputs = [_label(place) for place in others if not ingredients[place].seen]
    given: dict[str, Any] = {"parameters": {"ingredientIds": inputs}} if inputs else {}
    moved, changed = "a portrait moved by a driver", "the driver's face changed"
    by = " and ".join([made.bundle, *(str(one["title"]) for one in made.others)])
    what = f"{changed if made.edits else moved}, by {by}"
    done = {"description": what} | how | kind | given
    if parent is None:
        begun: list[dict[str, Any]] = [{"action": "c2pa.created"} | done]
    else:
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [_label(parent)]}} | how
        begun = [opened, {"action": "c2pa.edited"} | done]
    begun += [{"action": "c2pa.placed", "parameters": {"ingredientIds": [one]}} | how for one in placed]
    if "badge" in made.marks:
        begun.append({"action": "c2pa.edited", "description": "a visible AI badge was composed in"} | how)
    if "watermark" in made.marks:
        # Unbound: it leads to a session and not to this manifest, as C2PA's soft bindings do.
        begun.append({"action": "c2pa.watermarked.unbound"} | how)
    return begun


def _ours(made: Made, ingredients: Sequence[Ingredient]) -> dict[str, Any]:
    return {
        "version": 1,
        "kind": made.kind,
        "bundle": {"title": made.bundle, "licence": made.licence, "sha256": made.bundle_sha256},
        **({"other_bundles": [dict(one) for one in made.others]} if made.others else {}),
        "consent": list(made.consent),
        "session": made.session,
        "marks": list(made.marks),
        "lowered": list(made.lowered),
        "made": _time(made.when),
        "ingredients": [{"role": one.role, "sha256": one.sha256} for one in ingredients],
    }


def _agent(made: Made) -> dict[str, str]:
    return {"name": "Marotte", "version": made.software or "0"}


def _label(place: int) -> str:
    return f"part{place + 1}"


def _time(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
