"""The doctor: each broken piece is named, with what mends it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import av
import pytest

import marotte
from engine import backends, doctor
from engine import models as models_registry
from engine.doctor import examine
from engine.errors import ModelError
from engine.findings import Check, Finding, examined, guarded
from engine.models import PULLED, models_folder
from engine.track.face import FaceTracker
from streaming.bench import chromium


def bad(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.piece: finding for finding in findings if not finding.ok}


def check_named(finding: Finding, detail: str, fix: str) -> None:
    """Told in one line: what is wrong, and what to do."""
    assert detail in finding.detail
    assert fix in finding.fix
    assert "\n" not in str(finding)
    assert str(finding).startswith("BAD ")


@pytest.fixture
def copied(models: None, tmp_path: Path) -> Path:
    """A cache of this test's own, with the machine's models in it."""
    shutil.copytree(models_folder(), models_folder(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_sound_machine_is_sound(
    models: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 0, a line per piece, and the sample portrait's face really found."""
    monkeypatch.setattr(chromium, "find_chromium", lambda: "/usr/bin/chromium")  # rendering needs none
    status = marotte.main(["doctor", "--port", "0"])
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if not line.startswith("ok  ")] == []
    assert status == 0
    pieces = [line[5:].split(":")[0] for line in told if not line.startswith("ok   model ")]
    gpu = [piece for piece in pieces if piece.startswith("gpu") or piece in backends.GPU_BACKENDS]
    assert gpu  # one line where there is none
    assert [piece for piece in pieces if piece not in gpu] == [
        "python", "packages", "cache", "backend", "kernels", "codecs",
        "port", "aiortc", "live codecs", "encoders", "route", "event loop", "shared memory", "worker", "browser tests",
    ]  # fmt: skip
    assert any("finds the sample portrait's face" in line for line in told)


def test_missing_models_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty cache is exit status 1, and every model's fix is the command that pulls it."""
    assert marotte.main(["doctor", "--port", "0", "--cache", str(tmp_path)]) == 1
    told = capsys.readouterr().out.splitlines()
    lines = [line for line in told if line.startswith("BAD  model ")]
    assert len(lines) == len(PULLED)
    assert all("is not there -> run: marotte models pull" in line for line in lines)


def test_a_backend_without_models_is_not_blamed(tmp_path: Path) -> None:
    """What could not be tried is said to be untried."""
    finding = bad(examine(cache=tmp_path))["backend"]
    check_named(finding, "was not tried", "marotte models pull")


