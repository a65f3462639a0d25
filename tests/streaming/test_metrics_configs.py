"""The dashboard and the alert rules load, and ask only for what is exported."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.streaming.test_metrics import offering

PROJECT = Path(__file__).resolve().parents[2]
DASHBOARD = PROJECT / "configs" / "grafana" / "marotte.json"
ALERTS = PROJECT / "configs" / "prometheus" / "alerts.yml"

SCRAPED = {"up": {"job", "instance"}}
"""What Prometheus itself adds for a target."""
TARGET = {"job", "instance"}


def samples() -> dict[str, dict[str, set[str]]]:
    """Label values by label, by the sample's full name, of everything that is exported."""
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(offering().render().decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for label, text in sample.labels.items():
                labels.setdefault(label, set()).add(text)
    return found


KNOWN = samples()
_NAME = re.compile(r"\b(?:marotte_|process_|up\b)\w*")
_SELECTOR = re.compile(r"\b((?:marotte_|process_)\w+|up)(\{[^}]*\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
_BY = re.compile(r"\b(?:by|without|on)\s*\(([^)]*)\)")


def faults(expression: str) -> list[str]:
    """What is wrong with a PromQL expression's names and labels."""
    found = []
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    names = set(_NAME.findall(bare))
    if not names:
        found.append("no metric")
    for name in names:
        if name not in KNOWN and name not in SCRAPED:
            found.append(f"{name} is not exported")
    for name, selector in _SELECTOR.findall(expression):
        labels = KNOWN.get(name, {})
        for label, _, text in _MATCHER.findall(selector):
            if label in TARGET:
                continue
            if label not in labels:
                found.append(f"{name} has no label {label}")
            elif missing := set(text.split("|")) - labels[label]:
                found.append(f"{name}: {label} is never {missing}")
    grouped = {label.strip() for group in _BY.findall(bare) for label in group.split(",") if label.strip()}
    carried = TARGET.union(*(KNOWN.get(name, {}) for name in names))
    found += [f"nothing has the label {label}" for label in grouped - carried]
    for name in names:
        rises = name.endswith(("_total", "_bucket", "_sum", "_count"))
        inside = re.search(rf"\b(rate|increase)\({name}\b", bare)
        if rises and not inside:
            found.append(f"{name} only rises: rate it")
        if inside and not rises:
            found.append(f"{name} is a gauge: do not rate it")
        if name.endswith("_bucket") and "le" not in grouped:
            found.append(f"{name} needs le")
    return found


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("rate(marotte_frames_sent[1m])", "marotte_frames_sent is not exported"),
        ('rate(marotte_frames_sent_total{codec="vp8"}[1m])', "has no label codec"),
        ('rate(marotte_frames_sent_total{outcome=~"held|lost"}[1m])', "outcome is never {'lost'}"),
        ("sum by (stage) (rate(marotte_frames_sent_total[1m]))", "nothing has the label stage"),
        ("marotte_frames_sent_total", "only rises"),
        ("rate(marotte_sessions[1m])", "is a gauge"),
        ("sum(rate(marotte_stage_seconds_bucket[1m]))", "needs le"),
        ("1 > 0", "no metric"),
    ],
)
def test_the_extractor_finds_faults(expression: str, fault: str) -> None:
    """What the tests below rest on: each kind of slip in an expression is seen."""
    assert any(fault in found for found in faults(expression))


def panels(kind: str | None = None) -> Iterator[dict[str, Any]]:
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        if kind is None or (panel["type"] == "row") == (kind == "row"):
            yield panel


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_expression_of_the_dashboard_is_served() -> None:
    """Names, suffixes, labels and their values exist, in panels, variables and annotations."""
    content = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    wrong = {
        (panel["title"], target["expr"]): found
        for panel in panels("graph")
        for target in panel["targets"]
        if (found := faults(target["expr"]))
    }
    assert not wrong
    for note in content["annotations"]["list"]:
        assert not faults(note["expr"])
    for variable in content["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(
                r"label_values\((\w+)(?:\{[^}]*\})?, (\w+)\)", variable["definition"]
            ).groups()
            assert metric in KNOWN
            assert label in TARGET


