"""A bundle is written whole or not at all, and says what it is."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.bundle import open_bundle, read_record
from engine.errors import BundleError, ManifestError
from export import pack as packing
from export.enrol.kept import Kept, copy
from export.pack import Label, Packed, pack
from export.parity import Report
from export.place import check_place, placed
from tests.export.tiny_plan import LABEL, graph, plan


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """One bundle, really exported and compared."""
    return pack(plan(), LABEL, tmp_path_factory.mktemp("first") / "bundle")


@pytest.fixture
def quick(first: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later ones take its graph and its report over."""
    data = (first.bundle.folder / "tiny.onnx").read_bytes()
    monkeypatch.setattr(packing, "write_graph", lambda graph, half: data)
    monkeypatch.setattr(packing, "measure", lambda *given, **options: first.report)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_bundle_opens_and_states_its_parity(first: Packed) -> None:
    """By every runtime that is installed here, per port, below the gate."""
    bundle = open_bundle(first.bundle.folder)
    assert names(bundle.folder) == ["manifest.json", "tiny.onnx"]
    manifest = bundle.manifest
    assert (manifest.licence, manifest.origin.weights, manifest.title) == ("CC0-1.0", "a test", "tiny")
    assert set(manifest.parity["runtimes"]) == {"openvino", "onnxruntime"}
    for runtime in manifest.parity["runtimes"].values():
        assert 0 < runtime["errors"]["tiny"]["made"]["max"] < 1e-4
    assert manifest.parity["rounding"] is None
    assert bundle.graph("tiny", "onnxruntime").outputs[0].name == "made"


def test_a_graph_over_the_gate_is_not_packed(
    first: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal names graph, port, runtime and both numbers; nothing is left."""
    data = (first.bundle.folder / "tiny.onnx").read_bytes()
    monkeypatch.setattr(packing, "write_graph", lambda graph, half: data)
    with pytest.raises(
        BundleError, match=r"graph tiny, port 'made': .* differs from torch by .*, expected 1e-12"
    ):
        pack(plan(), LABEL, tmp_path / "bundle", gate=1e-12)
    assert names(tmp_path) == []


def test_a_difference_that_is_no_number_is_not_packed(first: Packed) -> None:
    """NaN is below no gate."""
    runtimes = {"openvino": ("1", {"tiny": {"made": {"max": float("nan"), "mean": 0.0}}})}
    from export.parity import _check_gate

    with pytest.raises(BundleError, match="differs from torch by nan"):
        _check_gate(Report(1e-4, "float32", 1, runtimes, None))


@pytest.mark.usefixtures("quick")
def test_an_old_bundle_is_replaced(tmp_path: Path) -> None:
    """By a whole one, with nothing left beside it."""
    out = tmp_path / "bundle"
    pack(plan(), LABEL, out)
    packed = pack(plan(), Label("MIT", "second", "none", "none"), out)
    assert packed.bundle.folder == out
    assert open_bundle(out).manifest.origin.weights == "second"
    assert names(tmp_path) == ["bundle"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device"), MemoryError])
@pytest.mark.parametrize("at", ["fsync", "rename"])
@pytest.mark.parametrize("older", [True, False])
def test_an_interrupted_export_leaves_nothing_or_the_old_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: Any, at: str, older: bool
) -> None:
    """Wherever it stops: in writing a file, or in putting the folder in its place."""
    out = tmp_path / "bundle"
    if older:
        pack(plan(), LABEL, out)

    def fail(*given: Any) -> None:
        raise stop

    with monkeypatch.context() as patch:
        if at == "fsync":
            patch.setattr(os, "fsync", fail)
        else:
            rename = Path.rename
            patch.setattr(
                Path, "rename", lambda path, to: fail() if path.parent.suffix == ".part" and path.name == "bundle"
                else rename(path, to)
            )  # fmt: skip
        with pytest.raises(BundleError if isinstance(stop, OSError) else stop):
            pack(plan(), Label("MIT", "second", "none", "none"), out)
    assert names(tmp_path) == (["bundle"] if older else [])
    if older:
        assert open_bundle(out).manifest.origin.weights == "a test"


@pytest.mark.usefixtures("quick")
def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    """Nothing of a user's is replaced but a bundle."""
    out = tmp_path / "photos"
    out.mkdir()
    (out / "holiday.jpg").write_text("x")
    with pytest.raises(BundleError, match=r"holds 'holiday\.jpg', which would be lost"):
        pack(plan(), LABEL, out)
    assert names(out) == ["holiday.jpg"]
    (out / "holiday.jpg").rename(out / "holiday.onnx")
    with pytest.raises(BundleError, match=r"a folder without manifest\.json"):
        pack(plan(), LABEL, out)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match="is no folder"):
        pack(plan(), LABEL, tmp_path / "file")


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    """As one that a user made for it."""
    (tmp_path / "new").mkdir()
    check_place(tmp_path / "new", "manifest.json", frozenset({".onnx"}))
    with placed(tmp_path / "new") as folder:
        (folder / "a").write_text("x")
    assert names(tmp_path / "new") == ["a"]


