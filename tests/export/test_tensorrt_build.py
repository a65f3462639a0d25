"""The builder of plans, over TensorRT for RTX's own compiler, which needs no GPU."""

from __future__ import annotations

import _thread
import importlib
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from onnx import TensorProto

from engine.backends import driver as nvidia
from engine.errors import BackendError, PlanCancelled, PlanError
from engine.plans.request import PlanRequest
from export.tensorrt import api, network, progress
from export.tensorrt.api import Toolkit, load, log_of
from export.tensorrt.build import build
from export.tensorrt.config import SIDES, configured
from export.tensorrt.network import parsed
from tests.export.tensorrt_graphs import compiled, needs_compiler, tiny, unsupported


@pytest.fixture(autouse=True)
def _compiler() -> None:
    needs_compiler()


def _one_line(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    return text


def test_a_plan_is_built_and_says_by_what() -> None:
    """Bytes of a plan, the version that made it, and no warning of a graph that is sound."""
    built = compiled(tiny())
    assert len(built.plan) > 1000
    assert built.versions == {"flavour": "rtx", "tensorrt": load("rtx").version}
    assert built.log == ()


def test_progress_only_rises_and_ends_at_the_whole() -> None:
    """One figure for a bar, out of phases that lie within each other."""
    told: list[tuple[str, int, int]] = []
    compiled(tiny(), progress=lambda *step: told.append(step))
    done = [step[1] for step in told]
    assert len(told) > 20
    assert len({step[0] for step in told}) > 5
    assert done == sorted(done)
    assert done[0] < 100
    assert told[-1] == ("done", progress.WHOLE, progress.WHOLE)
    assert all(step[2] == progress.WHOLE for step in told)


def test_a_build_is_ended_in_its_middle() -> None:
    """By TensorRT's own monitor: it lets go within a step, and the next build is not harmed."""
    cancel, told = threading.Event(), []

    def listen(phase: str, done: int, whole: int) -> None:
        told.append(phase)
        if len(told) == 15:
            cancel.set()

    with pytest.raises(PlanCancelled, match="its build was ended"):
        compiled(tiny(), progress=listen, cancel=cancel)
    assert 15 <= len(told) < 100
    assert compiled(tiny()).plan


def test_an_interrupt_ends_the_build_before_it_is_raised() -> None:
    """Ctrl-C lands in the calling thread, never in a call from TensorRT, and no thread is left behind."""
    told: list[str] = []

    def listen(phase: str, done: int, whole: int) -> None:
        told.append(phase)
        if len(told) == 10:
            _thread.interrupt_main()
        if len(told) > 10:
            time.sleep(0.02)  # leaves the other thread its turn

    with pytest.raises(KeyboardInterrupt):
        compiled(tiny(), progress=listen)
    left = [thread for thread in threading.enumerate() if thread.name == "plan-builder" and thread.is_alive()]
    assert not left


def test_what_a_listener_raises_comes_out() -> None:
    """An exception must not cross TensorRT's frames; it ends the build and is raised as it was."""

    def listen(phase: str, done: int, whole: int) -> None:
        raise ZeroDivisionError("the listener's own")

    with pytest.raises(ZeroDivisionError, match="the listener's own"):
        compiled(tiny(), progress=listen)


def test_two_builds_at_once_take_turns() -> None:
    """They would mix their log lines; the one that waits can be ended, too."""
    inside, go_on, cancel = threading.Event(), threading.Event(), threading.Event()

    def listen(phase: str, done: int, whole: int) -> None:
        inside.set()
        go_on.wait(60)

    first = threading.Thread(target=compiled, args=(tiny(),), kwargs={"progress": listen})
    first.start()
    assert inside.wait(60)
    cancel.set()
    with pytest.raises(PlanCancelled, match="before it began"):
        compiled(tiny(), cancel=cancel)
    go_on.set()
    first.join()
    assert compiled(tiny()).plan


def test_an_unsupported_operator_is_named_in_tensorrts_words() -> None:
    """The node, its operator and the parser's own line, on one line."""
    with pytest.raises(PlanError) as caught:
        compiled(unsupported(), "odd")
    text = _one_line(caught.value)
    assert "refused graph odd: node 'det_0' (Det): unsupported node" in text
    assert "checkDet" in text


def test_no_onnx_file_is_one_line() -> None:
    """Rubbish is refused by the parser, and nothing crashes."""
    with pytest.raises(PlanError, match="model deserialize failed") as caught:
        compiled(b"rubbish")
    _one_line(caught.value)


@pytest.mark.parametrize(
    ("precision", "kind", "said"),
    [
        ("fp16", TensorProto.FLOAT, "computes nothing in fp16"),
        ("fp32", TensorProto.FLOAT16, "computes in HALF"),
    ],
)
def test_a_plan_is_what_its_name_says(precision: Any, kind: int, said: str) -> None:
    """TensorRT computes in the file's types: a file of other types is refused, not built under a wrong name."""
    with pytest.raises(PlanError, match=said) as caught:
        compiled(tiny(kind=kind), precision=precision)
    _one_line(caught.value)


def test_float16_is_built_as_float16() -> None:
    """The same graph in half the bits."""
    assert compiled(tiny(kind=TensorProto.FLOAT16), precision="fp16").plan


def _configured(graph: bytes, batches: tuple[int, ...] = (1,), **fields: Any) -> Any:
    toolkit, strip = load("rtx"), fields.pop("strip", False)
    request = PlanRequest(graph, "tiny", "fp32", batches, flavour="rtx", **fields)
    log = log_of(toolkit)
    with log.listening() as lines:
        builder = toolkit.api.Builder(log.logger)
        found = parsed(toolkit, builder, log.logger, request, lines)
        config = configured(toolkit, builder, found.network, request, strip=strip)
    return SimpleNamespace(
        config=config, flags=toolkit.api.BuilderFlag, network=found.network, toolkit=toolkit
    )


def test_the_builder_is_told_memory_and_arithmetic() -> None:
    """The workspace that was asked for; float32 that is not rounded to TF32, since the keep list needs all of it."""
    made = _configured(tiny(), workspace_bytes=123 << 20)
    pool = made.toolkit.api.MemoryPoolType.WORKSPACE
    assert made.config.get_memory_pool_limit(pool) == 123 << 20
    assert not made.config.get_flag(made.flags.TF32)
    assert not made.config.get_flag(made.flags.REFIT)
    assert not made.config.get_flag(made.flags.STRIP_PLAN)


def test_refit_and_strip_set_their_flags() -> None:
    """Stripped means refittable: a plan without weights is of no other use."""
    refit, strip = _configured(tiny(), refit=True), _configured(tiny(), strip=True)
    assert refit.config.get_flag(refit.flags.REFIT)
    assert not refit.config.get_flag(refit.flags.STRIP_PLAN)
    assert strip.config.get_flag(strip.flags.REFIT)
    assert strip.config.get_flag(strip.flags.STRIP_PLAN)


def test_every_batch_has_a_profile() -> None:
    """1, 2, 4 and 8, and a plan comes of them."""
    made = _configured(tiny(batch="batch"), (1, 2, 4, 8))
    assert made.config.num_optimization_profiles == 4
    assert compiled(tiny(batch="batch"), batches=(1, 2, 4, 8)).plan


def test_free_sides_of_frames_have_their_range() -> None:
    """By the names of their dimensions; a side of another name cannot be planned for."""
    frame = tiny(sides=("height", "width"))
    assert _configured(frame).config.num_optimization_profiles == 1
    assert compiled(frame).plan
    assert all(low <= tuned <= high for low, tuned, high in SIDES.values())
    with pytest.raises(PlanError, match=r"dimension 1 of port 'image' is free \(depth\)"):
        _configured(tiny(sides=("depth", 8)))


@pytest.mark.parametrize("batches", [(2,), (1, 2)])
def test_a_fixed_batch_cannot_be_another(batches: tuple[int, ...]) -> None:
    """Nothing is padded or guessed: the graph has to be freed first."""
    with pytest.raises(PlanError, match="has a fixed batch of 1") as caught:
        compiled(tiny(), batches=batches)
    _one_line(caught.value)


def test_too_little_workspace_is_told_by_tensorrt() -> None:
    """Its own line, and the option that mends it."""
    with pytest.raises(PlanError, match=r"no tactics .* within workspace limit.*--workspace") as caught:
        compiled(tiny(), workspace_bytes=1)
    _one_line(caught.value)


def test_refit_needs_a_driver_even_to_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one the compiler would fail inside; the line says why before anything is begun."""
    _without_driver(monkeypatch)
    with pytest.raises(PlanError, match=r"for refit is built on the GPU .* no NVIDIA driver") as caught:
        compiled(tiny(), refit=True)
    _one_line(caught.value)


def test_scales_are_not_refitted() -> None:
    """int8's belong to the weights they were measured with."""
    with pytest.raises(PlanError, match="refit is there for fp32, fp16 and bf16, got int8"):
        compiled(tiny(), precision="int8", refit=True)


def test_tensorrt_itself_is_not_touched_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runtime gives null pointers there, which crash the process: the driver is asked first."""
    _without_driver(monkeypatch)
    untouched = Toolkit(SimpleNamespace(), "tensorrt", "11.4.0", (11, 4, 0))  # type: ignore[arg-type]
    with pytest.raises(PlanError, match=r"TensorRT 11\.4\.0: a plan is built on the GPU"):
        build(PlanRequest(tiny(), "tiny", "fp32", (1,)), toolkit=untouched)


def _without_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise BackendError("there is no NVIDIA driver here; run: it")

    monkeypatch.setattr("export.tensorrt.build.driver", absent)
    assert nvidia.driver is not absent


@pytest.mark.parametrize(
    ("flavour", "numbers", "flags"),
    [("tensorrt", (10, 16, 1), 1), ("tensorrt", (11, 4, 0), 0), ("rtx", (1, 7, 1), 0)],
)
def test_ten_is_told_to_type_strongly(flavour: Any, numbers: tuple[int, ...], flags: int) -> None:
    """11 always does, and has nothing to be told; without types 10 would round as it likes."""
    toolkit = Toolkit(load("rtx").api, flavour, "0", numbers)
    assert network._flags(toolkit) == flags


def test_a_network_without_types_is_refused() -> None:
    """Whatever a further version makes of the flag: a plan whose precision is a guess is not built."""
    loose = SimpleNamespace(get_flag=lambda flag: False)
    with pytest.raises(PlanError, match="without types"):
        network._check_typed(load("rtx"), loose, "tiny")  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["9.3.0", "12.0.1", "unknown"])
def test_another_major_version_is_named(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its calls are others, and nothing is tried with them."""
    monkeypatch.setattr(importlib, "import_module", lambda name: SimpleNamespace(__version__=version))
    with pytest.raises(PlanError, match=f"TensorRT {version} is installed, expected version 10 or 11"):
        api.load.__wrapped__("tensorrt")


def test_bindings_that_are_not_there_or_broken_name_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line each, with the command."""

    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    def broken(name: str) -> None:
        raise ImportError("libnvinfer.so.11: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(PlanError, match=r"RTX is not installed; run: python -m pip install 'marotte\[rtx\]'"):
        api.load.__wrapped__("rtx")
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(PlanError, match=r"TensorRT is broken \(libnvinfer"):
        api.load.__wrapped__("tensorrt")
