"""From the parts of an evaluation by requests to metrics.json, report.html and the sheets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from engine.errors import ConfigError
from engine.evaluate.items import Item
from engine.evaluate.layout_scores import FOLLOW, mean_of_layouts
from engine.evaluate.pairs import mean_of_clips
from engine.evaluate.parts import Parts, write_json, write_text
from engine.evaluate.report import STYLE, exclusion_table, gallery, number
from engine.evaluate.requests import Scores, by_person, mean_of
from engine.evaluate.rules import Exclusion
from engine.media import read_picture, write_picture

KINDS = ("requests", "pairs", "transfer", "removal", "layouts", "clip_layouts")
"""The tables, and the keys of metrics.json, where they hold anything."""

_ROWS = {
    "requests": "people",
    "pairs": "clips",
    "transfer": "couples",
    "removal": "people",
    "layouts": "people",
    "clip_layouts": "clips",
}
_TITLES = {
    "requests": "Action units that were asked for",
    "pairs": "A source frame with another frame's action units, against that frame",
    "transfer": "A donor's attribute",
    "removal": "An attribute taken away",
    "layouts": "Layouts that were asked for",
    "clip_layouts": "A source frame in other frames' layouts",
}
TEXT = (
    "Pictures are cut to a square of 2.3 face ovals at 512 px. What is asked, and what came, is measured by the "
    "project's own extractor; in static mode each picture by itself, in dynamic mode against the resting face that is "
    "estimated from the source's picture. Spearman: between the intensities asked and those measured on the "
    "output, per person, then averaged. Slope: intensity measured per intensity asked. Leak: how far the landmarks "
    "of the other region (mouth, or eyes and brows) move because that region's pixels changed, over how far those of "
    "the AU's own region move; seen: the same as the tracker alone sees it, which moves its whole face with any part; "
    "pixels: mean change of the other region's pixels over that of the own region's. Definitions: docs/evaluation.md."
)


def write_report(
    folder: Path,
    parts: Parts,
    pieces: Sequence[tuple[Item, str]],
    refused: Sequence[Exclusion],
    about: Mapping[str, str],
) -> Scores:
    """All files of `folder`; metrics.json last. Returns its content. Raises ConfigError where the folder holds the
    metrics of something else."""
    check_folder(folder)
    exclusions = list(refused)
    rows: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    sheets: dict[str, list[tuple[str, str]]] = {kind: [] for kind in KINDS}
    for item, key in pieces:
        part = parts.load(key)
        if part is None or "refused" in part:
            reason = "its result is missing; run again" if part is None else part["refused"]
            exclusions.append(Exclusion(f"{item.kind} {item.name}", "all", reason))
            continue
        rows[item.kind][item.name] = part["scores"]
        picture = folder / "sheets" / item.kind / f"{item.name.replace('|', ' from ')}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_picture(picture, read_picture(parts.path(key).with_suffix(".png")))
        sheets[item.kind].append((item.name, quote(picture.relative_to(folder).as_posix())))
    metrics = {
        kind: {"mean": _MEANS[kind](list(found.values())), _ROWS[kind]: found}
        for kind, found in rows.items()
        if found
    }
    write_text(folder / "report.html", _page(metrics, exclusions, sheets, about))
    write_json(folder / "metrics.json", metrics)
    return metrics


def check_folder(folder: Path) -> None:
    """Raise ConfigError where the folder's metrics.json is of the other evaluation."""
    try:
        older = json.loads((folder / "metrics.json").read_text("utf-8"))
    except (OSError, ValueError):
        return
    if not (isinstance(older, dict) and set(older) <= set(KINDS)):
        raise ConfigError(f"{folder}: metrics.json there is of another evaluation; name another folder")


def transfer_means(rows: Sequence[Mapping[str, Any]]) -> Scores:
    """By attribute, over targets' persons."""
    return _by_attribute(rows, ("share", "psnr_kept", "psnr_outside", "mask"))


def removal_means(rows: Sequence[Mapping[str, Any]]) -> Scores:
    """By attribute, over persons."""
    return _by_attribute(rows, ("removed", "psnr_outside"))


