"""MediaPipe's Face Landmarker for the page: files of the operator's own, served beside the page's.

A page that follows its driver's face by itself sends numbers, and no picture. Nothing of MediaPipe is in this package,
and no page fetches it from elsewhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from engine.errors import ConfigError

BUNDLE: Final = "vision_bundle.mjs"
MODEL: Final = "face_landmarker.task"
NEEDED: Final = (BUNDLE, MODEL, "wasm/vision_wasm_internal.js", "wasm/vision_wasm_internal.wasm")
"""In the folder: the npm package @mediapipe/tasks-vision as it is, and the model in it."""

_TYPES: Final = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".task": "application/octet-stream",
}


def files_in(folder: Path) -> dict[str, Path]:
    """What of a folder is served, by name; nothing else of it is. Raises ConfigError where something is missing."""
    found = {
        path.relative_to(folder).as_posix(): path
        for place in (folder, folder / "wasm")
        for path in sorted(place.glob("*"))
        if path.suffix in _TYPES and path.is_file() and not path.is_symlink()
    }
    if missing := [name for name in NEEDED if name not in found]:
        raise ConfigError(
            f"mediapipe: {folder} lacks {', '.join(missing)}; expected the folder of the npm package "
            f"@mediapipe/tasks-vision with {MODEL} in it (docs/trackers.md)"
        )
    return {name: path for name, path in found.items() if name in (BUNDLE, MODEL) or name.startswith("wasm/")}


class Landmarker:
    """The routes of such a folder; None has none."""

    def __init__(self, folder: Path | None) -> None:
        self._files = {} if folder is None else files_in(folder)

    def routes(self) -> list[web.RouteDef]:
        """GET /mediapipe/{name}."""
        return [web.get("/mediapipe/{name:.+}", self.give)]

    async def give(self, request: web.Request) -> web.StreamResponse:
        """A file that lay there at the start: no path is ever made of a request."""
        path = self._files.get(request.match_info["name"])
        if path is None:
            raise web.HTTPNotFound
        return web.FileResponse(path, headers={hdrs.CONTENT_TYPE: _TYPES[path.suffix]})
