"""`marotte prepare --mesh face`: pictures and clips of persons to a folder of clips with the bust's mesh on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from engine.annotate.alone import Alone
from engine.annotate.busts import bust_frames
from engine.annotate.clips import ClipEntry, MeshFrame, write_clip, write_table
from engine.annotate.inputs import Input, gather
from engine.annotate.split import split
from engine.annotate.work import Stage
from engine.config import known
from engine.errors import ConfigError, InputError
from engine.evaluate.parts import digest, file_digest
from engine.mesh.face.topology import layout

Progress = Callable[[int, int | None], None]
MESHES: Final = ("face",)
"""A body's mesh needs fitted bodies, which this command does not make."""
_SMALLEST, _MULTIPLE, _LARGEST = 32, 8, 1024


def prepare_mesh(
    inputs: Sequence[Path],
    out: Path,
    *,
    mesh: str = "face",
    size: int = 128,
    texture: int = 0,
    per_second: float = 6.0,
    most: int = 80,
    expressions: int = 0,
    persons: str = "file",
    licence: str = "",
    origins: Path | None = None,
    validation: float = 0.1,
    backend: str = "auto",
    cache: Path | None = None,
    progress: Progress | None = None,
    stage: Stage | None = None,
) -> tuple[list[ClipEntry], dict[str, str]]:
    """Prepare into the folder `out`; the clips, and of what was left out the reason by name.

    texture: its side, 0 takes `size`. expressions: synthesised ones of every still. Ended in the middle, the same call
    goes on where it stopped. Raises ConfigError (names, numbers, a folder of something else), and InputError where
    nothing could be used.
    """
    known(mesh, MESHES, "mesh")
    if size % _MULTIPLE or not _SMALLEST <= size <= _LARGEST:
        raise ConfigError(
            f"size: got {size}, expected a multiple of {_MULTIPLE} in {_SMALLEST} .. {_LARGEST}"
        )
    if texture and not _SMALLEST <= texture <= _LARGEST:
        raise ConfigError(
            f"texture: got {texture}, expected {_SMALLEST} .. {_LARGEST}, or 0 for the pictures' size"
        )
    if not 0.0 <= validation < 1.0:
        raise ConfigError(f"validation: got {validation!r}, expected a share in 0 .. 1, below 1")
    found = gather(inputs, persons=persons, licence=licence, origins=origins, out=out)
    out.mkdir(parents=True, exist_ok=True)
    settings = json.dumps([mesh, size, texture, per_second, most, expressions])
    usable: list[tuple[Input, int]] = []
    left_out = {}
    with closing(Alone(out)), stage or Stage(backend=backend, cache=cache) as opened:
        for number, one in enumerate(found):
            if progress is not None:
                progress(number, len(found))
            try:
                frames = _clip(
                    one, out, settings, opened, size, texture or size, per_second, most, expressions
                )
            except InputError as error:
                left_out[one.shown] = str(error)
                continue
            usable.append((one, frames))
        if not usable:
            reason = next(iter(left_out.values()), "nothing was given")
            raise InputError(f"prepare: none of {len(found)} inputs could be used ({reason})")
        held = split({one.person for one, _ in usable}, validation)
        clips = [
            ClipEntry(one.id, one.person, frames, held[one.person], one.origin, one.licence)
            for one, frames in usable
        ]
        crop = {"rule": "bust", "size": size}
        write_table(out, clips, layout(), mesh=mesh, size=size, texture=texture or size, crop=crop)
        if progress is not None:
            progress(len(found), len(found))
    return clips, left_out


def _clip(
    one: Input,
    out: Path,
    settings: str,
    stage: Stage,
    size: int,
    texture: int,
    per_second: float,
    most: int,
    expressions: int,
) -> int:
    """One input's clip, unless it is there already; its frames."""
    mark = out / "clips" / f"{one.id}.json"
    key = digest(settings, file_digest(one.path))
    folder = out / "clips" / one.id
    if mark.is_file() and folder.is_dir():
        stated = json.loads(mark.read_text(encoding="utf-8"))
        if stated.get("key") == key:
            return int(stated["frames"])
    frames = bust_frames(one.path, size, stage, per_second=per_second, most=most, expressions=expressions)
    count = write_clip(folder, (MeshFrame(*frame) for frame in frames), layout(), texture)
    mark.write_text(json.dumps({"key": key, "frames": count}) + "\n", encoding="utf-8")
    return count
