"""The page's own files, by name: what is not listed is not there."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
}
_TEXTS: Final = (".html", ".css", ".js", ".svg")
_FIRST = "index.html"
_ROOM = "room.html"
_VERIFY = "verify.html"


class Pages:
    """Looks a name up among the files that lay in the folder at the start: no path is ever made of a request."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.suffix in _TYPES and path.is_file() and not path.is_symlink()
        }

    def routes(self) -> list[web.RouteDef]:
        """For an application."""
        return [
            web.get("/", self.first),
            web.get("/room/{room}", self.room),
            web.get("/verify", self.verify),
            web.get("/static/{name:.+}", self.named),
        ]

    async def first(self, request: web.Request) -> web.Response:
        """GET /."""
        return await self._give(request, _FIRST)

    async def room(self, request: web.Request) -> web.Response:
        """GET /room/{room}: the same page for each, which asks whether there is such a room."""
        return await self._give(request, _ROOM)

    async def verify(self, request: web.Request) -> web.Response:
        """GET /verify."""
        return await self._give(request, _VERIFY)

    async def named(self, request: web.Request) -> web.Response:
        """GET /static/{name}."""
        return await self._give(request, request.match_info["name"])

    async def _give(self, request: web.Request, name: str) -> web.Response:
        path = self._files.get(name)
        if path is None:
            raise web.HTTPNotFound
        try:
            data = await asyncio.to_thread(path.read_bytes)
        except OSError as error:
            raise web.HTTPNotFound from error
        tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
        headers = {hdrs.ETAG: tag, hdrs.CACHE_CONTROL: "no-cache"}
        if tag in request.headers.get(hdrs.IF_NONE_MATCH, ""):
            return web.Response(status=304, headers=headers)
        charset = "utf-8" if path.suffix in _TEXTS else None
        return web.Response(body=data, content_type=_TYPES[path.suffix], charset=charset, headers=headers)
