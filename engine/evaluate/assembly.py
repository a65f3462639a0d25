"""From the parts on disk to the files that people read."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from engine.evaluate.parts import Parts, write_json, write_text
from engine.evaluate.report import PROTOCOL_TEXT, page
from engine.evaluate.rules import MOST_YAW, Exclusion, counted, excluded
from engine.evaluate.scores import CROSS_KEYS, SELF_KEYS, Scores, mean_scores, without_terms
from engine.evaluate.sheets import stacked
from engine.evaluate.work import Task
from engine.media import read_picture, write_picture

Metrics = dict[str, Any]
"""What stands in metrics.json."""


class Assembly:
    """Applies the rules to what was measured, and writes it."""

    def __init__(
        self, out: Path, parts: Parts, tasks: Sequence[Task], refused: list[Exclusion], about: dict[str, str]
    ) -> None:
        self._out, self._parts, self._about = out, parts, about
        self._tasks = sorted(tasks, key=lambda task: task.driver.name)
        self._exclusions = list(refused)
        self._raw: dict[str, dict[str, dict[str, Any]]] = {"self": {}, "cross": {}}
        self._sheets: dict[str, list[tuple[str, str]]] = {"self": [], "cross": []}

    def write(self) -> Metrics:
        """All files; metrics.json last. Returns its content."""
        metrics = {"self": self._clips(), "cross": self._pairs()}
        apart = {
            mode: {
                name: without_terms(part["scores"])
                for name, part in raw.items()
                if part["yaw_range"] > MOST_YAW
            }
            for mode, raw in self._raw.items()
        }
        facts = {mode: {name: part["facts"] for name, part in raw.items()} for mode, raw in self._raw.items()}
        about = self._about | {"machine": f"{platform.system()} {platform.machine()}"}
        html = page(metrics, apart, facts, self._exclusions, self._sheets, about)
        write_text(self._out / "report.html", html)
        write_json(self._out / "details.json", self._details())
        write_json(self._out / "metrics.json", metrics)
        return metrics

    def _clips(self) -> dict[str, Any]:
        for task in self._tasks:
            part = self._part("self", task.driver.name, f"clip {task.driver.name}", task.key)
            if part is not None:
                picture = self._out / "sheets" / "self" / f"{task.driver.name}.png"
                picture.parent.mkdir(parents=True, exist_ok=True)
                write_picture(picture, read_picture(self._parts.path(task.key).with_suffix(".png")))
                self._show("self", task.driver.name, picture)
        clips, mean = self._counted("self", SELF_KEYS)
        return {"mean": mean, "clips": clips}

    def _pairs(self) -> dict[str, Any]:
        found: dict[str, list[str]] = {}
        for task in self._tasks:
            for pair in task.pairs:
                name = f"{task.driver.name}|{pair.portrait.name}"
                if self._part("cross", name, f"pair {name}", pair.key) is not None:
                    found.setdefault(pair.portrait.name, []).append(pair.key)
        for portrait in sorted(found):
            picture = self._out / "sheets" / "cross" / f"{portrait}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            strips = [read_picture(self._parts.path(key).with_suffix(".png")) for key in found[portrait]]
            write_picture(picture, stacked(strips))
            self._show("cross", portrait, picture)
        pairs, mean = self._counted("cross", CROSS_KEYS)
        return {"mean": mean, "pairs": pairs}

    def _part(self, mode: str, name: str, where: str, key: str) -> dict[str, Any] | None:
        part = self._parts.load(key)
        if part is None or "refused" in part:
            reason = "its result is missing; run again" if part is None else part["refused"]
            self._exclusions.append(Exclusion(where, "all", reason))
            return None
        self._raw[mode][name] = part
        return part

    def _show(self, mode: str, title: str, picture: Path) -> None:
        self._sheets[mode].append((title, quote(picture.relative_to(self._out).as_posix())))

    def _counted(self, mode: str, keys: Sequence[str]) -> tuple[dict[str, Scores], Scores]:
        """Every clip or pair after the rules, and their mean, each with driver_pixels nested."""
        rows: dict[str, Scores] = {}
        for name, part in self._raw[mode].items():
            rules = excluded(f"{mode} {name}", part["spread"], part["yaw_range"])
            self._exclusions += rules
            rows[name] = counted(part["scores"], rules) | {
                "driver_pixels": counted(part["driver_pixels"], rules)
            }
        mean = mean_scores(list(rows.values()), keys)
        pixels = mean_scores([row["driver_pixels"] for row in rows.values()], keys)
        shown = {
            name: without_terms(row) | {"driver_pixels": without_terms(row["driver_pixels"])}
            for name, row in rows.items()
        }
        return shown, mean | {"driver_pixels": pixels}

    def _details(self) -> dict[str, Any]:
        return {
            "about": self._about,
            "protocol": PROTOCOL_TEXT,
            "exclusions": [
                {"where": one.where, "what": one.what, "rule": one.rule} for one in self._exclusions
            ],
            "before_the_rules": self._raw,
        }
