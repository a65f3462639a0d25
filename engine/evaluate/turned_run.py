"""Turned heads of clips: to metrics.json, report.html, a sheet per clip and the enrolment parts as videos."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from engine import backends
from engine.errors import ConfigError, InputError
from engine.evaluate import metrics, turned
from engine.evaluate.parts import Parts, code_digest, digest, file_digest, write_json, write_text
from engine.evaluate.reenact import SessionReenactor
from engine.evaluate.report import STYLE, number
from engine.evaluate.run import bundle_words
from engine.evaluate.sheets import Columns, sheet
from engine.evaluate.survey import media_files
from engine.evaluate.turned import AHEAD, LIMIT, NEAREST, OURS, Made, Row, Truth
from engine.generators import open_generator
from engine.media import write_picture
from engine.plug import Generator
from engine.puppet import Opening, open_measurers
from engine.source import Segmenter
from engine.track.face import FaceTracker
from engine.types import U8, Mode, Source

KEYS = ("psnr_face", "ssim_face", "akd", "akd_lip", "yaw_error", "detected", "shown")
_DEFAULT = "mesh_flow"
_COLUMNS = 5


def evaluate_turned(
    drivers: Path,
    out: Path,
    *,
    bundle: str,
    beyond: float = turned.BEYOND,
    count: int | None = None,
    accept: frozenset[str] = frozenset(),
    backend: str = "auto",
    cache: Path | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, Any]:
    """Compare a bundle with the default generator on the turned heads of clips (turned.py says how).

    drivers: a clip, or a folder of them. beyond: degrees of yaw. count: pictures of a person, at most; by default as
    many as the bundle takes. Writes into `out` metrics.json, report.html, sheets/<clip>.png and
    enrolment/<clip>.mp4, what a person may be tuned on. A clip that shows no turned head at its beginning or end is
    listed under `refused`. Returns what stands in metrics.json. Raises ConfigError, BundleError.
    """
    if not drivers.exists():
        raise ConfigError(f"{drivers}: is not there; name a clip or a folder of them")
    files = {drivers.stem: drivers} if drivers.is_file() else media_files(drivers)
    if not files:
        raise ConfigError(f"{drivers}: holds no clip; name a clip or a folder of them")
    if not 0.0 <= beyond < 90.0:
        raise ConfigError(f"turned: got {beyond:g} degrees, expected 0 .. 90")
    choice = backends.choose(backend)
    about = {
        "generator": bundle_words(bundle),
        "code": code_digest()[:16],
        "backend": f"{choice.name} ({choice.reason})",
        "beyond": f"{beyond:g} degrees",
        "pictures": "as many as the bundle takes" if count is None else f"{count} at most",
    }
    with ExitStack() as opened:
        stage = open_stage(bundle, Opening(backend, cache=cache), accept, opened)
        clips, refused = Parts(out / "parts").rows(
            files,
            lambda name, path: digest("turned", name, file_digest(path), *about.values()),
            lambda name, path: _row(path, name, stage, out, beyond, count),
            progress,
        )
    found = {"about": about, "clips": clips, "refused": refused}
    write_json(out / "metrics.json", found)
    write_text(out / "report.html", _page(found))
    return found


@dataclass(frozen=True, slots=True)
class Stage:
    """What measures, open. single: what finds faces in pictures, and through a clip."""

    generator: Generator
    ours: SessionReenactor
    default: SessionReenactor
    tracker: FaceTracker
    segmenter: Segmenter


def open_stage(bundle: str, opening: Opening, accept: frozenset[str], opened: ExitStack) -> Stage:
    """A bundle and the default generator behind one tracker. Raises ConfigError where the bundle moves no portrait."""
    tracker = FaceTracker(backend=opening.backend, max_faces=1, cache=opening.cache)
    opened.callback(tracker.close)
    segmenter = opening.segmenter()
    opened.callback(segmenter.close)
    both = []
    for name in (bundle, _DEFAULT):
        generator, runner = open_generator(name, backend=opening.backend, accept=accept)
        opened.callback(runner.close)
        if Mode.PUPPET not in generator.modes:
            raise ConfigError(f"bundle {name}: it moves no portrait; --turned compares those that do")
        measurers = open_measurers(generator, opening, opened)
        both.append((generator, SessionReenactor(tracker, segmenter, generator, runner, measurers)))
    return Stage(both[0][0], both[0][1], both[1][1], tracker, segmenter)


def _row(path: Path, name: str, stage: Stage, out: Path, beyond: float, count: int | None) -> Row:
    try:
        return _measured(path, name, stage, out, beyond, count)
    except InputError as error:
        return {"refused": str(error)}


def _measured(path: Path, name: str, stage: Stage, out: Path, beyond: float, count: int | None) -> Row:
    clip = turned.read(path, stage.tracker)
    times = np.array([frame.time_s for frame in clip.frames])
    parts = turned.halves(turned.yaws_of(clip), times, beyond)
    turned.write_enrolment(out / "enrolment" / f"{name}.mp4", clip, parts)
    most = getattr(stage.generator, "sources", 1) if count is None else count
    person = turned.pictures(clip, parts, stage.tracker, stage.segmenter, most)
    truth = turned.truth_of(clip, parts, stage.tracker)
    made, which = _made(stage, person, truth)
    figures = {label: turned.scored(one, truth, stage.tracker) for label, one in made.items()}
    scores = {label: means for label, (means, _) in figures.items()}
    picture = out / "sheets" / f"{name}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    write_picture(picture, _sheet(name, person, truth, made))
    each = turned.each_picture(person)
    return {
        "enrolment": [parts.enrolment.start, parts.enrolment.stop],
        "held": [parts.held.start, parts.held.stop],
        "pictures": [{"name": one.name, "yaw": round(turned.yaw_of(one), 1)} for one in each],
        "akd_floor": turned.floor_of(truth),
        "scores": scores,
        "wins": {rival: turned.wins(scores, rival) for rival in (AHEAD, NEAREST)},
        "frames": [
            {
                "frame": parts.held.start + truth.video[k],
                "yaw": round(float(truth.yaws[k]), 2),
                "nearest": which[k],
                **{label: frames[k] for label, (_, frames) in figures.items()},
            }
            for k in range(len(truth.video))
        ],
    }


def _made(stage: Stage, person: Source, truth: Truth) -> tuple[dict[str, Made], tuple[int, ...]]:
    each = turned.each_picture(person)
    alone = [turned.made_by(stage.default, one, truth) for one in each]
    best, which = turned.nearest(alone, [turned.yaw_of(one) for one in each], truth)
    made = {OURS: turned.made_by(stage.ours, person, truth), AHEAD: alone[0], NEAREST: best}
    limit = turned.at_the_networks_pixels(stage.generator, person, truth)
    return made if limit is None else {**made, LIMIT: limit}, which


def _sheet(name: str, person: Source, truth: Truth, made: Mapping[str, Made]) -> U8:
    """The pictures that were given, then, of frames spread evenly, the truth, what was made and what it lacks."""
    count = len(truth.video)
    places = sorted({round(float(at)) for at in np.linspace(0, count - 1, _COLUMNS)})
    titles = tuple(f"frame {truth.video[k]}, {truth.yaws[k]:.0f} degrees" for k in places)
    given = [turned.smaller(one.rgb) for one in turned.each_picture(person)][:_COLUMNS]
    rows: dict[str, Sequence[U8]] = {"pictures": given, "true": [truth.pictures[k] for k in places]}
    for label in (OURS, NEAREST, AHEAD):
        pictures = [made[label].pictures[k] for k in places]
        rows[label] = pictures
        if label != AHEAD:
            trues = rows["true"]
            rows[f"{label[:9]} x4"] = [metrics.error_picture(a, b) for a, b in zip(pictures, trues)]
    return sheet(name, None, Columns(tuple(places), titles), rows)


def _page(found: Mapping[str, Any]) -> str:
    head = "".join(f"<th>{key}</th>" for key in KEYS)
    lines = "".join(_lines(name, row, head) for name, row in found["clips"].items())
    refused = "".join(f"<li>{escape(one)}: {escape(why)}</li>" for one, why in found["refused"].items())
    about = "".join(f"<li>{escape(name)}: {escape(text)}</li>" for name, text in found["about"].items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Marotte: turned heads</title>'
        f"<style>{STYLE}</style></head><body><h1>Turned heads</h1><ul>{about}</ul>{lines}<ul>{refused}</ul>"
        "</body></html>\n"
    )


def _lines(name: str, row: Mapping[str, Any], head: str) -> str:
    rows = "".join(
        f"<tr><td>{escape(label)}</td>{''.join(f'<td>{number(scores[key])}</td>' for key in KEYS)}</tr>"
        for label, scores in row["scores"].items()
    )
    used = ", ".join(f"{one['name']} ({one['yaw']:.0f} degrees)" for one in row["pictures"])
    return (
        f"<h2>{escape(name)}</h2><p>{len(row['frames'])} frames; pictures: {escape(used)}; floor of akd: "
        f"{number(row['akd_floor'])}</p><table><tr><th></th>{head}</tr>{rows}</table>"
        f'<p><img src="sheets/{escape(name)}.png" alt="sheet"></p>'
    )
