"""The paper's ablation on one clip: without each part, and by both ways of stitching; one sheet, one table.

OUT/sheet.png                            the same frames of every variant below each other, and of the clip
OUT/borders.csv, OUT/borders.md          what was measured of each
OUT/<variant>/video.mp4, shown/*.png     what it rendered; `result.json` last, by which it is found again
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.align import squares_of
from engine.errors import ConfigError
from engine.evaluate.border import BorderJitter, band_of
from engine.evaluate.sheets import Columns, sheet
from engine.marks import MarksConfig
from engine.marks.files import session_of, write_marked
from engine.media import read_picture, write_picture
from engine.types import F64, U8, Crop, Frame
from export.enrol.paper import Rendering, Scene, Stitch, check_strengths
from export.enrol.progress import Tell
from trainers.checkpoint import as_json, write_text
from trainers.stit.directions import Direction
from trainers.stit.generator import Generator
from trainers.stit.stitching import Stitching

_SHOWN = 5
_AROUND = 1.1
"""Side of what the sheet shows, in sides of the aligned square."""


@dataclass(frozen=True)
class Variant:
    """What is rendered under a name. without: as of a Rendering."""

    name: str
    without: frozenset[str] = frozenset()
    stitching: Stitch = "frame"

    @property
    def folder(self) -> str:
        return self.name.replace(" ", "_")


VARIANTS = (
    Variant("paper"),
    Variant("amortised stitching", stitching="amortised"),
    *(Variant(f"no {part}", frozenset({part})) for part in ("smoothing", "tuning", "stitching", "mask")),
)
"""The paper's procedure, ours, and the paper's without each of its parts."""

COLUMNS = ("variant", "frames", "border", "seam", "jitter", "stitch_ms", "all_ms")
_ABOUT = """
border: mean border error of the edited pictures against the crops (three times a mean square, pictures in -1..1),
within the border of the masks. seam: the same along the edge of what is pasted, which is the square's where no mask is.
jitter: second difference in time along that edge in the frame, over the input's (engine/evaluate/border.py).
stitch_ms, all_ms: CPU milliseconds per edited frame.
"""


@dataclass(frozen=True)
class Ablations:
    """out: folder. strengths: of directions, by name. most: frames of the clip, from the first on, 0 = all."""

    out: Path
    strengths: Mapping[str, float] = field(default_factory=dict)
    most: int = 40
    options: Stitching = field(default_factory=Stitching)

    def check(self, directions: Mapping[str, Direction]) -> None:
        """Raises ConfigError for what cannot be rendered, before anything is tuned."""
        check_strengths(self.strengths, directions)
        if self.most < 0:
            raise ConfigError(f"ablation-frames: got {self.most}, expected 0 or more")


def ablate(scene: Scene, asked: Ablations, tell: Tell) -> list[str]:
    """Render every variant that is not there yet, and write sheet and table. Returns the table's lines."""
    asked.check(scene.directions)
    asked.out.mkdir(parents=True, exist_ok=True)
    numbers = [number for number in scene.tracked.frames if not asked.most or number < asked.most]
    if not numbers:
        raise ConfigError(
            f"ablation-frames: no face in the first {asked.most} frames; take more of them, or 0 for all"
        )
    chosen = {numbers[round(at)] for at in np.linspace(0, len(numbers) - 1, min(_SHOWN, len(numbers)))}
    mark = _mark(scene, asked, chosen)
    rows = []
    for place, one in enumerate(VARIANTS):
        title = f"{one.name} ({place + 1} of {len(VARIANTS)})"

        def told(stage: str, done: int, total: int | None, title: str = title) -> None:
            tell(title, done, total)

        rows.append(_variant(scene, asked, one, sorted(chosen), mark, told))
    _write_sheet(asked, sorted(chosen))
    return _write_table(asked, rows)


def _variant(
    scene: Scene, asked: Ablations, one: Variant, chosen: Sequence[int], mark: str, tell: Tell
) -> dict[str, Any]:
    folder = asked.out / one.folder
    if (found := _result(folder, mark)) is not None:
        return found
    (folder / "shown").mkdir(parents=True, exist_ok=True)
    watch = _Watch(scene, asked.out, folder, frozenset(chosen))
    wanted = Rendering(
        folder / "video.mp4", asked.strengths, one.without, one.stitching, asked.options, asked.most
    )
    rendered = scene.render(wanted, tell, watch)
    jitter, count = watch.jitter.found(), max(1, rendered.edited)
    row: dict[str, Any] = {
        "variant": one.name,
        "frames": rendered.edited,
        "border": rendered.border,
        "seam": rendered.seam,
        "jitter": None if jitter is None else jitter.ratio,
        "stitch_ms": 1e3 * rendered.work.get("stitch", 0.0) / count,
        "all_ms": 1e3 * sum(rendered.work.values()) / count,
    }
    write_text(
        folder / "result.json", json.dumps({"mark": mark, "row": row}, indent=1, allow_nan=False) + "\n"
    )
    return row


