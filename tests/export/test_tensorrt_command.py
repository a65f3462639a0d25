"""`marotte plan`: a folder of plans, whole or not at all, and one clear line for everything else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import marotte
from engine.errors import ConfigError, PlanError
from engine.plans.probe import stored
from engine.plans.request import Built
from export.tensorrt import plans
from export.tensorrt.calibration import cases
from export.tensorrt.plans import prepared
from tests.engine.bundle_files import write_ganimation
from tests.export.tensorrt_graphs import compiled, needs_compiler, tiny


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_ganimation(tmp_path / "bundle")


def _plan(*words: object) -> int:
    return marotte.main(["plan", *map(str, words)])


def test_plans_are_written_with_what_they_were_made_of(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file per graph, its hashes and versions beside it; a second run takes the first one's place."""
    needs_compiler()
    out = tmp_path / "plans"
    assert _plan(bundle, "--flavour", "rtx", "--precision", "fp32", "--batches", "1,2", "--out", out) == 0
    assert "1 plan of a closed form" in capsys.readouterr().out
    (file,) = out.glob("*.plan")
    listed = json.loads((out / "plans.json").read_text())["plans"][file.name]
    assert file.name == "generator.fp32.rtx.plan"
    assert listed["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert listed["batches"] == [1, 2]
    assert listed["versions"]["flavour"] == "rtx"
    assert _plan(bundle, "--flavour", "rtx", "--precision", "fp32", "--batches", "1", "--out", out) == 0
    assert json.loads((out / "plans.json").read_text())["plans"][file.name]["batches"] == [1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--precision", "fp61"], "precision: got 'fp61'; did you mean 'fp16'?"),
        (["--precision", "int8"], "no calibration set was given"),
        (["--precision", "int8", "--calibration", "nowhere"], "there is no nowhere/generator/*.npz"),
        (["--flavour", "rxt"], "flavour: got 'rxt'; did you mean 'rtx'?"),
        (["--batches", "1,two"], "--batches: got '1,two', expected sizes such as 1,2,4,8"),
        (["--batches", "0"], "--batches: got '0', expected sizes of 1 .. 1024, such as 1,2,4,8"),
        (["--batches", "1,2000"], "--batches: got '1,2000', expected sizes of 1 .. 1024, such as 1,2,4,8"),
        (["--calibration", "nowhere"], "--calibration: fp16 takes none; expected --precision int8 or fp8"),
        (["--graph", "generater"], "graph: got 'generater'; did you mean 'generator'?"),
        (["--workspace", "0"], "--workspace: got 0, expected 1 MB or more"),
    ],
)
def test_a_wrong_option_is_one_line(
    words: list[str], said: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, and nothing is written."""
    needs_compiler()
    assert _plan(bundle, "--flavour", "rtx", "--out", tmp_path / "plans", *words) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if "building" not in line]
    assert len(told) == 1
    assert said in told[0]
    assert not (tmp_path / "plans").exists()


def test_a_users_folder_is_not_replaced(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused before anything is built."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("mine")
    assert _plan(bundle, "--flavour", "rtx", "--out", tmp_path / "photos") == 2
    assert "would be lost" in capsys.readouterr().err
    assert (tmp_path / "photos" / "me.jpg").read_text() == "mine"


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), PlanError("refused: here is why")])
def test_a_build_that_ends_leaves_nothing(
    raised: BaseException, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted (130) or failed (2): no folder, and no half of one."""
    needs_compiler()

    def build(*arguments: Any, **options: Any) -> Built:
        raise raised

    monkeypatch.setattr(plans, "build", build)
    code = _plan(bundle, "--flavour", "rtx", "--out", tmp_path / "plans")
    assert code == (130 if isinstance(raised, KeyboardInterrupt) else 2)
    assert {path.name for path in tmp_path.iterdir()} == {"bundle"}


def test_a_plan_for_refit_has_its_question_beside_it(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored with the answer of the ONNX file; the list says which weights fit. The build itself needs a GPU."""
    needs_compiler()
    asked: list[Any] = []

    def build(request: Any, **options: Any) -> Built:
        asked.append((request.refit, options["strip"]))
        return Built(b"plan", {"flavour": "rtx", "tensorrt": "1.7.1"})

    monkeypatch.setattr(plans, "build", build)
    assert _plan(bundle, "--flavour", "rtx", "--batches", "1,4", "--strip", "--out", tmp_path / "plans") == 0
    assert asked == [(True, True)]
    probe = stored((tmp_path / "plans" / "generator.fp16.probe").read_bytes())
    assert {name: array.shape for name, array in probe.expected.items()} == {
        "colour": (1, 3, 32, 32),
        "attention": (1, 1, 32, 32),
    }
    (listed,) = json.loads((tmp_path / "plans" / "plans.json").read_text())["plans"].values()
    assert (listed["refit"], listed["stripped"], len(listed["structure"])) == (True, True, 64)


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_a_calibrated_graph_is_compiled(precision: Any, tmp_path: Path) -> None:
    """Cases from a folder; for one item and for two at once."""
    needs_compiler()
    rng = np.random.default_rng(5)
    (tmp_path / "tiny").mkdir()
    for number in range(4):
        np.savez(tmp_path / "tiny" / f"{number}.npz", image=rng.integers(0, 256, (1, 8, 8, 3), np.uint8))
    for batches in ((1,), (1, 2)):
        graph = prepared(tiny(deep=True), "tiny", precision, batches, cases(tmp_path, "tiny"))
        assert compiled(graph, precision=precision, batches=batches).plan


def test_a_case_that_is_no_archive_is_one_line(tmp_path: Path) -> None:
    """And a pickled one is not read."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "a.npz").write_bytes(b"rubbish")
    with pytest.raises(ConfigError, match="no archive of plain arrays"):
        list(cases(tmp_path, "tiny"))
    np.savez(tmp_path / "tiny" / "a.npz", allow_pickle=True, image=np.array([{}], object))
    with pytest.raises(ConfigError, match="no archive of plain arrays"):
        list(cases(tmp_path, "tiny"))
