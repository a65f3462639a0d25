"""A person of photos, or of a clip, to a bundle that is tuned to them: looked at, prepared, tuned, packed.

WORK/rules.json   what decides the result; another one there, and the folder begins anew
     start/       the checkpoint that the tuning starts from
     tuning/      the tuning (trainers/loop.py), which goes on from there to the same weights
     preview.png  held-back views; before and after
and what export/enrol/liquid_warping_looking.py writes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engine.config import known
from engine.errors import ConfigError
from engine.marks import MarksConfig
from engine.marks.files import session_of, write_marked
from engine.several import ACCEPTANCE, MOST_SOURCES
from export.checkpoints import Loaded, load
from export.enrol import kept
from export.enrol.liquid_warping_looking import SIDE, Looked, data_of, look, pictures_of
from export.enrol.liquid_warping_person import person_plan
from export.enrol.liquid_warping_recipe import Base, base_of, check_recipe, count_of, recipe_of, write_start
from export.enrol.liquid_warping_sheet import preview
from export.enrol.progress import Tell
from export.pack import Label, pack
from export.place import check_bundle_place
from trainers.checkpoint import write_text
from trainers.config import Recipe
from trainers.liquid_warping.live import COUNTS
from trainers.loop import train

STAGES: Final = ("look", "prepare", "tune", "pack")
MOST_FILES: Final = 40
_FORMAT: Final = 2
"""Of what decides a result beside its inputs; raised, and nothing that was kept is found any more."""
_RULES = "rules.json"
_HALF_GATE = 5e-3


@dataclass(frozen=True)
class Enrolment:
    """What is asked for beside files and weights. sources: most pictures that the bundle holds. most: frames taken of a
    clip. size: side of the pictures that are learnt from and made, None for that of the weights' training. accept:
    names of acceptances. changes: of the recipe. cache: where bundles are kept, None keeps none."""

    sources: int = 4
    most: int = 80
    size: int | None = None
    accept: frozenset[str] = frozenset()
    changes: tuple[str, ...] = ()
    device: str = "auto"
    backend: str = "auto"
    half: bool = False
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.sources not in COUNTS:
            counts = ", ".join(map(str, COUNTS))
            raise ConfigError(f"sources: got {self.sources}, expected one of {counts}")
        if not 3 <= self.most <= 1000:
            raise ConfigError(f"frames: got {self.most}, expected 3 .. 1000")
        for name in self.accept:
            known(name, (ACCEPTANCE,), "accept")


@dataclass(frozen=True)
class Enrolled:
    """lines: for people. cached: nothing was tuned, the bundle is a copy. interrupted: the signal's name, or empty;
    nothing is packed then."""

    lines: tuple[str, ...] = ()
    cached: bool = False
    interrupted: str = ""


def check(weights: Path | None, asked: Enrolment) -> Base:
    """Whatever is wrong before there is a file, as `enrol` raises it; else what an enrolment begins with."""
    base = base_of(weights, asked.size)
    check_recipe(base, asked.device, asked.changes)
    return base


def enrol(
    files: Sequence[Path],
    weights: Path | None,
    out: Path,
    work: Path,
    asked: Enrolment,
    label: Label,
    tell: Tell,
) -> Enrolled:
    """Enrol the person of one clip, or of photos, or go on where the folder `work` has begun.

    weights: a checkpoint of liquid_warping. out: the bundle's folder. Raises MarotteError and TrainerError, one line
    each; what is done until then stays in `work`.
    """
    check_bundle_place(out)
    base = check(weights, asked)
    if not 1 <= len(files) <= MOST_FILES:
        raise ConfigError(f"enrol: got {len(files)} files, expected one clip, or 1 .. {MOST_FILES} photos")
    ordered = _by_contents(files)
    rules = _rules(base, asked)
    key = kept.key_of([digest for digest, _ in ordered], rules)
    if asked.cache is not None and (found := kept.find(asked.cache, key)) is not None:
        return _copied(found, out, work, label)
    _begin(work, key)
    looked = look(
        [path for _, path in ordered],
        work,
        size=base.size,
        texture=base.texture,
        sources=min(asked.sources, MOST_SOURCES),
        most=asked.most,
        accept=asked.accept,
        backend=asked.backend,
        tell=tell,
    )
    recipe = _recipe(base, asked, looked, work)
    made = train(recipe, work / "tuning", resume=True, tell=lambda done, steps: tell("tune", done, steps))
    if made.interrupted:
        return Enrolled(interrupted=made.interrupted)
    tell("pack", 0, 1)
    tuned = load(work / "tuning")
    drawn = preview(recipe, load(work / "start"), tuned)
    write_marked(work / "preview.png", drawn, MarksConfig(), session_of("liquid_warping preview", [drawn]))
    lines = _lines(base, looked, tuned)
    _pack(base, tuned, looked, out, work, label, asked, key)
    if asked.cache is not None and not kept.keep(asked.cache, key, out, work / "preview.png", lines):
        lines.append(f"{asked.cache} cannot be written to, so the same photos would be tuned again")
    tell("pack", 1, 1)
    return Enrolled(tuple(lines))


def _by_contents(files: Sequence[Path]) -> list[tuple[str, Path]]:
    """Digests and files, each content once, in the order of their digests."""
    return sorted({kept.digest_of(path): path for path in files}.items())


def _rules(base: Base, asked: Enrolment) -> dict[str, Any]:
    """Plain data that decides the result beside the files' contents."""
    folder = base.loaded.checkpoint.folder
    recipe = recipe_of(base, sources=asked.sources, changes=asked.changes).table()
    recipe["run"] = {name: value for name, value in recipe["run"].items() if name in ("seed", "precision")}
    return {
        "format": _FORMAT,
        "weights": kept.digest_of(folder / "weights.safetensors"),
        "recipe": recipe,
        "texture": base.texture,
        "most": asked.most,
        "side": SIDE,
        "half": asked.half,
        "accept": sorted(asked.accept),
    }


