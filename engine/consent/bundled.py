"""The consent of whom a bundle was tuned to: its own record, or one for its manifest's hash.

A bundle that was enrolled holds a person. Its record lies in it as consent.json, with its SHA-256 in the manifest; a
bundle without one is a source like any other, known by the SHA-256 of its manifest.json.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from engine import bundles
from engine.bundle import MANIFEST, PERSON, Manifest, read_manifest, read_record
from engine.consent.checking import cover, fault, recorded
from engine.consent.hashes import hash_of
from engine.consent.reading import Exported, parse
from engine.consent.record import Record
from engine.consent.store import Store
from engine.errors import ConsentError

_TUNED: Final = frozenset({"stit"})
"""Systems whose every bundle is tuned to one person."""


def of_a_person(manifest: Manifest) -> bool:
    """Whether a bundle shows somebody whom it was made of, so that it needs a record."""
    return PERSON in manifest.graphs or manifest.system in _TUNED


def bundle_hash(folder: Path) -> str:
    """What a bundle is called as a source: SHA-256 (hex) of its manifest, which holds those of all its files."""
    return hash_of(folder / MANIFEST)


def bundle_record(folder: Path) -> Exported | None:
    """The record that lies in a bundle, its signature right; None where there is none. Raises BundleError, ConsentError
    for what is none."""
    data = read_record(folder)
    return None if data is None else parse(data, f"bundle {folder.name}: consent.json")


def shipped_bundles() -> list[str]:
    """The hashes of the shipped bundles that were tuned to somebody."""
    folders = [bundles.find(name) for name in bundles.names()]
    return [bundle_hash(folder) for folder in folders if of_a_person(read_manifest(folder))]


def cover_bundle(folder: Path, use: str, store: Store, now: datetime | None = None) -> tuple[Record, ...]:
    """The record by which a person's bundle may be used; empty for a bundle that is of nobody.

    Raises ConsentError where none holds: none is there, it was revoked (here, or by the file itself), it has expired,
    is for other uses, or was signed by another installation and not imported here. BundleError for a damaged one.
    """
    if not of_a_person(read_manifest(folder)):
        return ()
    name, own = f"bundle {folder.name}", bundle_record(folder)
    why = None if own is None else _fault(own, use, store, now)
    if own is not None and why is None:
        return (own.record,)
    try:
        return cover(bundle_hash(folder), use, store, now, name=name)
    except ConsentError as error:
        if own is None or why is None:
            raise
        raise ConsentError(
            f"{name}: the consent of who is in it does not hold: record {own.record.id[:8]} {why}"
        ) from error


def lacks_record(folder: Path, store: Store) -> bool:
    """Whether a bundle is of somebody of whom nothing was ever said. Raises as `cover_bundle`."""
    if not of_a_person(read_manifest(folder)) or bundle_record(folder) is not None:
        return False
    return not recorded(bundle_hash(folder), store)


def _fault(own: Exported, use: str, store: Store, now: datetime | None) -> str | None:
    if own.revoked is not None:
        return "was revoked; ask for a new one"
    why = fault(own.record, use, store, now)
    if why is not None:
        return f"{why}; ask for a new one"
    if store.vouches(own.record):
        return None
    return "was signed by another installation; next step: marotte consent import its consent.json"
