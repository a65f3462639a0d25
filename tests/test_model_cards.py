"""Every system and every shipped bundle has its card, and no card says what is not measured."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine import generators
from engine.bundle import read_manifest
from engine.bundles import SHIPPED
from engine.bundles import names as shipped

PROJECT = Path(__file__).resolve().parent.parent
CARDS = PROJECT / "docs" / "models"
HEADINGS = (
    "What it is", "Licence", "Data", "Training", "Measured", "Limits", "Known failures", "Groups not tested",
    "Intended use", "Misuse",
)  # fmt: skip
SYSTEMS = (*generators.BUILT_IN, *generators._SYSTEMS)
_LINK = re.compile(r"\]\(([^)#]+\.md)(?:#[^)]*)?\)")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d*\.?\d+(?![\w.])")


def _card(name: str) -> str:
    return (CARDS / f"{name}.md").read_text("utf-8")


def _section(name: str, heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", _card(name), re.MULTILINE | re.DOTALL)
    assert found is not None, f"{name}: no section {heading}"
    return found[1].strip()


@pytest.mark.parametrize("name", [*SYSTEMS, *shipped()])
def test_a_card_has_every_heading_and_says_something_under_it(name: str) -> None:
    """Also what is not known stands there, under a heading of its own, and all of them stand on the page of cards."""
    headings = re.findall(r"^## (.+)$", _card(name), re.MULTILINE)
    assert tuple(headings) == HEADINGS
    assert all(len(_section(name, heading)) > 4 for heading in HEADINGS)
    assert f"({name}.md)" in _card("README")


def test_there_is_no_card_of_what_is_not_there() -> None:
    """A bundle that was removed takes its card along."""
    assert {path.stem for path in CARDS.glob("*.md")} == {"README", *SYSTEMS, *shipped()}


@pytest.mark.parametrize("name", shipped())
def test_a_bundles_card_says_what_its_manifest_says(name: str) -> None:
    """The licence, whether it may be used commercially, the system, the recipe and the data."""
    manifest = read_manifest(SHIPPED / name)
    licence = _section(name, "Licence")
    assert licence.split(". ")[0].rstrip(".") == manifest.licence
    assert f"Commercial use: {'yes' if manifest.commercial else 'no'}" in licence
    assert f"({manifest.system}.md)" in _section(name, "What it is")
    recipe = re.search(r"configs/\w+\.toml", manifest.origin.weights)
    assert recipe is not None
    assert recipe[0] in _section(name, "Training")
    assert manifest.origin.data.split(" ")[0] in _section(name, "Data")


@pytest.mark.parametrize("name", [*SYSTEMS, *shipped()])
def test_every_figure_stands_on_the_page_that_is_named_for_it(name: str) -> None:
    """A number in a table of figures was measured: the linked page of the same section has it."""
    section = _section(name, "Measured")
    pages = [CARDS / link for link in _LINK.findall(section)]
    assert pages
    there = {number.lstrip("+") for page in pages for number in _numbers(page.read_text("utf-8"))}
    told = {
        number.lstrip("+")
        for row in section.splitlines()
        if row.startswith("|")
        for number in _numbers(_LINK.sub("", row))
    }
    assert told
    assert told <= there, told - there


def _numbers(text: str) -> list[str]:
    return _NUMBER.findall(text)


def test_no_link_of_a_card_leads_nowhere() -> None:
    """To another card, or to another page of the project."""
    lost = [
        f"{path.name}: {link}"
        for path in CARDS.glob("*.md")
        for link in _LINK.findall(path.read_text("utf-8"))
        if not (CARDS / link).resolve().is_file()
    ]
    assert lost == []
