"""Whole frames through one graph: crop, network, blending and paste-back with no way back to the host in between.

FrameGenerator and FrameRunner stand before a generator and its runner, which stay as they are and do what a frame graph
is not made for: several faces in one picture, a frame or a face that is too large, what a system says of itself
(docs/frame_graph.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.backends import Port
from engine.errors import InputError, PortError
from engine.generators.batch_runner import BatchRunner, example_of
from engine.generators.frame_limits import fits
from engine.generators.graph_runner import GraphRunner
from engine.plug import Generator, Ports, Runner
from engine.types import F32, U8, Crop, Drive, Mode, Patch, Source

Scalar = TypeVar("Scalar", bound=np.generic)


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One drive. crop: frame to square. ports: beside `frame`, `matrix` and `hidden`. hidden: uint8 (H, W), what stands
    in front of the face, None where nothing."""

    crop: Crop
    ports: Ports
    hidden: U8 | None


class System(Protocol):
    """What a system adds to its generator, so that it runs as a frame graph."""

    def begin(self) -> Any:
        """What is kept for one face between its frames."""
        ...

    def shot(self, state: Any, kept: Any, drive: Drive) -> Shot | None:
        """The next frame of this face; None where only the generator itself can do what is asked for. state: of the
        generator. Raises as Generator.inputs."""
        ...

    def passed_by(self, state: Any, kept: Any) -> None:
        """The generator itself does this frame."""
        ...

    def shown(self, kept: Any, outputs: Ports) -> None:
        """The frame of the last shot is shown. What lasts is in `outputs`, which the next run overwrites."""
        ...


@dataclass(slots=True, eq=False)
class FrameState:
    """One face. state: of the generator. kept: of its system. portrait: uint8 (1, H, W, 3), of a puppet. crop, canvas:
    of the shot at hand, None where the generator itself is at work."""

    state: Any
    kept: Any
    portrait: U8 | None
    crop: Crop | None = None
    canvas: U8 | None = None

    @property
    def prepared(self) -> Any:
        """As the generator's own state has it."""
        return self.state.prepared


class FrameGenerator:
    """A generator whose frames run as one graph where that can be. shrink: frame pixels per pixel of the square that
    the graph was written for, at most."""

    def __init__(self, inner: Generator, system: System, shrink: float) -> None:
        self.inner, self._system, self._shrink = inner, system, shrink
        self.name, self.needs, self.modes, self.heeds = inner.name, inner.needs, inner.modes, inner.heeds

    def takes_source(self, mode: Mode) -> bool:
        return self.inner.takes_source(mode)

    def prepare(self, source: Source | None, mode: Mode) -> Any:
        return self.inner.prepare(source, mode)

    def begin(self, prepared: Any, *donors: Any) -> FrameState:
        puppet = prepared.mode is Mode.PUPPET
        portrait = resident(prepared.source.rgb[None]) if puppet else None
        return FrameState(self.inner.begin(prepared, *donors), self._system.begin(), portrait)

    def inputs(self, state: FrameState, drive: Drive) -> Ports:
        state.crop = state.canvas = None
        shot = self._system.shot(state.state, state.kept, drive) if drive.alone else None
        canvas = _canvas(state.prepared, drive)
        if shot is None or not fits(canvas.shape[1], canvas.shape[0], shot.crop, self._shrink):
            self._system.passed_by(state.state, state.kept)
            return self.inner.inputs(state.state, drive)
        state.crop, state.canvas = shot.crop, canvas
        return _ports(shot, canvas[None] if state.portrait is None else state.portrait)

    def asks(self, state: FrameState, drive: Drive) -> bool:
        """As the generator says of itself."""
        asks = getattr(self.inner, "asks", None)
        return asks is not None and bool(asks(state.state, drive))

    def patch(self, state: FrameState, outputs: Ports) -> Patch:
        if state.canvas is None or state.crop is None:
            return self.inner.patch(state.state, outputs)
        found, shape = outputs.get("frame_out"), (1, *state.canvas.shape)
        if found is None or found.shape != shape or found.dtype != np.uint8:
            got = "none" if found is None else f"{found.shape} {found.dtype}"
            raise PortError(f"port 'frame_out': expected {shape} uint8, got {got}")
        self._system.shown(state.kept, outputs)
        return Patch(found[0], None, state.crop, state.canvas, whole=True)


