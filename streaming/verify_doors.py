"""POST /api/v1/verify: a file is looked at and forgotten (docs/verify.md).

It is written to a folder of its own as it comes, read by one process behind everything else, and removed whatever
becomes of that; one at a time, so that what strangers send costs a bounded part of the machine.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from aiohttp import hdrs, web

from streaming.doors import RefusedError, busy, go_ahead
from streaming.enrolment_child import without_secrets

MOST_BYTES: Final = 256 << 20
"""What `engine.media.limits` would take of a picture, and a minute or more of video."""
OPENED: Final = frozenset(
    {
        ("GET", "/verify"),
        ("POST", "/api/v1/verify"),
        ("GET", "/static/verify.js"),
        ("GET", "/static/verify.css"),
        ("GET", "/static/base.css"),
        ("GET", "/static/api.js"),
        ("GET", "/static/elements.js"),
        ("GET", "/static/favicon.svg"),
    }
)
"""What needs no token where the operator says --open-verify: the page, what it is made of, and what it asks."""

_WITHIN_S: Final = 300.0
_READ_S: Final = 300.0
_WINDOWS: Final = 6
_MOST_NAME: Final = 120
_MOST_ANSWER: Final = 4 << 20
_log = logging.getLogger("marotte.verify")


class Verifying:
    """One file at a time."""

    def __init__(self) -> None:
        self._taken = False

    def routes(self) -> list[web.RouteDef]:
        """For an application."""
        return [web.post("/api/v1/verify", self.verify)]

    async def verify(self, request: web.Request) -> web.Response:
        """The file is the body, its name in the query."""
        if self._taken:
            raise busy("another file is being looked at; wait a little", wait_s=10)
        if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
            raise RefusedError(400, "RequestError", "verify: a packed body is not read; send it as it is")
        name = "".join(one if one.isprintable() else " " for one in request.query.get("name", ""))[
            :_MOST_NAME
        ]
        self._taken = True
        try:
            with tempfile.TemporaryDirectory(prefix="marotte-verify-", ignore_cleanup_errors=True) as folder:
                path = Path(folder) / "file"
                await _received(request, path)
                return web.json_response(await _looked_at(path, name or "the file"))
        except OSError as error:
            _log.warning("a file to be verified could not be written: %s", error.strerror or error)
            raise RefusedError(507, "StateError", "verify: this server has no room for it now") from error
        finally:
            self._taken = False


async def _received(request: web.Request, path: Path) -> None:
    too_large = RefusedError(
        413,
        "TooLargeError",
        f"verify: at most {MOST_BYTES >> 20} MB are taken; cut it, or use marotte verify",
        "size",
    )
    if (request.content_length or 0) > MOST_BYTES:
        raise too_large
    count = 0
    try:
        async with asyncio.timeout(_WITHIN_S):
            await go_ahead(request)
            with path.open("wb") as file:
                async for part in request.content.iter_any():
                    count += len(part)
                    if count > MOST_BYTES:
                        raise too_large
                    await asyncio.to_thread(file.write, part)
    except TimeoutError as error:
        raise RefusedError(408, "RequestError", f"verify: it did not come within {_WITHIN_S:g} s") from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise RefusedError(400, "RequestError", "verify: it broke off") from error
    if count == 0:
        raise RefusedError(422, "InputError", "verify: got an empty body, expected a picture or video")


async def _looked_at(path: Path, name: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "engine.verify.child", str(path), name, str(_WINDOWS)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=without_secrets() | {"PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"},
    )
    try:
        async with asyncio.timeout(_READ_S):
            told, said = await process.communicate()
    except TimeoutError as error:
        raise RefusedError(
            422, "InputError", f"{name}: it takes longer than {_READ_S:g} s to read"
        ) from error
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0 or len(told) > _MOST_ANSWER:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        _log.warning("a file could not be verified: status %s: %s", process.returncode, "".join(last)[:300])
        raise RefusedError(
            422, "InputError", "verify: reading the file failed; it is damaged, or too large to read"
        )
    found: dict[str, Any] = json.loads(told)
    return found
