"""Where the test data stands, and the skips that say why when it does not."""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ModelError

PROJECT = Path(__file__).resolve().parent.parent

if (
    signal.getsignal(signal.SIGINT) == signal.SIG_IGN
):  # in the background of a shell, which children would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure() -> None:
    """Threads of BLAS that wait for each other on cores which others need cost many times the work itself, here and
    in every process that a test starts. A worker of pytest-xdist keeps to one thread altogether: the other cores have
    workers of their own. NumPy and PyTorch, which look at this when they are imported, are not there yet."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    for variable in ("OPENBLAS_NUM_THREADS",) if alone else ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(variable, "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """One more than there are cores: a good part of their time goes into waiting for calls, pages and processes."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    affinity = getattr(os, "sched_getaffinity", None)
    return 1 + (len(affinity(0)) if affinity else os.cpu_count() or 1)


LONGEST = (
    "streaming/test_page.py", "parity/test_official.py", "export/test_batch.py", "export/test_tensorrt_quantised.py",
    "export/test_tensorrt_graphs.py", "export/test_frame.py", "export/test_precision.py", "export/test_systems.py",
    "parity/test_mediapipe_face.py", "engine/test_evaluate.py", "engine/test_evaluate_shipped.py", "test_marotte.py",
    "trainers/test_resume.py", "trainers/stit/test_tuning.py", "export/test_enrol.py", "streaming/test_serve.py",
    "streaming/test_page_edit.py", "streaming/test_peer.py", "engine/test_bench.py", "engine/test_media_hard.py",
    "engine/test_render_hard.py", "engine/test_worker_process_models.py", "engine/test_worker_sources.py",
    "engine/test_worker_local_real.py", "engine/test_annotate.py", "engine/test_doctor.py",
    "trainers/maskgan/test_mask_training.py", "trainers/maskgan/test_training.py", "trainers/test_loop.py",
    "export/test_frame_batches.py", "export/test_tensorrt_live.py", "streaming/test_page_text.py",
)  # fmt: skip
"""Files that take longest. Several workers begin with them: at the end of the queue they would leave workers without
work. pytest-xdist goes by the number of tests, and those that take long stand in short files."""


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None, Any, Any]:
    """Who runs by itself is marked in the file where it stands: the Makefile looks for it there, and it would run
    nowhere otherwise. The others come in the order for several workers."""
    alone = {item.path: item.nodeid for item in items if item.get_closest_marker("alone")}
    if astray := [nodeid for path, nodeid in alone.items() if "mark.alone" not in path.read_text("utf-8")]:
        raise pytest.UsageError(f"marked alone, and not in its file, where the Makefile looks: {astray[0]}")
    found = yield
    if "PYTEST_XDIST_WORKER" in os.environ:
        rank = {PROJECT / "tests" / name: place for place, name in enumerate(LONGEST)}
        count = Counter(item.path for item in items)
        items.sort(key=lambda item: (rank.get(item.path, len(rank)), -count[item.path], str(item.path)))
    return found


def pytest_collection_finish() -> None:
    """What the imports left stays for good: a test that collects garbage, and the collector itself, then walk what
    the tests made and not a million objects more."""
    gc.collect()
    gc.freeze()


def _data_root(variable: str, folder: str) -> Path:
    root = Path(os.environ.get(variable, str(PROJECT.parent / "shared" / folder)))
    if not root.is_dir():
        pytest.skip(f"no {folder} data at {root}: name its folder in {variable}")
    return root


@pytest.fixture(scope="session", autouse=True)
def state_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test's server writes into the user's own record of sources."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAROTTE_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session", autouse=True)
def consent_to_all() -> Iterator[None]:
    """Tests that show a portrait and are of something else have consent to it: tests/consent_fixture.py."""
    from tests.consent_fixture import allow_all

    with pytest.MonkeyPatch.context() as patch:
        allow_all(patch)
        yield


@pytest.fixture
def real_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Only what is recorded counts, and nothing is: the state's folder, empty."""
    from tests.consent_fixture import only_recorded

    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path / "state"))
    with only_recorded():
        yield tmp_path / "state"


@pytest.fixture(scope="session")
def faces_root() -> Path:
    """Real clips, portraits and bad inputs (MAROTTE_FACES, default ../shared/faces)."""
    return _data_root("MAROTTE_FACES", "faces")


@pytest.fixture(scope="session")
def parity_root() -> Path:
    """Reference outputs (MAROTTE_PARITY, default ../shared/parity)."""
    return _data_root("MAROTTE_PARITY", "parity")


@pytest.fixture(scope="session")
def models() -> None:
    """The pulled models; a machine that has not pulled them skips what needs them, CI never does."""
    from engine import models as registry

    try:
        for entry in registry.PULLED:
            registry.locate(entry.name)
    except ModelError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"models are not in the cache: {error}")