def _result(folder: Path, mark: str) -> dict[str, Any] | None:
    try:
        stored = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        row = stored["row"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not rendered yet, or cut short
    whole = isinstance(row, dict) and set(row) == set(COLUMNS) and (folder / "video.mp4").is_file()
    return row if whole and stored.get("mark") == mark else None


class _Watch:
    """One variant's frames: the border over time, and the pictures of the sheet."""

    def __init__(self, scene: Scene, out: Path, folder: Path, chosen: frozenset[int]) -> None:
        self.jitter = BorderJitter()
        self._out, self._folder, self._chosen = out, folder, chosen
        quads = squares_of(scene.tracked.landmarks, _AROUND * scene.alignment.scale).quads()
        self._quads = {number: quads[index] for index, number in enumerate(scene.tracked.frames)}
        self._last = -2

    def __call__(self, number: int, frame: Frame, picture: U8, crop: Crop, mask: U8 | None) -> None:
        if number != self._last + 1:
            self.jitter.skip()
        self._last = number
        self.jitter.add(picture, frame.rgb, band_of(mask, crop, frame.rgb.shape))
        if number in self._chosen:
            quad = self._quads[number]
            (self._out / "clip").mkdir(exist_ok=True)
            write_picture(self._out / "clip" / f"{number:06d}.png", _around(frame.rgb, quad))
            write_picture(self._folder / "shown" / f"{number:06d}.png", _around(picture, quad))


def _around(picture: U8, quad: F64) -> U8:
    """The upright box about a quad, clipped to the picture, at least two pixels wide."""
    height, width = picture.shape[:2]
    left, top = np.clip(np.floor(quad.min(0)).astype(int), 0, (width - 2, height - 2)).tolist()
    right, bottom = np.ceil(quad.max(0)).astype(int).tolist()
    return np.ascontiguousarray(picture[top : max(bottom, top + 2), left : max(right, left + 2)])


def _write_sheet(asked: Ablations, chosen: Sequence[int]) -> None:
    folders = {"clip": asked.out / "clip"} | {one.name: asked.out / one.folder / "shown" for one in VARIANTS}
    rows = {
        name: [read_picture(folder / f"{number:06d}.png") for number in chosen]
        for name, folder in folders.items()
    }
    columns = Columns(tuple(chosen), tuple(f"frame {number}" for number in chosen))
    strengths = ", ".join(f"{name} {value:g}" for name, value in asked.strengths.items()) or "no edit"
    drawn = sheet(strengths, None, columns, rows)
    write_marked(asked.out / "sheet.png", drawn, MarksConfig(), session_of("stit ablations", [drawn]))


def _write_table(asked: Ablations, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([row[name] for name in COLUMNS] for row in rows)
    write_text(asked.out / "borders.csv", text.getvalue())
    lines = [f"| {' | '.join(COLUMNS)} |", f"| {' | '.join('---' for _ in COLUMNS)} |"]
    lines += [f"| {' | '.join(_cell(row[name]) for name in COLUMNS)} |" for row in rows]
    write_text(asked.out / "borders.md", "\n".join([*lines, "", _ABOUT.strip(), ""]))
    return [*lines, f"{asked.out / 'sheet.png'} shows them side by side"]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.1f}" if value >= 10 else f"{value:.4f}"
    return str(value)


def _mark(scene: Scene, asked: Ablations, chosen: set[int]) -> str:
    """What decides the pictures: another one, and all are rendered anew."""
    clip, networks = scene.clip.stat(), scene.networks
    said = {
        "clip": [scene.clip.name, clip.st_size, clip.st_mtime_ns],
        "alignment": asdict(scene.alignment),
        "strengths": dict(asked.strengths),
        "most": asked.most,
        "stitching": asdict(asked.options),
        "frozen": None if networks.frozen is None else networks.frozen[0],
        "shown": sorted(chosen),
    }
    digest = hashlib.sha256(json.dumps(as_json(said), sort_keys=True).encode())
    made = networks.made
    for one in (networks.generator, made.pivotal, made.generator):
        digest.update(b"none" if one is None else weights_digest(one))
    for name, direction in sorted(scene.directions.items(), key=lambda item: item[0]):
        if name in asked.strengths:
            digest.update(
                direction.tobytes() if isinstance(direction, np.ndarray) else direction.values.tobytes()
            )
    return digest.hexdigest()


def weights_digest(generator: Generator) -> bytes:
    """SHA-256 over all that a generator holds."""
    digest = hashlib.sha256()
    for name, value in generator.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()
