"""What docs/api.md and openapi.yaml give as examples of a change is taken by the server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.errors import ConfigError
from engine.worker.changes import parse

DOCS = Path(__file__).parents[2] / "docs"


def _of_the_page() -> list[Any]:
    rows = [row for row in (DOCS / "api.md").read_text("utf-8").splitlines() if "`PATCH" in row]
    return [json.loads(text) for row in rows for text in re.findall(r"`(\{.*?\})`", row)]


def _of_the_description() -> list[Any]:
    described = yaml.safe_load((DOCS / "openapi.yaml").read_text("utf-8"))
    return list(described["components"]["schemas"]["Change"]["examples"])


def test_each_example_of_a_change_is_taken() -> None:
    """By the parser that a session's PATCH goes through; a word that it does not know would be refused."""
    page, description = _of_the_page(), _of_the_description()
    assert page
    assert description
    for change in (*page, *description):
        parse(change)
    with pytest.raises(ConfigError, match="happy"):
        parse({"expression": {"name": "happy"}})