def test_a_changed_model_is_named(copied: Path) -> None:
    """One flipped byte is found by its hash, and only that model is bad."""
    graph = models_folder(copied) / "face_mesh.onnx"
    data = bytearray(graph.read_bytes())
    data[len(data) // 2] ^= 1
    graph.write_bytes(data)
    found = bad(examine(cache=copied))
    assert list(found) == ["model face_mesh"]
    check_named(found["model face_mesh"], "does not have the SHA-256", "run: marotte models pull")


def test_no_backend_is_named(models: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that could run a network: the fix is the package to install."""
    monkeypatch.setattr(backends, "_installed", lambda name: False)
    check_named(bad(examine())["backend"], "no backend is installed", "pip install openvino")


def test_a_backend_asked_for_by_name_is_not_replaced(models: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one that would do is no excuse for the one that is missing."""
    monkeypatch.setattr(backends, "_installed", lambda name: name == "onnxruntime")
    finding = bad(examine(backend="openvino"))["backend"]
    check_named(finding, "openvino is not installed", "pip install openvino")


def test_a_broken_backend_is_named(models: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed but not importable: install it again, or name the other one."""

    def broken(name: str) -> Any:
        raise ImportError("libtbb.so.12 is missing")

    monkeypatch.setattr(backends.importlib, "import_module", broken)
    finding = bad(examine())["backend"]
    check_named(finding, "libtbb.so.12 is missing", "--backend onnxruntime")


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk on which nothing can be written."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)


def test_a_read_only_cache_is_named(read_only: None, tmp_path: Path) -> None:
    """A read-only disk is found by trying to write, and the fix is another folder."""
    finding = bad(examine(cache=tmp_path))["cache"]
    check_named(finding, f"cannot be written ({os.strerror(errno.EROFS)})", "--cache DIR")


def test_a_complete_read_only_cache_is_sound(read_only: None, copied: Path) -> None:
    """Nothing has to be written there any more: it is ok, with a remark."""
    findings = examine(cache=copied)
    assert bad(findings) == {}
    (cache,) = (finding for finding in findings if finding.piece == "cache")
    assert "cannot be written" in cache.detail
    assert "holds every model" in cache.detail


def test_another_graph_under_a_models_name_is_named(copied: Path) -> None:
    """A sound graph with a sidecar that fits is still not the model: the doctor and the tracker both say so."""
    folder = models_folder(copied)
    graph = (folder / "face_mesh.onnx").read_bytes()
    planted = folder / "face_mesh_attention.onnx"
    planted.write_bytes(graph)
    sidecar = json.loads(planted.with_suffix(".json").read_text())
    sidecar |= {"size": len(graph), "onnx_sha256": hashlib.sha256(graph).hexdigest()}
    planted.with_suffix(".json").write_text(json.dumps(sidecar))
    found = bad(examine(cache=copied))
    check_named(found["model face_mesh_attention"], "does not have the SHA-256", "run: marotte models pull")
    with pytest.raises(ModelError, match=r"model face_mesh_attention: .*run: marotte models pull"):
        FaceTracker(cache=copied)


def test_a_users_own_model_is_not_said_to_be_the_right_one() -> None:
    """There is no pinned hash to hold it against, so only that it did not change is claimed."""
    row = models_registry.inspect(models_registry.model("task_face_detector"), Path("none"), full=False)
    ready = replace(row, condition=models_registry.Condition.READY)
    assert "SHA-256" not in doctor._model(ready).detail


def test_a_hint_is_told_whole(tmp_path: Path) -> None:
    """A slip in a backend's name is answered with the name that was meant."""
    finding = bad(examine(cache=tmp_path, backend="openvin"))["backend"]
    check_named(finding, "backend 'openvin' is not known", "did you mean openvino?")


@pytest.mark.parametrize("place", ["cache", "cache/models"])
def test_a_file_where_the_cache_should_be_is_named(tmp_path: Path, place: str) -> None:
    """The file is named, wherever it stands on the way to the models."""
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    file.write_text("not a folder")
    found = bad(examine(cache=tmp_path / "cache"))
    check_named(found["cache"], f"{file} is a file", "remove it, or name another folder with --cache DIR")
    assert {piece for piece in found if piece.startswith("model ")} == {f"model {one.name}" for one in PULLED}


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little room for the wheel and the models is told with what is left and what is needed."""

    class Usage(NamedTuple):
        total: int = 1 << 40
        used: int = 1 << 40
        free: int = 20 << 20

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage())
    check_named(bad(examine(cache=tmp_path))["cache"], "20 MB left, expected 300", "free some space")


def test_kernels_without_a_cache_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """No folder for compiled kernels is slow and not broken: it is ok, and says how to be faster."""
    from numba.core import caching

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    (finding,) = doctor._kernels()
    assert finding.ok
    assert "at every start" in finding.detail
    assert "NUMBA_CACHE_DIR" in finding.fix


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that the plain install brings and that is not there."""
    find_spec = doctor.importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util, "find_spec", lambda name, *rest: None if name == "av" else find_spec(name)
    )
    (finding,) = doctor._packages()
    check_named(finding, "missing av", "pip install marotte")


def test_a_missing_codec_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg built without an encoder that the writer uses."""
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    (finding,) = doctor._codecs()
    check_named(finding, "no libx264", "pip install --force-reinstall av")


def test_an_examination_that_fails_is_a_finding() -> None:
    """The doctor never crashes on what it looks at."""

    def crash() -> list[Finding]:
        raise RuntimeError("two\nlines")

    (finding,) = guarded("kernels", crash)
    check_named(finding, "RuntimeError: two lines", "reinstall")


def test_a_finding_is_told_before_the_next_check_begins() -> None:
    """Whoever waits sees what is done already."""
    begun: list[str] = []

    def look(piece: str) -> list[Finding]:
        begun.append(piece)
        return [Finding(piece, True, "")]

    told = examined([Check(piece, lambda piece=piece: look(piece)) for piece in ("cache", "kernels")])  # type: ignore[misc]
    assert next(told).piece == "cache"
    assert begun == ["cache"]
    assert [finding.piece for finding in told] == ["kernels"]


def test_a_check_that_hangs_is_left_behind_and_told() -> None:
    """A driver that never answers keeps nobody from the rest, and that it is waited for is said."""
    let_go, waited = threading.Event(), list[str]()

    def hang() -> list[Finding]:
        let_go.wait()
        return []

    checks = [Check("gpu", hang, most_s=0.05), Check("codecs", lambda: [Finding("codecs", True, "")])]
    try:
        hung, codecs = examined(checks, lambda check: waited.append(check.piece))
    finally:
        let_go.set()
    check_named(hung, "no answer within 0.05 s", "run it again")
    assert codecs.ok
    assert waited == ["gpu"]


def test_a_check_that_waits_runs_beside_the_others() -> None:
    """A worker that starts takes no time of its own where the other checks take as long."""
    other = threading.Event()

    def wait() -> list[Finding]:
        return [Finding("worker", other.wait(10.0), "")]

    def first() -> list[Finding]:
        other.set()
        return [Finding("python", True, "")]

    found = examined([Check("python", first), Check("worker", wait, early=True)])
    assert [(finding.piece, finding.ok) for finding in found] == [("python", True), ("worker", True)]
