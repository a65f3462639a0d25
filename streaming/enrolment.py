"""Enrolments that pages ask for: one process at a time, behind everything else, from what was sent to a bundle.

A thread of its own follows the process; nothing of it runs on the event loop.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from engine.config import known
from engine.consent.words import shown_name
from engine.errors import StateError
from engine.several import ACCEPTANCE
from engine.state import state_folder
from streaming.config import ServeConfig
from streaming.consents import Consents, Given
from streaming.doors import RefusedError, busy
from streaming.enrolment_child import Child, Ended
from streaming.enrolment_command import check_command, command_of
from streaming.enrolment_kinds import KINDS, MOST_BYTES, MOST_SECONDS, check_libraries
from streaming.enrolment_offers import Offering, Offers
from streaming.enrolment_probe import check_kind, digest, probe
from streaming.enrolment_store import (
    DONE,
    FAILED,
    LEAST_BYTES,
    NEEDS_BYTES,
    OPENING,
    RUNNING,
    STOPPED,
    Job,
    Store,
    file_name,
)
from streaming.measured import EnrolmentRecorder
from streaming.own_person import upload_of
from streaming.uploads import Upload

MOST_BUNDLES: Final = 4
"""Enrolled bundles that are kept and offered."""
MOST_STOPPED: Final = 2
"""Enrolments that are kept to be gone on with."""

_log = logging.getLogger("marotte.enrol")
_TICK_S = 0.25
_GRACE_S = 40.0
_CLOSE_S = 3.0
_HOPELESS = frozenset(
    {"InputError", "DecodeError", "TooLargeError", "TooSmallError", "NoFaceError", "DifferentPeopleError"}
)
"""What going on does not mend."""
_CANCELLED = "it was cancelled"
_NO_ROOM = "the disk is nearly full; free some space and go on"


class Enrolments:
    """For any thread. Doors are open between `start` and `close`."""

    def __init__(
        self,
        config: ServeConfig,
        worker: Offering,
        recorder: EnrolmentRecorder,
        *,
        consents: Consents | None = None,
        free_bytes: Callable[[], int] | None = None,
    ) -> None:
        """Raises ConfigError or StateError where this server cannot enrol as it is set."""
        check_libraries(config.enrol_command)
        self._config, self._recorder = config, recorder
        self._consents = consents or Consents()
        self._offers = Offers(worker, recorder, self._consents, lambda: self._closing)
        self._store = Store(config.enrolments or state_folder() / "enrolments")
        self._free_bytes = free_bytes or self._store.free_bytes
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._reserved = False
        self._closing = False
        self._stop = ""
        self._child: Child | None = None
        self._threads: list[threading.Thread] = []

    # --- the server's life ---------------------------------------------------------------------------

    def check(self) -> None:
        """Ask the command whether it could enrol. Blocks for seconds. Raises ConfigError with its own words."""
        check_command(self._config, lambda: self._closing)

    def start(self) -> None:
        """Take up what earlier runs left, and offer their bundles beside everything else."""
        with self._lock:
            self._jobs = {job.id: job for job in self._store.read()}
            done = [job for job in self._jobs.values() if job.state == DONE and job.system in KINDS]
        if done:
            self._begin(self._offers.add_all, [(job, self._store.out(job)) for job in done])

    def close(self) -> None:
        """End the process that runs, which can be gone on with; returns when it has ended. Blocks."""
        with self._lock:
            self._closing = True
            child, threads = self._child, list(self._threads)
        if child is not None:
            child.ask_to_end()
        until_s = time.monotonic() + _CLOSE_S
        for thread in threads:
            thread.join(max(0.1, until_s - time.monotonic()))
        self._store.close()

    # --- what pages ask for ----------------------------------------------------------------------------

    def about(self) -> dict[str, Any]:
        """What a page has to know before it can ask."""
        systems = [
            {"system": system, "title": kind.title, "clips": kind.clips, "photos": kind.photos}
            for system, kind in KINDS.items()
            if system in self._config.enrol
        ]
        return {"systems": systems, "most_bytes": MOST_BYTES, "most_seconds": MOST_SECONDS}

    def all(self) -> list[dict[str, Any]]:
        """How each stands, the newest last."""
        self._expire()
        with self._lock:
            return [self._status(job) for job in self._jobs.values()]

    def status(self, job: str) -> dict[str, Any]:
        """See docs/live.md. Raises RefusedError (404)."""
        with self._lock:
            return self._status(self._known(job))

    def reserve(self, system: str) -> Reservation:
        """The one place for an enrolment, taken before its bytes are read. Raises RefusedError (422, 429, 507)."""
        if system not in self._config.enrol:
            raise RefusedError(422, "ConfigError", f"this server enrols nobody with {system or 'no system'}")
        with self._lock:
            self._check_free()
            if self._count(DONE) >= MOST_BUNDLES:
                raise busy(f"{MOST_BUNDLES} enrolled bundles are kept; remove one of them first")
            if self._count(STOPPED) >= MOST_STOPPED:
                raise busy(f"{MOST_STOPPED} enrolments were stopped; go on with one of them, or remove it")
            self._check_room()
            self._reserved = True
        return Reservation(self)

    def new(self, system: str, name: str, keep: bool, accept: Sequence[str] = ()) -> Job:
        """A job's folder, for its files. accept: names of acceptances for photos. Raises ConfigError or StateError."""
        for one in accept:
            known(one, (ACCEPTANCE,) if KINDS[system].photos else (), "accept")
        return self._store.new(system, shown_name(name), keep, accept)

    def place(self, job: Job, number: int, given: str) -> Path:
        """Where the `number`-th file is written."""
        return self._store.place(job) / "input" / file_name(number, given)

    def discard(self, job: Job) -> None:
        """One that came to nothing while it was sent."""
        with suppress(StateError):
            self._store.remove(job)

    def accept(self, job: Job, files: Sequence[Path], given: Given | None = None) -> dict[str, Any]:
        """Look at what was sent, record who allowed it, and begin. Blocks for a second or two; with the reservation.
        given: None goes by records that are there.

        Raises ConsentError, InputError (what is wrong with it) or StateError; the files are the caller's to discard
        then.
        """
        pictures = [digest([path]) for path in files]
        if given is None:
            self._check(pictures, job.name)
        check_kind(KINDS[job.system], probe(files))
        job = self._store.write(dataclasses.replace(job, files=tuple(path.name for path in files)))
        if given is not None:
            self._consents.attest(digest(files), pictures, given.accepting(job.accept))
            self._check(pictures, job.name)  # what was said may leave this use out
        with self._lock:
            for failed in [one for one in self._jobs.values() if one.state == FAILED]:
                self._remove(failed)
            self._jobs[job.id] = job
            self._run(job)
            return self._status(self._jobs[job.id])

    def _check(self, pictures: Sequence[str], name: str) -> None:
        for picture in pictures:
            self._consents.check(picture, "train", name)

    def person(self, number: str) -> Upload:
        """Who the bundle of one that is done holds, as a source. Blocks for seconds.

        Raises RefusedError (404, 409) and BundleError.
        """
        with self._lock:
            job = self._known(number)
            if job.state != DONE or not KINDS[job.system].person:
                raise RefusedError(409, "StateError", "it has no bundle that holds a person")
        return upload_of(self._store.out(job), job.name)

    def resume(self, number: str) -> dict[str, Any]:
        """Go on with one that stopped. Raises RefusedError (404, 409, 429, 507)."""
        with self._lock:
            job = self._known(number)
            if job.state != STOPPED:
                raise RefusedError(
                    409, "StateError", f"it is {job.state}; only what was stopped is gone on with"
                )
            if job.system not in self._config.enrol:
                raise RefusedError(
                    409, "ConfigError", f"this server enrols nobody with {job.system} any more"
                )
            self._check_free()
            self._check_room()
            self._jobs[job.id] = self._store.turned(job, RUNNING)
            self._run(self._jobs[job.id])
            return self._status(self._jobs[job.id])

    def cancel_or_remove(self, number: str) -> dict[str, Any] | None:
        """Stop one that runs, which can be gone on with, and tell how it stands; remove any other with all that is left
        of it, and return None. Raises RefusedError (404, 409) or StateError."""
        with self._lock:
            job = self._known(number)
            if job.state == RUNNING:
                self._stop = self._stop or _CANCELLED
                return self._status(job)
            if job.state == OPENING:
                raise RefusedError(
                    409, "StateError", "its bundle is being opened; remove it when it is there"
                )
            self._remove(job)
            return None

    def _remove(self, job: Job) -> None:
        self._offers.drop(job)
        self._jobs.pop(job.id)
        self._store.remove(job)

    def _known(self, number: str) -> Job:
        found = self._jobs.get(number)
        if found is None:
            raise RefusedError(404, "RequestError", "that enrolment is not there any more")
        return found

    def _count(self, state: str) -> int:
        return sum(job.state == state for job in self._jobs.values())

    def _check_free(self) -> None:
        running = next((job for job in self._jobs.values() if job.state in (RUNNING, OPENING)), None)
        if running is not None:
            raise busy(f"“{running.name}” is being enrolled; wait until it is done, or cancel it", wait_s=30)
        if self._reserved:
            raise busy("another enrolment is being sent; try again in a moment")

    def _check_room(self) -> None:
        free = self._free_bytes()
        if free < NEEDS_BYTES:
            raise RefusedError(
                507,
                "StorageError",
                f"an enrolment needs {NEEDS_BYTES >> 20} MB of disk, and the server has {free >> 20}; free some first",
            )

    def release(self) -> None:
        """The reservation's end."""
        with self._lock:
            self._reserved = False

    def _expire(self) -> None:
        with self._lock:
            gone = [job for job in self._jobs.values() if self._store.expired(job)]
            for job in gone:
                with suppress(StateError):
                    self._remove(job)

    def _status(self, job: Job) -> dict[str, Any]:
        progress = self._child.progress if self._child is not None and job.state == RUNNING else None
        reason = job.reason or self._offers.why_not(job)
        return {
            "id": job.id,
            "system": job.system,
            "name": job.name,
            "state": "stopping" if job.state == RUNNING and self._stop else job.state,
            "reason": reason,
            "progress": None if progress is None else dataclasses.asdict(progress),
            "bundle": job.bundle if self._offers.holds(job) else None,
            "person": job.system in KINDS and KINDS[job.system].person,
            "keeps": job.keep,
            "expires": job.expires() or None,
            "lines": list(job.lines),
        }

    # --- the process -----------------------------------------------------------------------------------

    def _begin(self, work: Callable[..., None], *given: Any) -> None:
        thread = threading.Thread(target=work, args=given, name="marotte-enrol", daemon=True)
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def _run(self, job: Job) -> None:
        self._stop = ""
        self._recorder.enrolling(True)
        self._begin(self._through, job)

    def _through(self, job: Job) -> None:
        outcome = "stopped"
        try:
            job = self._finished(job)
            outcome = "cancelled" if job.reason == _CANCELLED else job.state
            if job.state == OPENING:
                self._store.spend(job)
                self._offers.add(job, self._store.out(job))
                job, outcome = self._turn(job, DONE), DONE
            elif job.state == FAILED:
                self._store.spend(job)
        except Exception as error:  # whatever it is, the page is told, and the next enrolment may do better
            _log.exception("enrolment %s failed", job.id)
            self._turn(
                job, STOPPED, f"the server could not follow it ({type(error).__name__}); its log says why"
            )
        finally:
            self._recorder.enrolling(False)
            self._recorder.enrolled(outcome)

    def _finished(self, job: Job) -> Job:
        """The job as its process left it."""
        try:
            child = Child(command_of(job, self._config, self._store))
        except OSError as error:
            return self._turn(job, STOPPED, f"its process cannot be started ({error.strerror})")
        with self._lock:
            self._child = child
        try:
            ended = self._followed(child)
        except BaseException:  # nobody follows it any more, and a second one would go on in its folder
            child.kill()
            child.wait(_CLOSE_S)
            raise
        finally:
            with self._lock:
                self._child = None
        state, reason = self._became(ended, job)
        return self._turn(job, state, reason, ended.lines or ())

    def _followed(self, child: Child) -> Ended:
        killed_s = float("inf")
        while (ended := child.wait(_TICK_S)) is None:
            now_s = time.monotonic()
            if self._free_bytes() < LEAST_BYTES:
                self._stop = self._stop or _NO_ROOM
            if (self._stop or self._closing) and killed_s == float("inf"):
                child.ask_to_end()
                killed_s = now_s + (_CLOSE_S - 1.0 if self._closing else _GRACE_S)
            if self._closing:
                killed_s = min(killed_s, now_s + _CLOSE_S - 1.0)
            if now_s > killed_s:
                child.kill()
        return ended

    def _became(self, ended: Ended, job: Job) -> tuple[str, str]:
        if ended.status == 0 and ended.lines is not None and self._store.out(job).is_dir():
            return OPENING, ""
        if self._stop:
            return STOPPED, self._stop
        if self._closing:
            return STOPPED, "the server ended"
        if ended.kind in _HOPELESS:
            return FAILED, ended.message
        return STOPPED, ended.message

    def _turn(self, job: Job, state: str, reason: str = "", lines: Sequence[str] = ()) -> Job:
        with self._lock:
            self._jobs[job.id] = job = self._store.turned(job, state, reason, lines)
        return job


class Reservation:
    """The place for the one enrolment at a time, as a context."""

    def __init__(self, enrolments: Enrolments) -> None:
        self._enrolments = enrolments

    def __enter__(self) -> None:
        """It was taken when this was made."""

    def __exit__(self, *_: object) -> None:
        self._enrolments.release()
