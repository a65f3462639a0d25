"""Bundles of enrolments that are done, opened beside the running sessions."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from engine.errors import ConfigError, MarotteError, WorkerError
from engine.worker.interface import BundleInfo
from streaming.consents import Consents
from streaming.doors import RefusedError
from streaming.enrolment_store import Job
from streaming.measured import EnrolmentRecorder

_log = logging.getLogger("marotte.enrol")
_TICK_S = 0.25
_OPEN_S = 300.0
_AGAIN_S = 10.0
"""After which a worker is asked again that could not be asked: a new process is at work by then."""


class Offering(Protocol):
    """Of engine.worker.interface.Worker."""

    def add_bundle(self, bundle: str) -> Future[BundleInfo]: ...

    def drop_bundle(self, name: str) -> None: ...


class Offers:
    """For any thread; one bundle is opened at a time. closing: whether the server ends."""

    def __init__(
        self,
        worker: Offering,
        recorder: EnrolmentRecorder,
        consents: Consents,
        closing: Callable[[], bool],
    ) -> None:
        self._worker, self._recorder, self._consents = worker, recorder, consents
        self._closing = closing
        self._opening = threading.Lock()
        self._told: dict[str, str] = {}

    def holds(self, job: Job) -> bool:
        """Whether its bundle is offered now."""
        return self._told.get(job.id) == ""

    def why_not(self, job: Job) -> str:
        """Why it could not be; empty where it is, or nobody has asked yet."""
        return self._told.get(job.id, "")

    def drop(self, job: Job) -> None:
        """Offer it no more. Raises RefusedError (409) while a session runs it."""
        if self.holds(job):
            try:
                self._worker.drop_bundle(job.bundle)
            except WorkerError as error:
                raise RefusedError(409, "WorkerError", str(error)) from error
            except ConfigError:
                pass  # the worker never had it, or has it no more
        self._told.pop(job.id, None)

    def add_all(self, done: Sequence[tuple[Job, Path]]) -> None:
        """One after the other, until the server ends."""
        for job, out in done:
            if not self._closing():
                self.add(job, out)

    def add(self, job: Job, out: Path) -> None:
        """Have it opened. Blocks. What is wrong with it is told by `why_not`. out: its bundle's folder.

        A worker that is lost meanwhile need not be lost over it: the one that takes its place is asked once more.
        """
        self._consents.know_bundle(job.bundle, out)
        reason = self._refusal(out)
        if isinstance(reason, WorkerError) and self._waited(_AGAIN_S):
            reason = self._refusal(out)
        told = "" if reason is None else f"its bundle cannot be offered: {reason}"
        if told:
            _log.warning("enrolment %s: %s", job.id, told)
        self._told[job.id] = told

    def _refusal(self, out: Path) -> MarotteError | TimeoutError | None:
        """Why its bundle is not offered now; None where it is, or the server ends."""
        try:
            with self._opening:
                info = self._opened(self._worker.add_bundle(str(out)))
        except TimeoutError:
            return TimeoutError(f"it was not opened within {_OPEN_S:g} s")
        except MarotteError as error:
            return error
        if info is not None:
            self._recorder.offer_enrolled(info)
        return None

    def _waited(self, seconds: float) -> bool:
        """Whether so long has passed and the server goes on."""
        until_s = time.monotonic() + seconds
        while not self._closing() and time.monotonic() < until_s:
            time.sleep(_TICK_S)
        return not self._closing()

    def _opened(self, opening: Future[BundleInfo]) -> BundleInfo | None:
        until_s = time.monotonic() + _OPEN_S
        while not self._closing():
            with suppress(TimeoutError):
                return opening.result(_TICK_S)
            if time.monotonic() > until_s:
                raise TimeoutError
        return None
