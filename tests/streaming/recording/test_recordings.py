"""What is said of a recording by all that was stated while it ran."""

from __future__ import annotations

from typing import Any

from engine.provenance.sealing import made_by
from streaming.recording.kept import Kept
from streaming.recording.recordings import made_of


def _said(bundle: str, sha256: str | None, mode: str = "puppet", **more: Any) -> dict[str, Any]:
    told = {"title": bundle, "licence": f"of {bundle}", "sha256": sha256}
    return {
        "mode": mode,
        "bundle": told,
        "marks": ["badge", "watermark"],
        "lowered": [],
        "consent": [],
    } | more


def _made(*statements: dict[str, Any]) -> dict[str, Any]:
    return made_of(Kept("id", "session", "show", "2026-11-22T10:00:00+00:00", statements=statements))


def test_a_file_is_what_any_moment_of_it_is() -> None:
    """An edit, a bundle or a mark that was off counts whenever it was: not the first statement alone."""
    made = _made(
        _said("Mesh flow", None, software="Marotte 1", consent=[{"id": "a"}]),
        _said("One", "1" * 64, "edit", consent=[{"id": "b"}, {"id": "a"}]),
        _said("Mesh flow", None, marks=["watermark"], lowered=["badge"]),
    )
    assert (made["edits"], made["trained"], made["software"]) == (True, True, "1")
    assert (made["marks"], made["lowered"], made["consent"]) == (["watermark"], ["badge"], ["a", "b"])
    assert (made["bundle"], [one["title"] for one in made["others"]]) == ("Mesh flow", ["One"])


def test_what_never_changes_is_said_once() -> None:
    """Two statements of the same make are one bundle; none at all is no error."""
    made = _made(_said("One", "1" * 64), _said("One", "1" * 64, number=2))
    assert (made["bundle"], made["others"], made["edits"]) == ("One", [], False)
    assert made["marks"] == ["badge", "watermark"]
    assert _made()["marks"] == []


def test_it_is_named_as_a_render_is() -> None:
    """The same bundle and the same software have one name each in every manifest."""
    shown = made_by("mesh_flow")
    bundle = {"name": "mesh_flow", "title": "Mesh flow", "licence": shown.licence, "sha256": None}
    made = _made(_said("", None, software=f"Marotte {shown.software}") | {"bundle": bundle})
    assert (made["bundle"], made["licence"], made["software"]) == (
        shown.bundle,
        shown.licence,
        shown.software,
    )
