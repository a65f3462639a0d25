"""Bundles: what opens, and what every kind of damage is told as."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import bundles
from engine.backends import BACKENDS
from engine.bundle import open_bundle, parse_manifest, read_manifest, schema
from engine.errors import (
    BundleError,
    ChecksumError,
    ConfigError,
    ManifestError,
    VersionError,
)
from engine.schema import check, strict_json
from engine.types import AU_NAMES, Mode
from tests.conftest import PROJECT
from tests.engine.bundle_files import write_ganimation, write_geogan

SIZE = 16
Damage = Callable[[Path, dict[str, Any]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_ganimation(tmp_path / "bundle", SIZE)


def manifest_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    return found


def rewrite(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def set_at(manifest: dict[str, Any], path: str, value: Any) -> None:
    """Set `graphs.generator.inputs.0.name` and the like; a value of ... takes the entry away."""
    *steps, last = path.split(".")
    place: Any = manifest
    for step in steps:
        place = place[int(step)] if isinstance(place, list) else place[step]
    if value is ...:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bundle_runs_on_every_backend(folder: Path, backend: str) -> None:
    """Its graph computes the closed form that it was written with, bound by the names of the ports."""
    graph = open_bundle(folder).graph("generator", backend)
    aus = np.zeros((1, 17), np.float32)
    aus[0, AU_NAMES.index("AU12")] = 0.5
    found = graph.run({"image": np.zeros((1, SIZE, SIZE, 3), np.uint8), "aus": aus})
    np.testing.assert_allclose(found["colour"][0, :, 3, 3], [0, -1, -1], atol=1e-6)
    np.testing.assert_allclose(found["attention"], 0.5, atol=1e-6)
    graph.close()


def test_a_manifest_is_typed(folder: Path) -> None:
    """Whoever reads it gets names, tuples and enumerations, and no raw JSON."""
    manifest = open_bundle(str(folder)).manifest
    assert manifest.system == "ganimation"
    assert manifest.parameters.aus == AU_NAMES
    assert manifest.parameters.modes == {Mode.PUPPET, Mode.EDIT}
    assert manifest.parameters.crop.size == SIZE
    info = manifest.graphs["generator"]
    assert info.input("image").shape == (1, SIZE, SIZE, 3)
    assert info.output("colour").range == (-1.0, 1.0)
    with pytest.raises(ManifestError, match="no output 'color': it has colour, attention"):
        info.output("color")
    with pytest.raises(ManifestError, match="no graph 'donor'"):
        open_bundle(folder).info("donor")
    assert read_manifest(folder) == manifest


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("license", "MIT", "license is not a known key; did you mean 'licence'"),
        ("licence", ..., "licence is not there"),
        ("licence", "see the page!", "licence: got \"see the page!\", expected text that fits"),
        ("system", "GANimation", "system: got"),
        ("title", "two\nlines", "title: got"),
        ("commercial", 1, "commercial: got 1, expected boolean"),
        ("commercial", False, "acceptance is null, expected a name where commercial is false"),
        ("graphs", {}, "graphs: got {}, expected 1 entries or more"),
        ("graphs.generator.file", "../outside.onnx", "graphs.generator.file: got"),
        ("graphs.generator.file", "/etc/passwd", "graphs.generator.file: got"),
        ("graphs.generator.file", "C:\\x.onnx", "graphs.generator.file: got"),
        ("graphs.generator.file", "a/b.onnx", "graphs.generator.file: got"),
        ("graphs.generator.bytes", 10**13, "expected 2000000000 or less"),
        ("graphs.generator.bytes", 7.5, "expected integer"),
        ("graphs.generator.sha256", "00", "graphs.generator.sha256"),
        ("graphs.generator.inputs.0.dtype", "flaot32", "did you mean 'float32'"),
        ("graphs.generator.inputs.0.shape.1", "S", "graphs.generator.inputs[0].shape[1]: got \"S\""),
        ("graphs.generator.inputs.1.name", "image", "names a port twice"),
        ("graphs.generator.inputs.1.range", [1, 0], "a range that ends before it begins"),
        ("parameters.au_range", [1, 0], "parameters.au_range ends before it begins"),
        ("parameters.au_range", [-1e308, 1e308], "parameters.au_range[0]: got -1e+308, expected -100 or more"),
        ("parameters.crop.rule", "faces", "did you mean 'face'"),
        ("parameters.modes", ["edit", "edit"], "no entry twice"),
        ("parameters.crop.sise", 3, "parameters.crop.sise is not a known key; did you mean"),
        ("parameters.facts", {"f": {"deep": 1}}, "parameters.facts.f: got"),
        ("parity.runtimes", {}, "parity.runtimes"),
    ],
)  # fmt: skip
def test_a_manifest_follows_its_schema(folder: Path, path: str, value: Any, told: str) -> None:
    """What does not is a ManifestError that names the place, the value, and the nearest word where there is one."""
    manifest = manifest_of(folder)
    set_at(manifest, path, value)
    rewrite(folder, manifest)
    with pytest.raises(ManifestError) as caught:
        open_bundle(folder)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", [0, 2, "1", None, True])
def test_another_format_is_told_before_anything_else(folder: Path, version: Any) -> None:
    """A later format may look quite different; only its number counts."""
    rewrite(folder, {"format": version, "something": "new"})
    with pytest.raises(VersionError, match="expected 1"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": 1, "format": 1}', '{"format": NaN}', "[" * 100_000]
)
def test_what_is_no_manifest_is_refused(text: str) -> None:
    """Also a key that stands twice, which readers would understand differently, and nesting without end."""
    with pytest.raises(ManifestError):
        parse_manifest(text)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400, "1" * 5000])
def test_a_number_that_no_float_holds_is_refused(folder: Path, number: str) -> None:
    """It would be an infinity in the frames, or an error of Python's, wherever in the manifest it stands."""
    text = (folder / "manifest.json").read_text()
    start = text.index("[", text.index('"au_range"')) + 1
    (folder / "manifest.json").write_text(text[:start] + number + "," + text[text.index(",", start) + 1 :])
    with pytest.raises(ManifestError, match="is no JSON") as caught:
        open_bundle(folder)
    assert len(str(caught.value)) < 400


