"""What every kind of session offers to whoever runs its stages: one that follows faces, one that follows a body, one
that rests. A renderer takes them one after the other (engine.pipeline.step_together), a live worker in two threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from engine.fallback import FallbackConfig
from engine.plug import Offered, Ports, Runner
from engine.types import U8, Controls, Frame, FrameReport

Clock = Callable[[], float]


class Underway(Protocol):
    """One frame on its way. ports: what the graph is given, an entry each; empty where nothing is to be generated, and
    before `feed`. seconds: what the frame has spent, by stage."""

    @property
    def frame(self) -> Frame: ...

    @property
    def ports(self) -> tuple[Ports, ...]: ...

    @property
    def seconds(self) -> dict[str, float]: ...


class Staged(Protocol):
    """The driver's frame to the picture that leaves: measure, feed, a Runner for the ports, show. None of them raises
    for what a frame may hold. `measure` and the settings belong to one thread, `feed` and `show` to one, too, which may
    be another: it is at work on an earlier frame meanwhile.

    controls, smoothing: as engine.pipeline.Session has them.
    """

    controls: Controls
    smoothing: float

    def measure(self, frame: Frame, seconds: dict[str, float] | None = None) -> Any:
        """The driver's side of a frame: an Underway. seconds: what it has spent before; the stages are added to it."""
        ...

    def feed(self, work: Any) -> Any:
        """The same work with its ports."""
        ...

    def show(
        self, work: Any, outputs: Sequence[Ports | Exception], render_s: float
    ) -> tuple[Frame, FrameReport]:
        """outputs: an answer for each of the ports."""
        ...

    def recalibrate(self) -> None:
        """The driver's next moments are the new rest that motion is relative to."""
        ...

    def follow(self, tracker: Any) -> None:
        """Another driver from the next frame on."""
        ...


class BodyDriven(Offered, Protocol):
    """A system that a whole body drives. It begins its sessions itself, and takes no source."""

    @property
    def still(self) -> U8:
        """The picture (H, W, 3) that it moves, both sides even: what is safe to show."""
        ...

    def session(self, tracker: Any, runner: Runner, prepared: Any, fallback: FallbackConfig) -> Staged:
        """For one driver, whom the tracker gives as a Body or None. runner: of its graph."""
        ...

    def performer(self) -> Any:
        """A tracker that sees a driver of its own in every frame, for those without a camera."""
        ...


def body_driven(generator: Offered) -> BodyDriven | None:
    """The same, where a body drives it."""
    return cast(BodyDriven, generator) if hasattr(generator, "performer") else None


class Timed:
    """Adds the seconds spent inside to `seconds[stage]`, also when it raises."""

    def __init__(self, seconds: dict[str, float], stage: str, clock: Clock) -> None:
        self._seconds, self._stage, self._clock = seconds, stage, clock

    def __enter__(self) -> None:
        self._started = self._clock()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + self._clock() - self._started
