"""Where the test data stands, and the skips that say why when it does not."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who runs by itself stands where the Makefile looks for it; it would run nowhere otherwise."""
    makefile = (PROJECT / "Makefile").read_text()
    named = next(line for line in makefile.splitlines() if line.startswith("ALONE := "))
    places = {PROJECT / place for place in named.split()[2:]}
    alone = (item for item in items if item.get_closest_marker("alone"))
    if astray := [item.nodeid for item in alone if places.isdisjoint((item.path, *item.path.parents))]:
        raise pytest.UsageError(f"marked alone, and not where the Makefile looks ({named}): {astray[0]}")


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