def _copied(found: kept.Kept, out: Path, work: Path, label: Label) -> Enrolled:
    kept.copy(found, out, label)
    work.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(found.preview, work / "preview.png")
    told = (
        f"cache hit: these files were enrolled before by the same recipe and weights; {out} is a copy of it"
    )
    return Enrolled((told, *found.lines), cached=True)


def _begin(work: Path, key: str) -> None:
    """Clears away what was made of other files, or by other rules; nothing but what an enrolment writes."""
    rules = work / _RULES
    try:
        same = json.loads(rules.read_text(encoding="utf-8")) == {"key": key}
    except (OSError, ValueError, RecursionError):
        same = False
    if same:
        return
    work.mkdir(parents=True, exist_ok=True)
    for name in ("looked.json", "preview.png"):
        (work / name).unlink(missing_ok=True)
    for name in ("start", "tuning", "data", "pictures"):
        shutil.rmtree(work / name, ignore_errors=True)
    write_text(rules, json.dumps({"key": key}) + "\n")


def _recipe(base: Base, asked: Enrolment, looked: Looked, work: Path) -> Recipe:
    recipe = recipe_of(
        base,
        sources=count_of(len(looked.names), asked.sources),
        held=looked.held,
        shown=looked.shown,
        folder=data_of(work),
        start=work / "start",
        device=asked.device,
        changes=asked.changes,
    )
    if not (work / "start" / "checkpoint.json").is_file():
        write_start(base, recipe, work / "start")
    return recipe


def _lines(base: Base, looked: Looked, tuned: Loaded) -> list[str]:
    found = tuned.facts["personalised"]
    said = [f"pictures to learn from: {looked.frames - looked.drawn}" + _drawn(looked)]
    said += [f"left out: {name}, {reason}" for name, reason in looked.left_out.items()]
    said.append(f"the bundle holds {', '.join(looked.names)}")
    if found["psnr_before"] is None:
        said.append(
            f"no view could be held back: all {found['steps']} steps were made, and nothing says how good they are"
        )
    else:
        said.append(
            f"held-back {looked.held_back}: {found['psnr_before']:.2f} dB before, {found['psnr']:.2f} dB after "
            f"{found['steps']} steps ({found['psnr'] - found['psnr_before']:+.2f})"
        )
    if base.size != base.trained_at:
        said.append(f"tuned at {base.size} pixels from weights that were trained at {base.trained_at}")
    if base.mesh != "face":
        said.append(f"the weights knew the mesh {base.mesh!r}, the bundle has 'face': more steps may help")
    return said


def _drawn(looked: Looked) -> str:
    return f", and {looked.drawn} expressions that were drawn of them" if looked.drawn else ""


def _pack(
    base: Base,
    tuned: Loaded,
    looked: Looked,
    out: Path,
    work: Path,
    label: Label,
    asked: Enrolment,
    key: str,
) -> None:
    found: Mapping[str, Any] = tuned.facts["personalised"]
    facts: dict[str, Any] = {
        "enrolled_from": looked.kind,
        "enrolled_frames": looked.frames,
        "enrolled_drawn": looked.drawn,
        "enrolled_key": key,
        "tuned_steps": found["steps"],
        "tuned": found["adapted"],
        "tuned_size": base.size,
        "trained_size": base.trained_at,
        "held_back": looked.held_back,
    }
    for name, value in (("held_psnr_before_db", found["psnr_before"]), ("held_psnr_after_db", found["psnr"])):
        if value is not None:
            facts[name] = value
    accepted = sorted(asked.accept)
    plan = person_plan(tuned, pictures_of(work, looked), looked.names, accepted, facts)
    pack(plan, label, out, half=asked.half, gate=_HALF_GATE if asked.half else None)
