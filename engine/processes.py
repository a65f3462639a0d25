"""Tasks of a long job (measuring, preparing) in processes of their own; each opens its own networks."""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from multiprocessing.process import BaseProcess
from typing import Any

import cv2

from engine.errors import MarotteError

_POLL_S = 0.5

Opens = Callable[[], AbstractContextManager[Callable[[Any, Callable[[], None]], None]]]


def work_in_processes(tasks: Sequence[Any], open_work: Opens, jobs: int, looked: Callable[[], None]) -> None:
    """All tasks in `jobs` processes; `looked` is called now and then, to count the parts on disk.

    open_work: opened once in each process; what it gives is called with a task, and with what is to be called after
    each of its parts. Both have to be picklable.
    Raises MarotteError with the child's last line when one fails; the others are stopped.
    """
    context = multiprocessing.get_context("spawn")
    jobs = min(jobs, len(tasks))
    waiting, failures = context.SimpleQueue(), context.SimpleQueue()
    for place in range(len(tasks)):
        waiting.put(place)
    for _ in range(jobs):
        waiting.put(None)
    workers = [
        context.Process(target=_serve, args=(tasks, open_work, waiting, failures), daemon=True)
        for _ in range(jobs)
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
            f"a working process ended with status {broken[0]}; run the same command again to go on"
        )


def _serve(tasks: Sequence[Any], open_work: Opens, waiting: Any, failures: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears the interruption and stops us
    cv2.setNumThreads(1)
    try:
        with open_work() as carry_out:
            while (place := waiting.get()) is not None:
                stop_alone()
                carry_out(tasks[place], stop_alone)
    except MarotteError as error:
        failures.put(str(error))
    except Exception:
        failures.put(f"a working process failed: {traceback.format_exc()}")


def stop_alone() -> None:
    """End this process where its parent was killed, which could not stop it."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit(1)
