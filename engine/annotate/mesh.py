"""`marotte prepare --mesh`: pictures and clips of persons to clips with the mesh of a bust or a body on them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from engine.annotate.alone import Alone
from engine.annotate.bodies import RULE, BodyStage, body_frames
from engine.annotate.busts import bust_frames
from engine.annotate.clips import ClipEntry, MeshFrame, write_clip, write_table
from engine.annotate.inputs import Input, gather
from engine.annotate.split import split
from engine.annotate.work import Stage
from engine.config import known
from engine.errors import ConfigError, InputError
from engine.evaluate.parts import digest, file_digest
from engine.imitation.mesh import SYNTHETIC, open_mesh
from engine.mesh.face.topology import layout
from engine.mesh.files import NAMES
from engine.mesh.layout import Layout

Progress = Callable[[int, int | None], None]
FACE: Final = "face"
BODY: Final = "smpl"
MESHES: Final = (FACE, BODY)
_SMALLEST, _MULTIPLE, _LARGEST = 32, 8, 1024


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """Everything beside the files themselves that decides a prepared folder. mesh: of MESHES. body: of BODY, what
    engine.imitation.mesh.open_mesh takes. size: pixels of the pictures. texture: its side, 0 takes `size`. per_second,
    most: frames taken from a clip. expressions: synthesised ones of every still, of FACE."""

    mesh: str = FACE
    body: str | Path | None = None
    size: int = 128
    texture: int = 0
    per_second: float = 6.0
    most: int = 80
    expressions: int = 0

    def __post_init__(self) -> None:
        known(self.mesh, MESHES, "mesh")
        if self.size % _MULTIPLE or not _SMALLEST <= self.size <= _LARGEST:
            raise ConfigError(
                f"size: got {self.size}, expected a multiple of {_MULTIPLE} in {_SMALLEST} .. {_LARGEST}"
            )
        if self.texture and not _SMALLEST <= self.texture <= _LARGEST:
            raise ConfigError(
                f"texture: got {self.texture}, expected {_SMALLEST} .. {_LARGEST}, or 0 for the pictures' size"
            )
        if not self.per_second > 0:
            raise ConfigError(f"per-second: got {self.per_second!r}, expected more than 0")
        if self.most < 1:
            raise ConfigError(f"most: got {self.most!r}, expected 1 or more")
        if self.mesh == BODY:
            if self.body is None:
                raise ConfigError(
                    f"mesh: {BODY!r} needs a body; expected --body FILE, your own SMPL file, or --body {SYNTHETIC}"
                )
            if self.expressions:
                raise ConfigError(
                    "synthesise: expressions are made of faces; leave it out, or take --mesh face"
                )
        elif self.body is not None:
            raise ConfigError(f"body: it belongs to --mesh {BODY}; leave it out of --mesh {self.mesh}")

    def stated(self) -> str:
        """All of it as text, what the body's files hold among it. Raises InputError where one is missing."""
        stated: list[Any] = [
            self.mesh, self.size, self.texture, self.per_second, self.most, self.expressions,
        ]  # fmt: skip
        if self.body == SYNTHETIC:
            stated.append(SYNTHETIC)
        elif self.body is not None:
            file = Path(self.body)
            stated += [file_digest(path) for path in (file, *(file.parent / name for name in NAMES.values()))]
        return json.dumps(stated)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """How one kind of mesh is laid on files. crop: the rule's name. frames: of a file, and how many of them were passed
    over, or None where nobody counts."""

    crop: str
    layout: Layout
    frames: Callable[[Path], tuple[Iterable[MeshFrame], int | None]]


def prepare_mesh(
    inputs: Sequence[Path],
    out: Path,
    settings: MeshSettings,
    *,
    persons: str = "file",
    licence: str = "",
    origins: Path | None = None,
    validation: float = 0.1,
    backend: str = "auto",
    cache: Path | None = None,
    progress: Progress | None = None,
    stage: AbstractContextManager[Any] | None = None,
) -> tuple[list[ClipEntry], dict[str, str]]:
    """Prepare into the folder `out`; the clips, and of what was left out the reason by name.

    Ended in the middle, the same call goes on where it stopped. stage: a Stage or BodyStage in place of one of its own.
    Raises ConfigError (names, numbers, a folder of something else), ModelError and InputError where the body's files
    cannot be used, and InputError where nothing could be used.
    """
    if not 0.0 <= validation < 1.0:
        raise ConfigError(f"validation: got {validation!r}, expected a share in 0 .. 1, below 1")
    found = gather(inputs, persons=persons, licence=licence, origins=origins, out=out)
    opening = _stage(settings, backend, cache) if stage is None else stage
    stated = settings.stated()
    out.mkdir(parents=True, exist_ok=True)
    with closing(Alone(out)), opening as opened:
        drawing = _drawing(settings, opened)
        clips, left_out = list[ClipEntry](), dict[str, str]()
        for number, one in enumerate(found):
            if progress is not None:
                progress(number, len(found))
            try:
                clips.append(_clip(one, out, stated, drawing, settings.texture or settings.size))
            except InputError as error:
                left_out[one.shown] = str(error)
        if not clips:
            reason = next(iter(left_out.values()), "nothing was given")
            raise InputError(f"prepare: none of {len(found)} inputs could be used ({reason})")
        held = split({clip.person for clip in clips}, validation)
        clips = [replace(clip, split=held[clip.person]) for clip in clips]
        _write(out, clips, drawing, settings)
        if progress is not None:
            progress(len(found), len(found))
    return clips, left_out


def _stage(settings: MeshSettings, backend: str, cache: Path | None) -> AbstractContextManager[Any]:
    if settings.body is None:
        return Stage(backend=backend, cache=cache)
    return BodyStage(open_mesh(settings.body), backend=backend, cache=cache)


def _drawing(settings: MeshSettings, stage: Any) -> _Drawing:
    taken: dict[str, Any] = {"per_second": settings.per_second, "most": settings.most}

    def busts(path: Path) -> tuple[Iterable[MeshFrame], int | None]:
        frames = bust_frames(path, settings.size, stage, expressions=settings.expressions, **taken)
        return (MeshFrame(*frame) for frame in frames), None

    def bodies(path: Path) -> tuple[Iterable[MeshFrame], int | None]:
        return body_frames(path, settings.size, stage, **taken)

    if settings.mesh == FACE:
        return _Drawing("bust", layout(), busts)
    return _Drawing(RULE, stage.mesh.layout, bodies)


def _clip(one: Input, out: Path, stated: str, drawing: _Drawing, texture: int) -> ClipEntry:
    """One input's clip, unless it is there already; on no side yet."""
    mark = out / "clips" / f"{one.id}.json"
    key = digest(stated, file_digest(one.path))
    folder = out / "clips" / one.id
    known_as = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() and folder.is_dir() else {}
    if known_as.get("key") != key:
        frames, skipped = drawing.frames(one.path)
        known_as = {
            "key": key,
            "frames": write_clip(folder, frames, drawing.layout, texture),
            "skipped": skipped,
        }
        mark.write_text(json.dumps(known_as) + "\n", encoding="utf-8")
    return ClipEntry(
        one.id, one.person, int(known_as["frames"]), "", one.origin, one.licence, known_as.get("skipped")
    )


def _write(out: Path, clips: Sequence[ClipEntry], drawing: _Drawing, settings: MeshSettings) -> None:
    write_table(
        out,
        clips,
        drawing.layout,
        mesh=settings.mesh,
        size=settings.size,
        texture=settings.texture or settings.size,
        crop={"rule": drawing.crop, "size": settings.size},
    )