def _byte(folder: Path, manifest: dict[str, Any]) -> None:
    path = folder / "generator.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _cut(folder: Path, manifest: dict[str, Any]) -> None:
    path = folder / "generator.onnx"
    path.write_bytes(path.read_bytes()[:-1])


def _longer(folder: Path, manifest: dict[str, Any]) -> None:
    with (folder / "generator.onnx").open("ab") as file:
        file.write(b"\0" * 10)


def _missing(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "generator.onnx").unlink()


def _extra(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "run.py").write_text("print('hello')")


def _no_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").unlink()


def _huge_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    with (folder / "manifest.json").open("ab") as file:
        file.truncate(1 << 40)


def _not_utf8(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "manifest.json").write_bytes(b"\xff\xfe{}")


def _folder_for_graph(folder: Path, manifest: dict[str, Any]) -> None:
    (folder / "generator.onnx").unlink()
    (folder / "generator.onnx").mkdir()


@pytest.mark.parametrize(
    ("damage", "error", "told"),
    [
        (_byte, ChecksumError, "has the SHA-256"),
        (_cut, ChecksumError, "bytes, expected"),
        (_longer, ChecksumError, "at most"),
        (_missing, BundleError, "generator.onnx is not there"),
        (_extra, BundleError, "'run.py' does not belong to it"),
        (_no_manifest, BundleError, "manifest.json is not there"),
        (_huge_manifest, ChecksumError, "1048576 at most"),
        (_not_utf8, ManifestError, "not UTF-8"),
        (_folder_for_graph, BundleError, "generator.onnx"),
    ],
)
def test_damage_is_told(folder: Path, damage: Damage, error: type[Exception], told: str) -> None:
    """Every kind by its own error, on one line that begins with the bundle's folder."""
    damage(folder, manifest_of(folder))
    with pytest.raises(error) as caught:
        open_bundle(folder)
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"bundle {folder}: ")
    assert type(caught.value) is error


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
@pytest.mark.parametrize("name", ["generator.onnx", "manifest.json"])
def test_a_link_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    """Also one to a good file: where it points to may change, and may lie outside."""
    outside = tmp_path / name
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    with pytest.raises(BundleError, match="is a link"):
        open_bundle(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_does_not_hang_the_reader(folder: Path) -> None:
    """What is no plain file is not read from."""
    (folder / "generator.onnx").unlink()
    os.mkfifo(folder / "generator.onnx")
    with pytest.raises(BundleError, match="not a plain file"):
        open_bundle(folder)


def test_what_is_no_folder_is_told(tmp_path: Path) -> None:
    """A file, and nothing at all."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="is not a folder"):
        open_bundle(tmp_path / "file")
    with pytest.raises(BundleError, match="is not there"):
        open_bundle(tmp_path / "nothing")


def test_what_was_checked_is_what_runs(folder: Path) -> None:
    """A graph that is changed after the bundle was opened is refused when it is asked for."""
    bundle = open_bundle(folder)
    _byte(folder, {})
    with pytest.raises(ChecksumError):
        bundle.graph("generator", "onnxruntime")


def test_non_commercial_weights_load_only_when_accepted(tmp_path: Path) -> None:
    """By the name that the bundle states, and the refusal says which and under which licence."""
    folder = write_ganimation(
        tmp_path / "b", SIZE, commercial=False, acceptance="some-nc", licence="CC-BY-NC-4.0"
    )
    for accept in (frozenset[str](), frozenset({"other"})):
        with pytest.raises(
            BundleError, match=r"CC-BY-NC-4\.0, for non-commercial use only.*--accept some-nc"
        ):
            open_bundle(folder, accept)
    assert open_bundle(folder, frozenset({"some-nc"})).manifest.acceptance == "some-nc"


def test_two_graphs_cannot_share_a_file(tmp_path: Path) -> None:
    """Each graph is one file, or one of them would not be what was compared."""
    folder = write_geogan(tmp_path / "b", SIZE)
    manifest = manifest_of(folder)
    manifest["graphs"]["removal"]["file"] = "donor.onnx"
    rewrite(folder, manifest)
    with pytest.raises(ManifestError, match="two graphs name one file"):
        open_bundle(folder)


def test_a_bundle_is_found_by_name_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipped name wins over a folder of that name; ./name means the folder; the nearest name is told."""
    shipped = tmp_path / "shipped"
    write_ganimation(shipped / "smile_small", SIZE)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smile_small").mkdir()
    assert bundles.names(shipped) == ("smile_small",)
    assert bundles.find("smile_small", shipped) == shipped / "smile_small"
    assert bundles.find("./smile_small", shipped) == Path("smile_small")
    assert bundles.find(tmp_path / "smile_small", shipped) == tmp_path / "smile_small"
    with pytest.raises(ConfigError, match="did you mean 'smile_small'"):
        bundles.find("smile_smal", shipped)
    with pytest.raises(ConfigError, match="expected the folder of a bundle"):
        bundles.find("./nowhere", shipped)


@pytest.mark.parametrize("name", bundles.names())
def test_a_shipped_bundle_is_whole_free_and_small(name: str) -> None:
    """What lies in the repository may be used by everybody, says what it was made from, and weighs at most 8 MB."""
    manifest = open_bundle(bundles.find(name)).manifest
    assert manifest.commercial
    assert manifest.acceptance is None
    assert "not stated" not in (manifest.origin.data, manifest.origin.weights, manifest.consent)
    assert sum(info.bytes for info in manifest.graphs.values()) <= 8_000_000


def test_the_schema_itself_is_read_whole() -> None:
    """Every word in it is one that is checked here; another one would be an error, not a rule that nobody holds."""
    with pytest.raises(ValueError, match="'minimun'"):
        check(3, {"minimun": 4})
    words = strict_json(json.dumps(schema()))
    assert words["properties"]["format"]["const"] == 1


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_escapes_its_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever is done to the graph's bytes, with the checksum made to fit, ends in a BundleError or passes."""
    from engine.graph_file import check_graph

    good, info = _sample(tmp_path_factory)
    kind = data.draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
    at = data.draw(st.integers(0, len(good) - 1))
    some = data.draw(st.binary(min_size=1, max_size=8))
    damaged = {
        "flip": good[:at] + bytes([good[at] ^ some[0]]) + good[at + 1 :],
        "cut": good[:at],
        "insert": good[:at] + some + good[at:],
        "repeat": good + good[at : at + 40],
    }[kind]
    with suppress(BundleError):
        check_graph(damaged, info.inputs, info.outputs)


_SAMPLES: list[Any] = []


def _sample(factory: pytest.TempPathFactory) -> Any:
    if not _SAMPLES:
        folder = write_ganimation(factory.mktemp("sample") / "b", SIZE)
        info = open_bundle(folder).info("generator")
        data = (folder / info.file).read_bytes()
        assert hashlib.sha256(data).hexdigest() == info.sha256
        _SAMPLES.append((data, info))
    return _SAMPLES[0]


def test_the_page_shows_how_to_read_one_without_marotte(folder: Path) -> None:
    """Its lines run as they stand, on a bundle, and give the graph's outputs."""
    page = (PROJECT / "docs" / "bundle.md").read_text("utf-8")
    after = page.split("## Reading one without Marotte\n\n")[1]
    lines = [line[4:] for line in after.split("\n\n")[0].splitlines()]
    code = "\n".join(lines).replace("BUNDLE", str(folder)).replace("open(", "opened(")
    files: list[Any] = []

    def opened(name: str, mode: str = "r") -> Any:
        files.append(Path(name).open(mode))  # noqa: SIM115 - the page leaves closing to the interpreter
        return files[-1]

    found: dict[str, Any] = {"opened": opened}
    exec(code, found)
    for file in files:
        file.close()
    assert found["colour"].shape == (1, 3, SIZE, SIZE)
    np.testing.assert_allclose(found["attention"], 0.2, atol=1e-6)
