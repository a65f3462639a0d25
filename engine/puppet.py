"""A ready puppet: everything opened and joined for one source, usable frame by frame."""

from __future__ import annotations

import dataclasses
import time
from fractions import Fraction
from pathlib import Path
from types import TracebackType

from engine import blend
from engine.generators import open_generator
from engine.pipeline import PipelineConfig, Session
from engine.plug import Generator, Runner
from engine.source import load_sources
from engine.track.face import FaceTracker
from engine.track.person import PersonSegmenter
from engine.types import U8, Controls, Frame, FrameReport, Neutral, Source

_TICKS = 90000


class Puppet:
    """Give it a picture of the driver, get back the picture of the moved source.

    Frames come in order; rgb is uint8 (H, W, 3). Use as a context manager, or call close().
    """

    def __init__(self, session: Session, tracker: FaceTracker, runner: Runner) -> None:
        self.session, self._tracker, self._runner = session, tracker, runner
        self.report: FrameReport | None = None

    def __call__(self, rgb: U8, time_s: float | None = None) -> U8:
        """The source moved by the face in `rgb`, seen at `time_s` (seconds, rising; default: now)."""
        now = time.perf_counter()
        pts = round((now if time_s is None else time_s) * _TICKS)
        frame, self.report = self.session.step(Frame(rgb, pts, Fraction(1, _TICKS), now))
        return frame.rgb

    def set(self, **controls: object) -> None:
        """Change live controls by name: the fields of engine.types.Controls."""
        self.session.controls = dataclasses.replace(self.session.controls, **controls)  # type: ignore[arg-type]

    def close(self) -> None:
        self._tracker.close()
        self._runner.close()

    def __enter__(self) -> Puppet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """What a source needs before a session can begin."""

    generator: Generator
    runner: Runner
    sources: tuple[Source, ...]


def load(
    source: Path | str | U8,
    *,
    bundle: str = "mesh_flow",
    backend: str = "auto",
    faces: int = 1,
    cache: Path | None = None,
) -> Loaded:
    """Open a bundle and find the faces of a source (a path, or a decoded picture)."""
    from engine.source import sources_from_picture

    generator, runner = open_generator(bundle)
    blend.warm_up()
    tracker = FaceTracker(backend=backend, max_faces=faces, cache=cache)
    segmenter = PersonSegmenter(backend=backend, cache=cache)
    try:
        if isinstance(source, (str, Path)):
            sources = load_sources(source, tracker, segmenter, faces=faces)
        else:
            sources = sources_from_picture(source, tracker, segmenter, name="picture", faces=faces)
    finally:
        tracker.close()
        segmenter.close()
    return Loaded(generator, runner, sources)


def open_puppet(
    source: Path | str | U8,
    *,
    bundle: str = "mesh_flow",
    backend: str = "auto",
    faces: int = 1,
    config: PipelineConfig | None = None,
    controls: Controls | None = None,
    neutral: Neutral | None = None,
    cache: Path | None = None,
) -> Puppet:
    """Open everything for one source. Raises MarotteError when the source, a model or a backend cannot be used."""
    loaded = load(source, bundle=bundle, backend=backend, faces=faces, cache=cache)
    tracker = FaceTracker(backend=backend, max_faces=faces, cache=cache)
    session = Session(
        tracker,
        loaded.generator,
        loaded.runner,
        loaded.sources,
        config=config,
        controls=controls,
        neutral=neutral,
    )
    return Puppet(session, tracker, loaded.runner)
