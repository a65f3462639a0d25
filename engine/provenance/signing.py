"""A manifest into a finished file."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from engine.errors import ProvenanceError
from engine.media.unfinished import Unfinished
from engine.media.wording import one_line
from engine.provenance.credentials import Credentials, SignerConfig, configured, credentials
from engine.provenance.made import Ingredient, Made, definition, ingredient_of
from engine.provenance.native import context, library

_HEAD_BYTES: Final = 16
_VIDEO: Final = "video/mp4"
_BRANDS: Final = {b"qt  ": "video/quicktime", b"avif": "image/avif", b"heic": "image/heic"}
_SMALLEST: Final = bytes.fromhex(  # a PNG of one grey pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c636000000002000148afa471"
    "0000000049454e44ae426082"
)


def kind_of(head: bytes) -> str | None:
    """The MIME type of a file by its first 16 bytes, where that kind can hold a manifest; else None."""
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], _VIDEO)
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/avi"}.get(head[8:12])
    kinds = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
    return next((kind for magic, kind in kinds.items() if head.startswith(magic)), None)


def holds_manifest(suffix: str) -> bool:
    """Whether a file of this suffix can hold a manifest, of those that are written here: WebM cannot, nor can BMP."""
    return suffix.lower() in (".mp4", ".mov", ".png", ".jpg", ".jpeg", ".webp")


def sign(
    path: Path,
    made: Made,
    *,
    ingredients: Sequence[Ingredient | Path] = (),
    signer: SignerConfig | None = None,
    title: str | None = None,
) -> tuple[str, ...]:
    """Put a signed manifest into the file at `path`, which is replaced when the new one is whole. Blocks.

    ingredients: what it was made of; one that has a manifest hands it on. signer: the operator's; None is the one in
    the state's folder, or else the certificate made here. title: the name in the manifest, by default the file's.
    Returns what the user should know. Raises ProvenanceError (library, certificate, a kind of file that holds none, a
    signature that does not come about), InputError (disk full), StateError, ConfigError; the file is then as it was.
    """
    c2pa = library()
    by = credentials(signer or configured())
    parts = [one if isinstance(one, Ingredient) else Ingredient(one) for one in ingredients]
    kind = _kind(path)
    title = title or path.name
    try:
        _sign(c2pa, path, kind, made, parts, by, title)
    except ProvenanceError:
        if not by.time_authority:
            raise
        # The time stamp alone may have failed: its authority is another's machine.
        _sign(c2pa, path, kind, made, parts, _unstamped(by), title)
        return (
            f"the time authority {by.time_authority} gave no time stamp: the signature is good as long as its "
            "certificate is",
        )
    return ()


def check(signer: SignerConfig | None = None) -> None:
    """Whether signing will do, tried on a picture of one pixel: told before an hour's work and not after it. Without a
    time stamp. Raises as `sign`."""
    c2pa = library()
    by = _unstamped(credentials(signer or configured()))
    with _failing(c2pa, "a trial", by):
        builder = c2pa.Builder(definition(Made("render", "", ""), (), "trial"), context(c2pa))
        builder.sign(_signer(c2pa, by), "image/png", io.BytesIO(_SMALLEST), io.BytesIO())


def _sign(
    c2pa: ModuleType,
    path: Path,
    kind: str,
    made: Made,
    parts: Sequence[Ingredient],
    by: Credentials,
    title: str,
) -> None:
    with Unfinished(path) as target, _failing(c2pa, title, by):
        builder = c2pa.Builder(definition(made, parts, title), context(c2pa))
        for place, part in enumerate(parts):
            _add(builder, part, ingredient_of(made, parts, place))
        with path.open("rb") as whole, target.path.open("w+b") as signed:
            builder.sign(_signer(c2pa, by), kind, whole, signed)
            signed.flush()
            os.fsync(signed.fileno())


def _add(builder: Any, part: Ingredient, words: dict[str, str]) -> None:
    """What cannot hold a manifest is an ingredient all the same, of which C2PA has no more than its name."""
    with part.path.open("rb") as file:
        kind = kind_of(file.read(_HEAD_BYTES))
        file.seek(0)
        builder.add_ingredient(words, kind or "application/octet-stream", file)


def _signer(c2pa: ModuleType, by: Credentials) -> Any:
    # Not by a callback, for which ten times the room is kept: what is not needed of it is padding, which nothing signs.
    info = c2pa.C2paSignerInfo(
        by.algorithm, by.chain.encode(), by.key.encode(), by.time_authority.encode() or None
    )
    return c2pa.Signer.from_info(info)


def _unstamped(by: Credentials) -> Credentials:
    return replace(by, time_authority="")


def _kind(path: Path) -> str:
    with path.open("rb") as file:
        kind = kind_of(file.read(_HEAD_BYTES))
    if kind is None:
        raise ProvenanceError(
            f"{one_line(path.name)}: its kind of file holds no C2PA manifest; expected MP4, MOV, PNG, JPEG or WebP"
        )
    return kind


@contextlib.contextmanager
def _failing(c2pa: ModuleType, what: str, by: Credentials) -> Iterator[None]:
    try:
        yield
    except (c2pa.C2paError, OSError) as error:
        said = " ".join(str(error).split())
        raise ProvenanceError(
            f"{one_line(what)} could not be signed with {by.named} ({said[:300]}): check the certificate and the disk"
        ) from error
