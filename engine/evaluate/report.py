"""report.html: the figures, what was left out and why, and the contact sheets beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from engine.evaluate.rules import Exclusion
from engine.evaluate.scores import CROSS_KEYS, SELF_KEYS, Scores

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px; color: #222 }
table { border-collapse: collapse; margin: .5rem 0 2rem } td, th { padding: .2rem .55rem; text-align: right }
td:first-child, th:first-child { text-align: left; white-space: nowrap } th { vertical-align: bottom }
tr:nth-child(even) td { background: #f3f3f3 } tr.mean td { border-top: 1px solid #888; font-weight: 600 }
img { max-width: 100%; display: block; margin: .3rem 0 1.5rem } p { max-width: 60rem }
.wide { overflow-x: auto }
"""

PROTOCOL_TEXT = (
    "Source: the first frame with a face. Read: the first 360 frames. Scored: 30 frames spread evenly "
    "over those after the source frame; jitter over 20 consecutive ones in the middle. Cut: a square of "
    "2.3 times the face oval, brought to 512 px, clipped to the picture. Every frame between the scored "
    "ones is tracked as video and passes the whole session with its shipped settings. Output and truth "
    "are both re-tracked as single pictures; akd_floor is what the truth itself differs by between "
    "tracking it as single pictures and as video. Self: the driver's neutral is the source frame. Cross: "
    "the shipped calibration finds it; where a change from it is scored, it is first moved by the clip's "
    "mean difference between single pictures and video, so that both ends are measured alike, and the "
    "source's own face is the mean of nine readings on small turns and zooms of its picture. Distances "
    "are over the distance of the outer eye corners; the mean of a ratio of distances is the sum of its numerators "
    "over the sum of its denominators; pose_error_deg is yaw, pitch, roll; the similarity "
    "baseline moves the whole source by one 2-D similarity fitted to the true landmarks. A clip's "
    "standard deviations are those of mouth gap over eye distance, lid gap over eye width, and sideways "
    "gaze in eye widths."
)

_HEADS = {
    "psnr_face": "face PSNR dB",
    "psnr_face_gain_over_similarity": "gain over similarity dB",
    "ssim_face": "face SSIM",
    "akd": "AKD",
    "akd_floor": "AKD floor",
    "akd_lip": "AKD lips",
    "corr_mouth": "corr mouth",
    "corr_eye": "corr eye",
    "corr_gaze": "corr gaze",
    "jitter_ratio": "jitter ratio",
    "detected": "detected",
    "pose_error_deg": "pose error yaw / pitch / roll",
    "expression_error_ratio": "expression error ratio",
    "identity_shape_ratio": "identity shape ratio",
}
_BOUNDS = {
    "similarity_error": "similarity's landmark error",
    "corr_mouth_ceiling": "corr mouth, single against video",
    "corr_eye_ceiling": "corr eye, single against video",
    "corr_gaze_ceiling": "corr gaze, single against video",
    "corr_gaze_open_eyes": "corr gaze, open eyes only",
    "identity_shape_floor": "identity ratio, source tracked twice",
}
_NO_TRUTH = set(SELF_KEYS[:6])


def number(value: Any) -> str:
    """A figure as text; a dash where there is none."""
    if value is None:
        return "–"
    if isinstance(value, list):
        return " / ".join(number(one) for one in value)
    return f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}" if abs(value) < 2 else f"{value:.2f}"


def page(
    metrics: Mapping[str, Any],
    apart: Mapping[str, Mapping[str, Scores]],
    facts: Mapping[str, Mapping[str, Scores]],
    exclusions: Sequence[Exclusion],
    sheets: Mapping[str, Sequence[tuple[str, str]]],
    about: Mapping[str, str],
) -> str:
    """The whole report as HTML.

    apart: scores of what yaws too far; facts: what else is known of each clip and pair; sheets: title and
    relative path; all three by mode.
    """
    origin = "".join(f"<li>{escape(name)}: {escape(text)}</li>" for name, text in about.items())
    cross = [key for key in CROSS_KEYS if key not in _NO_TRUTH]
    own, pairs = metrics["self"], metrics["cross"]
    body = [
        f"<h1>Evaluation</h1><p>{escape(PROTOCOL_TEXT)}</p><ul>{origin}</ul>",
        _section("Self", own["clips"], own["mean"], SELF_KEYS, apart["self"], facts["self"]),
        _section("Cross", pairs["pairs"], pairs["mean"], cross, apart["cross"], facts["cross"]),
        exclusion_table(exclusions),
        *(gallery(title, pictures) for title, pictures in sheets.items()),
    ]
    head = f'<meta charset="utf-8"><title>Marotte: evaluation</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _section(
    title: str,
    rows: Mapping[str, Scores],
    mean: Scores,
    keys: Sequence[str],
    apart: Mapping[str, Scores],
    facts: Mapping[str, Scores],
) -> str:
    counted = {name: scores for name, scores in rows.items() if name not in apart} | {"mean": mean}
    with_pixels = {name: scores["driver_pixels"] for name, scores in counted.items()}
    bounds = [key for key in _BOUNDS if any(key in known for known in facts.values())]
    tables = [
        (title, counted, keys),
        (f"{title}, with driver pixels", with_pixels, keys),
        (f"{title}: reported apart, not in the mean", apart, keys),
        (f"{title}: what bounds the figures", facts, bounds),
    ]
    return f"<h2>{title}</h2>" + "".join(_table(*table) for table in tables if table[1])


def _table(title: str, rows: Mapping[str, Scores], keys: Sequence[str]) -> str:
    heads = _HEADS | _BOUNDS
    head = "".join(f"<th>{escape(heads[key])}</th>" for key in keys)
    lines = []
    for name, scores in rows.items():
        cells = "".join(f"<td>{number(scores.get(key))}</td>" for key in keys)
        lines.append(f'<tr class="{"mean" if name == "mean" else "one"}"><td>{escape(name)}</td>{cells}</tr>')
    table = f"<table><tr><th></th>{head}</tr>{''.join(lines)}</table>"
    return f'<h3>{escape(title)}</h3><div class="wide">{table}</div>'


def exclusion_table(exclusions: Sequence[Exclusion]) -> str:
    """What was left out, and by which rule."""
    lines = "".join(
        f"<tr><td>{escape(one.where)}</td><td>{escape(one.what)}</td><td>{escape(one.rule)}</td></tr>"
        for one in exclusions
    )
    return (
        f"<h2>Left out, by rule</h2><table><tr><th>where</th><th>what</th><th>rule</th></tr>{lines}</table>"
    )


def gallery(title: str, pictures: Sequence[tuple[str, str]]) -> str:
    """Sheets below each other; pictures: title and relative path."""
    shown = "".join(
        f'<h3>{escape(name)}</h3><img loading="lazy" src="{escape(path)}">' for name, path in pictures
    )
    return f"<h2>Sheets, {escape(title)}</h2>{shown}"
