"""What is sent to become a source: one file as the body, or as a form several photos of one person."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from aiohttp import BodyPartReader, web

from engine.config import known
from engine.consent.words import shown_name
from engine.errors import DecodeError, InputError
from engine.several import ACCEPTANCE, MOST_SOURCES
from engine.worker.pictures import TOGETHER, Picture, are_joined, with_pictures
from engine.worker.sources import with_labels
from streaming.config import MOST_UPLOAD_BYTES
from streaming.consents import FIELDS
from streaming.doors import BROKEN_FORM, RefusedError, check_form, go_ahead, is_form, read_body

MOST_TOGETHER: Final = TOGETHER.file_bytes - (64 << 10)
"""Bytes of all photos of one person; what is said beside them has to fit too."""
WITHIN_S: Final = 60.0
_PART: Final = 1 << 20
_MOST_FIELD: Final = 4096


@dataclass(frozen=True, slots=True)
class Upload:
    """data: as Worker.add_source takes it. pictures: name and SHA-256 (hex) of each of several. accepted: names of the
    acceptances that were given with them. told: fields of a form that say who allows it (streaming/consents.py).
    bundle: that it was taken out of."""

    data: bytes
    name: str
    pictures: tuple[tuple[str, str], ...] = ()
    accepted: tuple[str, ...] = ()
    told: Mapping[str, str] = field(default_factory=dict)
    bundle: Path | None = None


async def read_upload(request: web.Request) -> Upload:
    """Raises RefusedError."""
    try:
        return await _read_upload(request)
    except InputError as error:
        raise RefusedError(422, type(error).__name__, str(error)) from error


async def _read_upload(request: web.Request) -> Upload:
    accept = frozenset(known(name, (ACCEPTANCE,), "accept") for name in request.query.getall("accept", []))
    named = request.query.get("name")
    if not is_form(request):
        name = shown_name(named)
        body = await read_body(request, MOST_UPLOAD_BYTES, WITHIN_S, name)
        return Upload(_labelled(_one(body, name), request), name)
    if "labels" in request.query:
        raise RefusedError(
            400, "RequestError", "labels: a layout goes with one picture, sent as the body and not as a form"
        )
    files, told = await _files(request)
    return replace(await asyncio.to_thread(joined, files, named, accept), told=told)


def joined(files: Sequence[Picture], name: str | None, accept: frozenset[str]) -> Upload:
    """One file, or several photos of one person, by the first one's name where they have none."""
    more = len(files) - 1
    name = shown_name(name or (f"{files[0].name} and {more} more" if more else files[0].name))
    if not more:
        return Upload(_one(files[0].data, name), name)
    told = tuple((one.name, hashlib.sha256(one.data).hexdigest()) for one in files)
    return Upload(with_pictures(files, accept), name, told, tuple(sorted(accept)))


def _one(data: bytes, name: str) -> bytes:
    """A single file's bytes. Raises InputError for those of several, which the record would not name."""
    if are_joined(data):
        raise DecodeError(f"{name} is no picture or video: send several photos as parts of a form")
    return data


def _labelled(body: bytes, request: web.Request) -> bytes:
    """A source's bytes: `labels` of the address tells how many of the last ones are a label picture."""
    told = request.query.get("labels")
    if told is None:
        return body
    count = int(told) if told.isascii() and told.isdigit() and len(told) < 10 else 0
    if not 0 < count < len(body):
        raise RefusedError(
            400, "RequestError", "labels: expected how many of the last bytes are a label picture"
        )
    return with_labels(body[:-count], body[-count:])


async def _files(request: web.Request) -> tuple[list[Picture], dict[str, str]]:
    """And what is said of them by fields without a file."""
    check_form(request, MOST_TOGETHER, "photos")
    await go_ahead(request)
    files, told = list[Picture](), dict[str, str]()
    try:
        async with asyncio.timeout(WITHIN_S):
            parts = await request.multipart()
            while (part := await parts.next()) is not None:
                if isinstance(part, BodyPartReader) and part.filename is None and part.name in FIELDS:
                    told[part.name] = await _text(part, part.name)
                    continue
                if not isinstance(part, BodyPartReader) or part.filename is None:
                    raise RefusedError(400, "RequestError", "photos: expected files as parts of a form")
                if len(files) == MOST_SOURCES:
                    raise RefusedError(
                        422, "InputError", f"photos: at most {MOST_SOURCES} of one person are taken"
                    )
                files.append(await _read(part, shown_name(part.filename)))
    except TimeoutError as error:
        raise RefusedError(408, "RequestError", f"photos: they did not come within {WITHIN_S:g} s") from error
    except BROKEN_FORM as error:
        raise RefusedError(400, "RequestError", "photos: they broke off, or are no form") from error
    if not files:
        raise RefusedError(422, "InputError", "photos: expected one or more, got no file")
    return files, told


async def _text(part: BodyPartReader, name: str) -> str:
    data = await part.read_chunk(_MOST_FIELD + 1)
    if len(data) > _MOST_FIELD or not part.at_eof():
        raise RefusedError(422, "InputError", f"{name}: expected one short line")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise RefusedError(422, "InputError", f"{name}: expected text in UTF-8") from error


async def _read(part: BodyPartReader, name: str) -> Picture:
    chunks: list[bytes] = []
    count = 0
    while chunk := await part.read_chunk(_PART):
        count += len(chunk)
        if count > MOST_UPLOAD_BYTES:
            raise RefusedError(
                413, "TooLargeError", f"{name}: at most {MOST_UPLOAD_BYTES} bytes are read", "size"
            )
        chunks.append(bytes(chunk))
    return Picture(name, b"".join(chunks))
