"""What a file's manifest says, and whether it holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from engine.errors import DecodeError, ProvenanceError
from engine.media.wording import one_line
from engine.provenance.made import LABEL, SOURCE_TYPES
from engine.provenance.native import context, library

State = Literal["trusted", "valid", "broken"]
"""trusted: valid, and its signer is on the trust list that was given. valid: nothing was changed since it was signed;
who signed is not known. broken: the file or the manifest was changed, or the signature never held."""

_UNTRUSTED: Final = "signingCredential.untrusted"
_MOST_CHARACTERS: Final = 16_000_000
_MOST_PARTS: Final = 64
_MOST_OF_ALL: Final = 256
_DEEPEST: Final = 8


@dataclass(frozen=True, slots=True)
class Part:
    """An ingredient. state: None where it came without a manifest. parts: of its own manifest, where that was first
    come to; a manifest that is an ingredient in several places is told of in one."""

    title: str
    relation: str
    state: State | None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The active manifest of a file. reasons: why it is broken, or what its reader remarks. made: what Marotte says of
    the file beyond C2PA's own words, as engine.provenance.made writes it; empty in others' files. signer: the
    organisation that the certificate names. signed: the time stamp's time, where there is one."""

    state: State
    reasons: tuple[str, ...]
    title: str
    generator: str
    signer: str
    signed: str | None
    source_type: str | None
    actions: tuple[str, ...]
    parts: tuple[Part, ...]
    made: Mapping[str, Any]

    @property
    def consent(self) -> tuple[str, ...]:
        """Ids of the consent records that were relied on."""
        return tuple(one for one in _listed(self.made.get("consent")) if isinstance(one, str))


def read(path: Path, anchors: str = "") -> Manifest | None:
    """The manifest of a file, None where it has none or is of a kind that holds none. Nothing is fetched. Blocks.

    anchors: PEM of certificates that are trusted besides the library's own. Raises ProvenanceError where the library is
    missing, DecodeError where the file cannot be read.
    """
    c2pa = library()
    try:
        with path.open("rb") as file:
            return _read(c2pa, file, anchors)
    except OSError as error:
        raise DecodeError(f"{one_line(path.name)} cannot be read ({error.strerror or error})") from error


def _read(c2pa: Any, file: Any, anchors: str) -> Manifest | None:
    try:
        with c2pa.Reader(None, file, None, context(c2pa, anchors)) as reader:
            text = reader.json()
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return None
    except c2pa.C2paError as error:
        return _unreadable(error)
    if len(text) > _MOST_CHARACTERS:
        raise ProvenanceError("the manifest is larger than any that could be shown; expected up to 16 MB")
    try:
        return parsed(json.loads(text))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        return _unreadable(error)


def _unreadable(error: Exception) -> Manifest:
    """There is a manifest, and it is no whole one."""
    why = " ".join(str(error).split())[:300]
    return Manifest("broken", (f"it cannot be read: {why}",), "", "", "", None, None, (), (), {})


def parsed(store: Mapping[str, Any]) -> Manifest:
    """What is needed of the JSON that the reader gives for a file, whose words are anybody's."""
    manifests = _table(store.get("manifests"))
    active = _table(manifests.get(str(store.get("active_manifest"))))
    results = _table(_table(store.get("validation_results")).get("activeManifest"))
    state = _state(str(store.get("validation_state")))
    signature = _table(active.get("signature_info"))
    actions = _actions(active)
    agent = _table(next(iter(_listed(active.get("claim_generator_info"))), None))
    return Manifest(
        state,
        _reasons(results, store),
        _word(active.get("title")),
        f"{_word(agent.get('name'))} {_word(agent.get('version'))}".strip(),
        _word(signature.get("issuer") or signature.get("common_name")),
        _word(signature.get("time")) or None,
        _source_type(actions),
        tuple(_word(one.get("action")) for one in actions),
        _Parts(manifests, _broken(store), str(store.get("active_manifest"))).of(active, _DEEPEST),
        _table(_assertion(active, LABEL)),
    )


