"""Inputs worked off in several processes; each opens its own networks."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from typing import Any

import cv2

from engine.annotate.inputs import Input
from engine.annotate.store import Store
from engine.annotate.work import Desk, Settings, Stage
from engine.errors import MarotteError

_POLL_S = 0.5


def work_in_processes(
    missing: Sequence[tuple[Input, str]],
    store: Store,
    settings: Settings,
    options: dict[str, Any],
    jobs: int,
    looked: Callable[[], None],
) -> None:
    """All inputs in `jobs` processes, in the order of who is free; `looked` is called now and then.

    Raises MarotteError with the child's last line when one fails; the others are stopped.
    """
    context = multiprocessing.get_context("spawn")
    following, failures = context.Value("q", 0), context.SimpleQueue()
    workers = [
        context.Process(
            target=_serve, args=(missing, store, settings, options, following, failures), daemon=True
        )
        for _ in range(min(jobs, len(missing)))
    ]
    try:
        for worker in workers:
            worker.start()
        _wait(workers, failures, looked)
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
            if worker.pid is not None:
                worker.join()


def _wait(workers: Sequence[BaseProcess], failures: Any, looked: Callable[[], None]) -> None:
    while any(worker.is_alive() for worker in workers):
        for worker in workers:
            worker.join(_POLL_S / len(workers))
        looked()
        if not failures.empty():
            break
    if not failures.empty():
        raise MarotteError(str(failures.get()))
    broken = [worker.exitcode for worker in workers if worker.exitcode]
    if broken:
        raise MarotteError(
            f"a preparing process ended with status {broken[0]}; run the same command again to go on"
        )


def _serve(
    missing: Sequence[tuple[Input, str]],
    store: Store,
    settings: Settings,
    options: dict[str, Any],
    following: Any,
    failures: Any,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears the interruption and stops us
    cv2.setNumThreads(1)
    try:
        with Stage(**options) as stage:
            desk = Desk(stage, settings, store.folder, _stop_alone)
            while (index := _next(following)) < len(missing):
                _stop_alone()
                one, key = missing[index]
                store.save(key, desk.work(one))
    except MarotteError as error:
        failures.put(str(error))
    except Exception:
        failures.put(f"a preparing process failed: {traceback.format_exc()}")


def _next(following: Any) -> int:
    with following.get_lock():
        index = int(following.value)
        following.value = index + 1
    return index


def _stop_alone() -> None:
    """End this process where its parent was killed, which could not stop it."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit(1)
