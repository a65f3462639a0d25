"""The threat model names what holds it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.fuzz.targets import TARGETS

PROJECT = Path(__file__).resolve().parent.parent
PAGE = (PROJECT / "docs" / "threat_model.md").read_text("utf-8")


def test_every_defence_has_a_test_that_is_there() -> None:
    """Each row of attackers names tests or targets, and none that is gone."""
    rows = [
        row.strip(" |").split(" | ")
        for row in PAGE.split("## Who may come")[1].split("\n## ")[0].split("\n| ")[3:]
    ]
    assert len(rows) > 10
    for *_, last in rows:
        tests, _, targets = last.partition("fuzz")
        named = re.findall(r"`(test_[a-z_]+\*?)`", tests)
        for name in named:
            assert list((PROJECT / "tests").rglob(f"{name}.py")), f"{name}: no such test"
        fuzzed = re.findall(r"`([a-z]+)`", targets)
        assert set(fuzzed) <= set(TARGETS), last
        assert named or fuzzed or "`tests/fuzz`" in last, last
