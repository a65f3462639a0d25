"""An edit's border over clips, live's way: from a folder of drivers to metrics.json and report.html."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any, cast

from engine import backends
from engine.errors import ConfigError, InputError
from engine.evaluate.border import BorderJitter, band_of
from engine.evaluate.clip import FIRST_FRAMES
from engine.evaluate.parts import Parts, code_digest, digest, file_digest, write_json, write_text
from engine.evaluate.report import STYLE, number
from engine.evaluate.run import bundle_words
from engine.evaluate.survey import media_files
from engine.media import open_media
from engine.plug import Generator, Ports
from engine.puppet import Loaded, Opening, load, open_session
from engine.render import check_heeded
from engine.types import Controls, Mode, Outcome, Patch

KEYS = ("ratio", "output", "given", "frames", "edited", "read")


def evaluate_borders(
    drivers: Path,
    out: Path,
    *,
    bundle: str,
    directions: Mapping[str, float] | None = None,
    accept: frozenset[str] = frozenset(),
    backend: str = "auto",
    cache: Path | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, Any]:
    """Edit the driver of every clip of a folder as a live session does, and measure the border (border.py).

    The first FIRST_FRAMES frames are read. directions: strengths of the edits that the bundle offers; none = its
    reconstruction, which is pasted as well. Returns what stands in metrics.json: `clips` by name, and `mean` of the
    ratios. A clip that cannot be read or shows nobody is listed under `refused`. Raises ConfigError, BundleError.
    """
    files = media_files(drivers)
    if not files:
        raise ConfigError(f"{drivers}: holds no clip; name a folder of drivers")
    try:
        controls = Controls(directions=dict(directions or {}))
    except ValueError as error:
        raise ConfigError(f"direction: {error}") from error
    opening = Opening(backend, cache=cache)
    choice = backends.choose(backend)
    about = {
        "generator": bundle_words(bundle),
        "code": code_digest()[:16],
        "backend": f"{choice.name} ({choice.reason})",
        "directions": repr(sorted(controls.directions.items())),
    }
    with ExitStack() as opened:
        loaded = load(None, opening, bundle=bundle, mode=Mode.EDIT, accept=accept)
        opened.callback(loaded.runner.close)
        check_heeded(loaded.generator, controls)
        clips, refused = Parts(out / "parts").rows(
            files,
            lambda _, path: digest("border", file_digest(path), *about.values()),
            lambda _, path: _row(path, loaded, opening, controls),
            progress,
        )
    ratios = [row["ratio"] for row in clips.values() if row["ratio"] is not None]
    found = {
        "about": about,
        "clips": clips,
        "mean": sum(ratios) / len(ratios) if ratios else None,
        "refused": refused,
    }
    write_json(out / "metrics.json", found)
    write_text(out / "report.html", _page(found))
    return found


def _row(path: Path, loaded: Loaded, opening: Opening, controls: Controls) -> dict[str, Any]:
    try:
        return _measured(path, loaded, opening, controls)
    except InputError as error:
        return {"refused": str(error)}


def _measured(path: Path, loaded: Loaded, opening: Opening, controls: Controls) -> dict[str, Any]:
    tapped, jitter = _Tapped(loaded.generator), BorderJitter()
    watched = replace(loaded, generator=cast(Generator, tapped))
    edited = read = 0
    with ExitStack() as opened:
        media = opened.enter_context(open_media(path))
        if media.still:
            raise InputError(f"{path.name}: a still picture; expected a clip")
        tracker = opened.enter_context(closing(opening.tracker()))
        session = open_session(watched, opening, tracker, opened, controls=controls)
        for frame in islice(media, FIRST_FRAMES):
            read += 1
            picture, report = session.step(frame)
            if report.outcome is Outcome.GENERATED and tapped.seen is not None:
                edited += 1
                band = band_of(tapped.seen.mask, tapped.seen.crop, frame.rgb.shape)
                jitter.add(picture.rgb, frame.rgb, band)
            else:
                jitter.skip()
    found = jitter.found()
    if found is None:
        raise InputError(f"{path.name}: {edited} of {read} frames were edited, expected three in a row")
    return {**asdict(found), "edited": edited, "read": read}


class _Tapped:
    """A generator seen through: the last patch that it gave."""

    def __init__(self, inner: Generator) -> None:
        self._inner = inner
        self.seen: Patch | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def patch(self, state: Any, outputs: Ports) -> Patch:
        self.seen = None
        self.seen = self._inner.patch(state, outputs)
        return self.seen


def _page(found: Mapping[str, Any]) -> str:
    head = "".join(f"<th>{key}</th>" for key in KEYS)
    lines = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{_cell(row[key])}</td>' for key in KEYS)}</tr>"
        for name, row in found["clips"].items()
    )
    refused = "".join(f"<li>{escape(one)}: {escape(why)}</li>" for one, why in found["refused"].items())
    about = "".join(f"<li>{escape(name)}: {escape(text)}</li>" for name, text in found["about"].items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Marotte: borders</title>'
        f"<style>{STYLE}</style></head><body><h1>Border of an edit over time</h1>"
        "<p>output, given: mean absolute second difference in time along the border, grey levels, of what left and of "
        "what came in; ratio: the one over the other.</p>"
        f"<ul>{about}</ul><table><tr><th></th>{head}</tr>{lines}"
        f'<tr class="mean"><td>mean</td><td>{number(found["mean"])}</td></tr></table><ul>{refused}</ul></body></html>\n'
    )


def _cell(value: float | int | None) -> str:
    return str(value) if isinstance(value, int) else number(value)