@pytest.mark.usefixtures("quick")
def test_a_label_that_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """A licence that is no SPDX expression, say."""
    with pytest.raises(ManifestError, match="licence"):
        pack(plan(), Label("see the website!", "w", "d", "c"), tmp_path / "bundle")
    assert names(tmp_path) == []


@pytest.mark.usefixtures("quick")
def test_a_bundle_of_non_commercial_weights_can_be_packed(tmp_path: Path) -> None:
    """Its own check accepts it by its own name; a reader has to do so, too."""
    label = Label("CC-BY-NC-4.0", "w", "d", "c", commercial=False, acceptance="demo-nc")
    pack(plan(), label, tmp_path / "bundle")
    with pytest.raises(BundleError, match="--accept demo-nc"):
        open_bundle(tmp_path / "bundle")


def test_inputs_that_are_compared_are_many_and_drawn_alike(first: Packed) -> None:
    """Noise and drawings over each port's own range, the same every time."""
    from export.parity import cases

    once, again = list(cases(graph())), list(cases(graph()))
    assert len(once) >= 6
    assert first.report.cases == len(once)
    for one, two in zip(once, again, strict=True):
        assert all((one[name] == two[name]).all() for name in one)
        assert 0 <= float(one["shift"].min()) <= float(one["shift"].max()) <= 1
    assert any(case["image"].unique().numel() > 100 for case in once)


@pytest.fixture(autouse=True)
def _no_rests(tmp_path: Path) -> Iterator[None]:
    """No test leaves a temporary folder behind."""
    yield
    assert not list(tmp_path.rglob("*.part"))


def test_a_manifest_is_text_that_a_person_can_read(first: Packed) -> None:
    """Indented, UTF-8, its letters as they are."""
    text = (first.bundle.folder / "manifest.json").read_text("utf-8")
    assert text.startswith('{\n "format": 1,\n "system": "ganimation"')
    assert json.loads(text)["parity"]["torch"]


def test_a_record_of_consent_goes_along(quick: None, tmp_path: Path) -> None:
    """As consent.json, whose hash the manifest states; a bundle with one is replaced as any other, and a copy under
    another label has the new one or none."""
    out, record = tmp_path / "bundle", b"whatever the record says"
    with_record = dataclasses.replace(LABEL, record=record)
    pack(plan(), with_record, out)
    assert names(out) == ["consent.json", "manifest.json", "tiny.onnx"]
    assert read_record(out) == record
    pack(plan(), dataclasses.replace(LABEL, record=b"another"), out)
    assert read_record(out) == b"another"
    found = Kept(tmp_path, ())
    copy(found, tmp_path / "copy", with_record)
    assert read_record(tmp_path / "copy") == record
    copy(found, tmp_path / "copy", LABEL)
    assert names(tmp_path / "copy") == ["manifest.json", "tiny.onnx"]
    assert open_bundle(tmp_path / "copy").manifest.record is None