def test_the_dashboard_can_be_imported() -> None:
    """A data source variable that every panel asks, ids used once, no panel over another, and no id of one server's."""
    content = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert content["id"] is None
    assert content["uid"]
    assert [one["name"] for one in content["templating"]["list"] if one["type"] == "datasource"] == [
        "datasource"
    ]
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + line)
            for column in range(place["w"])
            for line in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels("graph"):
        for asks in (panel, *panel["targets"]):
            assert asks["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_every_panel_has_a_unit_and_says_what_it_shows() -> None:
    """A figure without them is a riddle."""
    for panel in panels("graph"):
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["targets"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_the_dashboard_shows_everything() -> None:
    """Its rows are there, and no metric of ours is on no panel."""
    assert [panel["title"] for panel in panels("row")] == [
        "What viewers see", "Stages", "Drops and fallbacks", "Worker", "Transport", "Trust",
    ]  # fmt: skip
    shown = " ".join(target["expr"] for panel in panels("graph") for target in panel["targets"])
    families = {
        family.name
        for family in text_string_to_metric_families(offering().render().decode())
        if family.name.startswith("marotte_")
    }
    assert {name for name in families if name not in shown} == {"marotte_build_info"}


def test_every_alert_is_served_and_explained() -> None:
    """Its expression asks for what is exported, it waits, it has a severity, and says what it is and what to do."""
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    assert {
        "MarotteFrameAgeHigh", "MarotteFrameRateLow", "MarotteWorkerRestarting", "MarotteNoFrames",
        "MarotteFailClosedShareHigh", "MarotteNotReady",
    } <= set(names)  # fmt: skip
    for rule in rules():
        assert not faults(rule["expr"]), rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert re.fullmatch(r"\d+[sm]", rule.get("for", "0s"))
        assert "for" in rule or "increase(" in rule["expr"], "a spike is no alert"
        assert "$labels.instance" in rule["annotations"]["summary"]
        assert len(rule["annotations"]["description"]) > 20


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_takes_the_alerts() -> None:
    """Its own checker reads every rule."""
    done = subprocess.run(["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_raises_the_alerts(tmp_path: Path) -> None:
    """Each of them fires on figures that are bad, and none on those of a sound server."""
    bad = {
        "MarotteUnreachable": [("up", "0x20")],
        "MarotteNotReady": [('marotte_worker_state{state="ready",J}', "0x20")],
        "MarotteWorkerRestarting": [('marotte_worker_restarts_total{reason="hung",J}', "0+1x20")],
        "MarotteNoFrames": [
            ("marotte_sessions", "1x20"),
            ('marotte_frames_sent_total{outcome="held",J}', "5x20"),
        ],
        "MarotteFrameRateLow": [
            ("marotte_sessions", "2x20"),
            ('marotte_frames_sent_total{outcome="generated",J}', "0+300x20"),
            ("marotte_frames_received_total", "0+3000x20"),
            ('marotte_frames_dropped_total{reason="paused",J}', "0x20"),
        ],
        "MarotteFrameAgeHigh": [
            ('marotte_frame_age_seconds_bucket{le="0.1",J}', "0+600x20"),
            ('marotte_frame_age_seconds_bucket{le="0.3",J}', "0+900x20"),
            ('marotte_frame_age_seconds_bucket{le="+Inf",J}', "0+900x20"),
        ],
        "MarotteFailClosedShareHigh": [
            ('marotte_frames_sent_total{outcome="generated",J}', "0+500x20"),
            ('marotte_frames_sent_total{outcome="held",J}', "0+300x20"),
            ('marotte_fallback_frames_total{reason="error",J}', "0+300x20"),
        ],
        "MarotteTokensRefused": [('marotte_requests_refused_total{reason="token",J}', "0+120x20")],
    }  # the unit of time is a minute
    sound = [
        ("up", "1x20"),
        ('marotte_worker_state{state="ready",J}', "1x20"),
        ('marotte_worker_restarts_total{reason="hung",J}', "1x20"),
        ("marotte_sessions", "1x20"),
        ('marotte_frames_sent_total{outcome="generated",J}', "0+1750x20"),
        ('marotte_frames_sent_total{outcome="held",J}', "0+50x20"),
        ('marotte_fallback_frames_total{reason="error",J}', "0+50x20"),
        ('marotte_fallback_frames_total{reason="no face",J}', "0+500x20"),
        ("marotte_frames_received_total", "0+1800x20"),
        ('marotte_frame_age_seconds_bucket{le="0.05",J}', "0+1800x20"),
        ('marotte_frame_age_seconds_bucket{le="+Inf",J}', "0+1800x20"),
        ('marotte_requests_refused_total{reason="token",J}', "0+2x20"),
    ]
    assert set(bad) == {rule["alert"] for rule in rules()}

    def named(series: str) -> str:
        job = 'job="marotte",instance="here:1"'
        return series.replace("J}", f"{job}}}") if "{" in series else f"{series}{{{job}}}"

    def group(series: list[tuple[str, str]], alerts: dict[str, bool]) -> dict[str, Any]:
        fired = [f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) or vector(0)' for name in alerts]
        return {
            "interval": "15s",
            "input_series": [{"series": named(name), "values": values} for name, values in series],
            "promql_expr_test": [
                {
                    "expr": expression,
                    "eval_time": "12m",
                    "exp_samples": [{"labels": "{}", "value": int(fires)}],
                }
                for expression, fires in zip(fired, alerts.values())
            ],
        }

    for series in (*bad.values(), sound):
        for place, (name, values) in enumerate(series):
            series[place] = name, stretched(values)
    tests = [group(series, {name: True}) for name, series in bad.items()]
    tests.append(group(sound, dict.fromkeys(bad, False)))
    file = tmp_path / "test.yml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "15s", "tests": tests})
    )
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout


def stretched(values: str) -> str:
    """A course by the minute as one by the quarter of a minute."""
    start, _, rest = values.partition("+")
    if not rest:
        return f"{values.partition('x')[0]}x80"
    return f"{start}+{float(rest.partition('x')[0]) / 4:g}x80"