def _canvas(prepared: Any, drive: Drive) -> U8:
    canvas: U8 = prepared.source.rgb if prepared.mode is Mode.PUPPET else drive.frame.rgb
    return canvas


def resident(array: NDArray[Scalar]) -> NDArray[Scalar]:
    """The same numbers in an array that nobody can write to: a device keeps it from run to run."""
    kept = np.array(array)
    kept.setflags(write=False)
    return kept


def _ports(shot: Shot, frame: U8) -> Ports:
    matrix: F32 = shot.crop.matrix.astype(np.float32)[None]
    if not np.isfinite(matrix).all():
        raise InputError("crop: the face's place is not finite; expected a tracked face")
    hidden = _nothing(*frame.shape[1:3]) if shot.hidden is None else shot.hidden[None, :, :, None]
    return {"frame": frame, "matrix": matrix, "hidden": hidden, **shot.ports}


@lru_cache(maxsize=8)
def _nothing(height: int, width: int) -> U8:
    """Nothing stands in front: the same array every time, which nobody can write to."""
    return resident(np.zeros((1, height, width, 1), np.uint8))


class FrameRunner:
    """Runs entries with a `frame` on the frame graph whose ports they are, all others as the generator's own runner.

    An entry that fails does not touch the others; answers as of GraphRunner. batches: sizes that the frame graphs take,
    whose frames are of one size; frames of other sizes make a batch of their own.
    """

    def __init__(self, inner: Runner, runners: Sequence[GraphRunner | BatchRunner]) -> None:
        self._inner = inner
        self._runners: Mapping[frozenset[str], GraphRunner | BatchRunner] = {
            runner.ports: runner for runner in runners
        }
        self.batches: tuple[int, ...] = min((_sizes(runner) for runner in runners), key=len)

    def run(self, batch: Sequence[Ports]) -> list[Ports | Exception]:
        found, by_runner = dict[int, Ports | Exception](), dict[int, tuple[Runner, list[int]]]()
        for index, ports in enumerate(batch):
            runner = self._runners.get(frozenset(ports)) if "frame" in ports else self._inner
            if runner is None:
                names = ", ".join(sorted(ports))
                found[index] = PortError(f"ports {names}: no frame graph of this bundle has them")
            elif runner is not self._inner and ports["hidden"].shape[1:3] != ports["frame"].shape[1:3]:
                sizes = " x ".join(str(size) for size in ports["frame"].shape[2:0:-1])
                found[index] = PortError(
                    f"port 'hidden': expected the frame's {sizes}, got {ports['hidden'].shape}"
                )
            else:
                by_runner.setdefault(id(runner), (runner, []))[1].append(index)
        for runner, indexes in by_runner.values():
            found |= zip(indexes, runner.run([batch[index] for index in indexes]), strict=True)
        return [found[index] for index in range(len(batch))]

    def warm_up(self) -> None:
        """See engine.batching.BatchingRunner."""
        for runner in (self._inner, *self._runners.values()):
            warm_up = getattr(runner, "warm_up", None)
            if warm_up is not None:
                warm_up()

    def close(self) -> None:
        for runner in self._runners.values():
            runner.close()
        self._inner.close()


def _sizes(runner: GraphRunner | BatchRunner) -> tuple[int, ...]:
    return runner.batches if isinstance(runner, BatchRunner) else (1,)


def example_frame(ports: Sequence[Port], seed: int, height: int, width: int) -> Ports:
    """An entry for a frame graph: a face in the middle of noise, whatever the other ports say."""
    free = {1: height, 2: width}
    fixed = [
        Port(port.name, tuple(size or free[axis] for axis, size in enumerate(port.shape)), port.dtype)
        for port in ports
    ]
    scale = 16.0 / height + 0.01 * seed
    matrix = np.array([[[scale, 0.0, 0.0], [0.0, scale, 0.0]]], np.float32)
    return {**example_of(fixed, seed), "matrix": matrix}
