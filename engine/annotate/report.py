"""report.html and sheet.png: what was kept, what was left out and why, and how the pictures look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engine.annotate.ledger import Entry, Ledger, landmarks_of
from engine.annotate.table import REAL, Cells
from engine.errors import InputError
from engine.evaluate.parts import write_text
from engine.media import write_picture
from engine.parsing.colour import paint
from engine.types import AU_NAMES, F32, U8

_ROWS, _MADE, _CELL = 20, 9, 96
_GROUND = 245
_LINE, _DOT = 14, (64, 255, 96)
_MOST_LISTED = 500
_LETTERS = 18
_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1200px; color: #222 }
table { border-collapse: collapse; margin: .5rem 0 2rem } td, th { padding: .15rem .6rem; text-align: right }
td:first-child, th:first-child { text-align: left } tr:nth-child(even) td { background: #f3f3f3 }
img { max-width: 100% } td.text { text-align: left }
"""

Line = tuple[Entry, Sequence[Entry]]


def write_report(
    out: Path, about: Mapping[str, Any], ledger: Ledger, sides: Mapping[str, str], rows: Iterable[Cells]
) -> None:
    """Both files into `out`, whole or not at all each. sides: person to split. rows: of the whole table."""
    write_picture(out / "sheet.png", sheet(out, ledger.entries, sides, rows))
    write_text(out / "report.html", _page(about, ledger))


def sheet(out: Path, entries: Sequence[Entry], sides: Mapping[str, str], rows: Iterable[Cells]) -> U8:
    """Persons spread evenly over the table: a real picture with its landmarks, its parsing mask, then pictures
    synthesised from it, or further ones of the same person. uint8 RGB."""
    lines = _choose(entries)
    wanted = {first.place for first, _ in lines}
    places = {place: landmarks_of(cells) for place, cells in enumerate(rows) if place in wanted}
    drawn = [_draw(out, first, others, places[first.place], sides[first.person]) for first, others in lines]
    widest = max(2 + len(others) for _, others in lines)
    return np.ascontiguousarray(np.concatenate(drawn)[:, : _CELL * widest])


