"""Signing as the last step of writing a file: after it is whole, before it has its name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

from engine.errors import ProvenanceError
from engine.media.audio import has_sound
from engine.media.unfinished import Seal
from engine.provenance.credentials import SignerConfig
from engine.provenance.made import Ingredient, Made, Role
from engine.provenance.native import available
from engine.provenance.signing import check, holds_manifest, sign
from engine.versions import versions

INSTALL: Final = "pip install 'marotte[c2pa]'"
_OWN_LICENCE: Final = "Apache-2.0"

Sealer = Callable[[Path], Seal | None]
"""What seals a file that is going to be called so."""

_log = logging.getLogger("marotte.provenance")


@dataclass(frozen=True, slots=True)
class Origin:
    """What made the pixels. sha256: of the bundle's manifest, which holds those of its files."""

    title: str
    licence: str
    sha256: str | None
    trained: bool


def origin_of(bundle: Path | str) -> Origin:
    """Of a bundle by name or folder. Raises ConfigError, BundleError."""
    from engine.bundle import MANIFEST, read_manifest
    from engine.generators import find_bundle

    folder = find_bundle(bundle)
    if folder is None:
        return Origin(str(bundle), _OWN_LICENCE, None, trained=False)
    manifest = read_manifest(folder)
    return Origin(manifest.title, manifest.licence, _sha256(folder / MANIFEST), trained=True)


def made_by(bundle: Path | str, **others: Any) -> Made:
    """What is known of a render before its first frame. others: of Made. Raises as `origin_of`."""
    origin = origin_of(bundle)
    return Made(
        "render",
        origin.title,
        origin.licence,
        origin.sha256,
        origin.trained,
        software=versions().get("marotte", ""),
        **others,
    )


def ingredients_of(
    source: Any,
    driver: Path | str | None = None,
    others: Iterable[Any] = (),
    *,
    edits: bool = False,
    pixels: bool = False,
    still: bool = False,
) -> list[Ingredient]:
    """The files that go into a render, in C2PA's sense; decoded pictures among them have nothing to hand on.

    source: as engine.render.render takes it. others: further pictures of which parts are shown. pixels: some of the
    driver's are in the result. still: the driver is a picture. Of a clip the sound goes along.
    """
    from engine.puppet import pictures_of

    role: Role = "donor" if edits else "source"
    given = (*pictures_of(source), *others)
    found = [Ingredient(Path(one), role) for one in given if isinstance(one, (str, Path))]
    if driver is not None:
        seen = edits or pixels or (not still and has_sound(driver))
        found.append(Ingredient(Path(driver), "driver", seen))
    return found


def sealing(
    out: Path,
    made: Made,
    ingredients: Sequence[Ingredient],
    notes: list[str],
    signer: SignerConfig | None = None,
) -> Seal | None:
    """What signs a file that is going to be called `out`; None, with a note, where it stays unsigned: its kind holds no
    manifest, or the library is not installed. Whether it can sign is tried at once. Raises as `check`."""
    if not holds_manifest(out.suffix):
        notes.append(f"{out.name} is unsigned: a {out.suffix} holds no C2PA manifest; an .mp4 does")
        return None
    if not available():
        notes.append(f"{out.name} is unsigned, as C2PA is not installed: {INSTALL}")
        return None
    check(signer)

    def seal(whole: Path) -> None:
        try:
            hashed = [replace(one, sha256=one.sha256 or _sha256(one.path)) for one in ingredients]
        except OSError as error:
            raise ProvenanceError(
                f"{out.name}: what it was made of cannot be read any more ({error})"
            ) from error
        done = replace(made, when=datetime.now(UTC))
        notes.extend(sign(whole, done, ingredients=hashed, signer=signer, title=out.name))

    return seal


def sealer(
    made: Made,
    ingredients: Sequence[Ingredient],
    notes: list[str] | None = None,
    signer: SignerConfig | None = None,
) -> Sealer:
    """`sealing` for several files that are made of the same. notes: None logs them."""

    def seal_of(out: Path) -> Seal | None:
        said: list[str] = [] if notes is None else notes
        found = sealing(out, made, ingredients, said, signer)
        if notes is None:
            for one in said:
                _log.warning("%s", one)
        return found

    return seal_of


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
