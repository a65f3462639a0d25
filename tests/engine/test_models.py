"""The registry, the cache's place, and what stands in for a model that is not ready."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine import models
from engine.errors import ModelError
from engine.models import CONVERSION, Condition, Sidecar

NAME = "face_mesh"
_PINNED = hashlib.sha256(b"graph").hexdigest()


@pytest.fixture(autouse=True)
def known_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """The five bytes that ``put`` writes are the pinned graph."""
    entry = replace(models.model(NAME), onnx_sha256=_PINNED)
    monkeypatch.setattr(models, "REGISTRY", dict(models.REGISTRY) | {NAME: entry})


def put(cache: Path, data: bytes = b"graph", **changes: object) -> Path:
    """A converted model of the given bytes and a sidecar that fits, but for the changes."""
    path = models.graph_path(NAME, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    source = models.model(NAME).sha256 or ""
    sidecar = Sidecar(NAME, source, CONVERSION, hashlib.sha256(data).hexdigest(), len(data))
    stated = json.loads(sidecar.to_json()) | changes
    models.sidecar_path(path).write_text(json.dumps(stated), "utf-8")
    return path


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({"MAROTTE_CACHE": "/c/m", "XDG_CACHE_HOME": "/x"}, "linux", "/c/m"),
        ({"XDG_CACHE_HOME": "/x"}, "linux", "/x/marotte"),
        ({"XDG_CACHE_HOME": "relative"}, "linux", "/home/a/.cache/marotte"),
        ({}, "linux", "/home/a/.cache/marotte"),
        ({}, "darwin", "/home/a/Library/Caches/marotte"),
        ({"LOCALAPPDATA": "/local"}, "win32", "/local/marotte"),
        ({}, "win32", "/home/a/AppData/Local/marotte"),
    ],
)
def test_the_cache_lies_where_the_platform_puts_caches(
    environment: dict[str, str], platform: str, expected: str
) -> None:
    """MAROTTE_CACHE wins, then the platform's own rule; a relative XDG path is ignored as its rules say."""
    assert models.cache_root(environment, platform, Path("/home/a")) == Path(expected)


def test_the_environment_is_read_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache named after the import counts."""
    monkeypatch.setenv("MAROTTE_CACHE", str(tmp_path))
    assert put(tmp_path) == models.locate(NAME)


def test_an_unknown_name_gets_the_nearest_one() -> None:
    """A typing slip is answered with what was meant."""
    with pytest.raises(ModelError, match="did you mean face_mesh_attention"):
        models.locate("face_mesh_atention")


def test_a_missing_model_names_the_command(tmp_path: Path) -> None:
    """The message says how to get it."""
    with pytest.raises(ModelError, match="marotte models pull"):
        models.locate(NAME, tmp_path)


@pytest.mark.parametrize(
    ("changes", "condition"),
    [
        ({}, Condition.READY),
        ({"conversion": CONVERSION + 1}, Condition.STALE),
        ({"source_sha256": "0" * 64}, Condition.STALE),
        ({"onnx_sha256": "0" * 64}, Condition.DAMAGED),
        ({"size": 4}, Condition.DAMAGED),
        ({"surplus": 1}, Condition.DAMAGED),
    ],
)
def test_a_model_counts_only_with_a_fitting_sidecar(
    tmp_path: Path, changes: dict[str, object], condition: Condition
) -> None:
    """Another conversion, another source or another size is told apart from a whole model."""
    put(tmp_path, **changes)
    row = models.inspect(models.model(NAME), tmp_path, full=False)
    assert row.condition is condition
    assert bool(row.detail) is (condition is not Condition.READY)


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', "\x00", "[" * 4000, " " * 5000])
def test_a_broken_sidecar_is_damage(tmp_path: Path, text: str) -> None:
    """Whatever stands in the sidecar, the answer is a model error and not a crash."""
    models.sidecar_path(put(tmp_path)).write_text(text, "utf-8")
    with pytest.raises(ModelError, match="cannot be read"):
        models.locate(NAME, tmp_path)


def test_verify_reads_every_byte(tmp_path: Path) -> None:
    """One changed byte passes the quick listing, and neither verify nor anybody who would run the graph."""
    put(tmp_path).write_bytes(b"grapH")
    assert next(row for row in models.list_models(tmp_path) if row.name == NAME).ok
    with pytest.raises(ModelError, match="SHA-256"):
        models.locate(NAME, tmp_path)
    rows = {row.model.name: row for row in models.verify(tmp_path)}
    assert rows[NAME].condition is Condition.DAMAGED
    assert "SHA-256" in rows[NAME].detail


def test_a_planted_pair_is_not_believed(tmp_path: Path) -> None:
    """Another graph beside a sidecar that fits it is damage: the hash that counts is the registry's."""
    put(tmp_path, b"other")
    assert not models.inspect(models.model(NAME), tmp_path, full=False).ok
    with pytest.raises(ModelError, match=rf"model {NAME}: .*{_PINNED}.*marotte models pull"):
        models.locate(NAME, tmp_path)


@pytest.mark.parametrize("suffix", [".onnx", ".json"])
def test_only_plain_files_are_read(tmp_path: Path, suffix: str) -> None:
    """A folder, a pipe or a device in a file's place is damage, and nobody waits for its end."""
    path = put(tmp_path).with_suffix(suffix)
    path.unlink()
    path.mkdir()
    row = models.inspect(models.model(NAME), tmp_path, full=True)
    assert row.condition is Condition.DAMAGED
    assert "is not a plain file" in row.detail


def test_what_is_stale_says_why(tmp_path: Path) -> None:
    """Another source is not called another version."""
    put(tmp_path, source_sha256="0" * 64)
    assert (
        "made from a file with the SHA-256" in models.inspect(models.model(NAME), tmp_path, full=False).detail
    )
    put(tmp_path, conversion=CONVERSION + 1)
    assert (
        f"made by version {CONVERSION + 1}" in models.inspect(models.model(NAME), tmp_path, full=False).detail
    )


def test_a_users_own_models_are_no_fault_when_absent(tmp_path: Path) -> None:
    """Verify complains about pinned models only; the list shows all of them."""
    assert {row.model.name for row in models.verify(tmp_path)} == {entry.name for entry in models.PULLED}
    assert len(models.list_models(tmp_path)) == len(models.REGISTRY)


def test_every_pinned_model_states_where_it_comes_from() -> None:
    """Origin, licence and a whole SHA-256 are in the registry, and no name twice."""
    assert len({entry.name for entry in models.REGISTRY.values()}) == len(models.REGISTRY)
    for entry in models.PULLED:
        assert entry.licence == "Apache-2.0"
        assert entry.origin
        assert len(bytes.fromhex(entry.sha256 or "")) == 32
        assert len(bytes.fromhex(entry.onnx_sha256 or "")) == 32


def test_a_row_reads_well(tmp_path: Path) -> None:
    """A listing shows name, state, origin, licence and hash, and the fix where one is needed."""
    entry = models.model(NAME)
    missing = models.inspect(entry, tmp_path, full=False)
    assert not missing.ok
    put(tmp_path)
    ready = models.inspect(entry, tmp_path, full=False)
    assert ready.ok
    for part in (NAME, "ready", entry.origin, entry.licence, entry.sha256 or ""):
        assert part in str(ready)
    assert "marotte models pull" in str(missing)
    assert "marotte models pull" not in str(ready)