def _state(said: str) -> State:
    known: dict[str, State] = {"Valid": "valid", "Trusted": "trusted"}
    return known.get(said, "broken")


def _reasons(results: Mapping[str, Any], store: Mapping[str, Any]) -> tuple[str, ...]:
    """What failed, worst first: that a signer is not trusted comes last."""
    own = [_table(one) for one in _listed(results.get("failure"))]
    found = [f"{_word(one.get('code'))}: {_word(one.get('explanation'))}" for one in own]
    found += [f"of an ingredient: {_word(one.get('code'))}" for one in _failures(store)]
    return tuple(sorted(dict.fromkeys(found), key=lambda reason: _UNTRUSTED in reason))[:_MOST_PARTS]


def _failures(store: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What failed in manifests of ingredients, other than that their signer is not trusted."""
    deltas = _listed(_table(store.get("validation_results")).get("ingredientDeltas"))
    found = [
        _table(failure)
        for delta in deltas
        for failure in _listed(_table(_table(delta).get("validationDeltas")).get("failure"))
    ]
    return [one for one in found if one.get("code") != _UNTRUSTED]


def _broken(store: Mapping[str, Any]) -> frozenset[str]:
    """Labels of those manifests."""
    addresses = (_word(one.get("url")) for one in _failures(store))
    return frozenset(one.removeprefix("self#jumbf=/c2pa/").split("/")[0] for one in addresses)


class _Parts:
    """The ingredients of a file and theirs, _MOST_OF_ALL together: a small file can name one manifest many times, and
    each of these as many others."""

    def __init__(self, all_of: Mapping[str, Any], broken: frozenset[str], active: str) -> None:
        self._all_of, self._broken = all_of, broken
        self._left, self._told = _MOST_OF_ALL, {active}

    def of(self, manifest: Mapping[str, Any], deep: int) -> tuple[Part, ...]:
        """Those of one manifest."""
        listed = [_table(one) for one in _listed(manifest.get("ingredients"))[: min(_MOST_PARTS, self._left)]]
        self._left -= len(listed)
        return tuple(self._part(one, deep) for one in listed)

    def _part(self, one: Mapping[str, Any], deep: int) -> Part:
        named = one.get("active_manifest")
        state: State | None = None
        inner: tuple[Part, ...] = ()
        if named is not None:
            label = str(named)
            state = self._state(one, label)
            if deep and label not in self._told:
                self._told.add(label)
                inner = self.of(_table(self._all_of.get(label)), deep - 1)
        return Part(_word(one.get("title")), _word(one.get("relationship")), state, inner)

    def _state(self, one: Mapping[str, Any], label: str) -> State:
        own = _listed(_table(_table(one.get("validation_results")).get("activeManifest")).get("failure"))
        failed = any(_table(each).get("code") != _UNTRUSTED for each in own)
        return "broken" if failed or label in self._broken or label not in self._all_of else "valid"


def _actions(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    data = _assertion(manifest, "c2pa.actions.v2") or _assertion(manifest, "c2pa.actions")
    return [_table(one) for one in _listed(_table(data).get("actions"))[:_MOST_PARTS]]


def _source_type(actions: list[Mapping[str, Any]]) -> str | None:
    words = (_word(one.get("digitalSourceType")) for one in actions)
    return next((one.removeprefix(SOURCE_TYPES) for one in words if one), None)


def _assertion(manifest: Mapping[str, Any], label: str) -> Any:
    there = map(_table, _listed(manifest.get("assertions")))
    return next((one.get("data") for one in there if one.get("label") == label), None)


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _word(value: Any) -> str:
    """Text of a file, which is anybody's: of one line, printable, and not long."""
    if not isinstance(value, str):
        return ""
    return "".join(letter if letter.isprintable() else " " for letter in value[:300]).strip()