def _choose(entries: Sequence[Entry]) -> list[Line]:
    firsts: dict[str, Entry] = {}
    for entry in entries:
        if entry.kind == REAL:
            firsts.setdefault(entry.person, entry)
    chosen = list(firsts.values())[:: max(1, -(-len(firsts) // _ROWS))]
    made: dict[str, list[Entry]] = {first.image: [] for first in chosen}
    further: dict[str, list[Entry]] = {first.person: [] for first in chosen}
    for entry in entries:
        if entry.base in made:
            made[entry.base].append(entry)
        elif entry.person in further and entry is not firsts[entry.person]:
            further[entry.person].append(entry)
    return [(first, _spread(made[first.image] or further[first.person])) for first in chosen]


def _spread(entries: list[Entry]) -> list[Entry]:
    return entries[:: max(1, -(-len(entries) // _MADE))]


def _draw(out: Path, first: Entry, others: Sequence[Entry], places: F32, side: str) -> U8:
    rgb = _picture(out / "images" / f"{first.image}.png")
    parsing = _stored(out / "parsing" / f"{first.image}.png", cv2.IMREAD_GRAYSCALE)
    cells = [_dotted(rgb, places), _cell(paint(parsing, rgb))]
    cells += [_cell(_picture(out / "images" / f"{other.image}.png")) for other in others]
    line = np.full((_CELL + _LINE, _CELL * (2 + _MADE), 3), _GROUND, np.uint8)
    for place, cell in enumerate(cells):
        line[_LINE:, place * _CELL : (place + 1) * _CELL] = cell
    _write(line, f"{first.image[:_LETTERS]} ({side})", 0)
    for place, other in enumerate(others):
        _write(line, other.note, (2 + place) * _CELL)
    return line


def _picture(path: Path) -> U8:
    return np.asarray(cv2.cvtColor(_stored(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def _stored(path: Path, how: int) -> U8:
    stored = cv2.imread(str(path), how)
    if stored is None:
        raise InputError(f"{path}: was written and cannot be read again; is the disk full?")
    return np.asarray(stored, np.uint8)


def _cell(rgb: U8) -> U8:
    return np.asarray(cv2.resize(rgb, (_CELL, _CELL), interpolation=cv2.INTER_AREA), np.uint8)


def _dotted(rgb: U8, places: F32) -> U8:
    cell = _cell(rgb)
    for x, y in (places + 0.5) * (_CELL / rgb.shape[0]):
        cv2.circle(cell, (int(x), int(y)), 1, _DOT, -1)
    return cell


def _write(line: U8, text: str, left: int) -> None:
    cv2.putText(
        line, text, (left + 2, _LINE - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (30, 30, 30), 1, cv2.LINE_AA
    )


def _page(about: Mapping[str, Any], ledger: Ledger) -> str:
    counts, refused = about["counts"], ledger.refused
    left_out = counts["refused"]
    facts = {
        "inputs": counts["inputs"],
        "pictures": counts["pictures"],
        **{
            f"{side}, {kind}": counts[side][kind] for side in ("train", "validation") for kind in counts[side]
        },
        "persons in training": about["persons"]["train"],
        "persons held back": about["persons"]["validation"],
        "extractor": f"{about['extractor']['name']} {about['extractor']['version']}, {about['extractor']['mode']}",
        "crop": f"{about['crop']['rule']}, {about['crop']['size']} px",
    }
    body = [
        "<h1>Prepared pictures</h1>",
        _table(("what", "number"), facts.items()),
        "<h2>Left out, by reason</h2>",
        _table(("reason", "pictures"), left_out.items()) if left_out else "<p>Nothing was left out.</p>",
        "<h2>Action units</h2>",
        _table(("AU", "mean", "spread", "largest", "share of zeros"), _au_lines(ledger)),
        "<h2>Origins and licences</h2>",
        _table(
            ("origin", "licence", "pictures"),
            [
                (one["origin"] or "not stated", one["licence"], one["pictures"])
                for one in _grouped(about["origins"])
            ],
        ),
        _twins(about["persons"]["twins"]),
        "<h2>Sheet</h2><p>The picture with its landmarks, its parsing mask, then synthesised or further ones.</p>"
        '<img src="sheet.png">',
        "<h2>Each picture that was left out</h2>",
        _table(("picture", "reason", "detail"), refused[:_MOST_LISTED], text=True),
        f"<p>and {len(refused) - _MOST_LISTED} more</p>" if len(refused) > _MOST_LISTED else "",
    ]
    head = f'<meta charset="utf-8"><title>Marotte: prepared pictures</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _twins(groups: Sequence[Sequence[str]]) -> str:
    if not groups:
        return ""
    told = _table(("names",), [(", ".join(group),) for group in groups], text=True)
    return f"<h2>Names that share a picture, kept on one side</h2>{told}"


def _grouped(origins: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By the name before the path in it, so that a data set of thousands of files stays one line."""
    total: Counter[tuple[str, str]] = Counter()
    for one in origins:
        total[one["origin"].partition(": ")[0], one["licence"]] += one["pictures"]
    return [{"origin": key[0], "licence": key[1], "pictures": count} for key, count in sorted(total.items())]


def _au_lines(ledger: Ledger) -> list[tuple[str, ...]]:
    table = ledger.aus
    figures = (table.mean(0), table.std(0), table.max(0), (table == 0).mean(0))
    return [(name, *(f"{values[k]:.3f}" for values in figures)) for k, name in enumerate(AU_NAMES)]


def _table(heads: Sequence[str], lines: Any, *, text: bool = False) -> str:
    kind = ' class="text"' if text else ""
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(str(cell))}</td>" for cell in line) + "</tr>" for line in lines
    )
    return f"<table><tr>{head}</tr>{body}</table>"