def _by_attribute(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> Scores:
    attributes = dict.fromkeys(row["attribute"] for row in rows)
    return {
        attribute: {
            key: by_person([row for row in rows if row["attribute"] == attribute], itemgetter(key))
            for key in keys
        }
        for attribute in attributes
    }


_MEANS: Mapping[str, Callable[[list[Any]], Scores]] = {
    "requests": mean_of,
    "pairs": mean_of_clips,
    "transfer": transfer_means,
    "removal": removal_means,
    "layouts": mean_of_layouts,
    "clip_layouts": mean_of_layouts,
}


def _page(
    metrics: Mapping[str, Any],
    exclusions: Sequence[Exclusion],
    sheets: Mapping[str, Sequence[tuple[str, str]]],
    about: Mapping[str, str],
) -> str:
    origin = "".join(f"<li>{escape(name)}: {escape(text)}</li>" for name, text in about.items())
    tables = {
        "requests": _requests,
        "pairs": _pairs,
        "transfer": partial_table("share", "psnr_kept", "psnr_outside", "mask", "before", "donor", "after"),
        "removal": partial_table("removed", "psnr_outside", "before", "after"),
        "layouts": _layouts,
        "clip_layouts": _layouts,
    }
    body = [f"<h1>Evaluation by requests</h1><p>{escape(TEXT)}</p><ul>{origin}</ul>"]
    for kind, found in metrics.items():
        body.append(f"<h2>{escape(_TITLES[kind])}</h2>{tables[kind](found)}")
    body.append(exclusion_table(exclusions))
    body += [gallery(_TITLES[kind], pictures) for kind, pictures in sheets.items() if pictures]
    head = f'<meta charset="utf-8"><title>Marotte: evaluation by requests</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def table(heads: Sequence[str], rows: Mapping[str, Sequence[Any]]) -> str:
    """A table of figures; the row "mean" stands out."""
    head = "".join(f"<th>{escape(one)}</th>" for one in ("", *heads))
    lines = "".join(
        f'<tr class="{"mean" if name.startswith("mean") else "one"}"><td>{escape(name)}</td>'
        + "".join(f"<td>{number(value)}</td>" for value in values)
        + "</tr>"
        for name, values in rows.items()
    )
    return f'<div class="wide"><table><tr>{head}</tr>{lines}</table></div>'


def _requests(found: Mapping[str, Any]) -> str:
    mean, people = found["mean"], found["people"]
    keys = ("spearman", "spearman_static", "spearman_dynamic", "slope", "leak", "leak_seen", "leak_pixels")
    by_au = {name: [mean[key][name] for key in keys] for name in mean["spearman"]}
    whole = ("psnr_zero", "psnr_outside", "attention", "detected")
    heads = ("face PSNR at zero change dB", "PSNR outside the face dB", "mean attention", "detected")
    by_person = {name: [row[key] for key in whole] for name, row in people.items()}
    by_person["mean"] = [mean[key] for key in whole]
    leaks = {
        f"{key}, {side} AUs": [mean[f"{key}_{side}"]]
        for key in ("leak", "leak_seen", "leak_pixels")
        for side in ("upper", "lower")
    }
    ranks = {name: [row["aus"][au]["spearman"] for au in by_au] for name, row in people.items()}
    ranks["mean"] = [mean["spearman"][au] for au in by_au]
    return (
        table(("Spearman", "static", "dynamic", "slope", "leak", "leak seen", "leak of pixels"), by_au)
        + table(("over all of them",), leaks)
        + table(heads, by_person)
        + "<h3>Spearman by person</h3>"
        + table(list(by_au), ranks)
    )


def _pairs(found: Mapping[str, Any]) -> str:
    names = list(found["mean"])
    heads = [f"{region}, {name}" for region in ("lip", "lid") for name in names]

    def line(row: Mapping[str, Any]) -> list[Any]:
        return [row[name][region] for region in ("lip", "lid") for name in names]

    rows = {name: line(row) for name, row in found["clips"].items()}
    return table(heads, rows | {"mean": line(found["mean"])})


def _layouts(found: Mapping[str, Any]) -> str:
    mean, rows = found["mean"], found.get("people") or found["clips"]
    keys = ("edited", "unedited", "gain", "own", "tracker")
    parts = {part: [row[key] for key in keys] for part, row in mean["iou"].items()}
    parts["mean gain of " + " and ".join(FOLLOW)] = [None, None, mean["gain"]]

    def line(row: Mapping[str, Any]) -> list[Any]:
        return [row["detected"], row["psnr_own"], row["delta_e"]["skin"], row["delta_e"]["hair"]]

    heads = ("detected", "PSNR in its own layout dB", "Delta E skin", "Delta E hair")
    return table(("IoU edited", "unedited", "gain", "own layout", "tracker"), parts) + table(
        heads, {name: line(row) for name, row in rows.items()} | {"mean": line(mean)}
    )


def partial_table(*keys: str) -> Callable[[Mapping[str, Any]], str]:
    """Draws the rows of couples or removals, then a mean per attribute."""

    def draw(found: Mapping[str, Any]) -> str:
        rows = found.get("couples") or found["people"]
        lines = {name: [row[key] for key in keys] for name, row in rows.items()}
        means = {f"mean {name}": [row.get(key) for key in keys] for name, row in found["mean"].items()}
        return table([key.replace("_", " ") for key in keys], lines | means)

    return draw
