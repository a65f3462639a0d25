"""The audit's words and statuses, with pip-audit's answers written down."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from tests import audit

SOUND = {"name": "aiohttp", "version": "3.14.5", "vulns": []}
FAULTY = {
    "name": "av",
    "version": "17.1",
    "vulns": [{"id": "CVE-1", "fix_versions": ["17.2"]}, {"id": "CVE-2"}],
}
UNKNOWN = {"name": "rich", "skip_reason": "Dependency not found on PyPI"}
OWN = {"name": "marotte", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("answers", "words", "status", "said"),
    [
        ([[SOUND, OWN]], [], 0, "0 known vulnerabilities in 1 packages (pypi)"),
        ([[SOUND, OWN]], ["--strict"], 0, "0 known"),
        ([[SOUND, FAULTY]], [], 1, "av 17.1: CVE-1; mended in 17.2"),
        ([[SOUND, FAULTY]], [], 1, "CVE-2; mended in no version yet"),
        ([[SOUND, UNKNOWN]], [], 0, "not looked at: rich"),
        ([[SOUND, UNKNOWN]], ["--strict"], 1, "not looked at: rich"),
        ([[UNKNOWN, OWN], [SOUND]], [], 0, "1 packages (osv)"),
        ([[UNKNOWN], None], [], 0, "NOTHING WAS LOOKED AT"),
        ([None, None], ["--strict"], 1, "cannot be reached"),
    ],
)
def test_only_what_was_looked_at_is_told_as_sound(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: list[list[dict[str, Any]] | None],
    words: list[str],
    status: int,
    said: str,
) -> None:
    """A service that knows no package is no audit, and its silence is not called "none found"."""
    waiting = list(answers)

    def run(*_: object, **__: object) -> Any:
        answer = waiting.pop(0)
        text = "" if answer is None else json.dumps({"dependencies": answer})
        return SimpleNamespace(stdout=text, stderr="the index cannot be reached\n", returncode=1)

    monkeypatch.setattr(subprocess, "run", run)
    assert audit.main(words) == status
    assert said in capsys.readouterr().out
