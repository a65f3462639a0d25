"""A driver's camera that is off, or on again: meanwhile nothing of it is looked at."""

from __future__ import annotations

from collections.abc import Callable

from engine.errors import ConfigError
from engine.worker.interface import DriverKind, Worker
from streaming.echo import Echo
from streaming.intake import Intake
from streaming.rest import Again, Rest

_GREY_S = 0.5  # for whoever begins to watch meanwhile


class Shutter:
    """Of one session, on its event loop: a face at rest moves a puppet, and in place of an edited picture, or of an
    echo, plain grey leaves.

    driver: whom it was opened with. camera: whether there is one at all. anew: nothing that was made before the change
    of this number leaves any more.
    """

    def __init__(
        self, session: str, worker: Worker, driver: DriverKind, anew: Callable[[int], None], *, camera: bool
    ) -> None:
        self.shut = False
        self._session, self._worker, self._anew = session, worker, anew
        self._camera = camera
        self._resumed = driver
        self._rest: Again | None = None

    def check(self, driver: object) -> None:
        """That a change may name this driver; None where it names none. Raises ConfigError."""
        if driver is not None and self.shut:
            raise ConfigError("driver: the camera is off; turn it on first")
        if driver == DriverKind.CAMERA.value and not self._camera:
            raise ConfigError("driver: this call was opened without a camera; start it again with one")

    def turn(self, on: bool, intake: Intake | None, echo: Echo | None) -> None:
        """Whichever of the two there is. Raises a MarotteError where the worker does not follow."""
        if on is not self.shut:
            return
        self.shut = not on
        if echo is not None:
            self._turn_echo(echo)
        if intake is None:
            return
        if on:
            self._open(intake)
        else:
            self._close(intake)

    def end(self) -> None:
        """Nothing stands in for the camera any more; it stays off where it is."""
        if self._rest is not None:
            self._rest.end()

    def _turn_echo(self, echo: Echo) -> None:
        echo.shut = self.shut
        self.end()
        self._rest = Again(_GREY_S, echo.show_grey) if self.shut else None

    def _close(self, intake: Intake) -> None:
        self._resumed, intake.driver = intake.driver, DriverKind.TRACKER  # nothing of the camera from here on
        try:
            self._worker.change(self._session, {"driver": DriverKind.TRACKER.value})
        except ConfigError:  # an edit, or a whole body: numbers of a face move neither
            self._anew(self._worker.change(self._session, {"recalibrate": True}))
            return
        self._rest = Rest(intake.acted)

    def _open(self, intake: Intake) -> None:
        if self._rest is not None:
            self._rest.end()
            self._rest = None
            self._worker.change(self._session, {"driver": self._resumed.value})
        intake.driver = self._resumed
